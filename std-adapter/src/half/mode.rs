//! How one direction of a stream waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Reason, Result};

/// How one direction waits. Set from any thread, looked at before each wait.
#[derive(Debug, Default)]
pub(crate) struct Mode {
    nonblocking: AtomicBool,
    /// Nanoseconds; 0 means no timeout.
    timeout: AtomicU64,
    /// The direction was shut down by `&self`, perhaps while another thread waits in it.
    shut: AtomicBool,
    /// The thread that uses the direction is waiting for the peer, and not at work.
    waiting: AtomicBool,
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

    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Set for as long as the thread that uses the direction waits for the peer.
    pub(crate) fn set_waiting(&self, on: bool) {
        self.waiting.store(on, Ordering::Release);
    }

    /// Whether the thread that uses the direction waits for the peer, so that another one would wait for the peer, too.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }
}
