//! The connector's side of a rendezvous over a socket. A step never waits. A caller that wants to wait polls the socket.

use super::attested::Attested;
use super::channel_number;
use super::handshake::{HandshakeError, receive, sending};
use super::message::{Message, MessageKind, WANTS_SIGNAL, segment_features};
use super::name::SocketName;
use super::segment::{self, OwnSegment};
use super::terms::Terms;
use crate::barrier;
use crate::liveness::move_above_watcher_fds;
use crate::packet;
use crate::peer_socket::PeerSocket;
use crate::rendezvous::{Connected, RendezvousError, RendezvousReason};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use smstream_core::geometry::Config;
use smstream_shm::Deadline;
use smstream_shm::memory::Mapping;
use std::io;
use std::mem;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A connection that is being made.
#[derive(Debug)]
pub(crate) struct SocketAttempt {
    destination: Destination,
    terms: Terms,
    socket: Arc<PeerSocket>,
    stage: Stage,
}

/// Whom it goes to.
#[derive(Debug)]
enum Destination {
    Name(SocketName),
    /// A socket that was connected before: how to call it.
    Given(String),
}

#[derive(Debug)]
enum Stage {
    /// The socket is to be connected. The memory for a proposal is there already: once the listener knows of this party, it
    /// looks for its HELLO.
    Queue(Option<Box<Proposal>>),
    /// HELLO was said, and perhaps a channel proposed.
    Greeted(Option<Box<Proposal>>),
    /// WELCOME was heard, and answered with SEGMENT.
    Answered(Box<Answer>),
    Over,
}

/// A channel that the listener may accept as it is.
#[derive(Debug)]
struct Proposal {
    config: Config,
    own: OwnSegment,
}

#[derive(Debug)]
struct Answer {
    own: OwnSegment,
    peer: Mapping,
    attested: Attested,
}

