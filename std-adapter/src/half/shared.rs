//! What the two halves of an end share: the memory, what is known of the peer, and how each direction waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Reason, Result};
use crate::liveness::Life;
use crate::memory::Mapping;
use crate::memory::guard::Cut;
use crate::rendezvous::Link;

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
    pub(crate) read: Mode,
    pub(crate) write: Mode,
    /// The segments. The halves point into them, and are dropped before them, because each holds this in an `Arc`.
    #[expect(dead_code, reason = "held for its drop, which unmaps")]
    pub(crate) memory: [Mapping; 2],
}

/// How one direction waits. Set from any thread, looked at before each wait.
#[derive(Debug, Default)]
pub(crate) struct Mode {
    nonblocking: AtomicBool,
    /// Nanoseconds; 0 means no timeout.
    timeout: AtomicU64,
    /// The direction was shut down by `&self`, perhaps while somebody waits in it.
    shut: AtomicBool,
}

impl Mode {
    pub(crate) fn set_nonblocking(&self, on: bool) {
        self.nonblocking.store(on, Ordering::Relaxed);
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        let nanos = match timeout {
            None => 0,
            Some(Duration::ZERO) => {
                let text =
                    "a timeout of zero makes no sense; use set_nonblocking to never wait, or None to wait for ever";
                return Err(Error::new(Reason::InvalidInput, text));
            }
            Some(t) => u64::try_from(t.as_nanos()).unwrap_or(u64::MAX),
        };
        self.timeout.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self.timeout.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Release);
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }
}

impl Shared {
    pub(crate) fn gone(&self, doing: &str) -> Error {
        let text = format!("cannot {doing}: {} died without closing the stream", self.peer);
        Error::new(Reason::PeerGone, text)
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.is_set())
    }

    pub(crate) fn corrupt(&self, doing: &str) -> Error {
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
    pub(crate) fn closed(&self, here: bool) -> Error {
        let text = if here {
            format!("cannot write to {}: this end was shut down for writing", self.peer)
        } else {
            format!("cannot write: {} takes no more bytes", self.peer)
        };
        Error::new(Reason::WriteAfterClose, text)
    }
}
