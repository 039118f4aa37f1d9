//! Where atomics and lane bytes come from: the machine, or the model checker.
//!
//! Under `cfg(loom)` a lane is an array of checked cells and the port is built by value, because loom's atomics do
//! not have the layout of the machine's. Everything else in the crate is the same code in both worlds.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, Ordering, fence};

/// One byte of a lane as the ring addresses it.
#[cfg(not(loom))]
pub type LaneByte = u8;
/// One byte of a lane as the ring addresses it: under loom a cell that reports every race.
#[cfg(loom)]
pub type LaneByte = loom::cell::UnsafeCell<u8>;
