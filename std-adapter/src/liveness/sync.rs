//! The atomics of the protocols that have models, and the steps that a model leaves out one at a time. The models put Loom's in
//! their place.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use std::sync::atomic::fence;

/// Between saying where a half sleeps and looking at what it waits for.
#[inline]
pub(super) fn fence_parked() {
    fence(Ordering::SeqCst);
}

/// Between raising an alert and looking where a half sleeps.
#[inline]
pub(super) fn fence_raised() {
    fence(Ordering::SeqCst);
}