impl SocketAttempt {
    /// Begins to connect to a name. Nothing is sent yet.
    pub(crate) fn to(name: SocketName, terms: Terms) -> Result<Self, RendezvousError> {
        let destination = Destination::Name(name);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|e| destination.error(RendezvousReason::System("make a socket", e.into())))?;
        Self::over(destination, socket, terms)
    }

    /// Begins on a socket that is connected already; `called` is what messages call it.
    pub(crate) fn on(socket: OwnedFd, called: String, terms: Terms) -> Result<Self, RendezvousError> {
        Self::over(Destination::Given(called), socket, terms)
    }

    fn over(destination: Destination, socket: OwnedFd, terms: Terms) -> Result<Self, RendezvousError> {
        let socket = PeerSocket::new(move_above_watcher_fds(socket));
        // Before anything can have been sent.
        packet::ask_for_credentials(&socket)
            .map_err(|e| destination.error(RendezvousReason::System("ask who is on the other side", e)))?;
        let stage = Stage::Queue(proposal(&terms).map(Box::new));
        Ok(SocketAttempt { destination, terms, socket: Arc::new(socket), stage })
    }

    /// Waits until it is made, or the deadline passes.
    pub(crate) fn wait(mut self, deadline: Option<Deadline>) -> Result<Connected, RendezvousError> {
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Queue(proposal) => {
                if !self.connect()? {
                    self.queue(deadline)?;
                }
                self.greet(proposal)?;
            }
            begun => self.stage = begun,
        }
        let spin_for = self.terms.spin;
        let spin_until = || {
            let end = Deadline::after(spin_for);
            deadline.map_or(end, |deadline| deadline.min(end))
        };
        loop {
            // The answer often comes before sleeping would be worth it. What this side does itself takes as long.
            let mut spin = spin_until();
            loop {
                let stage = mem::discriminant(&self.stage);
                if let Some(connected) = self.step()? {
                    return Ok(connected);
                }
                if mem::discriminant(&self.stage) != stage {
                    spin = spin_until();
                } else if spin.has_passed() {
                    break;
                }
                // The other side may wait for this very CPU.
                thread::yield_now();
            }
            let timeout = deadline.and_then(|d| rustix::time::Timespec::try_from(d.remaining()).ok());
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) if deadline.is_some_and(Deadline::has_passed) => {
                    return Err(self.destination.error(RendezvousReason::TimedOut));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => {
                    return Err(self.destination.error(RendezvousReason::System("wait for the listener", e.into())));
                }
            }
        }
    }

    /// Waits until the listener's queue has room, and connects. Only a socket that blocks can wait for that.
    fn queue(&self, deadline: Option<Deadline>) -> Result<(), RendezvousError> {
        let system = |e: Errno| self.destination.error(RendezvousReason::System("wait for the listener", e.into()));
        let flags = rustix::fs::fcntl_getfl(&self.socket).map_err(system)?;
        rustix::fs::fcntl_setfl(&self.socket, flags - OFlags::NONBLOCK).map_err(system)?;
        loop {
            if let Some(deadline) = deadline {
                let left = deadline.remaining();
                if left.is_zero() {
                    return Err(self.destination.error(RendezvousReason::TimedOut));
                }
                // The kernel counts in microseconds, and takes 0 for ever.
                let left = left.max(Duration::from_millis(1));
                sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Send, Some(left)).map_err(system)?;
            }
            if self.connect()? {
                return Ok(());
            }
        }
    }

    /// Goes on as far as it can without waiting. `None`: call again when the socket is readable, or, while the
    /// listener's queue is full, a little later.
    pub(crate) fn step(&mut self) -> Result<Option<Connected>, RendezvousError> {
        loop {
            match mem::replace(&mut self.stage, Stage::Over) {
                Stage::Queue(proposal) => {
                    if !self.connect()? {
                        self.stage = Stage::Queue(proposal);
                        return Ok(None);
                    }
                    self.greet(proposal)?;
                }
                stage @ (Stage::Greeted(_) | Stage::Answered(_)) => {
                    let came = match receive(&self.socket) {
                        Ok(Some(came)) => came,
                        Ok(None) => {
                            self.stage = stage;
                            return Ok(None);
                        }
                        Err(e) => return Err(self.failed(e)),
                    };
                    if let Some(connected) = self.on_message(stage, came)? {
                        return Ok(Some(connected));
                    }
                }
                Stage::Over => {
                    return Err(self.destination.error(RendezvousReason::Protocol("the rendezvous is over".into())));
                }
            }
        }
    }

    /// Connects the socket: `false` if the listener's queue is full, or a signal came while it was.
    fn connect(&self) -> Result<bool, RendezvousError> {
        if let Destination::Name(name) = &self.destination {
            match name.connect(&self.socket) {
                Ok(()) | Err(Errno::ISCONN) => {}
                // A signal ends the wait for room. The next one is for the rest of the time only.
                Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                Err(e) => return Err(name.not_connected(e)),
            }
        }
        // Who called listen: before anything is said to them.
        let listener = packet::peer_of(&self.socket)
            .map_err(|e| self.destination.error(RendezvousReason::System("ask who listens", e)))?;
        if !self.terms.allow.allows(listener.uid) {
            return Err(self.destination.error(RendezvousReason::NotAllowed(listener.uid)));
        }
        Ok(true)
    }

    fn greet(&mut self, mut proposal: Option<Box<Proposal>>) -> Result<(), RendezvousError> {
        let features = if self.terms.wake_signal.is_some() { WANTS_SIGNAL } else { 0 };
        loop {
            let hello =
                Message::hello(self.terms.max_peer_capacity, features, proposal.as_ref().map(|p| &p.config)).to_bytes();
            let memory = proposal.as_ref().map(|p| p.own.fd.as_fd());
            match packet::send(&self.socket, &hello, memory) {
                Ok(()) => break,
                // A user may have so many descriptors on the way. Those who have said HELLO and wait have one each; this one
                // waits without.
                Err(e) if proposal.is_some() && e.raw_os_error() == Some(Errno::TOOMANYREFS.raw_os_error()) => {
                    proposal = None;
                }
                Err(e) => return Err(self.not_sent(e)),
            }
        }
        self.stage = Stage::Greeted(proposal);
        Ok(())
    }

    /// What a message means.
    fn on_message(
        &mut self,
        stage: Stage,
        (message, came): (Message, packet::Received),
    ) -> Result<Option<Connected>, RendezvousError> {
        let sender = came.sender.ok_or_else(|| self.failed(HandshakeError::Anonymous))?;
        if !self.terms.allow.allows(sender.uid) {
            return Err(self.destination.error(RendezvousReason::NotAllowed(sender.uid)));
        }
        match (stage, message.kind) {
            (_, MessageKind::Refused) => Err(self.destination.error(RendezvousReason::Refused(message.refusal()))),
            (Stage::Greeted(Some(proposal)), MessageKind::Accepted) => {
                let Proposal { config, own } = *proposal;
                let peer =
                    segment::map_peers(came.fds, &config, 0).map_err(|e| self.failed(HandshakeError::Segment(e)))?;
                segment::check(&own, &peer).map_err(|e| self.failed(HandshakeError::Segment(e)))?;
                Ok(Some(super::connected(1, Arc::clone(&self.socket), own, peer, sender, None)))
            }
            (Stage::Greeted(proposal), MessageKind::Welcome) => {
                drop(proposal);
                let config = self.geometry(&message)?;
                let attested = Attested::begin(&self.socket, sender, message.features & WANTS_SIGNAL != 0);
                let peer =
                    segment::map_peers(came.fds, &config, 0).map_err(|e| self.failed(HandshakeError::Segment(e)))?;
                let own = segment::make(&config, 1)
                    .map_err(|e| self.destination.error(RendezvousReason::System("make this end's memory", e)))?;
                segment::check(&own, &peer).map_err(|e| self.failed(HandshakeError::Segment(e)))?;
                let features = segment_features(config.features, self.terms.wake_signal.is_some());
                let segment = Message::new(MessageKind::Segment, features).to_bytes();
                packet::send(&self.socket, &segment, Some(own.fd.as_fd())).map_err(|e| self.not_sent(e))?;
                self.stage = Stage::Answered(Box::new(Answer { own, peer, attested }));
                Ok(None)
            }
            (Stage::Answered(answer), MessageKind::Accepted) => {
                let Answer { own, peer, attested } = *answer;
                let pidfd = attested.finish(sender, came.pidfd).ok_or_else(|| self.failed(HandshakeError::Changed))?;
                Ok(Some(super::connected(1, Arc::clone(&self.socket), own, peer, sender, pidfd)))
            }
            (_, kind) => Err(self.failed(HandshakeError::NotDue(kind))),
        }
    }

    /// The channel that a WELCOME describes, if it can be.
    fn geometry(&self, message: &Message) -> Result<Config, RendezvousError> {
        if message.version != smstream_core::layout::VERSION {
            return Err(self.failed(HandshakeError::Chose(message.version)));
        }
        let config = made_here(Config { features: self.terms.features, ..message.config() });
        if let Some(&large) = config.capacities.iter().find(|&&c| c > self.terms.max_peer_capacity) {
            return Err(self
                .destination
                .error(RendezvousReason::TooLarge { found: large, most: self.terms.max_peer_capacity }));
        }
        if !segment::fits(&config) {
            return Err(self
                .destination
                .error(RendezvousReason::Protocol("the channel that it describes cannot be".into())));
        }
        Ok(config)
    }

    /// Why a message could not be sent. A listener that has hung up has perhaps said why.
    fn not_sent(&self, e: io::Error) -> RendezvousError {
        let failed = sending(e);
        match receive(&self.socket) {
            Ok(Some((message, _)))
                if matches!(failed, HandshakeError::HungUp) && message.kind == MessageKind::Refused =>
            {
                self.destination.error(RendezvousReason::Refused(message.refusal()))
            }
            _ => self.failed(failed),
        }
    }

    fn failed(&self, failed: HandshakeError) -> RendezvousError {
        self.destination.error(failed.into_reason("talk to the listener"))
    }

    /// Whether it waits for room in the listener's queue, which no readiness tells.
    pub(crate) fn is_queueing(&self) -> bool {
        matches!(self.stage, Stage::Queue(_))
    }

    /// To wait for, while [`step`](Self::step) says `None`.
    pub(crate) fn socket(&self) -> &Arc<PeerSocket> {
        &self.socket
    }
}

