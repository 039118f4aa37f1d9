//! Listening.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use smstream_core::geometry::Config;
use smstream_core::park::ALERT_CANCEL;

use crate::acceptor::{Acceptor, AnyListener};
use crate::addr::{Addr, Kind};
use crate::condition::Condition;
use crate::error::{Error, Reason, Result};
use crate::liveness::{Half, PeerMonitor};
use crate::rendezvous::socket::{self, Interrupt};
use crate::settings::Settings;
use crate::stream::Stream;
use crate::timed_mutex::TimedMutex;
use smstream_shm::Deadline;

/// Waits at an address for connectors.
///
/// ```
/// use std::io::{Read, Write};
/// # let dir = std::env::temp_dir().join(format!("smstream-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("chat");
/// let listener = smstream::Listener::bind(&path)?;
/// std::thread::scope(|s| {
///     s.spawn(|| smstream::Stream::connect(&path)?.write_all(b"hello"));
///     let mut text = String::new();
///     listener.accept()?.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # drop(listener); std::fs::remove_dir(&dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A listener that waits makes no system call. When it is dropped the name is removed; streams that were accepted live
/// on.
///
/// At `file:` and `shm:` one connector waits at a time, in the region that the name leads to; the others wait for their
/// turn. At `unix:` many can be in the middle of their rendezvous, and none that is slow, silent or wrong holds up
/// another; it gets on only while a thread is in [`accept`](Listener::accept), or calls it again and again.
#[derive(Debug)]
pub struct Listener {
    acceptor: TimedMutex<Acceptor>,
    addr: Addr,
    capacities: [usize; 2],
    nonblocking: AtomicBool,
    /// The thread that has the acceptor waits for a connector.
    waiting: Arc<AtomicBool>,
    stop: Stop,
    /// Readable when it is worth accepting, if it listens on a socket.
    epoll: Option<Arc<OwnedFd>>,
}

/// What ends the waits.
#[derive(Debug)]
enum Stop {
    Region(Arc<PeerMonitor>),
    Socket(Arc<Interrupt>),
}

impl Listener {
    pub(crate) fn bind_with(addr: Addr, config: &Config, settings: Settings) -> Result<Listener> {
        Self::listen(addr, config, settings, true)
    }

    /// Listens at an address of this kind that no listener has, or had.
    pub(crate) fn bind_new(kind: Kind, config: &Config, settings: Settings) -> Result<Listener> {
        loop {
            let addr = Addr::unique(kind);
            match Self::listen(addr, config, settings.clone(), false) {
                Err(e) if e.reason() == Reason::AddrInUse || e.reason() == Reason::NotARegion => {}
                other => return other,
            }
        }
    }

    fn listen(addr: Addr, config: &Config, settings: Settings, take_over: bool) -> Result<Listener> {
        settings.check(&addr)?;
        let source = AnyListener::bind(&addr, config, &settings, take_over)?;
        Ok(Self::with(source, addr, config, settings))
    }

    /// Goes on with a socket that listens already.
    pub(crate) fn adopt(socket: OwnedFd, config: &Config, settings: Settings) -> Result<Listener> {
        let listener = socket::SocketListener::adopt(socket, config, settings.terms.clone())?;
        let addr = listener.addr();
        settings.check(&addr)?;
        Ok(Self::with(AnyListener::Socket(Box::new(listener)), addr, config, settings))
    }

    fn with(source: AnyListener, addr: Addr, config: &Config, settings: Settings) -> Listener {
        let (stop, epoll) = match &source {
            AnyListener::Region(listener) => (Stop::Region(listener.interrupt()), None),
            AnyListener::Socket(listener) => (Stop::Socket(listener.interrupt()), Some(listener.epoll())),
        };
        let waiting = Arc::default();
        Listener {
            stop,
            epoll,
            acceptor: TimedMutex::new(Acceptor::new(source, addr.clone(), settings, Arc::clone(&waiting))),
            capacities: config.capacities.map(|c| c as usize),
            addr,
            nonblocking: AtomicBool::new(false),
            waiting,
        }
    }

    /// Waits for a connector and accepts it.
    ///
    /// # Errors
    /// [`Reason::WouldBlock`] if the listener does not block and no connector waits. If the region for the next connector cannot
    /// be made, the present one stays pending, and accepting can be tried again. If the name was removed or replaced by
    /// another process, no connector can come any more: listen again.
    pub fn accept(&self) -> Result<Stream> {
        self.accept_until(None)
    }

