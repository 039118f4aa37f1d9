//! Byte streams between processes through shared memory.

pub mod deadline;
mod explain;
mod futex;
pub mod liveness;
pub mod lock;
pub mod memory;
pub mod parking;
#[cfg(test)]
mod testing;