/// A channel of the geometry that this party would choose, and its segment: if the listener would choose the same, one
/// answer is enough. `None`: the listener is to say what it wants.
fn proposal(terms: &Terms) -> Option<Proposal> {
    // A process that is to be signalled must be attested, and that takes two messages.
    let config = terms.proposal.filter(|config| terms.wake_signal.is_none() && segment::fits(config))?;
    if config.capacities.iter().any(|&c| c > terms.max_peer_capacity) {
        return None;
    }
    let config = made_here(Config { channel: channel_number(), ..config });
    // If there is no memory for it now, there may be some for what the listener wants. If not, the caller gets the error then.
    let own = segment::make(&config, 1).ok()?;
    Some(Proposal { config, own })
}

/// With what this party adds to a channel's description.
fn made_here(config: Config) -> Config {
    let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Config { pid: process::id(), made, features: barrier::features(config.features), ..config }
}

impl Destination {
    fn error(&self, reason: RendezvousReason) -> RendezvousError {
        match self {
            Destination::Name(name) => name.error(reason),
            Destination::Given(called) => RendezvousError::new(called.as_ref(), reason),
        }
    }
}

/// Whether a descriptor is a socket that a rendezvous can go over: what is wrong with it otherwise.
pub(crate) fn check_socket_type(socket: BorrowedFd<'_>) -> Result<(), &'static str> {
    match (sockopt::socket_domain(socket), sockopt::socket_type(socket)) {
        (Err(Errno::NOTSOCK), _) | (_, Err(Errno::NOTSOCK)) => Err("it is no socket"),
        (Ok(AddressFamily::UNIX), Ok(SocketType::SEQPACKET)) => Ok(()),
        (Ok(AddressFamily::UNIX), _) => Err("it is a Unix socket that is not SOCK_SEQPACKET"),
        _ => Err("it is no Unix socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::socketpair;
    use std::time::Instant;

    #[test]
    fn the_spin_ends_at_the_deadline() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, _theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let terms = Terms { spin: Duration::from_secs(60), ..Terms::plain() };
        let begin = Instant::now();
        let connecting = SocketAttempt::on(ours, "test".into(), terms).unwrap();
        let e = connecting.wait(Some(Deadline::after(Duration::from_millis(10)))).unwrap_err();
        assert!(matches!(e.reason(), RendezvousReason::TimedOut), "{e}");
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
