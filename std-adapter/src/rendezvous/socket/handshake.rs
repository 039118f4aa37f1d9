//! The listener's side of one rendezvous, as far as messages have come. It never waits.
//!
//! Nothing that the connector does can do more than end its own handshake.

use super::attested::Attested;
use super::message::{Garbled, LEN, Message, MessageKind, Refusal, WANTS_SIGNAL, segment_features};
use super::segment::{self, OwnSegment, SegmentError};
use super::terms::{Terms, is_unknown};
use crate::liveness::move_above_watcher_fds;
use crate::packet::{self, Received, Sender};
use crate::peer_socket::PeerSocket;
use crate::rendezvous::RendezvousReason;
use crate::untrusted_fds::UntrustedFds;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use smstream_core::geometry::Config;
use smstream_core::layout::VERSION;
use smstream_shm::Deadline;
use smstream_shm::memory::{self, Mapping};
use std::fmt;
use std::io;

/// One connector that has not finished its part.
#[derive(Debug)]
pub(super) struct Handshake {
    socket: PeerSocket,
    stage: Stage,
    /// When it came.
    pub(super) came: Deadline,
    /// When its time is up.
    pub(super) due: Deadline,
    /// The user that connected. Connectors of the user that crowds the listener are evicted first.
    pub(super) uid: u32,
}

#[derive(Debug)]
enum Stage {
    /// It has connected.
    Connected,
    /// It has said HELLO and was made WELCOME, for it did not propose what is wanted here.
    Welcomed { own: OwnSegment, config: Config, attested: Attested },
    /// It is to be closed, or has become something else.
    Over,
}

/// A rendezvous that has come about.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) own: OwnSegment,
    pub(super) peer: Mapping,
    pub(super) sender: Sender,
    pub(super) pidfd: Option<OwnedFd>,
}

/// How far a handshake is.
#[derive(Debug)]
pub(super) enum Progress {
    /// There is nothing to read now.
    Waiting,
    Established(Box<Established>),
    /// It came to nothing: why. The connector was sent the reason if it can be.
    Failed(HandshakeError),
}

/// Why a handshake came to nothing.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The connector has gone.
    HungUp,
    /// It took too long.
    Slow,
    /// Others needed the place.
    Crowded,
    /// No common version.
    Version([u32; 2]),
    /// It wants to use this version, which is not one that both know.
    Chose(u32),
    /// It runs as this user.
    NotAllowed(u32),
    /// It accepts lanes of so many bytes only.
    Limit(u32),
    Garbled(Garbled),
    /// A message that was not due.
    NotDue(MessageKind),
    /// It does not say who sent it.
    Anonymous,
    /// Another process or user goes on than has begun.
    Changed,
    Segment(SegmentError),
    System(io::Error),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::HungUp => f.write_str("it hung up"),
            HandshakeError::Slow => f.write_str("it took too long"),
            HandshakeError::Crowded => f.write_str("too many others of its user were waiting"),
            HandshakeError::Version([low, high]) => write!(f, "it knows the layout versions {low} to {high}"),
            HandshakeError::Chose(version) => write!(
                f,
                "it wants to use layout version {version}, and this program knows {VERSION} only; use the same version of \
                 smstream on both sides"
            ),
            HandshakeError::NotAllowed(uid) => {
                write!(f, "it runs as user {uid}, which is not allowed; `Builder::allow_uid({uid})` would allow it")
            }
            HandshakeError::Limit(most) => write!(f, "it accepts lanes of at most {most} bytes"),
            HandshakeError::Garbled(garbled) => garbled.fmt(f),
            HandshakeError::NotDue(kind) => write!(f, "it sent {kind:?} when that was not due"),
            HandshakeError::Anonymous => f.write_str("a message came without a sender"),
            HandshakeError::Changed => f.write_str("another process went on with it"),
            HandshakeError::Segment(unfit) => unfit.fmt(f),
            HandshakeError::System(e) => e.fmt(f),
        }
    }
}

