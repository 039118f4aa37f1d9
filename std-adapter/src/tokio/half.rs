//! The halves of an async stream, for two tasks.

use super::door::{Door, Side};
use crate::liveness::Half;
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The half of a [`Stream`](super::Stream) that reads. Dropping it tells the peer that no more is taken.
#[derive(Debug)]
pub struct ReadHalf {
    side: Side,
    half: crate::ReadHalf,
    door: Arc<Door>,
}

/// The half of a [`Stream`](super::Stream) that writes. Dropping it, or shutting it down, tells the peer that no more will
/// come.
#[derive(Debug)]
pub struct WriteHalf {
    side: Side,
    half: crate::WriteHalf,
    door: Arc<Door>,
}

/// A half of a stream that somebody else owns.
pub(super) struct Borrowed<'a, H> {
    pub(super) side: &'a mut Side,
    pub(super) half: &'a mut H,
    pub(super) door: &'a Door,
}

impl ReadHalf {
    pub(super) fn new(half: crate::ReadHalf, side: Side, door: Arc<Door>) -> Self {
        ReadHalf { side, half, door }
    }

    /// The half for threads, to ask it something.
    #[must_use]
    pub fn get_ref(&self) -> &crate::ReadHalf {
        &self.half
    }

    fn borrowed(&mut self) -> Borrowed<'_, crate::ReadHalf> {
        Borrowed { side: &mut self.side, half: &mut self.half, door: &self.door }
    }
}

impl WriteHalf {
    pub(super) fn new(half: crate::WriteHalf, side: Side, door: Arc<Door>) -> Self {
        WriteHalf { side, half, door }
    }

    /// The half for threads, to ask it something.
    #[must_use]
    pub fn get_ref(&self) -> &crate::WriteHalf {
        &self.half
    }

    fn borrowed(&mut self) -> Borrowed<'_, crate::WriteHalf> {
        Borrowed { side: &mut self.side, half: &mut self.half, door: &self.door }
    }
}

/// Reads what is there, of which `known` bytes are known.
pub(super) fn read_into(from: &mut impl Read, known: usize, out: &mut ReadBuf<'_>) -> io::Result<()> {
    // Memory that nobody has written yet is zeroed first, so no more of it than is needed. At the end of the stream there
    // are no bytes, and reading one says so.
    let most = known.clamp(1, out.remaining());
    let n = from.read(out.initialize_unfilled_to(most))?;
    out.advance(n);
    Ok(())
}

impl Borrowed<'_, crate::ReadHalf> {
    fn poll_get(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.door.poll_ready(Half::Reader, self.side, self.half, cx, || {}))?;
            let known = self.half.consumer().known_bytes();
            match read_into(self.half, known, out) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.inspect_err(|_| self.door.wake_other(Half::Reader))),
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
                ready!(self.door.poll_ready(Half::Writer, self.side, self.half, cx, || {}))?;
            }
            match put(self.half) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && !trivial => {}
                // If the peer was found corrupt, the other half is to know.
                result => return Poll::Ready(result.inspect_err(|_| self.door.wake_other(Half::Writer))),
            }
        }
    }

    fn shutdown(&mut self) {
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
