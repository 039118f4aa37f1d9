//! The atomics of the words, and the steps that a model leaves out one at a time. The models put Loom's atomics in their place.

pub(super) use std::sync::atomic::{AtomicU32, Ordering};

use std::sync::atomic::fence;

/// Between counting a waiter and looking at the value.
#[inline]
pub(super) fn fence_counted() {
    fence(Ordering::SeqCst);
}

/// Between raising the value and looking at the waiters.
#[inline]
pub(super) fn fence_raised() {
    fence(Ordering::SeqCst);
}

/// Whether there is a value for another waiter.
#[inline]
pub(super) fn is_left(value: &AtomicU32) -> bool {
    value.load(Ordering::Relaxed) > 0
}
