//! The half of a stream that reads.

use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::sync::Arc;

use smstream_core::error::{ReadError, WaitError};
use smstream_core::lane::Consumer;
use smstream_core::park::ALERT_CORRUPT;

use super::{Caller, Shared, WriteHalf, is_cut};
use crate::error::{Error, Reason, Result};
use crate::history::Operation;
use crate::liveness::Half;
use crate::parking::Parker;
use crate::timed_mutex::{Requests, SHUT_DOWN};
use crate::trace;
use smstream_shm::memory::guard::Cut;

/// The half of a [`Stream`](crate::Stream) that reads. Dropping it tells the peer that no more is taken.
#[derive(Debug)]
pub struct ReadHalf {
    pub(super) consumer: Consumer<'static, Parker>,
    /// Looked at after each access to the segments, so kept near.
    pub(super) cut: Option<Arc<Cut>>,
    pub(crate) shared: Arc<Shared>,
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
            trace::closed(&self.shared.peer_name, Half::Reader);
        }
    }

    /// Of a peer that is known to be gone: whether more was to come from it.
    pub(crate) fn has_lost_its_peer(&mut self) -> bool {
        // Looks at the peer's cursor if it is not known that it is the last.
        let _ = self.consumer.peek();
        !self.consumer.is_peer_finished() && !self.consumer.is_stopped()
    }

    /// Reads what is there, and does not wait. `None` for an error: the memory was cut short.
    ///
    /// Bytes that need not be waited for go this way: here, and in [`Consumer::read`].
    #[inline]
    pub(crate) fn read_now(&mut self, out: &mut [u8]) -> Result<usize, Option<ReadError>> {
        match self.consumer.read(out) {
            Ok(n) if !is_cut(&self.cut) => Ok(n),
            Ok(_) => Err(None),
            Err(e) => Err(Some(e)),
        }
    }

    /// Goes on after `e`: waits and reads. 0 at the end of the stream.
    #[cold]
    pub(crate) fn read_after(
        &mut self,
        mut e: Option<ReadError>,
        out: &mut [u8],
        mut caller: Caller<'_, WriteHalf>,
    ) -> io::Result<usize> {
        loop {
            if !self.resolve(e, 1, &mut caller)? {
                return Ok(0);
            }
            match self.read_now(out) {
                Ok(n) => return Ok(n),
                Err(next) => e = next,
            }
        }
    }

    /// [`read`](Read::read), for `caller`.
    #[inline]
    pub(crate) fn read_for(&mut self, out: &mut [u8], caller: Caller<'_, WriteHalf>) -> io::Result<usize> {
        match self.read_now(out) {
            Ok(n) => Ok(n),
            Err(e) => self.read_after(e, out, caller),
        }
    }

    /// [`read_vectored`](Read::read_vectored), for `caller`.
    pub(crate) fn read_vectored_for(
        &mut self,
        bufs: &mut [IoSliceMut<'_>],
        mut caller: Caller<'_, WriteHalf>,
    ) -> io::Result<usize> {
        loop {
            let e = match self.consumer.read_vectored(bufs.iter_mut().map(|b| &mut **b)) {
                Ok(n) if !is_cut(&self.cut) => return Ok(n),
                Ok(_) => None,
                Err(e) => Some(e),
            };
            if !self.resolve(e, 1, &mut caller)? {
                return Ok(0);
            }
        }
    }

    /// [`read_uninit`](ReadHalf::read_uninit), for `caller`. So many bytes at the start of `out` are initialised then.
    pub(crate) fn read_uninit_for(
        &mut self,
        out: &mut [MaybeUninit<u8>],
        mut caller: Caller<'_, WriteHalf>,
    ) -> io::Result<usize> {
        loop {
            let e = match self.consumer.read_uninit(out) {
                Ok(read) if !is_cut(&self.cut) => return Ok(read.len()),
                Ok(_) => None,
                Err(e) => Some(e),
            };
            if !self.resolve(e, 1, &mut caller)? {
                return Ok(0);
            }
        }
    }

    /// Reads like [`read`](Read::read) into memory that need not be initialised: see
    /// [`Stream::read_uninit`](crate::Stream::read_uninit).
    ///
    /// # Errors
    /// Those of a read.
    pub fn read_uninit<'b>(&mut self, out: &'b mut [MaybeUninit<u8>]) -> io::Result<&'b mut [u8]> {
        let n = self.read_uninit_for(out, Caller::Half)?;
        // SAFETY: so many bytes at its start were just initialised.
        Ok(unsafe { initialised(out, n) })
    }

    /// [`read_exact`](Read::read_exact), for `caller`. An error says how many bytes were read before.
    pub(crate) fn read_exact_for(&mut self, out: &mut [u8], mut caller: Caller<'_, WriteHalf>) -> io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.read_now(&mut out[done..]) {
                Ok(0) => return Err(self.ended_early(done, out.len())),
                Ok(n) => done += n,
                Err(e) => match self.wait_or_fail(e, out.len() - done, &mut caller) {
                    Ok(true) => {}
                    Ok(false) => return Err(self.ended_early(done, out.len())),
                    Err(e) => return Err(self.shared.report(Operation::Read, e.after_reading(done, out.len()))),
                },
            }
        }
        Ok(())
    }

    /// The stream is at its end, and more was wanted. An ordinary end is no incident.
    #[cold]
    fn ended_early(&self, done: usize, all: usize) -> io::Error {
        let text = format!("{} closed the stream", self.shared.peer_name);
        Error::new(Reason::UnexpectedEnd, text).after_reading(done, all).into()
    }

    /// Waits for up to `want` bytes, and says where those are that lie next to each other in the lane: valid for reads until
    /// the half is used again. None at the end of the stream.
    pub(crate) fn peek_run(&mut self, mut caller: Caller<'_, WriteHalf>) -> io::Result<(*const u8, usize)> {
        loop {
            let e = match self.consumer.peek() {
                Ok(peek) => {
                    let [run, _] = peek.parts();
                    if !is_cut(&self.cut) {
                        return Ok(run);
                    }
                    None
                }
                Err(e) => Some(e),
            };
            if !self.resolve(e, 1, &mut caller)? {
                return Ok((std::ptr::NonNull::dangling().as_ptr(), 0));
            }
        }
    }

    /// [`wait_or_fail`](Self::wait_or_fail), of which an error is what the call at hand returns.
    #[cold]
    pub(super) fn resolve(
        &mut self,
        e: Option<ReadError>,
        want: usize,
        caller: &mut Caller<'_, WriteHalf>,
    ) -> io::Result<bool> {
        self.wait_or_fail(e, want, caller).map_err(|e| self.shared.report(Operation::Read, e))
    }

    /// What to do when nothing can be read now (`None`: because the memory was cut short). `true`: there is something, try
    /// again; `false`: the stream is at its end.
    fn wait_or_fail(&mut self, e: Option<ReadError>, want: usize, caller: &mut Caller<'_, WriteHalf>) -> Result<bool> {
        if self.shared.read.is_shut() {
            self.shutdown();
            return Ok(false);
        }
        let result = match e {
            Some(ReadError::Empty) => self.wait(want, caller),
            Some(ReadError::PeerGone) => Err(self.shared.gone("read")),
            _ => Err(self.corrupt()),
        };
        if is_cut(&self.cut) {
            self.consumer.fail();
            return Err(self.corrupt());
        }
        result
    }

    /// Waits as the mode says, for up to `want` bytes. `false`: the stream is at its end.
    fn wait(&mut self, want: usize, caller: &mut Caller<'_, WriteHalf>) -> Result<bool> {
        match caller {
            Caller::Half => {}
            Caller::Whole(writer) => writer.flush_buffered(),
            Caller::Shared { flush, .. } => flush(),
        }
        let mode = &self.shared.read;
        if mode.is_nonblocking() {
            self.shared.monitor.maintain();
            if self.shared.is_aborted() {
                return Err(self.shared.given_up("read"));
            }
            return Err(Error::new(Reason::WouldBlock, "there is nothing to read yet"));
        }
        let timeout = mode.timeout();
        trace::waits(&self.shared.peer_name, Half::Reader, want);
        mode.set_waiting(true);
        let deadline = caller.deadline(timeout);
        let waited = match caller {
            Caller::Whole(writer) if timeout.is_none() && self.shared.deadlock_detection => {
                self.consumer.wait_exclusive(want, writer.producer_mut())
            }
            _ => self.consumer.wait(want, deadline),
        };
        mode.set_waiting(false);
        match waited {
            Ok(n) => Ok(n > 0),
            Err(WaitError::TimedOut) => Err(self.shared.read_timed_out(timeout)),
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

    #[cold]
    fn corrupt(&mut self) -> Error {
        self.shared.monitor.raise(Half::Writer, ALERT_CORRUPT);
        self.shared.corrupt("read")
    }

    /// Takes up to `n` bytes that are there.
    pub(crate) fn take_bytes(&mut self, n: usize) {
        self.consumer.consume(n);
    }
}

/// The first `n` bytes of `out`.
///
/// # Safety
/// They are initialised.
pub(crate) unsafe fn initialised(out: &mut [MaybeUninit<u8>], n: usize) -> &mut [u8] {
    let read = out.get_mut(..n).unwrap_or_default();
    // SAFETY: the caller's promise, word for word.
    unsafe { read.assume_init_mut() }
}

impl Read for ReadHalf {
    /// Waits for at least one byte, then takes what is there. `Ok(0)`: the peer has closed, and all was read.
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.read_for(out, Caller::Half)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_vectored_for(bufs, Caller::Half)
    }

    /// Like [`read`](Read::read) in a loop, but asks to be woken only when half a lane, or all that is wanted, is there. The
    /// timeout is for each wait, not for the whole call. If it fails midway, the error says how many bytes were read before:
    /// [`Error::read`].
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_for(out, Caller::Half)
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        if !self.shared.is_aborted() {
            self.shutdown();
        }
        if self.shared.is_cut() {
            // The peer cannot see what was just said. The other half, if it sleeps, must hear of it here.
            self.shared.monitor.raise(Half::Writer, ALERT_CORRUPT);
        }
    }
}

impl Requests for ReadHalf {
    /// Another thread has shut the direction down.
    fn serve(&mut self, requests: u32) {
        if requests & SHUT_DOWN != 0 {
            self.shutdown();
        }
    }
}
