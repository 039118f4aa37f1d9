//! The atomics of a slot. The models put Loom's in their place.

pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};
