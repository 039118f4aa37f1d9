#![doc = include_str!("../README.md")]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]
#![warn(missing_debug_implementations)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!("smstream needs Linux: futexes, memfds and open-file-description locks. smstream-core builds anywhere.");

mod acceptor;
mod addr;
mod attempt;
mod background;
mod barrier;
mod buffering;
mod builder;
mod chance;
pub mod condition;
mod connecting;
mod convert;
mod doorbell;
mod error;
mod futex;
pub mod guide;
mod half;
mod handover;
#[cfg_attr(not(feature = "inspect"), allow(dead_code, reason = "the rest of it is for inspectors"))]
mod header;
mod history;
mod inherited;
#[cfg(feature = "inspect")]
#[cfg_attr(docsrs, doc(cfg(feature = "inspect")))]
pub mod inspect;
#[cfg(feature = "inspect")]
mod lease;
mod leftover;
mod listener;
mod liveness;
mod lock;
mod packet;
mod parking;
mod peer_socket;
mod per_process;
mod poll;
mod poll_listener;
#[cfg(feature = "inspect")]
#[cfg_attr(docsrs, doc(cfg(feature = "inspect")))]
pub mod reap;
mod records;
mod rendezvous;
mod settings;
mod signal;
mod spin;
mod stream;
#[cfg(test)]
mod testing;
mod timed_mutex;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio;
mod trace;
mod trusted;
mod turned_away;
mod untrusted_fds;

pub use addr::{Addr, Kind, ParseAddrError, ToAddr};
pub use buffering::BufMode;
pub use builder::{Builder, DEFAULT_CAPACITY, DEFAULT_HANDSHAKE_TIMEOUT, DEFAULT_MAX_PEER_CAPACITY, LARGEST_CAPACITY};
pub use condition::{Condition, ReadySet, try_wait, wait_all, wait_any};
pub use connecting::{Connecting, TryFinish};
pub use convert::ConvertError;
pub use error::{Error, Reason, Result};
pub use half::{Peer, ReadChunk, ReadHalf, ReadRecord, WriteChunk, WriteHalf, WriteRecord};
pub use handover::Handover;
pub use history::{HISTORY, Incident, Operation};
pub use listener::{Incoming, Listener};
pub use liveness::WatchMode;
pub use parking::default_spin;
pub use poll::Pollable;
pub use poll_listener::PollableListener;
pub use records::{RecordReadHalf, RecordWriteHalf, Records};
pub use rendezvous::Credentials;
pub use smstream_core;
pub use smstream_core::counter::Counts;
pub use smstream_core::error::ErrorCode;
pub use stream::{ReuniteError, Stats, Stream};
pub use trusted::Trusted;
pub use turned_away::TurnedAway;

#[cfg(feature = "sysv")]
#[cfg_attr(docsrs, doc(cfg(feature = "sysv")))]
pub use smstream_shm::sysv;
#[cfg(feature = "shm")]
#[cfg_attr(docsrs, doc(cfg(feature = "shm")))]
pub use smstream_shm::{AddressRange, PlacedMapping, cleanup, memory, posix};

/// What the tests of this project use to write a peer by hand, and its command. No part of the interface: it may change at any
/// time.
#[doc(hidden)]
pub mod internal {
    pub use crate::inherited::entry as inherited_inode;
    pub use crate::liveness::{Half, PeerMonitor};
    pub use crate::parking::Parker;
    pub use crate::rendezvous::socket::BoundName;
    pub use smstream_shm::{Deadline, memory};
}