    /// Waits like [`accept`](Listener::accept), but no longer than `timeout`.
    ///
    /// # Errors
    /// [`Reason::TimedOut`], and as above. If a connector came and this process had no memory or descriptors for the
    /// connection, the text says so.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Stream> {
        self.accept_until(Some(Deadline::after(timeout)))
    }

    fn accept_until(&self, deadline: Option<Deadline>) -> Result<Stream> {
        if self.nonblocking.load(Ordering::Relaxed) {
            let blocked = || self.waiting.load(Ordering::Acquire);
            let acceptor = self.acceptor.lock_unless(blocked);
            let accepted = acceptor.map(|mut acceptor| acceptor.try_accept()).transpose()?.flatten();
            return accepted.ok_or_else(|| Error::new(Reason::WouldBlock, "no connector waits to be accepted"));
        }
        let Some(mut acceptor) = self.acceptor.lock_until(deadline) else {
            let text = format!("no connector came to {} in time that another thread has not accepted", self.addr);
            return Err(Error::new(Reason::TimedOut, text));
        };
        acceptor.accept(deadline)
    }

    /// That accepting would not wait. When it is ready a connector *has been* accepted, or an error met, and is kept for
    /// the next [`accept`](Listener::accept): nothing that the connector does can make that wait.
    #[must_use]
    pub fn acceptable(&self) -> Condition<'_> {
        Condition::shared("Acceptable", &self.acceptor, None)
    }

    /// The streams that connect, one after the other, for ever.
    #[must_use]
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Sets whether accepting gives [`Reason::WouldBlock`] instead of waiting. A call that waits already goes on waiting.
    ///
    /// # Errors
    /// None at present; a socket has some.
    pub fn set_nonblocking(&self, on: bool) -> Result<()> {
        self.nonblocking.store(on, Ordering::Relaxed);
        Ok(())
    }

    /// Ends all waits in [`accept`](Listener::accept), now and later, from any thread: they give
    /// [`std::io::ErrorKind::ConnectionAborted`]. The name stays until the listener is dropped.
    pub fn shutdown(&self) {
        match &self.stop {
            Stop::Region(monitor) => monitor.raise(Half::Reader, ALERT_CANCEL),
            Stop::Socket(interrupt) => interrupt.raise(),
        }
    }

    /// A descriptor to be waited for with `poll` or `epoll`, level- or edge-triggered: it becomes readable when it is worth
    /// accepting, which may turn out to be for nothing. The listener should not block
    /// ([`set_nonblocking`](Listener::set_nonblocking)), and accept until it gives [`Reason::WouldBlock`]: that also gets
    /// on with those who are in the middle of their rendezvous. It is only to be waited for.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] at `file:` and `shm:`, where there is nothing that `poll` could look at.
    pub fn readiness(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.epoll("waited for with poll")?.as_fd())
    }

    /// What is to be waited for, if there is anything.
    pub(crate) fn epoll(&self, what: &str) -> Result<&Arc<OwnedFd>> {
        self.epoll.as_ref().ok_or_else(|| {
            let text = format!(
                "the listener at {} cannot be {what}: its connectors come by shared memory and no socket; listen at \
                 unix: instead",
                self.addr
            );
            Error::new(Reason::Unsupported, text)
        })
    }

    /// Stops listening and removes the name, like a drop, and says if that failed.
    ///
    /// # Errors
    /// What the system says. A name that is left is taken over by the next listener.
    pub fn close(self) -> Result<()> {
        self.acceptor.into_inner().close()
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> &Addr {
        &self.addr
    }

    /// The bytes that each lane of its connections holds: the listener's, the connector's. They are what was asked for,
    /// rounded up to a power of two.
    #[must_use]
    pub fn capacities(&self) -> [usize; 2] {
        self.capacities
    }
}

/// The streams that connect, one after the other, for ever: as [`Listener::incoming`].
///
/// ```
/// use smstream::{Listener, Stream};
/// use std::io::Write;
///
/// let listener = Listener::bind_temp()?;
/// let addr = listener.local_addr().clone();
/// let client = std::thread::spawn(move || Stream::connect(addr)?.write_all(b"hello"));
/// for stream in &listener {
///     std::io::copy(&mut stream?, &mut std::io::sink())?;
///     break;
/// }
/// # client.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
impl<'a> IntoIterator for &'a Listener {
    type Item = Result<Stream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

/// The streams that connect to a [`Listener`]. It never ends.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a Listener,
}

impl Iterator for Incoming<'_> {
    type Item = Result<Stream>;

    fn next(&mut self) -> Option<Result<Stream>> {
        Some(self.listener.accept())
    }
}

static_assertions::assert_impl_all!(Listener: Send, Sync);
