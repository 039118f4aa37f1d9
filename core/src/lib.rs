//! Lock-free byte streams over shared memory.
#![no_std]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

#[cfg(loom)]
extern crate std;

pub mod park;
pub mod sync;
