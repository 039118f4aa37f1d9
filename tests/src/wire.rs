//! The rendezvous of a `unix:` address message by message, for parties that do not keep to it. `docs/LAYOUT.md` has the
//! messages.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::SealFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
    socket_with, sockopt,
};
use smstream::Addr;
use smstream::internal::{Deadline, Half, Life, Parker};
use smstream::memory::{self, Access, Mapping, page_size};
use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry::{self, Config};
use smstream_core::layout::{BYTE_ORDER, MAGIC, VERSION};
use smstream_core::stream::End;

use crate::watchdog::PATIENCE;

/// The bytes of a message.
pub const LEN: usize = 64;
/// The seals that a segment must have.
pub const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);
/// The most bytes of a lane.
const LARGEST: u32 = 1 << 29;

/// What a message is.
#[allow(missing_docs, reason = "the names are the documentation")]
pub mod kind {
    pub const HELLO: u32 = 1;
    pub const WELCOME: u32 = 2;
    pub const SEGMENT: u32 = 3;
    pub const ACCEPTED: u32 = 4;
    pub const REFUSED: u32 = 5;
}

/// Which word of a message says what.
#[allow(missing_docs, reason = "the names are the documentation")]
pub mod word {
    pub const MAGIC: usize = 0;
    pub const BYTE_ORDER: usize = 2;
    pub const KIND: usize = 3;
    pub const LOWEST: usize = 4;
    pub const HIGHEST: usize = 5;
    pub const FEATURES: usize = 6;
    pub const VERSION: usize = 7;
    pub const CAPACITIES: [usize; 2] = [8, 9];
    pub const ALIGN: usize = 10;
    pub const START: usize = 11;
    pub const CHANNEL: [usize; 2] = [12, 13];
    pub const REFUSAL: usize = 14;
    /// The capacities of a channel that HELLO proposes.
    pub const PROPOSED: [usize; 2] = [14, 15];
}

/// Bits of a message's features.
pub mod feature {
    /// HELLO brings the connector's segment, and says which channel it is for.
    pub const PROPOSES: u32 = 1 << 30;
    /// The sender wants signals.
    pub const WANTS_SIGNAL: u32 = 1 << 31;
}

/// A message: sixteen words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message(pub [u32; 16]);

impl Message {
    /// An honest one of this kind.
    #[must_use]
    pub fn new(kind: u32) -> Self {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = MAGIC;
        let mut words = [0; 16];
        words[0] = u32::from_ne_bytes([m0, m1, m2, m3]);
        words[1] = u32::from_ne_bytes([m4, m5, m6, m7]);
        words[word::BYTE_ORDER] = BYTE_ORDER;
        words[word::KIND] = kind;
        [words[word::LOWEST], words[word::HIGHEST]] = [VERSION; 2];
        Message(words)
    }

    /// HELLO of a connector that accepts lanes of any size, and proposes nothing.
    #[must_use]
    pub fn hello() -> Self {
        Message::new(kind::HELLO).with(word::CAPACITIES[0], LARGEST).with(word::CAPACITIES[1], LARGEST)
    }

    /// HELLO of one that proposes this channel.
    #[must_use]
    pub fn proposal(config: &Config) -> Self {
        Message::hello()
            .with(word::FEATURES, feature::PROPOSES)
            .with(word::VERSION, VERSION)
            .with(word::ALIGN, config.align)
            .with(word::START, config.start)
            .with(word::CHANNEL[0], config.channel as u32)
            .with(word::CHANNEL[1], (config.channel >> 32) as u32)
            .with(word::PROPOSED[0], config.capacities[0])
            .with(word::PROPOSED[1], config.capacities[1])
    }

    /// The channel that a HELLO proposes.
    #[must_use]
    pub fn proposed(&self) -> Option<Config> {
        let proposes = self.kind() == kind::HELLO && self.0[word::FEATURES] & feature::PROPOSES != 0;
        let capacities = word::PROPOSED.map(|at| self.0[at]);
        let channel = u64::from(self.0[word::CHANNEL[1]]) << 32 | u64::from(self.0[word::CHANNEL[0]]);
        proposes.then(|| Config { capacities, channel, ..self.config() })
    }

    /// WELCOME to this channel.
    #[must_use]
    pub fn welcome(config: &Config) -> Self {
        Message::new(kind::WELCOME)
            .with(word::VERSION, VERSION)
            .with(word::CAPACITIES[0], config.capacities[0])
            .with(word::CAPACITIES[1], config.capacities[1])
            .with(word::ALIGN, config.align)
            .with(word::START, config.start)
    }

    /// The same with another value of a word.
    #[must_use]
    pub fn with(mut self, word: usize, value: u32) -> Self {
        self.0[word] = value;
        self
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        for (place, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// What came, if it has the length of a message.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut words = [0; 16];
        for (word, place) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(place.try_into().ok()?);
        }
        (bytes.len() == LEN).then_some(Message(words))
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.0[word::KIND]
    }

