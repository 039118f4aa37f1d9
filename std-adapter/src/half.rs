//! The two halves of a stream: what reads and what writes.

mod shared;

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use smstream_core::error::{ReadError, WaitError, WriteError};
use smstream_core::lane::{Consumer, Producer};
use smstream_core::park::ALERT_CORRUPT;

use crate::deadline::Deadline;
use crate::error::{Error, Reason, Result};
use crate::liveness::Half;
use crate::memory::guard::Cut;
use crate::parking::Parker;

pub(crate) use shared::{Mode, Shared};

/// The half of a [`Stream`](crate::Stream) that reads. Dropping it tells the peer that no more is taken.
#[derive(Debug)]
pub struct ReadHalf {
    consumer: Consumer<'static, Parker>,
    /// Looked at after each access to the segments, so kept near.
    cut: Option<Arc<Cut>>,
    pub(crate) shared: Arc<Shared>,
}

/// The half of a [`Stream`](crate::Stream) that writes. Dropping it tells the peer that no more will come.
#[derive(Debug)]
pub struct WriteHalf {
    producer: Producer<'static, Parker>,
    /// Looked at after each access to the segments, so kept near.
    cut: Option<Arc<Cut>>,
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

    /// The other half found the peer corrupt.
    pub(crate) fn fail(&mut self) {
        self.consumer.fail();
    }

