//! Listening on a socket: many rendezvous at once, none of which holds up another.
//!
//! Everything that can happen wakes one epoll instance: a connector, a message of one that is in the middle of its
//! rendezvous, the end of the time that one has for it, an interruption. So a listener can wait, or be waited for.

use super::channel_number;
use super::handshake::{Established, Handshake, HandshakeError, Progress};
use super::interrupt::Interrupt;
use super::name::{Right, SocketName};
use super::terms::Terms;
use super::watched_name::WatchedName;
use crate::addr::Addr;
use crate::peer_socket::PeerSocket;
use crate::rendezvous::{Connected, RendezvousError, RendezvousReason};
use crate::turned_away::OnTurnedAway;
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};
use rustix::time::Timespec;
use smstream_core::geometry::Config;
use smstream_shm::Deadline;
use std::collections::{BTreeMap, VecDeque};
use std::mem::MaybeUninit;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many connectors may be in the middle of their rendezvous. One more, and one has to go: of the user who has most of
/// them, the one that has been there longest of those whose [`GRACE`] is over, if possible one that has said nothing yet.
const MOST_AT_ONCE: usize = 64;
/// How long to wait before looking at the name again, if nothing tells what happens to it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Kernels without epoll_pwait2 take no timeout of more than 24.8 days. Who has slept so long looks at the time again.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// What woke the epoll instance. Connectors have numbers from [`FIRST`] on.
pub(super) const SOCKET: u64 = 0;
pub(super) const INTERRUPT: u64 = 1;
pub(super) const TIMER: u64 = 2;
pub(super) const NAME: u64 = 3;
pub(super) const FIRST: u64 = 4;

/// Listens at the name of a socket. When it is dropped, by the process that made it, the name is removed.
#[derive(Debug)]
pub(crate) struct SocketListener {
    pub(super) name: SocketName,
    pub(super) right: Option<Right>,
    /// Whether the socket listened before it came here. It stays its owner's: what waits in its queue, too.
    pub(super) adopted: bool,
    pub(super) config: Config,
    pub(super) terms: Terms,
    pub(super) socket: OwnedFd,
    pub(super) epoll: Arc<OwnedFd>,
    pub(super) timer: OwnedFd,
    /// Whether the timer runs. It is left running when the last connector leaves: the next one will come soon, or it goes off
    /// once for nothing.
    pub(super) timed: bool,
    /// Whether accepting pauses, because all pending connectors have only just come.
    pub(super) paused: bool,
    pub(super) interrupt: Arc<Interrupt>,
    /// The watch on the name, if that is a file.
    pub(super) named: Option<WatchedName>,
    /// Those in the middle of it, by number: the oldest first.
    pub(super) pending: BTreeMap<u64, Handshake>,
    pub(super) next: u64,
    pub(super) ready: VecDeque<Connected>,
    /// What this process was short of when a connector was last turned away for that, during the present wait.
    pub(super) short: Option<String>,
    /// What to do when a connector was turned away.
    pub(crate) on_turned_away: OnTurnedAway,
    pub(super) pid: u32,
}

impl SocketListener {
    /// Waits for a rendezvous to come about. `None`: for ever.
    ///
    /// # Errors
    /// `TimedOut`, `ConnectionAborted` after an interruption, and what the system says when it cannot accept. What is
    /// wrong with a connector ends its own rendezvous and nothing else. At the deadline it is said what was short.
    pub(crate) fn accept(&mut self, deadline: Option<Deadline>) -> Result<Connected, RendezvousError> {
        self.short = None;
        loop {
            if let Some(connected) = self.ready.pop_front() {
                return Ok(connected);
            }
            // The next one, or the answer of one in the middle of it, often comes before sleeping would be worth it.
            let mut until = Deadline::after(self.terms.spin);
            loop {
                let now = Deadline::now();
                if self.poll_once(Some(now))? {
                    until = Deadline::after(self.terms.spin);
                } else if now >= until {
                    break;
                }
                if !self.ready.is_empty() || deadline.is_some_and(|deadline| deadline <= now) {
                    break;
                }
                // The other side may wait for this very CPU.
                thread::yield_now();
            }
            if !self.ready.is_empty() {
                continue;
            }
            self.poll_once(deadline)?;
            // Whatever there was to do: connectors that come and go in crowds must not outlast the deadline.
            if self.ready.is_empty() && deadline.is_some_and(Deadline::has_passed) {
                return Err(self
                    .name
                    .error(self.short.take().map_or(RendezvousReason::TimedOut, RendezvousReason::Short)));
            }
        }
    }