    /// The channel that a WELCOME describes.
    #[must_use]
    pub fn config(&self) -> Config {
        let capacities = word::CAPACITIES.map(|at| self.0[at]);
        Config { align: self.0[word::ALIGN], start: self.0[word::START], ..Config::new(capacities) }
    }
}

/// An ordinary channel with lanes of this size.
#[must_use]
pub fn config(capacity: u32) -> Config {
    Config { align: page_size() as u32, start: crate::flow::NEAR_WRAP, ..Config::new([capacity; 2]) }
}

/// One end of the socket.
#[derive(Debug)]
pub struct Wire(pub OwnedFd);

fn address(addr: &str) -> io::Result<SocketAddrUnix> {
    let parsed: Addr = addr.parse().map_err(io::Error::other)?;
    Ok(match parsed {
        Addr::Unix(path) => SocketAddrUnix::new(path)?,
        Addr::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_encoded_bytes())?,
        _ => return Err(ErrorKind::InvalidInput.into()),
    })
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Listens at an address, by hand.
pub fn door(addr: &str) -> io::Result<OwnedFd> {
    door_for(addr, 64)
}

/// Listens at an address, by hand, with a queue for so many.
pub fn door_for(addr: &str, queue: i32) -> io::Result<OwnedFd> {
    let socket = socket()?;
    bind(&socket, &address(addr)?)?;
    // The kernel takes one more.
    listen(&socket, queue - 1)?;
    Ok(socket)
}

impl Wire {
    /// Connects and says nothing.
    pub fn connect(addr: &str) -> io::Result<Self> {
        let socket = socket()?;
        connect(&socket, &address(addr)?)?;
        Self::patient(socket)
    }

    /// Lets somebody in and says nothing.
    pub fn accept(door: &OwnedFd) -> io::Result<Self> {
        Self::patient(accept_with(door, SocketFlags::CLOEXEC)?)
    }

    /// No test waits for ever.
    fn patient(socket: OwnedFd) -> io::Result<Self> {
        for direction in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&socket, direction, Some(PATIENCE))?;
        }
        Ok(Wire(socket))
    }

    /// Sends a packet.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)), "more descriptors than a packet may have");
        }
        sendmsg(&self.0, &[io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Sends a message.
    pub fn say(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send(&message.bytes(), fds)
    }

    /// The next message, and the descriptors that came with it. `None`: the other side has hung up.
    ///
    /// # Errors
    /// A packet that is no message, nothing for a long time, or what the system says.
    pub fn hear(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut bytes = [0; LEN + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [io::IoSliceMut::new(&mut bytes)];
        let len = match recvmsg(&self.0, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(came) => came.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(e) => return Err(e.into()),
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if len == 0 {
            return Ok(None);
        }
        let message = Message::read(&bytes[..len]).ok_or_else(|| io::Error::other(format!("{len} bytes came")))?;
        Ok(Some((message, fds)))
    }

    /// The next message, which is of this kind.
    ///
    /// # Errors
    /// If it is not, and as for [`hear`](Self::hear).
    pub fn expect(&self, kind: u32) -> io::Result<(Message, Vec<OwnedFd>)> {
        match self.hear()? {
            Some((message, fds)) if message.kind() == kind => Ok((message, fds)),
            other => Err(io::Error::other(format!("{other:?} came and not a message of kind {kind}"))),
        }
    }

    /// The reason of a refusal, which is the next message; then the other side has hung up.
    ///
    /// # Errors
    /// If it is not, and as for [`hear`](Self::hear).
    pub fn refusal(&self) -> io::Result<u32> {
        let (message, _) = self.expect(kind::REFUSED)?;
        match self.hear()? {
            None => Ok(message.0[word::REFUSAL]),
            Some(other) => Err(io::Error::other(format!("{other:?} came after a refusal"))),
        }
    }
}

/// A sealed segment of `party`, and its mapping for writing.
pub fn segment(config: &Config, party: usize) -> io::Result<(OwnedFd, Mapping)> {
    let len = config.describe(party).segment_len().next_multiple_of(page_size());
    let fd = memory::memfd("smstream-wire", len as u64)?;
    let mapping = Mapping::new(&fd, 0, len, Access::ReadWrite)?;
    memory::seal(&fd, SEALS)?;
    let start = mapping.as_mut_ptr().ok_or(ErrorKind::PermissionDenied)?;
    // SAFETY: the mapping is valid for reads and writes of its length, and nobody else has it yet.
    unsafe { geometry::init(start, len, config, party) }.map_err(io::Error::other)?;
    Ok((fd, mapping))
}

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

    /// Accepts whoever connects, as it proposes.
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

    /// Accepts whoever connects, with a channel of its own.
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
        let life = Life::none();
        let parker = |half| Parker::new(life.clone(), half, std::time::Duration::ZERO);
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

    /// 0: it has connected. 1: it has said HELLO, and proposed nothing. 2: it has heard WELCOME. 3: it has sent its segment. 4: it has heard
    /// ACCEPTED.
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
