//! Listening.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use smstream_core::geometry::Config;
use smstream_core::park::ALERT_CANCEL;

use crate::addr::{Addr, Kind};
use crate::error::{Error, Reason, Result};
use crate::liveness::{Half, Life};
use crate::rendezvous::socket::{self, Interrupt, SocketName};
use crate::rendezvous::{self, Connected, file};
use crate::settings::Settings;
use crate::stream::Stream;
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
/// another; it gets on only while somebody is in [`accept`](Listener::accept), or calls it again and again.
#[derive(Debug)]
pub struct Listener {
    inner: Mutex<Inner>,
    addr: Addr,
    capacities: [usize; 2],
    settings: Settings,
    nonblocking: AtomicBool,
    stop: Stop,
    /// What the next accept returns: whoever waited for the listener to be acceptable has seen it already.
    kept: Mutex<Option<Box<Result<Stream>>>>,
    /// Readable when there may be somebody to accept, if it listens on a socket.
    epoll: Option<Arc<OwnedFd>>,
}

/// What listens.
#[derive(Debug)]
pub(crate) enum Inner {
    Region(Box<file::Listener>),
    Socket(Box<socket::Listener>),
}

/// What ends the waits.
#[derive(Debug)]
enum Stop {
    Region(Arc<Life>),
    Socket(Arc<Interrupt>),
}

impl Inner {
    fn socket(name: SocketName, config: &Config, settings: &Settings, take_over: bool) -> Result<Inner> {
        let listener = socket::Listener::bind(name, config, settings.terms.clone(), take_over)?;
        Ok(Inner::Socket(Box::new(listener)))
    }

    fn accept(&mut self, deadline: Option<Deadline>) -> Result<Connected, rendezvous::Error> {
        match self {
            Inner::Region(listener) => listener.accept(deadline),
            Inner::Socket(listener) => listener.accept(deadline),
        }
    }

    fn try_accept(&mut self) -> Result<Option<Connected>, rendezvous::Error> {
        match self {
            Inner::Region(listener) => listener.try_accept(),
            Inner::Socket(listener) => listener.try_accept(),
        }
    }
}

impl Listener {
    pub(crate) fn bind_with(addr: Addr, config: &Config, settings: Settings) -> Result<Listener> {
        Self::listen(addr, config, settings, true)
    }

    /// Listens at an address of this kind that nobody has, and nobody had.
    pub(crate) fn bind_new(kind: Kind, config: &Config, settings: Settings) -> Result<Listener> {
        loop {
            let addr = Addr::unheard_of(kind);
            match Self::listen(addr, config, settings.clone(), false) {
                Err(e) if e.reason() == Reason::AddrInUse || e.reason() == Reason::NotARegion => {}
                other => return other,
            }
        }
    }

    fn listen(addr: Addr, config: &Config, settings: Settings, take_over: bool) -> Result<Listener> {
        settings.check(&addr)?;
        let inner = match &addr {
            Addr::Unix(path) => Inner::socket(SocketName::of_path(path)?, config, &settings, take_over)?,
            Addr::Abstract(name) => Inner::socket(SocketName::of_abstract(name)?, config, &settings, take_over)?,
            Addr::File(_) | Addr::Shm(_) => {
                let bind = if take_over { file::Listener::bind } else { file::Listener::bind_new };
                Inner::Region(Box::new(bind(&addr.region_path()?, config, settings.guard)?))
            }
            Addr::Fd(_) => return Err(socket::cannot_listen(&addr.to_string()).into()),
        };
        let (stop, epoll) = match &inner {
            Inner::Region(listener) => (Stop::Region(listener.interrupt()), None),
            Inner::Socket(listener) => (Stop::Socket(listener.interrupt()), Some(listener.epoll())),
        };
        Ok(Listener {
            stop,
            epoll,
            inner: Mutex::new(inner),
            capacities: config.capacities.map(|c| c as usize),
            addr,
            settings,
            nonblocking: AtomicBool::new(false),
            kept: Mutex::new(None),
        })
    }

    /// Waits for a connector and accepts it.
    ///
    /// # Errors
    /// [`Reason::WouldBlock`] if the listener does not block and nobody waits. If the region for the next connector cannot
    /// be made, the present one stays pending, and accepting can be tried again. If the name was removed or replaced by
    /// somebody else, nobody can connect any more: listen again.
    pub fn accept(&self) -> Result<Stream> {
        self.accept_until(None)
    }

    /// Waits like [`accept`](Listener::accept), but no longer than `timeout`.
    ///
    /// # Errors
    /// [`Reason::TimedOut`], and as above.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Stream> {
        self.accept_until(Some(Deadline::after(timeout)))
    }

    fn accept_until(&self, deadline: Option<Deadline>) -> Result<Stream> {
        loop {
            let connected = {
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(kept) = self.kept().take() {
                    return *kept;
                }
                if self.nonblocking.load(Ordering::Relaxed) {
                    inner.try_accept()?.ok_or_else(|| Error::new(Reason::WouldBlock, "nobody waits to be accepted"))?
                } else {
                    inner.accept(deadline)?
                }
            };
            if let Some(accepted) = self.accepted(connected) {
                return accepted;
            }
        }
    }

    /// The stream of a connector; `None` if it ends here.
    fn accepted(&self, connected: Connected) -> Option<Result<Stream>> {
        let trusted = connected.link.is_none();
        match Stream::met(connected, &self.settings, &self.addr) {
            // A connector that nobody trusts has spoilt its own segment: that ends its connection and nothing else.
            Err(e) if !trusted && e.reason() == Reason::Corrupt => None,
            other => Some(other),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Box<Result<Stream>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What listens, behind the lock of all who accept.
    pub(crate) fn inner(&self) -> &Mutex<Inner> {
        &self.inner
    }

    /// Whether [`accept`](Listener::accept) would return at once. If so, what it will return is kept: a connector that dies
    /// now, or an error that goes away, cannot make it wait after all. `inner` is that of this listener.
    pub(crate) fn is_acceptable(&self, inner: &mut Inner) -> bool {
        loop {
            if self.kept().is_some() {
                return true;
            }
            let result = match inner.try_accept() {
                Ok(Some(connected)) => self.accepted(connected),
                Ok(None) => return self.is_shut_down(),
                Err(e) => Some(Err(e.into())),
            };
            *self.kept() = result.map(Box::new);
        }
    }

    /// Whether [`shutdown`](Listener::shutdown) was called. (At a socket the waits themselves notice.)
    fn is_shut_down(&self) -> bool {
        match &self.stop {
            Stop::Region(life) => life.alert(Half::Reader).load_alert() != 0,
            Stop::Socket(_) => false,
        }
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
            Stop::Region(life) => life.raise(Half::Reader, ALERT_CANCEL),
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
        match self.inner.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Inner::Region(listener) => listener.close()?,
            Inner::Socket(listener) => listener.close()?,
        }
        Ok(())
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
