//! The half of a stream that writes.

use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::time::Duration;

use smstream_core::error::{WaitError, WriteError};
use smstream_core::lane::Producer;
use smstream_core::park::ALERT_CORRUPT;

use super::{ReadHalf, Shared};
use crate::buffering::{self, BufMode};
use crate::error::{Error, Reason, Result};
use crate::history::{Incident, Operation};
use crate::liveness::Half;
use crate::parking::Parker;
use crate::trace;
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Cut;

/// The half of a [`Stream`](crate::Stream) that writes. Dropping it tells the peer that no more will come.
#[derive(Debug)]
pub struct WriteHalf {
    producer: Producer<'static, Parker>,
    /// Looked at after each access to the segments, so kept near.
    cut: Option<Arc<Cut>>,
    pub(crate) shared: Arc<Shared>,
}

impl WriteHalf {
    /// `producer` points into the memory of `shared`.
    pub(crate) fn new(producer: Producer<'static, Parker>, shared: Arc<Shared>) -> Self {
        WriteHalf { producer, cut: shared.cut.clone(), shared }
    }

    pub(crate) fn producer(&self) -> &Producer<'static, Parker> {
        &self.producer
    }

    /// For the reading half of the same stream, which waits for the whole party, and for conditions.
    pub(crate) fn producer_mut(&mut self) -> &mut Producer<'static, Parker> {
        &mut self.producer
    }

    /// The other half found the peer corrupt.
    pub(crate) fn fail(&mut self) {
        self.producer.fail();
    }

    /// Says that no more will come: what is held back is published, and the peer reads what is left, then the end of the
    /// stream.
    pub fn shutdown(&mut self) {
        if self.producer.is_finished() {
            return;
        }
        // Somebody may have been waiting with `poll`, and left it announced.
        self.producer.withdraw();
        self.producer.finish();
        trace::closed(&self.shared.peer, Half::Writer);
        if let Some(lost @ 1..) = self.producer.undelivered() {
            let (reason, why) = match self.shared.life.is_gone() && !self.producer.is_peer_stopped() {
                true => (Reason::PeerGone, "died without closing the stream"),
                false => (Reason::WriteAfterClose, "takes no more bytes"),
            };
            let text = format!("the last {lost} bytes that were written are never read: {} {why}", self.shared.peer);
            self.shared.untold(Operation::Close, &Error::new(reason, text));
        }
    }

    /// Bytes that were written and that the peer will never read, because it has closed or died. `None` while it may
    /// still read them. Bytes that are held back count as written.
    pub fn undelivered(&mut self) -> Option<usize> {
        self.producer.undelivered()
    }

    /// Whether the peer takes no more bytes: see [`Stream::peer_stopped_reading`](crate::Stream::peer_stopped_reading).
    pub fn peer_stopped_reading(&mut self) -> bool {
        // Looks at the peer's words.
        self.producer.undelivered();
        self.producer.is_peer_stopped()
    }

    /// Gives up both halves: see [`Stream::abort`](crate::Stream::abort).
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Sets how long a write may wait for room; `None`: for ever.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] for a timeout of zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.shared.write.set_timeout(timeout)
    }

    /// Sets whether writing gives [`io::ErrorKind::WouldBlock`] instead of waiting.
    pub fn set_nonblocking(&self, on: bool) {
        self.shared.write.set_nonblocking(on);
    }

    /// Sets when written bytes are published. What is held back is published now.
    pub fn set_buf_mode(&mut self, mode: BufMode) {
        self.shared.policy.set(mode);
        self.publish_held();
    }

    /// When written bytes are published.
    #[must_use]
    pub fn buf_mode(&self) -> BufMode {
        self.shared.policy.get()
    }

    /// Bytes that were written and are held back: the peer is not shown them yet.
    #[must_use]
    pub fn held_back(&self) -> usize {
        self.producer.unflushed()
    }

    /// An error of the stream that no call has returned: see [`Stream::take_error`](crate::Stream::take_error).
    ///
    /// # Errors
    /// None at present; a socket has some.
    pub fn take_error(&mut self) -> Result<Option<Error>> {
        self.look_for_news();
        Ok(self.shared.history.take())
    }

    /// What has gone wrong on the stream: see [`Stream::history`](crate::Stream::history).
    pub fn history(&mut self) -> Vec<Incident> {
        self.look_for_news();
        self.shared.history.all()
    }

    fn look_for_news(&mut self) {
        if self.shared.has_news() && self.has_lost_its_peer() {
            self.shared.note_death();
        }
    }

    /// Of a peer that is known to be gone: whether it was to read more.
    pub(crate) fn has_lost_its_peer(&mut self) -> bool {
        // Looks at the peer's cursor.
        let undelivered = self.producer.undelivered();
        let all_is_read = self.producer.is_finished() && undelivered == Some(0);
        !self.producer.is_peer_stopped() && !all_is_read
    }

    /// Publishes what is held back, before something else is done. An error of that is for the history.
    #[inline]
    pub(crate) fn publish_held(&mut self) {
        if self.producer.unflushed() != 0
            && let Err(e) = self.publish()
        {
            self.shared.untold(Operation::Flush, &e);
        }
    }

    /// Publishes what is held back, and says whether somebody takes it.
    fn publish(&mut self) -> Result<()> {
        if self.producer.unflushed() == 0 {
            return Ok(());
        }
        self.producer.flush();
        // Writing nothing asks.
        let result = self.producer.write(&[]).map(drop).map_err(|e| self.error(e));
        self.whole()?;
        result
    }

    /// Waits as the mode says, for room for up to `want` bytes. `other`: the caller has the whole stream.
    #[cold]
    fn wait(&mut self, want: usize, other: Option<&mut ReadHalf>) -> Result<()> {
        let mode = &self.shared.write;
        if mode.is_nonblocking() {
            self.shared.life.look_after();
            // Nobody makes room by reading what he is not shown.
            self.producer.flush();
            if self.shared.is_aborted() {
                return Err(self.shared.given_up("write"));
            }
            return Err(Error::new(Reason::WouldBlock, "there is no room to write yet"));
        }
        let timeout = mode.timeout();
        trace::waits(&self.shared.peer, Half::Writer, want);
        let waited = match other {
            Some(other) if timeout.is_none() && self.shared.deadlock_detection => {
                self.producer.wait_exclusive(want, other.consumer_mut())
            }
            _ => self.producer.wait(want, timeout.map(Deadline::after)),
        };
        match waited {
            Ok(_) => Ok(()),
            Err(WaitError::TimedOut) => Err(Error::new(
                Reason::TimedOut,
                format!(
                    "{} read nothing for {:?}, and there is no room",
                    self.shared.peer,
                    timeout.unwrap_or_default()
                ),
            )),
            Err(WaitError::Cancelled) if self.shared.is_aborted() => Err(self.shared.given_up("write")),
            Err(WaitError::Cancelled) => {
                self.shutdown();
                Err(self.closed())
            }
            Err(WaitError::Closed) => Err(self.closed()),
            Err(WaitError::PeerGone) => Err(self.shared.gone("write")),
            Err(WaitError::Deadlock) => Err(self.shared.write_deadlock()),
            Err(_) => Err(self.corrupt()),
        }
    }

    #[cold]
    fn closed(&self) -> Error {
        self.shared.closed(self.producer.is_finished())
    }

    /// What was touched until now was there. If not, it may have been memory of this process's own.
    #[inline]
    fn whole(&mut self) -> Result<()> {
        match &self.cut {
            Some(cut) if cut.is_set() => Err(self.cut_off()),
            _ => Ok(()),
        }
    }

    #[cold]
    fn cut_off(&mut self) -> Error {
        self.producer.fail();
        self.corrupt()
    }

    #[cold]
    fn corrupt(&mut self) -> Error {
        self.shared.life.raise(Half::Reader, ALERT_CORRUPT);
        self.shared.corrupt("write")
    }

    /// The error for one that waiting does not help against.
    #[cold]
    fn error(&mut self, e: WriteError) -> Error {
        match e {
            WriteError::Closed => self.closed(),
            WriteError::PeerGone => self.shared.gone("write"),
            _ => self.corrupt(),
        }
    }

    /// What to do about an error: try again, or give up.
    #[cold]
    fn failed(&mut self, e: WriteError, want: usize, other: Option<&mut ReadHalf>) -> Result<()> {
        if self.shared.write.is_shut() {
            self.shutdown();
            return Err(self.closed());
        }
        let result = match e {
            WriteError::Full => self.wait(want, other),
            e => Err(self.error(e)),
        };
        self.whole()?;
        result
    }

    /// Puts as much into the lane as there is room for, and publishes as the mode says.
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        if self.shared.policy.is_none() {
            self.producer.write(bytes)
        } else {
            buffering::write(&mut self.producer, std::iter::once(bytes), self.shared.policy.get())
        }
    }

    fn put_vectored(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize, WriteError> {
        let pieces = bufs.iter().map(|b| &**b);
        if self.shared.policy.is_none() {
            self.producer.write_vectored(pieces)
        } else {
            buffering::write(&mut self.producer, pieces, self.shared.policy.get())
        }
    }
}

