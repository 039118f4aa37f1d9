//! The halves of an async stream, for two tasks.

use super::readiness::{Readiness, Side};
use crate::liveness::Half;
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The half of a [`Stream`](super::Stream) that reads. Dropping it tells the peer that no more is taken.
#[derive(Debug)]
pub struct ReadHalf {
    side: Side,
    half: crate::ReadHalf,
    readiness: Arc<Readiness>,
}

/// The half of a [`Stream`](super::Stream) that writes. Dropping it, or shutting it down, tells the peer that no more will
/// come.
#[derive(Debug)]
pub struct WriteHalf {
    side: Side,
    half: crate::WriteHalf,
    readiness: Arc<Readiness>,
}

/// A half of a stream that is borrowed from its owner.
pub(super) struct Borrowed<'a, H> {
    pub(super) side: &'a mut Side,
    pub(super) half: &'a mut H,
    pub(super) readiness: &'a Readiness,
}

impl ReadHalf {
    pub(super) fn into_parts(self) -> (crate::ReadHalf, Side, Arc<Readiness>) {
        (self.half, self.side, self.readiness)
    }

    pub(super) fn new(half: crate::ReadHalf, side: Side, readiness: Arc<Readiness>) -> Self {
        ReadHalf { side, half, readiness }
    }

    /// Whether `writer` is the other half of the same stream.
    pub(super) fn is_pair_of(&self, writer: &WriteHalf) -> bool {
        Arc::ptr_eq(&self.readiness, &writer.readiness)
    }

    /// The half for threads, to ask it something.
    #[must_use]
    pub fn get_ref(&self) -> &crate::ReadHalf {
        &self.half
    }

    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> crate::Peer {
        self.half.peer()
    }

    /// Waits until reading would not have to wait: see [`Stream::readable`](super::Stream::readable).
    ///
    /// # Errors
    /// As there.
    pub async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.readiness.poll_ready(Half::Reader, &mut self.side, &mut self.half, cx, || {})).await
    }

    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing is there, and those of a read.
    pub fn try_read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.side.withdraw(&mut self.half);
        self.half.read(out).inspect_err(|_| self.readiness.wake_other(Half::Reader))
    }

    pub(super) fn borrowed(&mut self) -> Borrowed<'_, crate::ReadHalf> {
        Borrowed { side: &mut self.side, half: &mut self.half, readiness: &self.readiness }
    }
}

impl WriteHalf {
    pub(super) fn into_parts(self) -> (crate::WriteHalf, Side) {
        (self.half, self.side)
    }

    pub(super) fn new(half: crate::WriteHalf, side: Side, readiness: Arc<Readiness>) -> Self {
        WriteHalf { side, half, readiness }
    }

    /// The half for threads, to ask it something.
    #[must_use]
    pub fn get_ref(&self) -> &crate::WriteHalf {
        &self.half
    }

    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> crate::Peer {
        self.half.peer()
    }

    /// Waits until writing would not have to wait: see [`Stream::writable`](super::Stream::writable).
    ///
    /// # Errors
    /// As there.
    pub async fn writable(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.readiness.poll_ready(Half::Writer, &mut self.side, &mut self.half, cx, || {})).await
    }

    /// Writes as much as there is room for, without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no room, and those of a write.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.side.withdraw(&mut self.half);
        self.half.write(bytes).inspect_err(|_| self.readiness.wake_other(Half::Writer))
    }

    pub(super) fn borrowed(&mut self) -> Borrowed<'_, crate::WriteHalf> {
        Borrowed { side: &mut self.side, half: &mut self.half, readiness: &self.readiness }
    }
}

/// Reads what is there, by `read`, whose bytes are the start of what it is given.
pub(super) fn read_into(
    read: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<&mut [u8]>,
    out: &mut ReadBuf<'_>,
) -> io::Result<()> {
    // SAFETY: `read` initialises bytes, and makes none uninitialised: it is one of the streams' below.
    let n = read(unsafe { out.unfilled_mut() })?.len();
    // SAFETY: so many bytes at the start were just initialised.
    unsafe { out.assume_init(n) };
    out.advance(n);
    Ok(())
}

impl Borrowed<'_, crate::ReadHalf> {
    fn poll_get(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.readiness.poll_ready(Half::Reader, self.side, self.half, cx, || {}))?;
            match read_into(|out| self.half.read_uninit(out), out) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.inspect_err(|_| self.readiness.wake_other(Half::Reader))),
            }
        }
    }
}

impl Borrowed<'_, crate::WriteHalf> {
    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        trivial: bool,
        mut put: impl FnMut(&mut crate::WriteHalf) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if !trivial {
                ready!(self.readiness.poll_ready(Half::Writer, self.side, self.half, cx, || {}))?;
            }
            match put(self.half) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && !trivial => {}
                // If the peer was found corrupt, the other half is to know.
                result => return Poll::Ready(result.inspect_err(|_| self.readiness.wake_other(Half::Writer))),
            }
        }
    }

    pub(super) fn shutdown(&mut self) {
        self.side.withdraw(self.half);
        self.half.shutdown();
    }
}

impl AsyncRead for Borrowed<'_, crate::ReadHalf> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_get(cx, out)
    }
}

impl AsyncWrite for Borrowed<'_, crate::WriteHalf> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, bytes.is_empty(), |half| half.write(bytes))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_put(cx, bufs.iter().all(|b| b.is_empty()), |half| half.write_vectored(bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.half.flush())
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.borrowed()).poll_read(cx, out)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.borrowed()).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.borrowed()).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.borrowed()).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.borrowed()).poll_shutdown(cx)
    }
}

static_assertions::assert_impl_all!(ReadHalf: Send, Sync, Unpin);
static_assertions::assert_impl_all!(WriteHalf: Send, Sync, Unpin);
