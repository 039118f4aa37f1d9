//! The half of a stream that writes.

use std::io::{self, IoSlice, Write};
use std::sync::Arc;

use smstream_core::error::{WaitError, WriteError};
use smstream_core::lane::{Consumer, Producer};
use smstream_core::park::ALERT_CORRUPT;

use super::{Caller, Shared, is_cut};
use crate::buffering::{self, BufMode};
use crate::error::{Error, Reason, Result};
use crate::history::Operation;
use crate::liveness::Half;
use crate::parking::Parker;
use crate::timed_mutex::{FLUSH, Requests, SHUT_DOWN};
use crate::trace;
use smstream_shm::memory::guard::Cut;

/// The half of a [`Stream`](crate::Stream) that writes. Dropping it tells the peer that no more will come.
#[derive(Debug)]
pub struct WriteHalf {
    pub(super) producer: Producer<'static, Parker>,
    /// Looked at after each access to the segments, so kept near.
    pub(super) cut: Option<Arc<Cut>>,
    pub(crate) shared: Arc<Shared>,
}

/// What room is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// For so many bytes, or as many of them as may be waited for.
    Bytes(usize),
    /// For a record of so many bytes, all of it.
    Record(usize),
}

/// What a caller who has the whole stream waits with.
pub(crate) type ReadingEnd = Consumer<'static, Parker>;

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

    /// Says that no more will come: what is buffered is published, and the peer reads what is left, then the end of the
    /// stream.
    pub fn shutdown(&mut self) {
        if self.producer.is_finished() {
            return;
        }
        // A `Pollable` may have left it announced.
        self.producer.withdraw();
        self.producer.finish();
        trace::closed(&self.shared.peer_name, Half::Writer);
        if let Some(lost @ 1..) = self.producer.undelivered() {
            let (reason, why) = match self.shared.monitor.is_gone() && !self.producer.is_peer_stopped() {
                true => (Reason::PeerGone, "died without closing the stream"),
                false => (Reason::WriteAfterClose, "takes no more bytes"),
            };
            let text =
                format!("the last {lost} bytes that were written are never read: {} {why}", self.shared.peer_name);
            self.shared.record(Operation::Close, &Error::new(reason, text));
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

    /// Sets when written bytes are published. What is buffered is published now.
    pub fn set_buf_mode(&mut self, mode: BufMode) {
        self.shared.policy.set(mode);
        self.flush_buffered();
    }

    /// When written bytes are published.
    #[must_use]
    pub fn buf_mode(&self) -> BufMode {
        self.shared.policy.get()
    }

    /// Bytes that were written and are held back: the peer is not shown them yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.producer.unflushed()
    }

    /// Of a peer that is known to be gone: whether it was to read more.
    pub(crate) fn has_lost_its_peer(&mut self) -> bool {
        // Looks at the peer's cursor.
        let undelivered = self.producer.undelivered();
        let all_is_read = self.producer.is_finished() && undelivered == Some(0);
        !self.producer.is_peer_stopped() && !all_is_read
    }

    /// Publishes what is buffered, before something else is done. An error of that is for the history.
    #[inline]
    pub(crate) fn flush_buffered(&mut self) {
        if self.producer.unflushed() != 0
            && let Err(e) = self.publish()
        {
            self.shared.record(Operation::Flush, &e);
        }
    }

    /// Publishes what is buffered, and says whether the peer takes it.
    fn publish(&mut self) -> Result<()> {
        if self.producer.unflushed() == 0 {
            return Ok(());
        }
        self.producer.flush();
        // Writing nothing asks.
        let result = self.producer.write(&[]).map(drop).map_err(|e| self.error(e));
        self.check_cut()?;
        result
    }

    /// Puts as much into the lane as there is room for, publishes as the mode says, and does not wait. `None` for an error:
    /// the memory was cut short.
    ///
    /// Bytes that need not be waited for go this way: here, and in [`Producer::write`].
    #[inline]
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> Result<usize, Option<WriteError>> {
        let written = if self.shared.policy.is_none() {
            self.producer.write(bytes)
        } else {
            buffering::write(&mut self.producer, std::iter::once(bytes), self.shared.policy.get())
        };
        match written {
            Ok(n) if !is_cut(&self.cut) => Ok(n),
            Ok(_) => Err(None),
            Err(e) => Err(Some(e)),
        }
    }

    fn write_vectored_now(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize, Option<WriteError>> {
        let pieces = bufs.iter().map(|b| &**b);
        let written = if self.shared.policy.is_none() {
            self.producer.write_vectored(pieces)
        } else {
            buffering::write(&mut self.producer, pieces, self.shared.policy.get())
        };
        match written {
            Ok(n) if !is_cut(&self.cut) => Ok(n),
            Ok(_) => Err(None),
            Err(e) => Err(Some(e)),
        }
    }

    /// Goes on after `e`: waits and writes.
    #[cold]
    pub(crate) fn write_after(
        &mut self,
        mut e: Option<WriteError>,
        bytes: &[u8],
        mut caller: Caller<'_, ReadingEnd>,
    ) -> io::Result<usize> {
        loop {
            self.resolve(e, Room::Bytes(1), &mut caller)?;
            match self.write_now(bytes) {
                Ok(n) => return Ok(n),
                Err(next) => e = next,
            }
        }
    }

    /// [`write`](Write::write), for `caller`.
    #[inline]
    pub(crate) fn write_for(&mut self, bytes: &[u8], caller: Caller<'_, ReadingEnd>) -> io::Result<usize> {
        match self.write_now(bytes) {
            Ok(n) => Ok(n),
            Err(e) => self.write_after(e, bytes, caller),
        }
    }

    /// [`write_vectored`](Write::write_vectored), for `caller`.
    pub(crate) fn write_vectored_for(
        &mut self,
        bufs: &[IoSlice<'_>],
        mut caller: Caller<'_, ReadingEnd>,
    ) -> io::Result<usize> {
        loop {
            match self.write_vectored_now(bufs) {
                Ok(n) => return Ok(n),
                Err(e) => self.resolve(e, Room::Bytes(1), &mut caller)?,
            }
        }
    }

    /// [`write_all`](Write::write_all), for `caller`. An error says how many bytes were written before.
    pub(crate) fn write_all_for(&mut self, bytes: &[u8], mut caller: Caller<'_, ReadingEnd>) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.write_now(&bytes[done..]) {
                Ok(n) => done += n,
                Err(e) => self.wait_or_fail(e, Room::Bytes(bytes.len() - done), &mut caller).map_err(|e| {
                    let e = e.after_writing(done, bytes.len());
                    self.shared.report(Operation::Write, e)
                })?,
            }
        }
        Ok(())
    }

    /// [`wait_or_fail`](Self::wait_or_fail), of which an error is what the call at hand returns.
    #[cold]
    pub(super) fn resolve(
        &mut self,
        e: Option<WriteError>,
        room: Room,
        caller: &mut Caller<'_, ReadingEnd>,
    ) -> io::Result<()> {
        self.wait_or_fail(e, room, caller).map_err(|e| self.shared.report(Operation::Write, e))
    }

    /// What to do when nothing can be written now (`None`: because the memory was cut short). If there is no error there is
    /// room: try again.
    pub(super) fn wait_or_fail(
        &mut self,
        e: Option<WriteError>,
        room: Room,
        caller: &mut Caller<'_, ReadingEnd>,
    ) -> Result<()> {
        if self.shared.write.is_shut() {
            self.shutdown();
            return Err(self.closed());
        }
        let result = match e {
            Some(WriteError::Full) => self.wait(room, caller),
            Some(e) => Err(self.error(e)),
            None => Ok(()),
        };
        self.check_cut()?;
        result
    }

    /// Waits as the mode says.
    fn wait(&mut self, room: Room, caller: &mut Caller<'_, ReadingEnd>) -> Result<()> {
        let mode = &self.shared.write;
        if mode.is_nonblocking() {
            self.shared.monitor.maintain();
            // The peer makes no room by reading what it is not shown.
            self.producer.flush();
            if self.shared.is_aborted() {
                return Err(self.shared.given_up("write"));
            }
            return Err(Error::new(Reason::WouldBlock, "there is no room to write yet"));
        }
        let timeout = mode.timeout();
        let (Room::Bytes(want) | Room::Record(want)) = room;
        trace::waits(&self.shared.peer_name, Half::Writer, want);
        // Before it says that it waits: nothing that was written before is buffered while it does.
        self.producer.flush();
        mode.set_waiting(true);
        let deadline = caller.deadline(timeout);
        let waited = match caller {
            Caller::Whole(reader) if timeout.is_none() && self.shared.deadlock_detection => match room {
                Room::Bytes(want) => self.producer.wait_exclusive(want, reader),
                Room::Record(len) => self.producer.wait_for_record_exclusive(len, reader),
            },
            _ => match room {
                Room::Bytes(want) => self.producer.wait(want, deadline),
                Room::Record(len) => self.producer.wait_for_record(len, deadline),
            },
        };
        mode.set_waiting(false);
        match waited {
            Ok(_) => Ok(()),
            Err(WaitError::TimedOut) => Err(self.shared.write_timed_out(timeout)),
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
    pub(super) fn check_cut(&mut self) -> Result<()> {
        if is_cut(&self.cut) {
            self.producer.fail();
            return Err(self.corrupt());
        }
        Ok(())
    }

    #[cold]
    fn corrupt(&mut self) -> Error {
        self.shared.monitor.raise(Half::Reader, ALERT_CORRUPT);
        self.shared.corrupt("write")
    }

    /// The error for one that waiting does not help against.
    #[cold]
    pub(super) fn error(&mut self, e: WriteError) -> Error {
        match e {
            WriteError::Closed => self.closed(),
            WriteError::PeerGone => self.shared.gone("write"),
            _ => self.corrupt(),
        }
    }
}

impl Write for WriteHalf {
    /// Waits for room for at least one byte, then writes as much as there is room for. Writing no bytes at all tells
    /// whether the peer still takes any: it gives the error that writing one would give, and never waits.
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_for(bytes, Caller::Half)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored_for(bufs, Caller::Half)
    }

    /// Like [`write`](Write::write) in a loop, but asks to be woken only when there is room for half a lane, or for all
    /// that is left. If it fails midway, the error says how many bytes went before: [`Error::written`].
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all_for(bytes, Caller::Half)
    }

    /// Publishes what is held back. With [`BufMode::None`] there is nothing to do: what was written is visible to the peer
    /// already.
    ///
    /// If something was held back, and the peer takes no more or is gone, this says so.
    fn flush(&mut self) -> io::Result<()> {
        self.publish().map_err(|e| self.shared.report(Operation::Flush, e))
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if self.shared.is_relinquished() {
            return;
        }
        if self.shared.is_aborted() {
            return self.flush_buffered();
        }
        self.shutdown();
        if self.shared.is_cut() {
            // As for the half that reads.
            self.shared.monitor.raise(Half::Reader, ALERT_CORRUPT);
        }
    }
}

impl Requests for WriteHalf {
    /// Another thread has asked for what is buffered to be published, or has shut the direction down.
    fn serve(&mut self, requests: u32) {
        if requests & SHUT_DOWN != 0 {
            self.shutdown();
        } else if requests & FLUSH != 0 {
            self.flush_buffered();
        }
    }
}
