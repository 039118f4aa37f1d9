//! One end of a stream, made by hand.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};

use smstream::internal::{Deadline, Half, Parker, PeerMonitor};
use smstream::memory::{Access, Mapping, page_size};
use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry::{self, Config};
use smstream_core::stream::End;

use super::message::{Message, kind};
use super::segment::segment;
use super::socket::Wire;
use crate::watchdog::PATIENCE;

/// One end of a stream that was made by hand, and everything that belongs to it.
#[derive(Debug)]
pub struct Rig {
    // It points into the mappings, so it goes first.
    end: End<'static, Parker>,
    /// My segment.
    pub own: Mapping,
    /// The peer's, for reading.
    pub peer: Mapping,
    /// My segment.
    pub own_fd: OwnedFd,
    /// What the peer handed out.
    pub peer_fd: OwnedFd,
    /// The socket.
    pub wire: Wire,
}

impl Rig {
    /// Connects.
    ///
    /// # Errors
    /// A rendezvous that does not come about.
    pub fn connect(addr: &str) -> io::Result<Self> {
        let wire = Wire::connect(addr)?;
        wire.say(&Message::hello(), &[])?;
        let (welcome, mut fds) = wire.expect(kind::WELCOME)?;
        let config = welcome.config();
        let (own_fd, own) = segment(&config, 1)?;
        wire.say(&Message::new(kind::SEGMENT), &[own_fd.as_fd()])?;
        wire.expect(kind::ACCEPTED)?;
        let peer_fd = fds.pop().ok_or_else(|| io::Error::other("no descriptor came"))?;
        Self::new(wire, &config, 1, own_fd, own, peer_fd)
    }

    /// Connects with a proposal that the listener is sure to take.
    ///
    /// # Errors
    /// A rendezvous that does not come about.
    pub fn propose(addr: &str, config: &Config) -> io::Result<Self> {
        let wire = Wire::connect(addr)?;
        let (own_fd, own) = segment(config, 1)?;
        wire.say(&Message::proposal(config), &[own_fd.as_fd()])?;
        let (_, mut fds) = wire.expect(kind::ACCEPTED)?;
        let peer_fd = fds.pop().ok_or_else(|| io::Error::other("no descriptor came"))?;
        Self::new(wire, config, 1, own_fd, own, peer_fd)
    }

    /// Accepts any connector, as it proposes.
    ///
    /// # Errors
    /// A rendezvous that does not come about.
    pub fn accept_as_proposed(door: &OwnedFd) -> io::Result<Self> {
        let wire = Wire::accept(door)?;
        let (hello, mut fds) = wire.expect(kind::HELLO)?;
        let config = hello.proposed().ok_or_else(|| io::Error::other("nothing was proposed"))?;
        let peer_fd = fds.pop().ok_or_else(|| io::Error::other("no descriptor came"))?;
        let (own_fd, own) = segment(&config, 0)?;
        wire.say(&Message::new(kind::ACCEPTED), &[own_fd.as_fd()])?;
        Self::new(wire, &config, 0, own_fd, own, peer_fd)
    }

    /// Accepts any connector, with a channel of its own.
    ///
    /// # Errors
    /// A rendezvous that does not come about.
    pub fn accept(door: &OwnedFd, config: &Config) -> io::Result<Self> {
        let wire = Wire::accept(door)?;
        wire.expect(kind::HELLO)?;
        let (own_fd, own) = segment(config, 0)?;
        wire.say(&Message::welcome(config), &[own_fd.as_fd()])?;
        let (_, mut fds) = wire.expect(kind::SEGMENT)?;
        wire.say(&Message::new(kind::ACCEPTED), &[])?;
        let peer_fd = fds.pop().ok_or_else(|| io::Error::other("no descriptor came"))?;
        Self::new(wire, config, 0, own_fd, own, peer_fd)
    }

    fn new(
        wire: Wire,
        config: &Config,
        party: usize,
        own_fd: OwnedFd,
        own: Mapping,
        peer_fd: OwnedFd,
    ) -> io::Result<Self> {
        let len = config.describe(1 - party).segment_len().next_multiple_of(page_size());
        let peer = Mapping::new(&peer_fd, 0, len, Access::ReadOnly)?;
        let start = own.as_mut_ptr().ok_or(ErrorKind::PermissionDenied)?;
        // SAFETY: both mappings live in the value that is made here, longer than the end, which has no other one of its
        // party. Neither segment can be shortened: the own one is sealed, and the peer's is an honest party's.
        let attached = unsafe { geometry::attach::<'static>(start, own.len(), peer.as_ptr(), peer.len()) };
        let monitor = PeerMonitor::none();
        let parker = |half| Parker::new(monitor.clone(), half, std::time::Duration::ZERO);
        let end = attached.map_err(io::Error::other)?.into_end(parker(Half::Writer), parker(Half::Reader));
        Ok(Rig { end, own, peer, own_fd, peer_fd, wire })
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// The end of the stream, or nothing for a long time.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.end.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(WriteError::Full) => {
                    self.end.wait_room(1, Some(Deadline::after(PATIENCE))).map_err(io::Error::other)?;
                }
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        Ok(())
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// The end of the stream, or nothing for a long time.
    pub fn read_exact(&mut self, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            match self.end.read(out) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => out = &mut out[n..],
                Err(ReadError::Empty) => {
                    self.end.wait_bytes(1, Some(Deadline::after(PATIENCE))).map_err(io::Error::other)?;
                }
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        Ok(())
    }
}