impl HandshakeError {
    /// The reason that the caller in this process gets. `what` it did when the system failed.
    pub(super) fn into_reason(self, what: &'static str) -> RendezvousReason {
        match self {
            HandshakeError::HungUp => RendezvousReason::HungUp,
            HandshakeError::NotAllowed(uid) => RendezvousReason::NotAllowed(uid),
            HandshakeError::System(e) => RendezvousReason::System(what, e),
            // The other side's memory is in order; this process has no room for it.
            HandshakeError::Segment(SegmentError::System(e)) => {
                RendezvousReason::System("map the other side's memory", e)
            }
            HandshakeError::Segment(unfit) => RendezvousReason::Memory(unfit.to_string()),
            other => RendezvousReason::Protocol(other.to_string()),
        }
    }

    /// What this process was short of, if that is why: what the system said. A connector that has gone is no such reason.
    pub(super) fn shortage(&self) -> Option<String> {
        match self {
            HandshakeError::Segment(SegmentError::System(e)) | HandshakeError::System(e) => {
                let gone = matches!(e.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN));
                (!gone).then(|| e.to_string())
            }
            _ => None,
        }
    }

    /// What is sent to the connector: nothing if it is not there any more.
    fn refusal(&self) -> Option<Refusal> {
        Some(match self {
            HandshakeError::HungUp => return None,
            HandshakeError::Version(_) | HandshakeError::Chose(_) => Refusal::Version,
            HandshakeError::NotAllowed(uid) if is_unknown(*uid) => Refusal::UnknownUser,
            HandshakeError::NotAllowed(_) => Refusal::User,
            HandshakeError::Limit(_) => Refusal::TooLarge,
            HandshakeError::Segment(SegmentError::System(e)) | HandshakeError::System(e) if is_limited(e) => {
                Refusal::Limited
            }
            HandshakeError::Segment(SegmentError::System(_)) | HandshakeError::System(_) | HandshakeError::Crowded => {
                Refusal::Resources
            }
            HandshakeError::Segment(_) => Refusal::Memory,
            HandshakeError::Slow
            | HandshakeError::Garbled(_)
            | HandshakeError::NotDue(_)
            | HandshakeError::Anonymous
            | HandshakeError::Changed => Refusal::Protocol,
        })
    }
}

/// Whether a limit of this process is why it has no memory: `RLIMIT_FSIZE`, or `RLIMIT_AS`.
fn is_limited(e: &io::Error) -> bool {
    let inner = std::error::Error::source(e).and_then(|e| e.downcast_ref::<io::Error>()).unwrap_or(e);
    match (e.kind(), inner.raw_os_error()) {
        (io::ErrorKind::FileTooLarge, _) => true,
        (io::ErrorKind::OutOfMemory, _) | (_, Some(libc::ENOMEM)) => memory::is_address_space_limited(),
        _ => false,
    }
}

impl Handshake {
    /// Begins with a socket that has just been accepted: the kernel attests who connected.
    pub(super) fn new(socket: OwnedFd, terms: &Terms) -> Result<Self, HandshakeError> {
        let socket = PeerSocket::new(move_above_watcher_fds(socket));
        packet::ask_for_credentials(&socket).map_err(HandshakeError::System)?;
        let uid = packet::peer_of(&socket).map_err(HandshakeError::System)?.uid;
        let handshake = Handshake { socket, stage: Stage::Connected, came: Deadline::now(), due: terms.due(), uid };
        if terms.allow.allows(uid) { Ok(handshake) } else { Err(handshake.end(HandshakeError::NotAllowed(uid))) }
    }

    /// Begins with a socket whose other end a child inherits. Who that is shows when it speaks.
    pub(super) fn of_child(socket: OwnedFd, terms: &Terms) -> Result<Self, HandshakeError> {
        let socket = PeerSocket::new(move_above_watcher_fds(socket));
        packet::ask_for_credentials(&socket).map_err(HandshakeError::System)?;
        Ok(Handshake { socket, stage: Stage::Connected, came: Deadline::now(), due: terms.due(), uid: 0 })
    }

