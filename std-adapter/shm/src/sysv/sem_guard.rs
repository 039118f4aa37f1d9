//! What the kernel knows of a set, and what a process holds of it.

use std::process;
use std::time::SystemTime;

use super::perm::Perm;
use super::{Op, Result, Semaphores};

/// What the kernel knows of a set of semaphores.
///
/// # References
/// semctl(2); Free Pascal `TSEMid_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemStat {
    /// Owner and mode.
    pub perm: Perm,
    /// How many semaphores it has.
    pub count: usize,
    /// When somebody operated on it last; `None` before its creator has finished. All times are in whole seconds.
    pub operated_at: Option<SystemTime>,
    /// When it was created, or a value or the owner was set.
    pub changed_at: Option<SystemTime>,
}

/// One of a semaphore, until this is dropped or the process ends: also by a signal, when the kernel gives it back.
///
/// It belongs to the process. In a child made by `fork`, dropping it gives nothing back.
///
/// # References
/// semop(2), SEM_UNDO.
#[derive(Debug)]
#[must_use = "dropping it gives the semaphore back at once"]
pub struct SemGuard<'a> {
    pub(super) set: &'a Semaphores,
    pub(super) number: u16,
    pub(super) process: u32,
}

impl SemGuard<'_> {
    /// Gives it back, and tells if that failed. Dropping it does the same in silence. Does not block.
    ///
    /// # Errors
    /// [`Reason::Removed`](super::Reason::Removed), or another of [`Semaphores::op`].
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