/// Writing, for one who has this half alone (`other` is `None`) or the whole stream.
impl WriteHalf {
    #[inline]
    pub(crate) fn write_beside(&mut self, bytes: &[u8], mut other: Option<&mut ReadHalf>) -> io::Result<usize> {
        loop {
            match self.put(bytes) {
                Ok(n) => {
                    self.whole().map_err(|e| self.shared.told(Operation::Write, e))?;
                    return Ok(n);
                }
                Err(e) => self.failed(e, 1, other.as_deref_mut()).map_err(|e| self.shared.told(Operation::Write, e))?,
            }
        }
    }

    pub(crate) fn write_vectored_beside(
        &mut self,
        bufs: &[IoSlice<'_>],
        mut other: Option<&mut ReadHalf>,
    ) -> io::Result<usize> {
        loop {
            match self.put_vectored(bufs) {
                Ok(n) => {
                    self.whole().map_err(|e| self.shared.told(Operation::Write, e))?;
                    return Ok(n);
                }
                Err(e) => self.failed(e, 1, other.as_deref_mut()).map_err(|e| self.shared.told(Operation::Write, e))?,
            }
        }
    }

    pub(crate) fn write_all_beside(&mut self, bytes: &[u8], mut other: Option<&mut ReadHalf>) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.put(left) {
                Ok(n) => {
                    self.whole().map_err(|e| {
                        let e = e.after(bytes.len() - left.len(), bytes.len());
                        self.shared.told(Operation::Write, e)
                    })?;
                    left = &left[n..];
                }
                Err(e) => self.failed(e, left.len(), other.as_deref_mut()).map_err(|e| {
                    let e = e.after(bytes.len() - left.len(), bytes.len());
                    self.shared.told(Operation::Write, e)
                })?,
            }
        }
        Ok(())
    }
}

impl Write for WriteHalf {
    /// Waits for room for at least one byte, then writes as much as there is room for. Writing no bytes at all tells
    /// whether the peer still takes any: it gives the error that writing one would give, and never waits.
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_beside(bytes, None)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored_beside(bufs, None)
    }

    /// Like [`write`](Write::write) in a loop, but asks to be woken only when there is room for half a lane, or for all
    /// that is left. If it fails midway, the error says how many bytes went before: [`Error::written`].
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all_beside(bytes, None)
    }

    /// Publishes what is held back. With [`BufMode::None`] there is nothing to do: what was written is visible to the peer
    /// already.
    ///
    /// If something was held back, and the peer takes no more or is gone, this says so.
    fn flush(&mut self) -> io::Result<()> {
        self.publish().map_err(|e| self.shared.told(Operation::Flush, e))
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if self.shared.is_aborted() {
            return self.publish_held();
        }
        self.shutdown();
        if self.shared.is_cut() {
            // As for the half that reads.
            self.shared.life.raise(Half::Reader, ALERT_CORRUPT);
        }
    }
}
