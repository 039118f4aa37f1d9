//! The half of a stream that reads.

use std::io::{self, IoSliceMut, Read};
use std::sync::Arc;
use std::time::Duration;

use smstream_core::error::{ReadError, WaitError};
use smstream_core::lane::Consumer;
use smstream_core::park::ALERT_CORRUPT;

use super::{Shared, WriteHalf};
use crate::error::{Error, Reason, Result};
use crate::history::{Incident, Operation};
use crate::liveness::Half;
use crate::parking::Parker;
use crate::trace;
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Cut;

/// The half of a [`Stream`](crate::Stream) that reads. Dropping it tells the peer that no more is taken.
#[derive(Debug)]
pub struct ReadHalf {
    consumer: Consumer<'static, Parker>,
    /// Looked at after each access to the segments, so kept near.
    cut: Option<Arc<Cut>>,
    pub(crate) shared: Arc<Shared>,
}

/// What a caller who reads has beside the reading half.
pub(crate) enum Beside<'a> {
    /// Nothing.
    Nothing,
    /// The writing half, too: the caller has the whole stream.
    Whole(&'a mut WriteHalf),
    /// A stream that other threads may be using: what to do before waiting.
    Shared(&'a dyn Fn()),
}

impl Beside<'_> {
    /// Before a wait: what is held back is published, where the caller may do that.
    fn publish(&mut self) {
        match self {
            Beside::Nothing => {}
            Beside::Whole(writer) => writer.publish_held(),
            Beside::Shared(publish) => publish(),
        }
    }
}

impl ReadHalf {
    /// `consumer` points into the memory of `shared`.
    pub(crate) fn new(consumer: Consumer<'static, Parker>, shared: Arc<Shared>) -> Self {
        ReadHalf { consumer, cut: shared.cut.clone(), shared }
    }

