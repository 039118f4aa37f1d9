//! One end of a connection, for tokio.

use super::door::{Door, Side};
use super::half::{ReadHalf, WriteHalf, read_into};
use crate::error::Result;
use crate::liveness::Half;
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use std::io::{self, IoSlice, Write};
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
    door: Arc<Door>,
}

impl Stream {
    /// A stream that was made in another way: accepted from a child ([`Handover`](crate::Handover)), for example.
    ///
    /// # Errors
    /// [`Reason::Unsupported`](crate::Reason::Unsupported) unless the parties have met over a socket (`unix:`, `fd:`); the
    /// stream is closed then, so ask [`is_pollable`](crate::Stream::is_pollable) if it might not be. An error also without
    /// a runtime.
    ///
    /// # Panics
    /// Within a runtime whose I/O is not enabled.
    pub fn from_std(mut stream: crate::Stream) -> Result<Self> {
        let doorbell = stream.doorbell_for("used with tokio")?;
        let spin = stream.halves_mut().0.consumer().park().spin_time();
        let door = Door::new(doorbell, Arc::clone(stream.life()), spin)?;
        stream.set_nonblocking(true)?;
        Ok(Stream { reading: Side::default(), writing: Side::default(), stream, door })
    }

    /// The stream for threads, which blocks again.
    #[must_use]
    pub fn into_std(mut self) -> crate::Stream {
        let (reader, writer) = self.stream.halves_mut();
        self.reading.withdraw(reader);
        self.writing.withdraw(writer);
        self.door.close();
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
        (ReadHalf::new(reader, self.reading, Arc::clone(&self.door)), WriteHalf::new(writer, self.writing, self.door))
    }

    /// Both directions at once within one task, as for `tokio::io::split` but without a lock.
    #[must_use]
    pub fn split(&mut self) -> (impl AsyncRead + Unpin + Send + '_, impl AsyncWrite + Unpin + Send + '_) {
        let (reader, writer) = self.stream.halves_mut();
        let reading = super::half::Borrowed { half: reader, side: &mut self.reading, door: &self.door };
        (reading, super::half::Borrowed { half: writer, side: &mut self.writing, door: &self.door })
    }

    /// Ready when reading would not have to wait.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (reader, writer) = self.stream.halves_mut();
        // The peer may be waiting for what is held back.
        self.door.poll_ready(Half::Reader, &mut self.reading, reader, cx, || writer.flush_buffered())
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (_, writer) = self.stream.halves_mut();
        self.door.poll_ready(Half::Writer, &mut self.writing, writer, cx, || {})
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
                // If the peer was found corrupt, whoever waits for the other direction is to know.
                result => return Poll::Ready(result.inspect_err(|_| self.door.wake_other(Half::Writer))),
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
            let known = this.stream.halves_mut().0.consumer().known_bytes();
            match read_into(&mut this.stream, known, out) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.inspect_err(|_| this.door.wake_other(Half::Reader))),
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

static_assertions::assert_impl_all!(Stream: Send, Sync, Unpin);
