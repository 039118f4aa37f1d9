//! The packets of a rendezvous over a socket: S. They are made here by hand, so that they can be wrong.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, UCred, connect, recvmsg, sendmsg, socket_with, sockopt,
};
use rustix::process::{Uid, getegid, getpid};
use smstream::smstream_core::geometry::Config;
use smstream::smstream_core::layout::{BYTE_ORDER, MAGIC, VERSION};

use super::trouble::{Trouble, broke};
use crate::transport::Addr;

/// The bytes of a message.
pub const LEN: usize = 64;

/// What a message is.
pub mod kind {
    pub const HELLO: u32 = 1;
    pub const WELCOME: u32 = 2;
    pub const SEGMENT: u32 = 3;
    pub const ACCEPTED: u32 = 4;
    pub const REFUSED: u32 = 5;
}

/// Bits of word 6.
pub const PROPOSES: u32 = 1 << 30;

/// A message: sixteen words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message(pub [u32; 16]);

impl Message {
    /// One of this kind, with nothing wrong.
    pub fn new(kind: u32) -> Self {
        let [a, b, c, d, e, f, g, h] = MAGIC;
        let mut words = [0; 16];
        words[0] = u32::from_ne_bytes([a, b, c, d]);
        words[1] = u32::from_ne_bytes([e, f, g, h]);
        words[2] = BYTE_ORDER;
        words[3] = kind;
        [words[4], words[5]] = [VERSION; 2];
        Message(words)
    }

    /// HELLO of a connector that accepts lanes of up to this size, and proposes nothing.
    pub fn hello(most: u32) -> Self {
        Message::new(kind::HELLO).with(8, most).with(9, most)
    }

    /// HELLO that proposes a channel.
    pub fn proposal(config: &Config, most: u32) -> Self {
        let [lane_0, lane_1] = config.capacities;
        Message::hello(most).with(6, PROPOSES).with(7, VERSION).describe(config).with(14, lane_0).with(15, lane_1)
    }

    /// WELCOME to a channel.
    pub fn welcome(config: &Config) -> Self {
        let [lane_0, lane_1] = config.capacities;
        Message::new(kind::WELCOME).with(7, VERSION).describe(config).with(8, lane_0).with(9, lane_1)
    }

    fn describe(self, config: &Config) -> Self {
        self.with(10, config.align)
            .with(11, config.start)
            .with(12, config.channel as u32)
            .with(13, (config.channel >> 32) as u32)
    }

    /// The same with another value of a word.
    pub fn with(mut self, word: usize, value: u32) -> Self {
        self.0[word] = value;
        self
    }

    /// The channel that a WELCOME describes.
    pub fn welcomed(&self) -> Config {
        self.described([self.0[8], self.0[9]])
    }

    /// The channel that a HELLO proposes, if it does.
    pub fn proposed(&self) -> Option<Config> {
        (self.0[6] & PROPOSES != 0).then(|| self.described([self.0[14], self.0[15]]))
    }

    fn described(&self, capacities: [u32; 2]) -> Config {
        let channel = u64::from(self.0[13]) << 32 | u64::from(self.0[12]);
        Config { align: self.0[10], start: self.0[11], channel, ..Config::new(capacities) }
    }

