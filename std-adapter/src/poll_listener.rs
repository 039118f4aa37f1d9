//! A listener for `poll`, `epoll` and event loops that are built on them.

use crate::convert::ConvertError;
use crate::error::{Reason, Result};
use crate::listener::Listener;
use crate::stream::Stream;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// A listener that can be waited for with `poll` and `epoll`: it listens at `unix:`, and accepting never waits.
///
/// The descriptor becomes readable when it is worth accepting, which may turn out to be for nothing. Accept until there is
/// no stream: that also gets on with connectors in the middle of their rendezvous. It may be waited for level- or
/// edge-triggered.
///
/// ```
/// use rustix::event::{PollFd, PollFlags, poll};
/// use smstream::{Builder, Kind, PollableListener, Stream};
///
/// let listener = PollableListener::new(Builder::new().bind_temp(Kind::Abstract)?)?;
/// let addr = listener.get_ref().local_addr().clone();
/// let client = std::thread::spawn(move || Stream::connect(addr));
/// let stream = loop {
///     poll(&mut [PollFd::new(&listener, PollFlags::IN)], None)?;
///     if let Some(stream) = listener.accept()? {
///         break stream;
///     }
/// };
/// # drop((stream, client.join().unwrap()?));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
/// `poll(2)`, `epoll(7)`.
#[derive(Debug)]
pub struct PollableListener {
    listener: Listener,
    epoll: Arc<OwnedFd>,
}

impl PollableListener {
    /// Makes a listener pollable. It blocks no longer.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] at `file:` and `shm:`, where there is nothing that `poll` could look at. The listener is
    /// [given back](ConvertError::into_inner).
    #[allow(clippy::result_large_err, reason = "the listener is given back, and is not to be put on the heap")]
    pub fn new(listener: Listener) -> Result<Self, ConvertError<Listener>> {
        let epoll = listener.epoll("waited for with poll").map(Arc::clone);
        match epoll.and_then(|epoll| listener.set_nonblocking(true).map(|()| epoll)) {
            Ok(epoll) => Ok(PollableListener { listener, epoll }),
            Err(e) => Err(ConvertError::new(e, listener)),
        }
    }

    /// Accepts a connector if one waits.
    ///
    /// # Errors
    /// As for [`Listener::accept`], but [`Reason::WouldBlock`].
    pub fn accept(&self) -> Result<Option<Stream>> {
        match self.listener.accept() {
            Err(e) if e.reason() == Reason::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    /// The listener, to ask it something. It does not block.
    #[must_use]
    pub fn get_ref(&self) -> &Listener {
        &self.listener
    }

    /// The listener itself, which blocks again.
    #[must_use]
    pub fn into_listener(self) -> Listener {
        // It gives no errors.
        let _ = self.listener.set_nonblocking(false);
        self.listener
    }
}

/// Readable when it is worth accepting. Only to be waited for.
impl AsFd for PollableListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for PollableListener {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

static_assertions::assert_impl_all!(PollableListener: Send, Sync);
