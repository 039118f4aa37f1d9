//! Listening, for tokio.

use super::{Stream, watch};
use crate::addr::{Addr, Kind, ToAddr};
use crate::builder::Builder;
use crate::convert::ConvertError;
use crate::error::{Error, Reason, Result};
use ::tokio::io::unix::AsyncFd;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Waits at an address for connectors: what [`smstream::Listener`](crate::Listener) is for threads.
///
/// Many can be in the middle of their rendezvous, and none that is slow, silent or wrong holds up another; it gets on only
/// while a task is in [`accept`](Listener::accept). When it is dropped the name is removed; streams that were accepted
/// live on.
#[derive(Debug)]
pub struct Listener {
    // Before the listener: it is to be watched no longer than it lives.
    fd: AsyncFd<Arc<OwnedFd>>,
    listener: crate::Listener,
}

impl Listener {
    /// Listens at `addr`, with the default settings. See [`Builder`] and [`from_std`](Listener::from_std) for others.
    ///
    /// # Errors
    /// As for [`Builder::bind`] and [`from_std`](Listener::from_std).
    ///
    /// # Panics
    /// Within a runtime whose I/O is not enabled.
    pub fn bind(addr: impl ToAddr) -> Result<Self> {
        Ok(Self::from_std(Builder::new().bind(addr)?)?)
    }

    /// Listens at an address that no listener had before, with the default settings. [`local_addr`](Listener::local_addr) tells
    /// which.
    ///
    /// # Errors
    /// As for [`bind`](Listener::bind).
    ///
    /// # Panics
    /// Within a runtime whose I/O is not enabled.
    pub fn bind_temp(kind: Kind) -> Result<Self> {
        Ok(Self::from_std(Builder::new().bind_temp(kind)?)?)
    }

    /// A listener that was made by [`Builder::bind`].
    ///
    /// ```no_run
    /// # async fn serve() -> smstream::Result<()> {
    /// let listener = smstream::Builder::new().capacity(1 << 20).allow_any().bind("unix:/run/chat")?;
    /// let listener = smstream::tokio::Listener::from_std(listener)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Reason::Unsupported`] unless it listens at `unix:`; an error also without a runtime. The listener is
    /// [given back](ConvertError::into_inner), as it was.
    ///
    /// # Panics
    /// Within a runtime whose I/O is not enabled.
    #[allow(clippy::result_large_err, reason = "the listener is given back, and is not to be put on the heap")]
    pub fn from_std(listener: crate::Listener) -> Result<Self, ConvertError<crate::Listener>> {
        let watched = listener.epoll("used with tokio").and_then(watch);
        match watched.and_then(|fd| listener.set_nonblocking(true).map(|()| fd)) {
            Ok(fd) => Ok(Listener { fd, listener }),
            Err(e) => Err(ConvertError::new(e, listener)),
        }
    }

    /// The listener for threads, which blocks again.
    #[must_use]
    pub fn into_std(self) -> crate::Listener {
        // It gives no errors.
        let _ = self.listener.set_nonblocking(false);
        self.listener
    }

    /// The listener for threads, to ask it something. It does not block.
    #[must_use]
    pub fn get_ref(&self) -> &crate::Listener {
        &self.listener
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> &Addr {
        self.listener.local_addr()
    }

    /// Waits for a connector and accepts it. Several tasks may wait at once.
    ///
    /// It is cancel safe: no connector is lost if the future is dropped.
    ///
    /// # Errors
    /// What the system says, when there are no descriptors left for example; accepting can be tried again.
    pub async fn accept(&self) -> Result<Stream> {
        loop {
            let mut guard = self.fd.readable().await.map_err(|e| Error::system(Reason::System, e))?;
            // There may be more of them: it is cleared when none is left. What has come since it was signalled is not cleared.
            if let Some(stream) = self.try_accept() {
                return stream;
            }
            guard.clear_ready();
        }
    }

    /// [`accept`](Listener::accept) for hand-written futures. Only the last task that called this is woken.
    ///
    /// # Errors
    /// As for [`accept`](Listener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Stream>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx)).map_err(|e| Error::system(Reason::System, e))?;
            if let Some(stream) = self.try_accept() {
                return Poll::Ready(stream);
            }
            guard.clear_ready();
        }
    }

    /// `None`: no connector waits to be accepted.
    fn try_accept(&self) -> Option<Result<Stream>> {
        match self.listener.accept() {
            Err(e) if e.reason() == Reason::WouldBlock => None,
            result => Some(result.and_then(|stream| Ok(Stream::from_std(stream)?))),
        }
    }
}

/// Readable when it is worth accepting: see [`smstream::Listener::readiness`](crate::Listener::readiness). Only to be waited
/// for.
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.get_ref().as_raw_fd()
    }
}

static_assertions::assert_impl_all!(Listener: Send, Sync);
