//! Semaphores that are held until the end of a scope.

use super::error::Result;
use super::sem::{Semaphores, done};
use super::sem_op::Op;
use std::process;
use std::time::Duration;

/// One of a semaphore, until this is dropped or the process ends: also by a signal, when the kernel gives it back.
///
/// It belongs to the process. In a child made by `fork`, dropping it gives nothing back.
///
/// # References
/// semop(2), SEM_UNDO.
#[derive(Debug)]
#[must_use = "dropping it gives the semaphore back at once"]
pub struct SemGuard<'a> {
    set: &'a Semaphores,
    number: u16,
    process: u32,
}

impl SemGuard<'_> {
    /// Gives it back, and tells if that failed. Dropping it does the same in silence. Does not block.
    ///
    /// # Errors
    /// [`SysvReason::Removed`](super::SysvReason::Removed), or another of [`Semaphores::op`].
    pub fn release(self) -> Result<()> {
        let result = self.give_back();
        std::mem::forget(self);
        result
    }

    fn give_back(&self) -> Result<()> {
        if process::id() != self.process {
            return Ok(());
        }
        self.set.op(&[Op::add(self.number, 1).undo()])
    }
}

impl Drop for SemGuard<'_> {
    fn drop(&mut self) {
        // The set may be gone, and then there is nothing to give back.
        let _ = self.give_back();
    }
}

impl Semaphores {
    /// As [`acquire`](Semaphores::acquire), until the guard is dropped or this process ends, however it ends.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn lock(&self, number: u16) -> Result<SemGuard<'_>> {
        self.op(&[Op::sub(number, 1).undo()])?;
        Ok(SemGuard { set: self, number, process: process::id() })
    }

    /// As [`lock`](Semaphores::lock) if that is possible at once: `None` if not.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn try_lock(&self, number: u16) -> Result<Option<SemGuard<'_>>> {
        let locked = done(self.op(&[Op::sub(number, 1).undo().nowait()]))?;
        Ok(locked.then(|| SemGuard { set: self, number, process: process::id() }))
    }

    /// As [`lock`](Semaphores::lock), waiting no longer than `timeout`: `None` after that.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn lock_timeout(&self, number: u16, timeout: Duration) -> Result<Option<SemGuard<'_>>> {
        let locked = done(self.op_timeout(&[Op::sub(number, 1).undo()], timeout))?;
        Ok(locked.then(|| SemGuard { set: self, number, process: process::id() }))
    }
}
