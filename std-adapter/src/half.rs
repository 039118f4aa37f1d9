//! The two halves of a stream: what reads and what writes.

mod mode;
mod polled;
mod reader;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use smstream_core::park::ALERT_CANCEL;

use crate::buffering::Policy;
use crate::doorbell::Doorbell;
use crate::error::{Error, Reason};
use crate::history::{History, Operation};
use crate::liveness::{Life, WatchMode};
use crate::rendezvous::Link;
use crate::trace;
use smstream_shm::memory::Both;
use smstream_shm::memory::guard::Cut;

pub(crate) use mode::Mode;
pub(crate) use polled::Polled;
pub(crate) use reader::Beside;
pub use reader::ReadHalf;
pub use writer::WriteHalf;

/// What the halves of one end have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Who is on the other side, for messages.
    pub(crate) peer: String,
    /// Whether the segments were cut short, if they are guarded.
    pub(crate) cut: Option<Arc<Cut>>,
    pub(crate) life: Arc<Life>,
    /// What there is beside the memory, if the parties met over a socket.
    #[expect(dead_code, reason = "held for its descriptors")]
    pub(crate) link: Option<Link>,
    /// To be woken by the socket.
    pub(crate) doorbell: Option<Arc<Doorbell>>,
    pub(crate) read: Mode,
    pub(crate) write: Mode,
    /// This end was given up: dropping it says neither FIN nor STOP.
    pub(crate) aborted: AtomicBool,
    /// Whether a call on the whole stream takes part in telling deadlocks.
    pub(crate) deadlock_detection: bool,
    /// When written bytes are published.
    pub(crate) policy: Policy,
    pub(crate) history: History,
    /// The segments. The halves point into them, and are dropped before them, because each holds this in an `Arc`.
    #[expect(dead_code, reason = "held for its drop, which unmaps")]
    pub(crate) memory: Both,
}

impl Shared {
    /// See [`Stream::abort`](crate::Stream::abort).
    pub(crate) fn abort(&self) {
        // The peer of an end without a proof of life would never learn of it otherwise.
        if self.life.watch_mode() != WatchMode::None {
            self.aborted.store(true, Ordering::Release);
        } else {
            self.read.shut();
            self.write.shut();
        }
        self.life.leave();
        self.life.raise_both(ALERT_CANCEL);
    }

    /// Whether somebody waits for this end with `poll`, `epoll` or an executor.
    pub(crate) fn is_polled(&self) -> bool {
        self.doorbell.as_ref().is_some_and(|doorbell| doorbell.is_polled())
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    fn given_up(&self, doing: &str) -> Error {
        Error::new(Reason::Aborted, format!("cannot {doing}: the connection to {} was given up here", self.peer))
    }

    fn gone(&self, doing: &str) -> Error {
        let text = format!("cannot {doing}: {} died without closing the stream", self.peer);
        Error::new(Reason::PeerGone, text)
    }

    fn is_cut(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.is_set())
    }

    fn corrupt(&self, doing: &str) -> Error {
        if self.is_cut() {
            let text = format!(
                "cannot {doing}: somebody has shortened the memory shared with {}; the stream is closed",
                self.peer
            );
            return Error::new(Reason::Corrupt, text);
        }
        let text = format!(
            "cannot {doing}: the words that {} writes in shared memory break the rules; the stream is closed",
            self.peer
        );
        Error::new(Reason::Corrupt, text)
    }

    /// `here`: this end has said itself that no more will come.
    fn closed(&self, here: bool) -> Error {
        let text = if here {
            format!("cannot write to {}: this end was shut down for writing", self.peer)
        } else {
            format!("cannot write: {} takes no more bytes", self.peer)
        };
        Error::new(Reason::WriteAfterClose, text)
    }

    fn read_deadlock(&self) -> Error {
        let text = format!(
            "cannot read: {} waits to read, too, and nothing is on its way to either; let one side write first, or read \
             with a timeout",
            self.peer
        );
        Error::new(Reason::Deadlock, text)
    }

    fn write_deadlock(&self) -> Error {
        let text = format!(
            "cannot write: {} waits to write, too, and both lanes are full; let one side read first, or take larger lanes, \
             or split the stream and read in another thread",
            self.peer
        );
        Error::new(Reason::Deadlock, text)
    }

    /// An error that the call at hand returns.
    #[cold]
    fn told(&self, during: Operation, error: Error) -> io::Error {
        // The ordinary course of a stream that does not wait for ever is no incident.
        if !matches!(error.reason(), Reason::WouldBlock | Reason::TimedOut) {
            self.note(during, &error, true, SystemTime::now());
        }
        error.into()
    }

    /// An error that no call returns.
    #[cold]
    fn untold(&self, during: Operation, error: &Error) {
        self.note(during, error, false, SystemTime::now());
    }

    fn note(&self, during: Operation, error: &Error, told: bool, at: SystemTime) {
        if self.history.note(during, error, told, at) {
            trace::incident(&self.peer, during, error, told);
        }
    }

    /// Whether the peer's death was noticed, and is not in the history yet.
    pub(crate) fn has_news(&self) -> bool {
        self.life.is_gone() && !self.history.knows(Reason::PeerGone)
    }

    /// The peer died, and some direction had not come to its end.
    pub(crate) fn note_death(&self) {
        let at = self.life.gone_since().unwrap_or_else(SystemTime::now);
        let text = format!("{} died without closing the stream", self.peer);
        self.note(Operation::Watch, &Error::new(Reason::PeerGone, text), false, at);
    }
}

#[cfg(test)]
#[path = "half_tests.rs"]
mod tests;
