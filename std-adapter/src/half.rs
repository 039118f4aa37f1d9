//! The two halves of a stream: what reads and what writes.

mod caller;
mod chunks;
mod mode;
mod polled;
mod reader;
mod record_views;
mod records;
mod state;
mod waitable;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use smstream_core::counter::Counts;
use smstream_core::error::WriteError;
use smstream_core::layout::CounterLine;
use smstream_core::park::ALERT_CANCEL;

use crate::buffering::Policy;
use crate::doorbell::Doorbell;
use crate::error::{Error, Reason};
use crate::history::{History, Operation};
use crate::liveness::{PeerMonitor, WatchMode};
use crate::rendezvous::{Credentials, Link};
use crate::trace;
use smstream_shm::memory::Both;
use smstream_shm::memory::guard::Cut;

pub(crate) use caller::Caller;
pub use chunks::{ReadChunk, WriteChunk};
pub(crate) use mode::Mode;
#[cfg(feature = "tokio")]
pub(crate) use polled::ForRecord;
pub(crate) use polled::Polled;
pub use reader::ReadHalf;
pub(crate) use reader::initialised;
pub use record_views::{ReadRecord, WriteRecord};
pub use writer::WriteHalf;

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The process that made the other end, as it says itself. For display: in another PID namespace the number means
    /// another process.
    pub pid: u32,
    /// Who the kernel says it is, if the two met over a socket (`unix:`, `fd:`). Over `file:` and `shm:` it is the same
    /// user, for other users cannot open the region.
    pub credentials: Option<Credentials>,
}

/// Whether the memory was cut short, if that is guarded.
#[inline]
fn is_cut(cut: &Option<Arc<Cut>>) -> bool {
    cut.as_ref().is_some_and(|cut| cut.is_set())
}