    /// Whether it has said nothing yet.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.stage, Stage::Connected)
    }

    /// To wait for its next message.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket, when the two have met.
    pub(super) fn into_socket(self) -> PeerSocket {
        self.socket
    }

    /// Reads what has come and answers.
    pub(super) fn advance(&mut self, config: &Config, terms: &Terms) -> Progress {
        loop {
            let next = match receive(&self.socket) {
                Ok(None) => return Progress::Waiting,
                Ok(Some(came)) => self.on_message(came, config, terms),
                Err(failed) => Err(failed),
            };
            match next {
                Ok(None) => {}
                Ok(Some(met)) => return Progress::Established(Box::new(met)),
                Err(failed) => return Progress::Failed(self.refuse(failed)),
            }
        }
    }

    /// Ends it, and tells the connector why.
    pub(super) fn end(mut self, why: HandshakeError) -> HandshakeError {
        self.refuse(why)
    }

    fn refuse(&mut self, why: HandshakeError) -> HandshakeError {
        self.stage = Stage::Over;
        if let Some(refusal) = why.refusal() {
            // It may be gone, or its socket full: then it does not get the reason.
            let _ = packet::send(&self.socket, &Message::refused(refusal).to_bytes(), None);
        }
        why
    }

    /// What a message means.
    fn on_message(
        &mut self,
        (message, came): (Message, Received),
        config: &Config,
        terms: &Terms,
    ) -> Result<Option<Established>, HandshakeError> {
        let sender = came.sender.ok_or(HandshakeError::Anonymous)?;
        if !terms.allow.allows(sender.uid) {
            return Err(HandshakeError::NotAllowed(sender.uid));
        }
        match (std::mem::replace(&mut self.stage, Stage::Over), message.kind) {
            (Stage::Connected, MessageKind::Hello) => {
                let Some(_) = Message::common_version(message.versions) else {
                    return Err(HandshakeError::Version(message.versions));
                };
                let most = message.capacities[0];
                if config.capacities.iter().any(|&c| c > most) {
                    return Err(HandshakeError::Limit(most));
                }
                let wants_signal = message.features & WANTS_SIGNAL != 0;
                // A process that is to be signalled must be attested, and that takes two messages.
                let signals = wants_signal || terms.wake_signal.is_some();
                if let Some(proposed) = message.proposal().filter(|proposed| !signals && fits(proposed, config)) {
                    let config = Config { channel: proposed.channel, ..*config };
                    return self.accept(came.fds, &config, sender).map(Some);
                }
                segment::give_up(came.fds);
                self.welcome(config, terms, Attested::begin(&self.socket, sender, wants_signal))?;
                Ok(None)
            }
            (Stage::Welcomed { own, config, attested }, MessageKind::Segment) => {
                let pidfd = attested.finish(sender, came.pidfd).ok_or(HandshakeError::Changed)?;
                let peer = segment::map_peers(came.fds, &config, 1).map_err(HandshakeError::Segment)?;
                segment::check(&own, &peer).map_err(HandshakeError::Segment)?;
                packet::send(&self.socket, &Message::new(MessageKind::Accepted, 0).to_bytes(), None)
                    .map_err(sending)?;
                Ok(Some(Established { own, peer, sender, pidfd }))
            }
            (_, kind) => Err(HandshakeError::NotDue(kind)),
        }
    }

    /// Answers a HELLO whose proposal is as good as one's own: the two have met.
    fn accept(&self, fds: UntrustedFds, config: &Config, sender: Sender) -> Result<Established, HandshakeError> {
        let peer = segment::map_peers(fds, config, 1).map_err(HandshakeError::Segment)?;
        let own = segment::make(config, 0).map_err(HandshakeError::System)?;
        segment::check(&own, &peer).map_err(HandshakeError::Segment)?;
        let accepted = Message::new(MessageKind::Accepted, 0).to_bytes();
        packet::send(&self.socket, &accepted, Some(own.fd.as_fd())).map_err(sending)?;
        Ok(Established { own, peer, sender, pidfd: None })
    }

    /// Answers any other HELLO: this is the channel, and the connector is to bring its segment.
    fn welcome(&mut self, config: &Config, terms: &Terms, attested: Attested) -> Result<(), HandshakeError> {
        let own = segment::make(config, 0).map_err(HandshakeError::System)?;
        let features = segment_features(config.features, terms.wake_signal.is_some());
        let welcome = Message::welcome(config, features).to_bytes();
        packet::send(&self.socket, &welcome, Some(own.fd.as_fd())).map_err(sending)?;
        self.stage = Stage::Welcomed { own, config: *config, attested };
        Ok(())
    }
}

