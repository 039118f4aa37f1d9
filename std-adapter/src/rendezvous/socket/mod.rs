//! Rendezvous by a Unix socket: for parties that need not trust each other, and for containers.
//!
//! The socket carries two or four messages and no payload. Each party makes its own segment in sealed memory and hands its
//! descriptor to the other one; the kernel attests who that is. Then the socket stays open and silent: its hang-up is the
//! death of the peer.

mod attempt;
mod attested;
mod bound;
mod eviction;
mod handshake;
mod host;
mod interrupt;
mod listener;
pub(crate) mod lock_file;
mod message;
mod name;
mod opening;
mod segment;
mod terms;
mod watched_name;

use super::{Connected, Link, RendezvousError, RendezvousReason};
use crate::chance;
use crate::liveness::PeerMonitor;
use crate::packet::Sender;
use crate::peer_socket::PeerSocket;
use rustix::fd::OwnedFd;
use segment::OwnSegment;
use smstream_shm::memory::Mapping;
use std::sync::Arc;

pub(crate) use attempt::{SocketAttempt, check_socket_type};
pub use bound::BoundName;
pub(crate) use host::Host;
pub(crate) use interrupt::Interrupt;
pub(crate) use listener::SocketListener;
pub use message::Refusal;
pub(crate) use name::SocketName;
#[cfg(feature = "inspect")]
pub(crate) use name::is_stale;
pub use terms::Credentials;
pub(crate) use terms::{Allow, Terms};

/// Why no process can listen at an address like `fd:N`.
pub(crate) fn cannot_listen(addr: &str) -> RendezvousError {
    RendezvousError::new(addr.as_ref(), RendezvousReason::CannotListen)
}

/// Why a descriptor cannot be used.
pub(crate) fn bad_descriptor(addr: &str, why: impl Into<String>) -> RendezvousError {
    RendezvousError::new(addr.as_ref(), RendezvousReason::BadDescriptor(why.into()))
}

/// Two parties that have met over a socket, seen from `party`.
fn connected(
    party: u32,
    socket: Arc<PeerSocket>,
    own: OwnSegment,
    peer: Mapping,
    sender: Sender,
    pidfd: Option<OwnedFd>,
) -> Connected {
    socket.mark_established();
    let monitor = PeerMonitor::of_socket(Arc::clone(&socket));
    let link = Link { socket, memory: own.fd, credentials: sender.into(), pidfd: pidfd.map(Arc::new) };
    Connected { my: own.mapping, peer, party, monitor, link: Some(link) }
}

/// A number for a channel. It is for people who look at several processes; chance must not repeat it often.
fn channel_number() -> u64 {
    chance::number().max(1)
}
