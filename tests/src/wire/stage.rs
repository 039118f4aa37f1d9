//! A connector that stops on its way.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use smstream::memory::Mapping;
use smstream_core::geometry::Config;

use super::message::{Message, kind};
use super::segment::segment;
use super::socket::Wire;

/// A connector that has come so far and goes no farther.
#[derive(Debug)]
pub struct Stage {
    /// Its end of the socket.
    pub wire: Wire,
    /// What it was given.
    pub given: Vec<OwnedFd>,
    /// Its segment, if it has made one.
    pub own: Option<(OwnedFd, Mapping)>,
}

impl Stage {
    /// The last one: it is accepted.
    pub const LAST: u32 = 4;

    /// 0: it has connected. 1: it has said HELLO, and proposed nothing. 2: it has heard WELCOME. 3: it has sent its
    /// segment. 4: it has heard ACCEPTED.
    ///
    /// # Errors
    /// A rendezvous that does not get so far.
    pub fn reach(addr: &str, stage: u32) -> io::Result<Self> {
        let mut at = Stage { wire: Wire::connect(addr)?, given: Vec::new(), own: None };
        if stage >= 1 {
            at.wire.say(&Message::hello(), &[])?;
        }
        if stage >= 2 {
            let (welcome, given) = at.wire.expect(kind::WELCOME)?;
            at.given = given;
            at.own = Some(segment(&welcome.config(), 1)?);
        }
        if let Some((fd, _)) = at.own.as_ref().filter(|_| stage >= 3) {
            at.wire.say(&Message::new(kind::SEGMENT), &[fd.as_fd()])?;
        }
        if stage >= 4 {
            at.wire.expect(kind::ACCEPTED)?;
        }
        Ok(at)
    }

    /// It has connected and proposed a channel, and does not wait for the answer.
    ///
    /// # Errors
    /// What the system says.
    pub fn propose(addr: &str, config: &Config) -> io::Result<Self> {
        let (wire, own) = (Wire::connect(addr)?, segment(config, 1)?);
        wire.say(&Message::proposal(config), &[own.0.as_fd()])?;
        Ok(Stage { wire, given: Vec::new(), own: Some(own) })
    }
}
