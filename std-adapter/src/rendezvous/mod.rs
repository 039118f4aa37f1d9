//! How two parties find each other.

pub(crate) mod claiming;
mod error;
pub mod file;
mod name;
mod region;
pub(crate) mod socket;

use crate::liveness::PeerMonitor;
use crate::peer_socket::PeerSocket;
use rustix::fd::OwnedFd;
use smstream_shm::memory::Mapping;
use std::sync::Arc;

pub use error::{RendezvousError, RendezvousReason};
pub use socket::{Credentials, Refusal};

/// Two parties that have found each other, seen from one of them.
///
/// As long as any part of this exists, the peer takes this party for alive.
#[derive(Debug)]
pub struct Connected {
    /// My segment.
    pub my: Mapping,
    /// The peer's segment, read-only.
    pub peer: Mapping,
    /// 0 for the listener, 1 for the connector.
    pub party: u32,
    /// Whether the peer lives.
    pub monitor: Arc<PeerMonitor>,
    /// What the two have beside the memory, if they met over a socket.
    pub(crate) link: Option<Link>,
}

/// What an end whose rendezvous went over a socket keeps of it.
#[derive(Debug)]
pub(crate) struct Link {
    /// It is silent but for the doorbell. Its hang-up is the death of the peer.
    pub(crate) socket: Arc<PeerSocket>,
    /// The memory of my own segment, so that an inspector finds it.
    #[expect(dead_code, reason = "held to be found under /proc")]
    pub(crate) memory: OwnedFd,
    /// Who the other party is.
    pub(crate) credentials: Credentials,
    /// To signal it, if it asked for that.
    pub(crate) pidfd: Option<Arc<OwnedFd>>,
}
