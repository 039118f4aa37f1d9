//! Byte streams between processes through shared memory.

pub mod deadline;
mod explain;
pub mod lock;
pub mod memory;
#[cfg(test)]
mod testing;