/// What the halves of one end have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Who is on the other side, for messages.
    pub(crate) peer_name: String,
    /// Who is on the other side.
    pub(crate) peer: Peer,
    /// The bytes that each lane holds: the one written here, the one read here.
    pub(crate) capacities: [usize; 2],
    /// Where the halves count, for any thread: the writing one, the reading one. They lie in `memory`.
    pub(crate) counters: [&'static CounterLine; 2],
    /// Whether the segments were cut short, if they are guarded.
    pub(crate) cut: Option<Arc<Cut>>,
    pub(crate) monitor: Arc<PeerMonitor>,
    /// What there is beside the memory, if the parties met over a socket.
    pub(crate) link: Option<Link>,
    /// To be woken by the socket.
    pub(crate) doorbell: Option<Arc<Doorbell>>,
    pub(crate) read: Mode,
    pub(crate) write: Mode,
    /// This end was given up: dropping it says neither FIN nor STOP.
    pub(crate) aborted: AtomicBool,
    /// This end was left to another process: dropping it publishes nothing either.
    pub(crate) relinquished: AtomicBool,
    /// Whether a call on the whole stream takes part in telling deadlocks.
    pub(crate) deadlock_detection: bool,
    /// Whether records are spoken: by this end, by the peer.
    pub(crate) records: [bool; 2],
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
        if self.monitor.watch_mode() != WatchMode::None {
            self.aborted.store(true, Ordering::Release);
        } else {
            self.read.shut();
            self.write.shut();
        }
        self.monitor.cancel_waiters();
        self.monitor.raise_both(ALERT_CANCEL);
    }

    /// Whether this end is waited for with `poll`, `epoll` or an executor.
    pub(crate) fn is_polled(&self) -> bool {
        self.doorbell.as_ref().is_some_and(|doorbell| doorbell.is_polled())
    }

    /// See [`Stream::relinquish`](crate::Stream::relinquish). Once the halves are dropped nothing is left here.
    pub(crate) fn relinquish(&self) {
        // The halves say neither FIN nor STOP then.
        self.aborted.store(true, Ordering::Release);
        self.relinquished.store(true, Ordering::Release);
        if let Some(link) = &self.link {
            link.socket.relinquish();
        }
    }

    /// Whether another process goes on using this end, so that nothing may be said here any more.
    fn is_relinquished(&self) -> bool {
        self.relinquished.load(Ordering::Acquire)
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    fn given_up(&self, doing: &str) -> Error {
        Error::new(Reason::Aborted, format!("cannot {doing}: the connection to {} was given up here", self.peer_name))
    }

    fn gone(&self, doing: &str) -> Error {
        let text = format!("cannot {doing}: {} died without closing the stream", self.peer_name);
        Error::new(Reason::PeerGone, text)
    }

    fn is_cut(&self) -> bool {
        is_cut(&self.cut)
    }

    fn corrupt(&self, doing: &str) -> Error {
        if self.is_cut() {
            let text = format!(
                "cannot {doing}: another process has shortened the memory shared with {}; the stream is closed",
                self.peer_name
            );
            return Error::new(Reason::Corrupt, text);
        }
        let text = format!(
            "cannot {doing}: the words that {} writes in shared memory break the rules; the stream is closed",
            self.peer_name
        );
        Error::new(Reason::Corrupt, text)
    }

    /// `here`: this end has said itself that no more will come.
    fn closed(&self, here: bool) -> Error {
        let text = if here {
            format!("cannot write to {}: this end was shut down for writing", self.peer_name)
        } else {
            format!("cannot write: {} takes no more bytes", self.peer_name)
        };
        Error::new(Reason::WriteAfterClose, text)
    }

    /// Why there is no room where there was some just now. The peer cannot take it away, but it can stop reading, or die.
    fn lost_room(&self, e: WriteError, doing: &str) -> Error {
        match e {
            WriteError::Closed => self.closed(false),
            WriteError::PeerGone => self.gone(doing),
            _ => self.corrupt(doing),
        }
    }

    fn read_deadlock(&self) -> Error {
        let text = format!(
            "cannot read: {} waits to read, too, and nothing is on its way to either; let one side write first, or read \
             with a timeout",
            self.peer_name
        );
        Error::new(Reason::Deadlock, text)
    }

    fn write_deadlock(&self) -> Error {
        let text = format!(
            "cannot write: {} waits to write, too, and both lanes are full; let one side read first, or take larger lanes, \
             or split the stream and read in another thread",
            self.peer_name
        );
        Error::new(Reason::Deadlock, text)
    }

    fn read_timed_out(&self, timeout: Option<Duration>) -> Error {
        let text = format!("{} sent nothing for {:?}", self.peer_name, timeout.unwrap_or_default());
        Error::new(Reason::TimedOut, text)
    }

    fn write_timed_out(&self, timeout: Option<Duration>) -> Error {
        let time = timeout.unwrap_or_default();
        Error::new(Reason::TimedOut, format!("{} read nothing for {time:?}, and there is no room", self.peer_name))
    }

    /// What the halves have done so far: the writing one, the reading one. Any thread may ask at any time.
    pub(crate) fn counts(&self) -> [Counts; 2] {
        self.counters.map(CounterLine::sample)
    }

    /// An error that the call at hand returns.
    #[cold]
    fn report(&self, during: Operation, error: Error) -> io::Error {
        // The ordinary course of a stream that does not wait for ever is no incident.
        if !matches!(error.reason(), Reason::WouldBlock | Reason::TimedOut) {
            self.note(during, &error, true, SystemTime::now());
        }
        error.into()
    }

    /// An error that no call returns.
    #[cold]
    fn record(&self, during: Operation, error: &Error) {
        self.note(during, error, false, SystemTime::now());
    }

    fn note(&self, during: Operation, error: &Error, reported: bool, at: SystemTime) {
        if self.history.note(during, error, reported, at) {
            trace::incident(&self.peer_name, during, error, reported);
        }
    }

    /// Whether the peer's death was noticed, and is not in the history yet.
    pub(crate) fn has_unrecorded_death(&self) -> bool {
        self.monitor.is_gone() && !self.history.knows(Reason::PeerGone)
    }

    /// The peer died, and some direction had not come to its end.
    pub(crate) fn record_death(&self) {
        let at = self.monitor.gone_since().unwrap_or_else(SystemTime::now);
        let text = format!("{} died without closing the stream", self.peer_name);
        self.note(Operation::Watch, &Error::new(Reason::PeerGone, text), false, at);
    }
}

#[cfg(test)]
#[path = "half_tests.rs"]
mod tests;