/// Whether a proposed channel has the geometry that this party decides for, and a number.
fn fits(proposed: &Config, config: &Config) -> bool {
    let geometry = |c: &Config| (c.capacities, c.align, c.start);
    geometry(proposed) == geometry(config) && proposed.channel != 0
}

/// Receives one message. `None`: there is none yet. Nothing else means that, for memory that cannot be mapped may be the
/// same error (EAGAIN).
pub(super) fn receive(socket: &OwnedFd) -> Result<Option<(Message, Received)>, HandshakeError> {
    let mut buffer = [0; LEN + 1];
    let came = match packet::receive(socket, &mut buffer) {
        Ok(came) => came,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(HandshakeError::HungUp),
        Err(e) => return Err(HandshakeError::System(e)),
    };
    // The end of the connection, and not an empty packet: that has a sender.
    if came.len == 0 && came.sender.is_none() {
        return Err(HandshakeError::HungUp);
    }
    // There is room for one, whatever else came, so it is this process that has no number for it.
    if came.cut && came.fds.is_empty() {
        return Err(HandshakeError::System(Errno::MFILE.into()));
    }
    let message = Message::parse(&buffer[..came.len]).map_err(HandshakeError::Garbled)?;
    Ok(Some((message, came)))
}

/// What a failed send means.
pub(super) fn sending(e: io::Error) -> HandshakeError {
    match e.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => HandshakeError::HungUp,
        // Nothing but the other side's unread messages can fill the socket, and there are none in an honest rendezvous.
        io::ErrorKind::WouldBlock => HandshakeError::Slow,
        _ => HandshakeError::System(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    /// What the system says of memory that may not be locked is what it says of a socket without a packet.
    #[test]
    fn only_the_want_of_a_packet_is_waited_for() {
        let again = || io::Error::from(Errno::AGAIN);
        for failed in [HandshakeError::System(again()), HandshakeError::Segment(SegmentError::System(again()))] {
            assert_eq!(failed.refusal(), Some(Refusal::Resources));
            let reason = failed.into_reason("talk");
            assert!(matches!(reason, RendezvousReason::System(_, e) if e.kind() == io::ErrorKind::WouldBlock));
        }
        let (a, b) = pair();
        packet::ask_for_credentials(&b).unwrap();
        assert!(matches!(receive(&b), Ok(None)));
        packet::send(&a, &Message::new(MessageKind::Accepted, 0).to_bytes(), None).unwrap();
        assert!(matches!(receive(&b), Ok(Some((message, _))) if message.kind == MessageKind::Accepted));
        assert!(matches!(receive(&b), Ok(None)));
        drop(a);
        assert!(matches!(receive(&b), Err(HandshakeError::HungUp)));
    }

    #[test]
    fn the_reason_is_sent_in_words_that_fit() {
        let large = io::Error::from(io::ErrorKind::FileTooLarge);
        assert_eq!(HandshakeError::System(large).refusal(), Some(Refusal::Limited));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(HandshakeError::System(full).refusal(), Some(Refusal::Resources));
        let text = HandshakeError::Chose(2).to_string();
        assert!(text.contains("wants to use layout version 2") && text.contains("knows 1"), "{text}");
    }

    /// A handshake that has failed is over, and is not waited for.
    #[test]
    fn memory_that_cannot_be_made_ends_it() {
        let terms = Terms::plain();
        let (a, b) = pair();
        let mut handshake = Handshake::of_child(b, &terms).unwrap();
        // A channel that cannot be, so that its segment cannot be made.
        let config = Config { align: 1, ..Config::new([4096; 2]) };
        assert!(matches!(handshake.advance(&config, &terms), Progress::Waiting));
        let hello = Message::hello(1 << 20, 0, None);
        packet::send(&a, &hello.to_bytes(), None).unwrap();
        assert!(matches!(handshake.advance(&config, &terms), Progress::Failed(HandshakeError::System(_))));
        assert!(matches!(receive(&a), Ok(Some((message, _))) if message.kind == MessageKind::Refused));
    }
}
