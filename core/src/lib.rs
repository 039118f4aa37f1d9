#![doc = include_str!("../README.md")]
#![no_std]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]
#![warn(missing_debug_implementations)]
// `Findings` are a few hundred bytes by value, on the cold path of attaching, because there is no allocator to put them.
#![allow(clippy::result_large_err)]

#[cfg(any(loom, test, smstream_mutants))]
extern crate std;

#[cfg(not(loom))]
pub mod block;
mod bytes;
pub mod counter;
pub mod cursor;
mod deadlock;
pub mod error;
#[cfg(not(loom))]
pub mod geometry;
pub mod identity;
pub mod lane;
pub mod layout;
mod mutant;
pub mod ordering;
pub mod park;
pub mod spsc;
pub mod stream;
pub mod sync;
