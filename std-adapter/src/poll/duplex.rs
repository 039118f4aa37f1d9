//! A descriptor that is readable and writable as the two directions of a stream are: one socket of a pair.
//!
//! The kernel knows no descriptor that becomes writable when another one becomes readable. So the watcher does it: when the peer
//! rings, or hangs up, it puts a byte into the pair and takes out what fills it. Which direction was meant the ring does
//! not say, so that both are worth an attempt then. The one that finds nothing takes its own mark away.
//!
//! No ring is lost: the watcher takes nothing from the rendezvous socket. That stays readable until an attempt takes what has
//! come, and each attempt that finds nothing has the watcher look again.

use crate::liveness::{self, Half, OnReadable};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
    sockopt::set_socket_send_buffer_size,
};
use smstream_shm::memory::retry;
use std::io;
use std::sync::Arc;

/// More than what one of the sockets holds.
const FILL: [u8; 1 << 13] = [0; 1 << 13];

/// The pair, and what the owner of the stream has made of it.
#[derive(Debug)]
pub(super) struct Duplex {
    pair: Arc<Pair>,
    /// Which directions the owner has marked as ready since it took their mark away. The watcher may have done so, too.
    marked: [bool; 2],
    /// Readable when the peer has rung.
    rung: Arc<OwnedFd>,
}

/// The sockets.
#[derive(Debug)]
struct Pair {
    /// Is waited for: readable while something is to be received, writable while it is not full.
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Duplex {
    /// A descriptor that is neither readable nor not writable yet. `rung` becomes readable when the peer has rung.
    pub(super) fn new(rung: Arc<OwnedFd>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (outer, inner) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        for socket in [&outer, &inner] {
            // The least that there is. If it is more, filling takes longer.
            let _ = set_socket_send_buffer_size(socket, 1);
        }
        let this = Duplex { pair: Arc::new(Pair { outer, inner }), marked: [false, true], rung };
        // Now, so that the caller learns if there can be no watcher.
        this.arm()?;
        Ok(this)
    }

    /// Has the watcher mark both directions when the peer has rung, or has rung already.
    pub(super) fn arm(&self) -> io::Result<()> {
        let pair: Arc<dyn OnReadable> = Arc::clone(&self.pair) as _;
        liveness::call_when_readable(self.rung.as_fd(), pair)
    }

    /// Shows that these directions are worth an attempt. With `anew` an edge-triggered poller sees it again.
    pub(super) fn mark(&mut self, ready: [bool; 2], anew: bool) -> io::Result<()> {
        for half in [Half::Reader, Half::Writer] {
            let at = half as usize;
            if ready[at] && (anew || !self.marked[at]) {
                self.pair.mark(half)?;
                self.marked[at] = true;
            }
        }
        Ok(())
    }

    /// Shows that a direction is not worth an attempt, until the peer rings.
    pub(super) fn unmark(&mut self, half: Half) -> io::Result<()> {
        self.marked[half as usize] = false;
        self.pair.unmark(half)
    }

    /// What is waited for.
    pub(super) fn outer(&self) -> &OwnedFd {
        &self.pair.outer
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        liveness::call_no_more(self.rung.as_fd());
    }
}

impl Pair {
    fn mark(&self, half: Half) -> io::Result<()> {
        match half {
            // If it is full, it is readable.
            Half::Reader => or_full(retry(|| send(&self.inner, &[0], SendFlags::NOSIGNAL))).map(drop),
            Half::Writer => empty(self.inner.as_fd()),
        }
    }

    fn unmark(&self, half: Half) -> io::Result<()> {
        match half {
            Half::Reader => empty(self.outer.as_fd()),
            Half::Writer => {
                while or_full(retry(|| send(&self.outer, &FILL, SendFlags::NOSIGNAL)))?.is_some() {}
                Ok(())
            }
        }
    }
}

impl OnReadable for Pair {
    fn on_readable(&self) {
        let writable = self.mark(Half::Writer);
        let readable = self.mark(Half::Reader);
        if writable.and(readable).is_err() {
            // Then it is readable for good: the owner looks too often, and misses nothing.
            let _ = rustix::net::shutdown(&self.inner, rustix::net::Shutdown::Write);
        }
    }
}

/// Receives all there is.
fn empty(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut bytes = [0; FILL.len()];
    while or_full(retry(|| recv(socket, &mut bytes, RecvFlags::empty())))?.is_some_and(|(taken, _)| taken > 0) {}
    Ok(())
}

/// `None`: the call would have to wait.
fn or_full<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(Errno::AGAIN) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

    fn state(fd: &OwnedFd, wait: Option<&Timespec>) -> PollFlags {
        let mut fds = [PollFd::new(fd, PollFlags::IN | PollFlags::OUT)];
        poll(&mut fds, wait).unwrap();
        fds[0].revents()
    }

    #[test]
    fn each_direction_is_shown_by_itself() {
        let rung = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap());
        let mut duplex = Duplex::new(Arc::clone(&rung)).unwrap();
        let now = |duplex: &Duplex| state(duplex.outer(), Some(&Timespec::default()));
        for round in 0..100 {
            duplex.unmark(Half::Reader).unwrap();
            duplex.mark([false, true], false).unwrap();
            assert_eq!(now(&duplex), PollFlags::OUT, "round {round}");
            duplex.mark([true, false], false).unwrap();
            assert_eq!(now(&duplex), PollFlags::IN | PollFlags::OUT);
            duplex.unmark(Half::Writer).unwrap();
            assert_eq!(now(&duplex), PollFlags::IN);
            duplex.unmark(Half::Reader).unwrap();
            assert_eq!(now(&duplex), PollFlags::empty());
        }
        // The watcher marks both, once for each time that it is asked to.
        rustix::io::write(&rung, &1u64.to_ne_bytes()).unwrap();
        duplex.arm().unwrap();
        while state(duplex.outer(), None) != PollFlags::IN | PollFlags::OUT {}
    }

    /// However often the watcher marks what is not looked at, the sockets take a bounded part of that.
    #[test]
    fn marks_do_not_pile_up() {
        let rung = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap());
        let mut duplex = Duplex::new(rung).unwrap();
        for _ in 0..10_000 {
            duplex.pair.on_readable();
        }
        duplex.unmark(Half::Reader).unwrap();
        assert_eq!(state(duplex.outer(), Some(&Timespec::default())), PollFlags::OUT);
    }
}
