//! The transports of the system, and this library among them.

mod descriptor;
mod posix_queue;
mod streams;
mod sysv_queue;

use crate::transport::Transport;

/// All of them, in the order in which they are shown.
pub const ALL: &[&dyn Transport] = &[
    &streams::Smstream { kind: streams::Kind::File },
    &streams::Smstream { kind: streams::Kind::Unix },
    &descriptor::Pipe,
    &descriptor::UnixStreamSocket,
    &descriptor::SeqpacketSocket,
    &descriptor::TcpLoopback,
    &posix_queue::PosixQueue,
    &sysv_queue::SysvQueue,
];
