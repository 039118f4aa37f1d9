//! Is a process gone? Answered only if it can be known for certain.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// A process, so described that no other one fits, now or later, as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Creator {
    pub(super) pid: u32,
    /// When it began, in ticks since the machine did.
    pub(super) began: u64,
    /// The namespaces in which these two numbers hold.
    pub(super) pid_namespace: u64,
    pub(super) time_namespace: u64,
    /// Which run of which machine.
    pub(super) boot: [u8; 16],
}

/// What is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Known {
    Gone,
    Lives,
    Unknown(&'static str),
}

impl Creator {
    /// This process.
    pub(super) fn this() -> std::io::Result<Self> {
        let pid = std::process::id();
        let began = stat(pid)?.began;
        let namespace = |kind| fs::metadata(format!("/proc/self/ns/{kind}")).map(|m| m.ino());
        Ok(Self {
            pid,
            began,
            pid_namespace: namespace("pid")?,
            // Kernels before 5.6 have none, and count as one.
            time_namespace: namespace("time").unwrap_or(0),
            boot: boot()?,
        })
    }

    /// Whether it lives.
    #[doc(hidden)]
    pub fn known(&self) -> Known {
        let Ok(here) = Self::this() else { return Known::Unknown("there is no /proc to ask") };
        if here.boot != self.boot {
            return Known::Unknown("its creator ran on another machine, or before this one was started");
        }
        if here.pid_namespace != self.pid_namespace || here.time_namespace != self.time_namespace {
            return Known::Unknown("its creator ran in another PID or time namespace, and cannot be seen from here");
        }
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Known::Unknown("the mark has no process");
        };
        match (test_kill_process(pid), stat(self.pid)) {
            (Err(Errno::SRCH), _) => Known::Gone,
            // Another process has its number.
            (_, Ok(found)) if found.began != self.began => Known::Gone,
            (_, Ok(found)) if matches!(found.state, 'Z' | 'X') => Known::Gone,
            (_, Ok(_)) => Known::Lives,
            (_, Err(_)) => Known::Unknown("it cannot be seen whether its creator lives"),
        }
    }
}

/// When a process began, in ticks since the machine did: `None` if there is none.
///
/// # Errors
/// The system does not say.
#[doc(hidden)]
pub fn began(pid: u32) -> std::io::Result<Option<u64>> {
    match stat(pid) {
        Ok(found) => Ok(Some(found.began)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

struct Stat {
    state: char,
    began: u64,
}

/// What the kernel says about a process.
fn stat(pid: u32) -> std::io::Result<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse(&text).ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "a line of /proc/PID/stat"))
}

/// The name, in parentheses, may have anything in it, parentheses and spaces too.
fn parse(line: &[u8]) -> Option<Stat> {
    let end = line.iter().rposition(|&byte| byte == b')')?;
    let mut words = std::str::from_utf8(&line[end + 1..]).ok()?.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    // The state is field 3, the beginning is field 22.
    let began = words.nth(18)?.parse().ok()?;
    Some(Stat { state, began })
}

/// A number that the machine makes up whenever it starts.
fn boot() -> std::io::Result<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16);
    number.map(u128::to_be_bytes).map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn this_process_lives_and_its_like_do_not() {
        let this = Creator::this().unwrap();
        assert_eq!(this.known(), Known::Lives);
        assert_eq!(Creator { began: this.began + 1, ..this }.known(), Known::Gone, "another one with its number");
        let others = [
            Creator { boot: [0; 16], ..this },
            Creator { pid_namespace: 1, ..this },
            Creator { time_namespace: 1, ..this },
            Creator { pid: 0, ..this },
            Creator { pid: u32::MAX, ..this },
        ];
        for other in others {
            assert!(matches!(other.known(), Known::Unknown(_)), "{other:?}");
        }
    }

    #[test]
    fn a_child_is_gone_when_it_is_dead_reaped_or_not() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let creator = Creator { pid, began: stat(pid).unwrap().began, ..Creator::this().unwrap() };
        assert_eq!(creator.known(), Known::Lives);
        child.kill().unwrap();
        while stat(pid).unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        assert_eq!(creator.known(), Known::Gone);
        child.wait().unwrap();
        assert_eq!(creator.known(), Known::Gone);
    }

    #[test]
    fn odd_names_are_parsed() {
        let rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1234 20";
        for name in ["cat", "a b", "a) S 7 (", ")"] {
            let found = parse(format!("17 ({name}){rest}").as_bytes()).unwrap();
            assert_eq!((found.state, found.began), ('S', 1234));
        }
        assert!(parse(b"").is_none());
    }
}
