//! One end of a connection, for tokio.

use super::half::{Borrowed, ReadHalf, WriteHalf, read_into};
use super::readiness::{Readiness, Side};
use crate::addr::ToAddr;
use crate::convert::ConvertError;
use crate::error::Result;
use crate::liveness::Half;
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// One end of a connection, for tokio: what [`smstream::Stream`](crate::Stream) is for threads.
///
/// See [the module](super) for what happens when a future is dropped, and for runtimes. For two tasks, [`split`] or
/// [`into_split`] it.
///
/// Shutting it down (`AsyncWriteExt::shutdown`) says that no more will come: the peer reads what is left, then the end of
/// the stream; reading here goes on. Dropping it closes both directions. A write returns when the bytes are in shared
/// memory where the peer can read them, unless a [`BufMode`](crate::BufMode) was chosen that holds some back; then flushing
/// matters, as always.
///
/// [`split`]: Stream::split
/// [`into_split`]: Stream::into_split
#[derive(Debug)]
pub struct Stream {
    reading: Side,
    writing: Side,
    stream: crate::Stream,
    readiness: Arc<Readiness>,
}

impl Stream {
    /// A stream that was made in another way: accepted from a child ([`Handover`](crate::Handover)), for example.
    ///
    /// # Errors
    /// [`Reason::Unsupported`](crate::Reason::Unsupported) unless the parties have met over a socket (`unix:`, `fd:`); an
    /// error also without a runtime. The stream is [given back](ConvertError::into_inner), as it was.
    ///
    /// # Panics
    /// Within a runtime whose I/O is not enabled.
    #[allow(clippy::result_large_err, reason = "the stream is given back, and is not to be put on the heap")]
    pub fn from_std(mut stream: crate::Stream) -> Result<Self, ConvertError<crate::Stream>> {
        let spin = stream.halves_mut().0.consumer().park().spin_time();
        let readiness = stream.doorbell_for("used with tokio").and_then(|doorbell| {
            stream.set_nonblocking(true)?;
            Readiness::new(doorbell, Arc::clone(stream.monitor()), spin)
        });
        match readiness {
            Ok(readiness) => Ok(Stream { reading: Side::default(), writing: Side::default(), stream, readiness }),
            Err(e) => {
                // It gives no errors.
                let _ = stream.set_nonblocking(false);
                Err(ConvertError::new(e, stream))
            }
        }
    }

    /// Connects to the listener at `addr`, and waits until it accepts: [`connect`](super::connect).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within a runtime whose I/O is not enabled.
    pub async fn connect(addr: impl ToAddr) -> Result<Self> {
        super::connect(addr).await
    }

