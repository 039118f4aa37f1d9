//! The listener's side over one socket that is connected already: for a child that inherits the other end.

use super::handshake::{Handshake, HandshakeError, Progress};
use super::terms::Terms;
use crate::barrier;
use crate::rendezvous::{Connected, RendezvousError, RendezvousReason};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::Timespec;
use smstream_core::geometry::Config;
use smstream_shm::Deadline;
use smstream_shm::memory::page_size;
use std::sync::Arc;

/// A rendezvous with one connector and no other.
#[derive(Debug)]
pub(crate) struct Host {
    handshake: Handshake,
    config: Config,
    terms: Terms,
    called: String,
}

impl Host {
    /// Waits on `socket` for HELLO. Messages call it `called`.
    pub(crate) fn new(socket: OwnedFd, called: String, config: &Config, terms: Terms) -> Result<Self, RendezvousError> {
        let align = u32::try_from(page_size()).unwrap_or(u32::MAX);
        let channel = super::channel_number();
        let config = Config { align, features: barrier::features(config.features), channel, ..*config };
        config
            .check()
            .map_err(|problem| RendezvousError::new(called.as_ref(), RendezvousReason::BadConfig(problem)))?;
        let handshake = Handshake::of_child(socket, &terms)
            .map_err(|failed| RendezvousError::new(called.as_ref(), failed.into_reason("talk to the child")))?;
        Ok(Host { handshake, config, terms, called })
    }

    /// Waits until the two have met, or the deadline passes.
    pub(crate) fn wait(mut self, deadline: Option<Deadline>) -> Result<Connected, RendezvousError> {
        let error = |called: &str, reason| RendezvousError::new(called.as_ref(), reason);
        loop {
            match self.handshake.advance(&self.config, &self.terms) {
                Progress::Established(met) => {
                    let socket = Arc::new(self.handshake.into_socket());
                    return Ok(super::connected(0, socket, met.own, met.peer, met.sender, met.pidfd));
                }
                Progress::Failed(failed) => {
                    let reason = match failed {
                        HandshakeError::HungUp => RendezvousReason::ChildEnded,
                        other => other.into_reason("talk to the child"),
                    };
                    return Err(error(&self.called, reason));
                }
                Progress::Waiting => {}
            }
            let timeout = deadline.and_then(|d| Timespec::try_from(d.remaining()).ok());
            match poll(&mut [PollFd::from_borrowed_fd(self.handshake.socket(), PollFlags::IN)], timeout.as_ref()) {
                Ok(0) if deadline.is_some_and(Deadline::has_passed) => {
                    return Err(error(&self.called, RendezvousReason::TimedOut));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(error(&self.called, RendezvousReason::System("wait for the child", e.into()))),
            }
        }
    }
}