    /// Its name, for people.
    pub fn name(&self) -> String {
        match self.0[3] {
            kind::HELLO => "HELLO".into(),
            kind::WELCOME => "WELCOME".into(),
            kind::SEGMENT => "SEGMENT".into(),
            kind::ACCEPTED => "ACCEPTED".into(),
            kind::REFUSED => format!("REFUSED {}", self.0[14]),
            other => format!("a message of kind {other}"),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        for (place, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut words = [0; 16];
        for (word, place) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(place.try_into().ok()?);
        }
        (bytes.len() == LEN).then_some(Message(words))
    }
}

/// What came over the socket.
#[derive(Debug)]
pub enum Came {
    /// A message and its descriptors.
    Message(Message, Vec<OwnedFd>),
    /// Bytes that are no message.
    Bytes(usize),
    /// The peer has hung up.
    End,
    /// Nothing, for as long as was waited.
    Nothing,
}

/// The address of a socket.
pub fn address(addr: &Addr) -> io::Result<SocketAddrUnix> {
    match addr {
        Addr::Unix(path) => Ok(SocketAddrUnix::new(path.as_path())?),
        Addr::Abstract(name) => Ok(SocketAddrUnix::new_abstract_name(name.as_encoded_bytes())?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// A socket of the right kind, which asks for the kernel's word on senders: S4.
pub fn socket() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_passcred(&socket, true)?;
    Ok(socket)
}

/// One end of the socket over which two parties meet.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    patience: Duration,
}

impl Wire {
    /// Takes a connected socket. Nothing on it waits longer than the patience.
    pub fn new(socket: OwnedFd, patience: Duration) -> io::Result<Self> {
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
        Ok(Self { socket, patience })
    }

    /// Connects, and says nothing.
    pub fn connect(addr: &Addr, patience: Duration) -> io::Result<Self> {
        let socket = socket()?;
        connect(&socket, &address(addr)?)?;
        Self::new(socket, patience)
    }

    /// Sends a packet. That the peer has hung up is no error here: what it has said before is still to be received.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match sendmsg(&self.socket, &[io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a message.
    pub fn say(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send(&message.bytes(), fds)
    }

    /// Sends a message as another user, whom the kernel then names: for processes that may change their user.
    pub fn say_as(&self, user: u32, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sender = UCred { pid: getpid(), uid: Uid::from_raw(user), gid: getegid() };
        let fits = (fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)))
            && control.push(SendAncillaryMessage::ScmCredentials(sender));
        if !fits {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(&self.socket, &[io::IoSlice::new(&message.bytes())], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Sends the byte that wakes: K7. A full socket has been rung.
    pub fn ring(&self) {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = rustix::net::send(&self.socket, &[0], flags);
    }

    /// Sends a packet with descriptors, if there is room.
    pub fn ring_with(&self, fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
        let _ =
            sendmsg(&self.socket, &[io::IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// The next packet.
    pub fn hear(&self) -> io::Result<Came> {
        if !self.wait(self.patience)? {
            return Ok(Came::Nothing);
        }
        let mut bytes = [0; LEN + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [io::IoSliceMut::new(&mut bytes)];
        let len = match recvmsg(&self.socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT) {
            Ok(came) => came.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        Ok(match Message::read(&bytes[..len]) {
            Some(message) => Came::Message(message, fds),
            None if len == 0 => Came::End,
            None => Came::Bytes(len),
        })
    }

    /// The next message, which is of this kind; the clauses say what is broken if it is not.
    pub fn expect(&self, wanted: u32, clauses: &[&'static str]) -> Result<(Message, Vec<OwnedFd>), Trouble> {
        let wanted_name = Message::new(wanted).name();
        match self.hear()? {
            Came::Message(message, fds) if message.0[3] == wanted => Ok((message, fds)),
            Came::Message(message, _) => Err(broke(clauses, format!("{} came and not {wanted_name}", message.name()))),
            Came::Bytes(len) => Err(broke(clauses, format!("a packet of {len} bytes came and not {wanted_name}"))),
            Came::End => Err(broke(clauses, format!("it hung up and did not send {wanted_name}"))),
            Came::Nothing => Err(broke(clauses, format!("{wanted_name} did not come within {:?}", self.patience))),
        }
    }

    /// Waits until there is something to receive, or the peer has hung up.
    pub fn wait(&self, limit: Duration) -> io::Result<bool> {
        Ok(self.poll(PollFlags::IN, limit)?.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR))
    }

    /// Whether the peer has hung up: S12.
    pub fn is_over(&self) -> io::Result<bool> {
        Ok(self.poll(PollFlags::RDHUP, Duration::ZERO)?.intersects(PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR))
    }

    fn poll(&self, flags: PollFlags, limit: Duration) -> io::Result<PollFlags> {
        let mut fds = [PollFd::new(&self.socket, flags)];
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        loop {
            match poll(&mut fds, Some(&limit)) {
                Ok(_) => return Ok(fds[0].revents()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes out and throws away what came: K4. The lengths of the packets.
    pub fn drain(&self) -> io::Result<Vec<usize>> {
        let mut lens = Vec::new();
        while self.wait(Duration::ZERO)? {
            match self.hear()? {
                Came::Message(..) => lens.push(LEN),
                Came::Bytes(len) => lens.push(len),
                Came::End | Came::Nothing => break,
            }
        }
        Ok(lens)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
