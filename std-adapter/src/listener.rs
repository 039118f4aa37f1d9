//! Listening and connecting.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smstream_core::geometry::Config;
use smstream_core::park::ALERT_CANCEL;

use crate::addr::{Addr, ToAddr};
use crate::builder::{Builder, Settings};
use crate::deadline::Deadline;
use crate::error::{Error, Reason, Result};
use crate::liveness::{Half, Life};
use crate::rendezvous::{Connected, file};
use crate::stream::{Segments, Stream};

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
/// One connector waits at a time, in the region that the name leads to; the others wait for their turn. A listener that
/// waits makes no system call. When it is dropped the name is removed; streams that were accepted live on.
#[derive(Debug)]
pub struct Listener {
    inner: Mutex<file::Listener>,
    addr: Addr,
    capacities: [usize; 2],
    settings: Settings,
    nonblocking: AtomicBool,
    interrupt: Arc<Life>,
}

impl Listener {
    /// Listens at `addr` with the default settings: see [`Builder`] for others.
    ///
    /// # Errors
    /// As for [`Builder::bind`].
    pub fn bind(addr: impl ToAddr) -> Result<Listener> {
        Builder::new().bind(addr)
    }

    pub(crate) fn bind_with(addr: Addr, config: &Config, settings: Settings) -> Result<Listener> {
        let inner = file::Listener::bind(region(&addr)?, config, settings.guard)?;
        Ok(Listener {
            interrupt: inner.interrupt(),
            inner: Mutex::new(inner),
            capacities: config.capacities.map(|c| c as usize),
            addr,
            settings,
            nonblocking: AtomicBool::new(false),
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
        let connected = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if self.nonblocking.load(Ordering::Relaxed) {
                inner.try_accept()?.ok_or_else(|| Error::new(Reason::WouldBlock, "nobody waits to be accepted"))?
            } else {
                inner.accept(deadline)?
            }
        };
        into_stream(connected, &self.settings, &self.addr)
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
        self.interrupt.raise(Half::Reader, ALERT_CANCEL);
    }

    /// Stops listening and removes the name, like a drop, and says if that failed.
    ///
    /// # Errors
    /// What the system says. A name that is left is taken over by the next listener.
    pub fn close(self) -> Result<()> {
        Ok(self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).close()?)
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

/// Connects to whoever listens at `addr`.
pub(crate) fn connect(addr: &Addr, settings: &Settings, deadline: Option<Deadline>) -> Result<Stream> {
    into_stream(file::connect(region(addr)?, deadline, settings.guard)?, settings, addr)
}

/// The name of the region that an address stands for.
fn region(addr: &Addr) -> Result<Cow<'_, Path>> {
    addr.region().ok_or_else(|| Error::new(Reason::InvalidInput, format!("{addr} is not served yet")))
}

fn into_stream(connected: Connected, settings: &Settings, addr: &Addr) -> Result<Stream> {
    let who = if connected.party == 0 { "the connector" } else { "the listener" };
    let peer = format!("{who} at {addr}");
    let segments = Segments { mine: connected.my, peer: connected.peer };
    // SAFETY: the rendezvous gave each segment to one party, which holds the lock of its end, and this end has just been
    // made: nobody else in this process uses the segments. Parties of a `file:` region are trusted not to shorten it.
    unsafe { Stream::attach(segments, connected.life, settings, &peer) }
}

static_assertions::assert_impl_all!(Listener: Send, Sync);
