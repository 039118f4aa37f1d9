#![doc = include_str!("../README.md")]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]
#![warn(missing_debug_implementations)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!("smstream-shm needs Linux: futexes, memfds, System V objects and leases on files.");

mod address_range;
pub mod cleanup;
mod deadline;
#[doc(hidden)]
pub mod explain;
mod fork_lock;
pub mod futex;
mod limit;
pub mod memory;
pub mod posix;
mod retry;
mod slots;
#[cfg(feature = "sysv")]
#[cfg_attr(docsrs, doc(cfg(feature = "sysv")))]
pub mod sysv;
#[cfg(test)]
mod testing;

pub use address_range::{AddressRange, PlacedMapping};
pub use deadline::Deadline;
