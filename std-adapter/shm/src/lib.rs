#![doc = include_str!("../README.md")]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]
#![warn(missing_debug_implementations)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!("smstream-shm needs Linux: futexes, memfds, System V objects and leases on files.");

pub mod cleanup;
mod deadline;
#[doc(hidden)]
pub mod explain;
pub mod futex;
pub mod memory;
pub mod posix;
mod reservation;
#[cfg(feature = "sysv")]
pub mod sysv;
#[cfg(test)]
mod testing;

pub use deadline::Deadline;
pub use reservation::{Placed, Reservation};
