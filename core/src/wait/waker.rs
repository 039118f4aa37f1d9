//! The waker of a task that waits for a half.

use core::fmt;
use core::task::{Context, Waker};

use crate::mutant::mutant;

/// At most one waker. Each access is in a critical section, so that it may be used in an interrupt.
///
/// A section happens before each later one. So if [`wake`](WakerCell::wake) finds no waker, then what its caller published before
/// is seen by a task that looks after [`register`](WakerCell::register).
pub(super) struct WakerCell(Cell);

#[cfg(not(loom))]
type Cell = critical_section::Mutex<core::cell::Cell<Option<Waker>>>;
/// Under loom a lock takes the place of the critical section.
#[cfg(loom)]
type Cell = loom::sync::Mutex<Option<Waker>>;

impl WakerCell {
    /// No waker.
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        WakerCell(critical_section::Mutex::new(core::cell::Cell::new(None)))
    }

    /// No waker.
    #[cfg(loom)]
    pub(super) fn new() -> Self {
        WakerCell(loom::sync::Mutex::new(None))
    }

    /// Puts `waker` here, or nothing. What was here before is dropped or woken outside of the section.
    fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        #[cfg(not(loom))]
        return critical_section::with(|section| self.0.borrow(section).replace(waker));
        #[cfg(loom)]
        self.0.lock().ok().and_then(|mut cell| core::mem::replace(&mut *cell, waker))
    }

    /// Wakes the task that has registered, if one has since the last call.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.replace(None) {
            waker.wake();
        }
    }

    /// The task of `cx` is to be woken, and no other one.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let before = self.replace(Some(cx.waker().clone()));
        if mutant!("async_waker_kept") && before.is_some() {
            self.replace(before);
        } else if mutant!("async_waker_leaked") {
            core::mem::forget(before);
        }
    }
}

impl fmt::Debug for WakerCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WakerCell")
    }
}
