//! The commands `shm`, `sem` and `msg`: System V objects, as Free Pascal's tools have them.

mod common;
pub mod msg;
pub mod sem;
pub mod shm;

pub use common::EXIT_CODES;