    pub(crate) fn consumer(&self) -> &Consumer<'static, Parker> {
        &self.consumer
    }

    /// For the writing half of the same stream, which waits for the whole party, and for conditions.
    pub(crate) fn consumer_mut(&mut self) -> &mut Consumer<'static, Parker> {
        &mut self.consumer
    }

    /// The other half found the peer corrupt.
    pub(crate) fn fail(&mut self) {
        self.consumer.fail();
    }

    /// Says that no more will be taken: the peer's writes fail from now on. Bytes not yet read are lost.
    pub fn shutdown(&mut self) {
        if !self.consumer.is_stopped() {
            self.consumer.stop();
            trace::closed(&self.shared.peer, Half::Reader);
        }
    }

    /// Gives up both halves: see [`Stream::abort`](crate::Stream::abort).
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Sets how long a read may wait for its first byte; `None`: for ever.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] for a timeout of zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.shared.read.set_timeout(timeout)
    }

    /// Sets whether reading gives [`io::ErrorKind::WouldBlock`] instead of waiting.
    pub fn set_nonblocking(&self, on: bool) {
        self.shared.read.set_nonblocking(on);
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

    /// Of a peer that is known to be gone: whether more was to come from it.
    pub(crate) fn has_lost_its_peer(&mut self) -> bool {
        // Looks at the peer's cursor if it is not known that it is the last.
        let _ = self.consumer.peek();
        !self.consumer.is_peer_finished() && !self.consumer.is_stopped()
    }

    /// Waits as the mode says, for up to `want` bytes. `false`: the stream is at its end.
    #[cold]
    fn wait(&mut self, want: usize, beside: &mut Beside<'_>) -> Result<bool> {
        beside.publish();
        let mode = &self.shared.read;
        if mode.is_nonblocking() {
            self.shared.life.look_after();
            if self.shared.is_aborted() {
                return Err(self.shared.given_up("read"));
            }
            return Err(Error::new(Reason::WouldBlock, "there is nothing to read yet"));
        }
        let timeout = mode.timeout();
        trace::waits(&self.shared.peer, Half::Reader, want);
        let waited = match beside {
            Beside::Whole(writer) if timeout.is_none() && self.shared.deadlock_detection => {
                self.consumer.wait_exclusive(want, writer.producer_mut())
            }
            _ => self.consumer.wait(want, timeout.map(Deadline::after)),
        };
        match waited {
            Ok(n) => Ok(n > 0),
            Err(WaitError::TimedOut) => Err(Error::new(
                Reason::TimedOut,
                format!("{} sent nothing for {:?}", self.shared.peer, timeout.unwrap_or_default()),
            )),
            Err(WaitError::Cancelled) if self.shared.is_aborted() => Err(self.shared.given_up("read")),
            Err(WaitError::Cancelled | WaitError::Closed) => {
                self.shutdown();
                Ok(false)
            }
            Err(WaitError::PeerGone) => Err(self.shared.gone("read")),
            Err(WaitError::Deadlock) => Err(self.shared.read_deadlock()),
            Err(_) => Err(self.corrupt()),
        }
    }

    /// What was touched until now was there. If not, it may have been zeros of this process's own.
    #[inline]
    fn whole(&mut self) -> io::Result<()> {
        match &self.cut {
            Some(cut) if cut.is_set() => Err(self.cut_off()),
            _ => Ok(()),
        }
    }

    #[cold]
    fn cut_off(&mut self) -> io::Error {
        self.consumer.fail();
        let e = self.corrupt();
        self.shared.told(Operation::Read, e)
    }

    #[cold]
    fn corrupt(&mut self) -> Error {
        self.shared.life.raise(Half::Writer, ALERT_CORRUPT);
        self.shared.corrupt("read")
    }

    /// What to do about an error: `true`, try again; `false`, the stream is at its end.
    #[cold]
    fn failed(&mut self, e: ReadError, want: usize, beside: &mut Beside<'_>) -> io::Result<bool> {
        if self.shared.read.is_shut() {
            self.shutdown();
            return Ok(false);
        }
        let result = match e {
            ReadError::Empty => self.wait(want, beside),
            ReadError::PeerGone => Err(self.shared.gone("read")),
            _ => Err(self.corrupt()),
        };
        self.whole()?;
        result.map_err(|e| self.shared.told(Operation::Read, e))
    }

    /// [`read`](Read::read), by a caller who has more than this half.
    #[inline]
    pub(crate) fn read_beside(&mut self, out: &mut [u8], mut beside: Beside<'_>) -> io::Result<usize> {
        loop {
            match self.consumer.read(out) {
                Ok(n) => {
                    self.whole()?;
                    return Ok(n);
                }
                Err(e) => {
                    if !self.failed(e, 1, &mut beside)? {
                        return Ok(0);
                    }
                }
            }
        }
    }

    /// [`read_vectored`](Read::read_vectored), by a caller who has more than this half.
    pub(crate) fn read_vectored_beside(
        &mut self,
        bufs: &mut [IoSliceMut<'_>],
        mut beside: Beside<'_>,
    ) -> io::Result<usize> {
        loop {
            match self.consumer.read_vectored(bufs.iter_mut().map(|b| &mut **b)) {
                Ok(n) => {
                    self.whole()?;
                    return Ok(n);
                }
                Err(e) => {
                    if !self.failed(e, 1, &mut beside)? {
                        return Ok(0);
                    }
                }
            }
        }
    }

    /// [`read_exact`](Read::read_exact), by a caller who has more than this half.
    pub(crate) fn read_exact_beside(&mut self, mut out: &mut [u8], mut beside: Beside<'_>) -> io::Result<()> {
        while !out.is_empty() {
            match self.consumer.read(out) {
                Ok(n) => {
                    self.whole()?;
                    if n == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    out = &mut out[n..];
                }
                Err(e) => {
                    if !self.failed(e, out.len(), &mut beside)? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for at least one byte, and says where the bytes are that lie next to each other in the lane: valid for reads
    /// until the half is used again. None at the end of the stream. By a caller who has more than this half.
    pub(crate) fn peek_beside(&mut self, mut beside: Beside<'_>) -> io::Result<(*const u8, usize)> {
        loop {
            match self.consumer.peek() {
                Ok(peek) => {
                    let [run, _] = peek.parts();
                    self.whole()?;
                    return Ok(run);
                }
                Err(e) => {
                    if !self.failed(e, 1, &mut beside)? {
                        return Ok((std::ptr::NonNull::dangling().as_ptr(), 0));
                    }
                }
            }
        }
    }

    /// Takes up to `n` bytes that are there.
    pub(crate) fn take_bytes(&mut self, n: usize) {
        self.consumer.consume(n);
    }
}

impl Read for ReadHalf {
    /// Waits for at least one byte, then takes what is there. `Ok(0)`: the peer has closed, and all was read.
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.read_beside(out, Beside::Nothing)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_vectored_beside(bufs, Beside::Nothing)
    }

    /// Like [`read`](Read::read) in a loop, but asks to be woken only when half a lane, or all that is wanted, is there.
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_beside(out, Beside::Nothing)
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        if !self.shared.is_aborted() {
            self.shutdown();
        }
        if self.shared.is_cut() {
            // What was just said, nobody can hear. The other half, if it sleeps, must hear of it here.
            self.shared.life.raise(Half::Writer, ALERT_CORRUPT);
        }
    }
}
