#![doc = include_str!("../README.md")]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]
#![warn(missing_debug_implementations)]

#[cfg(not(target_os = "linux"))]
compile_error!("smstream needs Linux: futexes, memfds and open-file-description locks. smstream-core builds anywhere.");

mod addr;
mod background;
mod buffering;
mod builder;
pub mod cleanup;
pub mod condition;
mod connecting;
pub mod deadline;
mod doorbell;
mod error;
mod explain;
mod foreign;
mod futex;
mod half;
mod history;
mod inherited;
pub mod inspect;
mod line;
mod listener;
pub mod liveness;
pub mod lock;
pub mod memory;
mod packet;
pub mod parking;
mod poll;
pub mod posix;
mod rendezvous;
mod reservation;
mod signal;
mod stream;
#[cfg(feature = "sysv")]
pub mod sysv;
#[cfg(test)]
mod testing;
#[cfg(feature = "tokio")]
pub mod tokio;
mod trace;
mod trusted;

pub use addr::{Addr, Kind, ParseAddrError, ToAddr};
pub use buffering::BufMode;
pub use builder::{Builder, DEFAULT_CAPACITY, DEFAULT_HELLO_TIMEOUT, DEFAULT_MAX_PEER_CAPACITY, LARGEST_CAPACITY};
pub use condition::{Condition, ReadySet, try_wait, wait_all, wait_any};
pub use connecting::{Connecting, TryFinish};
pub use error::{Error, Reason, Result};
pub use half::{ReadHalf, WriteHalf};
pub use history::{HISTORY, Incident, Operation};
pub use inherited::Handover;
pub use listener::{Incoming, Listener};
pub use poll::Pollable;
pub use rendezvous::Credentials;
pub use reservation::{Placed, Reservation};
pub use smstream_core;
pub use smstream_core::counter::Counts;
pub use smstream_core::error::ErrorCode;
pub use stream::{Peer, Stats, Stream};
pub use trusted::Trusted;
