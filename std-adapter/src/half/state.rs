//! How a half waits, and what has gone wrong on its stream.

use std::time::Duration;

use super::{Peer, ReadHalf, WriteHalf};
use crate::error::{Error, Result};
use crate::history::Incident;

impl ReadHalf {
    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.shared.peer
    }

    /// Gives up both halves: see [`Stream::abort`](crate::Stream::abort).
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Sets how long a read may wait for its first byte; `None`: for ever.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`](crate::Reason::InvalidInput) for a timeout of zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.shared.read.set_timeout(timeout)
    }

    /// Sets whether reading gives [`std::io::ErrorKind::WouldBlock`] instead of waiting.
    pub fn set_nonblocking(&self, on: bool) {
        self.shared.read.set_nonblocking(on);
    }

    /// An error of the stream that no call has returned: see [`Stream::take_error`](crate::Stream::take_error).
    ///
    /// # Errors
    /// None at present; a socket has some.
    pub fn take_error(&mut self) -> Result<Option<Error>> {
        self.refresh_errors();
        Ok(self.shared.history.take())
    }

    /// What has gone wrong on the stream: see [`Stream::history`](crate::Stream::history).
    pub fn history(&mut self) -> Vec<Incident> {
        self.refresh_errors();
        self.shared.history.all()
    }

    fn refresh_errors(&mut self) {
        if self.shared.has_unrecorded_death() && self.has_lost_its_peer() {
            self.shared.record_death();
        }
    }
}

impl WriteHalf {
    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.shared.peer
    }

    /// Gives up both halves: see [`Stream::abort`](crate::Stream::abort).
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Sets how long a write may wait for room; `None`: for ever.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`](crate::Reason::InvalidInput) for a timeout of zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.shared.write.set_timeout(timeout)
    }

    /// Sets whether writing gives [`std::io::ErrorKind::WouldBlock`] instead of waiting.
    pub fn set_nonblocking(&self, on: bool) {
        self.shared.write.set_nonblocking(on);
    }

    /// An error of the stream that no call has returned: see [`Stream::take_error`](crate::Stream::take_error).
    ///
    /// # Errors
    /// None at present; a socket has some.
    pub fn take_error(&mut self) -> Result<Option<Error>> {
        self.refresh_errors();
        Ok(self.shared.history.take())
    }

    /// What has gone wrong on the stream: see [`Stream::history`](crate::Stream::history).
    pub fn history(&mut self) -> Vec<Incident> {
        self.refresh_errors();
        self.shared.history.all()
    }

    fn refresh_errors(&mut self) {
        if self.shared.has_unrecorded_death() && self.has_lost_its_peer() {
            self.shared.record_death();
        }
    }
}