    /// Says that no more will be taken: the peer's writes fail from now on. Bytes not yet read are lost.
    pub fn shutdown(&mut self) {
        self.consumer.stop();
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

    /// Waits as the mode says, for up to `want` bytes. `false`: the stream is at its end.
    #[cold]
    fn wait(&mut self, want: usize) -> Result<bool> {
        let mode = &self.shared.read;
        if mode.is_nonblocking() {
            self.shared.life.look_after();
            return Err(Error::new(Reason::WouldBlock, "there is nothing to read yet"));
        }
        let timeout = mode.timeout();
        match self.consumer.wait(want, timeout.map(Deadline::after)) {
            Ok(n) => Ok(n > 0),
            Err(WaitError::TimedOut) => Err(Error::new(
                Reason::TimedOut,
                format!("{} sent nothing for {:?}", self.shared.peer, timeout.unwrap_or_default()),
            )),
            Err(WaitError::Cancelled | WaitError::Closed) => {
                self.consumer.stop();
                Ok(false)
            }
            Err(WaitError::PeerGone) => Err(self.shared.gone("read")),
            Err(_) => Err(self.corrupt()),
        }
    }

    /// What was touched until now was there. If not, it may have been zeros of this process's own.
    #[inline]
    fn whole(&mut self) -> Result<()> {
        match &self.cut {
            Some(cut) if cut.is_set() => {
                self.consumer.fail();
                Err(self.corrupt())
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn corrupt(&mut self) -> Error {
        self.shared.life.raise(Half::Writer, ALERT_CORRUPT);
        self.shared.corrupt("read")
    }

    #[cold]
    fn failed(&mut self, e: ReadError, want: usize) -> Result<bool> {
        let result = match e {
            ReadError::Empty => self.wait(want),
            ReadError::PeerGone => Err(self.shared.gone("read")),
            _ => Err(self.corrupt()),
        };
        self.whole()?;
        result
    }

    fn is_shut(&mut self) -> bool {
        let shut = self.shared.read.is_shut();
        if shut {
            self.consumer.stop();
        }
        shut
    }
}

impl WriteHalf {
    /// `producer` points into the memory of `shared`.
    pub(crate) fn new(producer: Producer<'static, Parker>, shared: Arc<Shared>) -> Self {
        WriteHalf { producer, cut: shared.cut.clone(), shared }
    }

    pub(crate) fn producer(&self) -> &Producer<'static, Parker> {
        &self.producer
    }

    /// The other half found the peer corrupt.
    pub(crate) fn fail(&mut self) {
        self.producer.fail();
    }

    /// Says that no more will come: the peer reads what is left, then the end of the stream.
    pub fn shutdown(&mut self) {
        self.producer.finish();
    }

    /// Bytes that were written and that the peer will never read, because it has closed or died. `None` while it may
    /// still read them.
    pub fn undelivered(&mut self) -> Option<usize> {
        self.producer.undelivered()
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

    /// Waits as the mode says, for room for up to `want` bytes.
    #[cold]
    fn wait(&mut self, want: usize) -> Result<()> {
        let mode = &self.shared.write;
        if mode.is_nonblocking() {
            self.shared.life.look_after();
            return Err(Error::new(Reason::WouldBlock, "there is no room to write yet"));
        }
        let timeout = mode.timeout();
        match self.producer.wait(want, timeout.map(Deadline::after)) {
            Ok(_) => Ok(()),
            Err(WaitError::TimedOut) => Err(Error::new(
                Reason::TimedOut,
                format!(
                    "{} read nothing for {:?}, and there is no room",
                    self.shared.peer,
                    timeout.unwrap_or_default()
                ),
            )),
            Err(WaitError::Cancelled) => {
                self.producer.finish();
                Err(self.closed())
            }
            Err(WaitError::Closed) => Err(self.closed()),
            Err(WaitError::PeerGone) => Err(self.shared.gone("write")),
            Err(_) => Err(self.corrupt()),
        }
    }

    #[cold]
    fn closed(&self) -> Error {
        self.shared.closed(self.producer.is_finished())
    }

    /// What was touched until now was there. If not, it may have been zeros of this process's own.
    #[inline]
    fn whole(&mut self) -> Result<()> {
        match &self.cut {
            Some(cut) if cut.is_set() => {
                self.producer.fail();
                Err(self.corrupt())
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn corrupt(&mut self) -> Error {
        self.shared.life.raise(Half::Reader, ALERT_CORRUPT);
        self.shared.corrupt("write")
    }

    #[cold]
    fn failed(&mut self, e: WriteError, want: usize) -> Result<()> {
        let result = match e {
            WriteError::Full => self.wait(want),
            WriteError::Closed => Err(self.closed()),
            WriteError::PeerGone => Err(self.shared.gone("write")),
            _ => Err(self.corrupt()),
        };
        self.whole()?;
        result
    }

    fn is_shut(&mut self) -> bool {
        let shut = self.shared.write.is_shut();
        if shut {
            self.producer.finish();
        }
        shut
    }
}

impl Read for ReadHalf {
    /// Waits for at least one byte, then takes what is there. `Ok(0)`: the peer has closed, and all was read.
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.consumer.read(out) {
                Ok(n) => {
                    self.whole()?;
                    return Ok(n);
                }
                Err(e) => {
                    if self.is_shut() || !self.failed(e, 1)? {
                        return Ok(0);
                    }
                }
            }
        }
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        loop {
            match self.consumer.read_vectored(bufs.iter_mut().map(|b| &mut **b)) {
                Ok(n) => {
                    self.whole()?;
                    return Ok(n);
                }
                Err(e) => {
                    if self.is_shut() || !self.failed(e, 1)? {
                        return Ok(0);
                    }
                }
            }
        }
    }

    /// Like [`read`](Read::read) in a loop, but asks to be woken only when half a lane, or all that is wanted, is there.
    fn read_exact(&mut self, mut out: &mut [u8]) -> io::Result<()> {
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
                    if self.is_shut() || !self.failed(e, out.len())? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
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
        loop {
            match self.producer.write(bytes) {
                Ok(n) => {
                    self.whole()?;
                    return Ok(n);
                }
                Err(e) => {
                    if self.is_shut() {
                        return Err(self.closed().into());
                    }
                    self.failed(e, 1)?;
                }
            }
        }
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.producer.write_vectored(bufs.iter().map(|b| &**b)) {
                Ok(n) => {
                    self.whole()?;
                    return Ok(n);
                }
                Err(e) => {
                    if self.is_shut() {
                        return Err(self.closed().into());
                    }
                    self.failed(e, 1)?;
                }
            }
        }
    }

    /// Like [`write`](Write::write) in a loop, but asks to be woken only when there is room for half a lane, or for all
    /// that is left.
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.producer.write(bytes) {
                Ok(n) => {
                    self.whole()?;
                    bytes = &bytes[n..];
                }
                Err(e) => {
                    if self.is_shut() {
                        return Err(self.closed().into());
                    }
                    self.failed(e, bytes.len())?;
                }
            }
        }
        Ok(())
    }

    /// Nothing to do: what was written is visible to the peer already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.consumer.stop();
        if self.shared.is_cut() {
            // What was just said, nobody can hear. The other half, if it sleeps, must hear of it here.
            self.shared.life.raise(Half::Writer, ALERT_CORRUPT);
        }
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.producer.finish();
        if self.shared.is_cut() {
            // As for the half that reads.
            self.shared.life.raise(Half::Reader, ALERT_CORRUPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Reason, Stream};
    use std::io::Write;
    use std::net::Shutdown;

    #[test]
    fn a_write_that_cannot_be_says_who_closed() {
        let said = |stream: &Stream| {
            let e = (&*stream).write(b"x").unwrap_err();
            let e = e.get_ref().and_then(|e| e.downcast_ref::<crate::Error>()).unwrap();
            assert_eq!(e.reason(), Reason::WriteAfterClose);
            e.to_string()
        };
        let (here, there) = Stream::pair().unwrap();
        here.shutdown(Shutdown::Write).unwrap();
        assert!(said(&here).contains("this end was shut down"), "{}", said(&here));
        here.shutdown(Shutdown::Read).unwrap();
        assert!(said(&there).contains("takes no more bytes"), "{}", said(&there));
    }
}
