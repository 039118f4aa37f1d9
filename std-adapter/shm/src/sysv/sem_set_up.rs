//! How a set of semaphores gets its first values, and an opener waits for them.

use super::call::check;
use super::error::{Result, SysvError, SysvKind, SysvObject, SysvReason};
use super::key::Key;
use super::limits::{self, MAX_VALUE, limit};
use super::options::{Making, Settings};
use super::sem::Semaphores;
use super::sem_op::Op;
use super::sem_options::SemSettings;
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks.
const GLANCE: Duration = Duration::from_millis(1);

impl Settings for SemSettings<'_> {
    type Object = Semaphores;
    const DEFAULT: Self = Self::NONE;

    fn open(self, making: Making, key: Key) -> Result<Semaphores> {
        let object = SysvObject { kind: SysvKind::Sem, key: Some(key), id: None };
        let tried = making.tried(key);
        if let Some(value) = self.initial.iter().find(|&&value| value > MAX_VALUE) {
            let advice = format!("a semaphore's value is from 0 to {MAX_VALUE}, not {value}");
            return Err(SysvError::refuse(SysvReason::Range, object, tried, advice));
        }
        let exclusive = Making { create_new: true, ..making };
        let existing = Making { create: false, create_new: false, ..making };
        loop {
            if making.creates(key) {
                match self.get(key, exclusive.flags(key, object)?) {
                    Ok(id) => return self.set_up(Semaphores::new(id, Some(key))),
                    Err(libc::EEXIST) if !making.create_new => {}
                    Err(errno) => return Err(self.explain(errno, making, key, object)),
                }
            }
            let result = match self.get(key, existing.flags(key, object)?) {
                Ok(id) => self.join(Semaphores::new(id, Some(key))),
                Err(errno) => Err(self.explain(errno, making, key, object)),
            };
            match result {
                // Another process has removed it since, so a new one can be made.
                Err(e) if making.create && matches!(e.reason(), SysvReason::NotFound | SysvReason::Removed) => {}
                result => return result,
            }
        }
    }
}

impl SemSettings<'_> {
    fn get(&self, key: Key, flags: libc::c_int) -> Result<libc::c_int, i32> {
        let count = libc::c_int::try_from(self.count).unwrap_or(libc::c_int::MAX);
        // SAFETY: semget takes numbers only.
        check(unsafe { libc::semget(key.raw(), count, flags) })
    }

    /// Gives a new set its values; it is removed again if that fails.
    fn set_up(&self, set: Semaphores) -> Result<Semaphores> {
        let result = self.set_values(&set);
        if result.is_err() {
            let _ = set.remove();
        }
        result.map(|()| set)
    }

    fn set_values(&self, set: &Semaphores) -> Result<()> {
        let mut values = if self.initial.is_empty() { vec![0; self.count] } else { self.initial.to_vec() };
        let first = values.first_mut().map_or(0, std::mem::take);
        set.set_all(&values)?;
        let ready = if first == 0 { Op::wait_zero(0).nowait() } else { Op::add(0, first) };
        match set.op(&[ready]) {
            // Another process operated on it before it was ready. By that it is ready.
            Err(e) if e.reason() == SysvReason::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// Waits until an existing set is ready.
    fn join(&self, set: Semaphores) -> Result<Semaphores> {
        if self.adopt {
            return Ok(set);
        }
        let start = Instant::now();
        while set.stat()?.operated_at.is_none() {
            if start.elapsed() >= self.patience {
                let advice = "no process has operated on it yet: its creator died, or sets values in another way (then \
                              adopt it)";
                return Err(SysvError::refuse(SysvReason::NotReady, set.object(), "open", advice));
            }
            thread::sleep(GLANCE);
        }
        Ok(set)
    }

    fn explain(&self, errno: i32, making: Making, key: Key, object: SysvObject) -> SysvError {
        let error = SysvError::system(errno, object, making.tried(key));
        match errno {
            libc::EINVAL if self.count == 0 => error.because(SysvReason::Size, "a new set has at least one semaphore"),
            libc::EINVAL => {
                let max = limit("SEMMSL", "kernel.sem, first number", |limits| limits.sem_per_set);
                if max.value().is_some_and(|max| self.count as u64 > max) {
                    return error.limited(max);
                }
                error.because(SysvReason::Size, format!("the existing set has fewer than {} semaphores", self.count))
            }
            libc::ENOSPC => error.limited(limits::sem_limit()),
            _ => error,
        }
    }
}