    /// Accepts if that needs no waiting. `None` may also mean that very many come and go; then there is more to do, and
    /// [`epoll`](Self::epoll) tells of it again.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub(crate) fn try_accept(&mut self) -> Result<Option<Connected>, RendezvousError> {
        for _ in 0..MOST_AT_ONCE {
            if !self.ready.is_empty() || !self.poll_once(Some(Deadline::now()))? {
                return Ok(self.ready.pop_front());
            }
        }
        if self.ready.is_empty() {
            // More come than can be seen to at once. A caller that watches with `EPOLLET` needs another event. To modify
            // what is watched would not do that, for the socket is ready already; a timer that goes off does.
            self.wake_at(Deadline::now());
        }
        Ok(self.ready.pop_front())
    }

    /// Becomes readable when there is something to do for [`try_accept`](Self::try_accept).
    pub(crate) fn epoll(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.epoll)
    }

    /// Where connectors find it.
    pub(crate) fn addr(&self) -> Addr {
        self.name.addr()
    }

    /// To end its waits.
    pub(crate) fn interrupt(&self) -> Arc<Interrupt> {
        Arc::clone(&self.interrupt)
    }

    /// Sleeps until something happens, and sees to it. `false`: nothing did.
    fn poll_once(&mut self, deadline: Option<Deadline>) -> Result<bool, RendezvousError> {
        if let (Some(named), Some(right)) = (&mut self.named, &self.right) {
            named.watch_in_this_process(&self.name, right)?;
        }
        // Nothing tells what happens to the name: it is looked at now and then.
        let is_blind = self.named.as_ref().is_some_and(|named| !named.is_watched());
        let most = if is_blind { LOOK_AGAIN } else { LONGEST_SLEEP };
        let left = deadline.map(|deadline| deadline.remaining().min(most)).or(is_blind.then_some(most));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 16];
        let events = match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok((events, _)) => &*events,
            Err(Errno::INTR) => return Ok(true),
            Err(e) => return Err(self.name.error(RendezvousReason::System("wait for connectors", e.into()))),
        };
        let tokens: Vec<u64> = events.iter().map(|e| e.data.u64()).collect();
        if tokens.contains(&INTERRUPT) {
            return Err(self.name.error(RendezvousReason::Cancelled));
        }
        // First those who have come farthest. One that is ready is enough: the others go on making the instance readable,
        // and so a caller that waits for that sees each.
        for &token in tokens.iter().filter(|&&t| t >= FIRST) {
            if self.ready.is_empty() {
                self.on_message(token);
            }
        }
        if tokens.contains(&TIMER) {
            self.expire();
        }
        if tokens.contains(&SOCKET) && self.ready.is_empty() {
            self.accept_pending()?;
        }
        // Those who had connected before come first.
        if (is_blind || tokens.contains(&NAME)) && self.ready.is_empty() {
            self.check_name()?;
        }
        Ok(!tokens.is_empty())
    }

    /// That the name still leads to the socket, if something may have happened to it.
    fn check_name(&self) -> Result<(), RendezvousError> {
        match (&self.named, &self.right) {
            (Some(named), Some(right)) => named.check(&self.name, right),
            _ => Ok(()),
        }
    }

    /// Accepts those who have connected, a few at a time, so that those who came before get on.
    fn accept_pending(&mut self) -> Result<(), RendezvousError> {
        for accepted in 0..MOST_AT_ONCE / 4 {
            let full = self.pending.len() >= MOST_AT_ONCE;
            if !self.ready.is_empty() || (full && !(self.has_backlog() && self.make_room())) {
                return Ok(());
            }
            let socket = match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                // It had hung up already, or a signal came.
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                // The kernel makes the descriptor before it looks who waits, and perhaps no connector does. If one does,
                // the next call reports it.
                Err(Errno::MFILE | Errno::NFILE) if accepted > 0 => return Ok(()),
                Err(e) => return Err(self.name.error(RendezvousReason::System("accept", e.into()))),
            };
            match Handshake::new(socket, &self.terms) {
                Ok(handshake) => self.receive(handshake),
                Err(failed) => self.note(&failed),
            }
        }
        Ok(())
    }

    fn receive(&mut self, mut handshake: Handshake) {
        // HELLO was probably said before it was accepted, and perhaps that is all there is to say.
        match handshake.advance(&self.next_channel(), &self.terms) {
            Progress::Waiting => {}
            Progress::Established(met) => return self.established(handshake, *met),
            Progress::Failed(failed) => return self.note(&failed),
        }
        let token = self.next;
        self.next += 1;
        let data = epoll::EventData::new_u64(token);
        if let Err(e) = epoll::add(&self.epoll, handshake.socket(), data, epoll::EventFlags::IN) {
            self.note(&handshake.end(HandshakeError::System(e.into())));
            return;
        }
        self.pending.insert(token, handshake);
        self.set_timer();
    }

    /// Goes on with one rendezvous.
    fn on_message(&mut self, token: u64) {
        let config = self.next_channel();
        let Some(connector) = self.pending.get_mut(&token) else { return };
        match connector.advance(&config, &self.terms) {
            Progress::Waiting => {}
            Progress::Established(met) => {
                if let Some(connector) = self.leave(token) {
                    self.established(connector, *met);
                }
            }
            Progress::Failed(failed) => {
                self.leave(token);
                self.note(&failed);
            }
        }
    }

    /// The channel that the next connector gets.
    fn next_channel(&self) -> Config {
        let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Config { channel: channel_number(), made, ..self.config }
    }

    fn established(&mut self, connector: Handshake, met: Established) {
        let socket = Arc::new(connector.into_socket());
        self.ready.push_back(super::connected(0, socket, met.own, met.peer, met.sender, met.pidfd));
    }

    /// Takes one out of those who wait.
    pub(super) fn leave(&mut self, token: u64) -> Option<Handshake> {
        let connector = self.pending.remove(&token)?;
        // It must not stay watched: its socket lives on if the two have met.
        let _ = epoll::delete(&self.epoll, connector.socket());
        self.resume_accepting();
        Some(connector)
    }

    /// Lets no process connect any more, and hangs up on those that have and were not accepted: one by one, because what they
    /// have sent can take long to close.
    fn reject_backlog(&self) {
        if self.adopted {
            return;
        }
        let _ = shutdown(&self.socket, Shutdown::Both);
        loop {
            match accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => drop(PeerSocket::new(socket)),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return,
            }
        }
    }

    /// Stops listening and removes the name.
    ///
    /// # Errors
    /// What the system says; the name may be left then, and the next listener takes it over.
    pub(crate) fn close(mut self) -> Result<(), RendezvousError> {
        // A forked child has a copy; the name is the parent's.
        if self.pid != process::id() {
            return Ok(());
        }
        self.reject_backlog();
        self.pid = 0;
        self.right.take().map_or(Ok(()), |right| self.name.remove(&right))
    }
}

impl AsFd for SocketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Drop for SocketListener {
    fn drop(&mut self) {
        // A forked child has a copy; the name is the parent's.
        if self.pid != process::id() {
            return;
        }
        self.reject_backlog();
        if let Some(right) = &self.right
            && let Err(e) = self.name.remove(right)
        {
            crate::trace::name_left(&e);
        }
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