    /// Waits until reading would not have to wait. It may be for nothing; it is cancel safe.
    ///
    /// ```no_run
    /// # async fn echo(mut stream: smstream::tokio::Stream) -> std::io::Result<()> {
    /// let mut bytes = [0; 4096];
    /// loop {
    ///     stream.readable().await?;
    ///     match stream.try_read(&mut bytes) {
    ///         Ok(0) => return Ok(()),
    ///         Ok(n) => println!("{n} bytes"),
    ///         Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
    ///         Err(e) => return Err(e),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the runtime says. What is wrong with the stream makes it readable.
    pub async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// Waits until writing would not have to wait. It may be for nothing; it is cancel safe.
    ///
    /// # Errors
    /// What the runtime says. What is wrong with the stream makes it writable.
    pub async fn writable(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_writable(cx)).await
    }

    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing is there, and those of a read.
    pub fn try_read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (reader, writer) = self.stream.halves_mut();
        self.reading.withdraw(reader);
        writer.flush_buffered();
        self.stream.read(out).inspect_err(|_| self.readiness.wake_other(Half::Reader))
    }

    /// Writes as much as there is room for, without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no room, and those of a write.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writing.withdraw(self.stream.halves_mut().1);
        self.stream.write(bytes).inspect_err(|_| self.readiness.wake_other(Half::Writer))
    }

    /// The stream for threads, which blocks again.
    #[must_use]
    pub fn into_std(mut self) -> crate::Stream {
        let (reader, writer) = self.stream.halves_mut();
        self.reading.withdraw(reader);
        self.writing.withdraw(writer);
        self.readiness.close();
        // It gives no errors.
        let _ = self.stream.set_nonblocking(false);
        self.stream
    }

    /// The stream for threads, to ask it something. It does not block.
    #[must_use]
    pub fn get_ref(&self) -> &crate::Stream {
        &self.stream
    }

    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> crate::Peer {
        self.stream.peer()
    }

    /// The two halves, to be used by two tasks. Each closes its direction when it is dropped.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        let (reader, writer) = self.stream.split();
        (
            ReadHalf::new(reader, self.reading, Arc::clone(&self.readiness)),
            WriteHalf::new(writer, self.writing, self.readiness),
        )
    }

    /// Both directions at once within one task, as for `tokio::io::split` but without a lock.
    #[must_use]
    pub fn split(&mut self) -> (impl AsyncRead + Unpin + Send + '_, impl AsyncWrite + Unpin + Send + '_) {
        self.borrowed()
    }

    /// Both halves, borrowed.
    pub(super) fn borrowed(&mut self) -> (Borrowed<'_, crate::ReadHalf>, Borrowed<'_, crate::WriteHalf>) {
        let (reader, writer) = self.stream.halves_mut();
        let reading = Borrowed { half: reader, side: &mut self.reading, readiness: &self.readiness };
        (reading, Borrowed { half: writer, side: &mut self.writing, readiness: &self.readiness })
    }

    /// The stream for threads, which does not block.
    pub(super) fn get_mut(&mut self) -> &mut crate::Stream {
        &mut self.stream
    }

    /// Ready when reading would not have to wait.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (reader, writer) = self.stream.halves_mut();
        // The peer may be waiting for what is held back.
        self.readiness.poll_ready(Half::Reader, &mut self.reading, reader, cx, || writer.flush_buffered())
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (_, writer) = self.stream.halves_mut();
        self.readiness.poll_ready(Half::Writer, &mut self.writing, writer, cx, || {})
    }

    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        mut put: impl FnMut(&mut crate::Stream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(cx))?;
            match put(&mut self.stream) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // If the peer was found corrupt, the task that waits for the other direction has to see it.
                result => return Poll::Ready(result.inspect_err(|_| self.readiness.wake_other(Half::Writer))),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.poll_readable(cx))?;
            match read_into(|out| this.stream.read_uninit(out), out) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.inspect_err(|_| this.readiness.wake_other(Half::Reader))),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(self.stream.write(bytes));
        }
        self.poll_put(cx, |stream| stream.write(bytes))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|b| b.is_empty()) {
            return Poll::Ready(self.stream.write_vectored(bufs));
        }
        self.poll_put(cx, |stream| stream.write_vectored(bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.flush())
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (_, writer) = this.stream.halves_mut();
        this.writing.withdraw(writer);
        writer.shutdown();
        Poll::Ready(Ok(()))
    }
}

impl ReadHalf {
    /// Makes one stream of the two halves that [`Stream::into_split`] gave out.
    ///
    /// # Errors
    /// [`ReuniteError`] with both if they are of different streams.
    #[allow(clippy::result_large_err, reason = "both halves are given back, and are not to be put on the heap")]
    pub fn reunite(self, writer: WriteHalf) -> Result<Stream, ReuniteError> {
        if !self.is_pair_of(&writer) {
            return Err(ReuniteError(self, writer));
        }
        let (reader, reading, readiness) = self.into_parts();
        let (writer, writing) = writer.into_parts();
        match reader.reunite(writer) {
            Ok(stream) => Ok(Stream { reading, writing, stream, readiness }),
            Err(crate::ReuniteError(reader, writer)) => Err(ReuniteError(
                ReadHalf::new(reader, reading, Arc::clone(&readiness)),
                WriteHalf::new(writer, writing, readiness),
            )),
        }
    }
}

/// Two halves that are not of the same stream, given back.
#[derive(Debug)]
pub struct ReuniteError(pub ReadHalf, pub WriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "cannot reunite two halves: they are of different streams; keep each with the one that it was split from",
        )
    }
}

impl std::error::Error for ReuniteError {}

static_assertions::assert_impl_all!(Stream: Send, Sync, Unpin);
