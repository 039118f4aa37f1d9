//! Where a half sleeps, on kernels on which it can sleep on one word only: so that one who raises its alert finds it.
//!
//! ```text
//! the half                                     one who raises its alert
//! store: the alert bits that it knows          set bits of the alert word (Release)
//! store: where it sleeps (Release)             fence (SeqCst)
//! fence                 (SeqCst)               load: where it sleeps (acquire); the bits; those that it knows
//! load the alert word, and other words:        it sleeps, and does not know: wake it, and do all this again
//!   as they were? sleep on the first              a little later
//! store: it is awake
//! ```
//!
//! Of the two that store, fence and load, one sees the other: either the half does not sleep, or the waker finds it. A wake may come
//! before the half sleeps, so there is another one until the half is awake or has said that it knows.
//!
//! `tests/liveness_models.rs` runs this file through all executions of a few threads, and shows that each step is needed.

use super::sync::{AtomicU32, AtomicUsize, Ordering, fence_parked, fence_raised};

/// Where a half sleeps.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// The address of the word that it sleeps on, 0 while it is awake.
    pub(super) on: AtomicUsize,
    /// The bits of the alert word that it knew when it went to sleep.
    pub(super) known: AtomicU32,
    /// The process it sleeps in. After a fork the child has a copy of the other words.
    pub(super) pid: AtomicU32,
}

impl Parked {
    /// Called by the half before it looks for the last time and sleeps on the word at this address.
    pub(super) fn enter_wait(&self, pid: u32, on: usize, known: u32) {
        self.pid.store(pid, Ordering::Relaxed);
        self.known.store(known, Ordering::Relaxed);
        self.on.store(on, Ordering::Release);
        fence_parked();
    }

    /// The half is awake.
    pub(super) fn leave_wait(&self) {
        self.on.store(0, Ordering::Release);
    }

    /// Where the half is to be woken that sleeps and does not know all bits of its alert word, which `alert` loads.
    pub(super) fn unaware(&self, pid: u32, alert: impl FnOnce() -> u32) -> Option<usize> {
        let on = self.on.load(Ordering::Acquire);
        let unknown = alert() & !self.known.load(Ordering::Relaxed);
        (on != 0 && unknown != 0 && self.pid.load(Ordering::Relaxed) == pid).then_some(on)
    }
}

/// Called by one who has raised an alert, before it looks where halves sleep.
pub(super) fn raised() {
    fence_raised();
}
