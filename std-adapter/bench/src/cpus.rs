//! Which two processors a measurement runs on.

use std::fs;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors that this process may use.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Two different processors of the allowed ones; nothing if only one is allowed.
///
/// The second one shares the package of the first, if it can, but not its core: two threads of one core would wait for
/// each other's turns.
pub fn pair() -> io::Result<Option<(usize, usize)>> {
    let allowed = allowed()?;
    let Some((first, others)) = allowed.split_first() else {
        return Ok(None);
    };
    let here = place(*first);
    let rank = |cpu: &usize| match (&here, &place(*cpu)) {
        (Some(here), Some(there)) if here.0 == there.0 && here.1 != there.1 => 0,
        (Some(here), Some(there)) if here == there => 2,
        _ => 1,
    };
    Ok(others.iter().copied().min_by_key(rank).map(|second| (*first, second)))
}

/// The package and the core of a processor, as far as the system tells.
fn place(cpu: usize) -> Option<(String, String)> {
    let read = |name| fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/{name}")).ok();
    Some((read("physical_package_id")?, read("core_id")?))
}

/// Keeps the calling thread on one processor.
pub fn pin(cpu: usize) -> io::Result<()> {
    allow(&[cpu])
}

/// Lets the calling thread run on these processors only.
pub fn allow(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no processor {cpu}")));
        }
        set.set(cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_different_allowed_processors() {
        let allowed = allowed().expect("the allowed processors");
        match pair().expect("a pair") {
            Some((first, second)) => {
                assert_ne!(first, second);
                assert!(allowed.contains(&first) && allowed.contains(&second));
            }
            None => assert_eq!(allowed.len(), 1),
        }
    }
}
