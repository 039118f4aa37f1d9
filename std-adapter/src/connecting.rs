//! A connection that is being made while the program does something else.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::addr::Addr;
use crate::builder::Settings;
use crate::condition::wait_any;
use crate::error::{Error, Reason, Result};
use crate::inherited;
use crate::listener::into_stream;
use crate::rendezvous::file;
use crate::rendezvous::socket::{self, SocketName};
use crate::rendezvous::{self, Connected};
use crate::stream::Stream;

/// A connection that is being made: begun by [`Stream::begin_connect`], and going on whenever it is asked.
///
/// ```
/// use smstream::{Listener, Stream, TryFinish};
///
/// let listener = Listener::bind_temp()?;
/// let connecting = Stream::begin_connect(listener.local_addr())?;
/// // Nobody has accepted yet.
/// let Err(TryFinish::Pending(connecting)) = connecting.try_finish() else { panic!("already?") };
/// let there = listener.accept()?;
/// let here = connecting.wait(None)?;
/// # drop((here, there));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The listener can accept it from the moment on in which it has said HELLO; that is done in
/// [`begin_connect`](Stream::begin_connect) if nobody else is before it. Further steps are made by
/// [`try_finish`](Connecting::try_finish), [`wait`](Connecting::wait) and while it is waited for as a
/// [`connectable`](Connecting::connectable) condition, and at no other time: over `unix:` the listener turns away
/// whoever takes longer than [`Builder::hello_timeout`](crate::Builder::hello_timeout) of the listener, unless HELLO was all
/// that there was to say (see [`Builder::capacity`](crate::Builder::capacity)). Dropping it gives the attempt up; a listener
/// that has accepted meanwhile then has a stream without a peer.
///
/// # References
/// `CreateOpenCondition` and `TestAndOpen` of Ulm's `SMStreams`.
#[derive(Debug)]
pub struct Connecting {
    addr: Addr,
    settings: Settings,
    state: State,
}

#[derive(Debug)]
enum State {
    Region(Box<file::Connecting>),
    Socket(Box<socket::Connecting>),
    /// It has come to an end, of which nobody has been told yet.
    Over(Box<Result<Stream>>),
}

/// Why there is no stream.
#[derive(Debug)]
pub enum TryFinish {
    /// The listener has not accepted yet: here is the attempt again.
    Pending(Connecting),
    /// The attempt has failed.
    Failed(Error),
}

impl Connecting {
    pub(crate) fn begin(addr: Addr, settings: Settings) -> Self {
        let state = State::begin(&addr, &settings).unwrap_or_else(|e| State::Over(Box::new(Err(e.of_connecting()))));
        let mut connecting = Connecting { addr, settings, state };
        connecting.is_ready();
        connecting
    }

    /// Where it connects to.
    #[must_use]
    pub fn addr(&self) -> &Addr {
        &self.addr
    }

    /// The stream, if the listener has accepted. Does not wait.
    ///
    /// # Errors
    /// [`TryFinish::Pending`] with the attempt, to go on with, or [`TryFinish::Failed`] with the reason, as for
    /// [`Stream::connect`].
    #[allow(clippy::result_large_err, reason = "the attempt goes on in it, and is not to be put on the heap each time")]
    pub fn try_finish(mut self) -> Result<Stream, TryFinish> {
        if !self.is_ready() {
            return Err(TryFinish::Pending(self));
        }
        match self.state {
            State::Over(result) => (*result).map_err(TryFinish::Failed),
            state => Err(TryFinish::Pending(Connecting { state, ..self })),
        }
    }

    /// Waits until the listener accepts, or `timeout` has passed; `None`: for ever.
    ///
    /// # Errors
    /// [`TryFinish::Pending`] with the attempt if `timeout` has passed; it can be waited for again. Otherwise as for
    /// [`try_finish`](Connecting::try_finish).
    #[allow(clippy::result_large_err, reason = "the attempt goes on in it, and is not to be put on the heap each time")]
    pub fn wait(mut self, timeout: Option<Duration>) -> Result<Stream, TryFinish> {
        wait_any(&mut [self.connectable()], timeout).map_err(TryFinish::Failed)?;
        self.try_finish()
    }

    /// Goes on as far as it can without waiting: whether it has come to an end, good or bad.
    pub(crate) fn is_ready(&mut self) -> bool {
        let step = match &mut self.state {
            State::Region(region) => region.step(),
            State::Socket(socket) => socket.step(),
            State::Over(_) => return true,
        };
        let result = match step {
            Ok(None) => return false,
            Ok(Some(connected)) => self.finish(connected),
            Err(e) => Err(e.into()),
        };
        self.state = State::Over(Box::new(result.map_err(Error::of_connecting)));
        true
    }

    fn finish(&self, connected: Connected) -> Result<Stream> {
        into_stream(connected, &self.settings, &self.addr)
    }

    /// The attempt at a region, if it is one that goes on.
    pub(crate) fn region(&self) -> Option<&file::Connecting> {
        match &self.state {
            State::Region(region) => Some(region),
            _ => None,
        }
    }

    /// The attempt at a socket, if it is one that goes on.
    pub(crate) fn socket(&self) -> Option<&socket::Connecting> {
        match &self.state {
            State::Socket(socket) => Some(socket),
            _ => None,
        }
    }
}

impl State {
    fn begin(addr: &Addr, settings: &Settings) -> Result<State> {
        settings.check(addr)?;
        let terms = || settings.terms.clone();
        let socket = |made: Result<socket::Connecting, rendezvous::Error>| Ok(State::Socket(Box::new(made?)));
        match addr {
            Addr::File(_) | Addr::Shm(_) => {
                Ok(State::Region(Box::new(file::Connecting::to(region(addr)?, settings.guard)?)))
            }
            Addr::Unix(path) => socket(socket::Connecting::to(SocketName::of_path(path)?, terms())),
            Addr::Abstract(name) => socket(socket::Connecting::to(SocketName::of_abstract(name)?, terms())),
            Addr::Fd(number) => {
                let inherited = inherited::take(*number)?;
                socket(socket::Connecting::on(inherited, addr.to_string(), terms()))
            }
        }
    }
}

/// The name of the region that an address stands for.
fn region(addr: &Addr) -> Result<Cow<'_, Path>> {
    addr.region().ok_or_else(|| Error::new(Reason::InvalidInput, format!("{addr} is no region")))
}

impl fmt::Display for TryFinish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryFinish::Pending(connecting) => {
                write!(f, "the listener at {} has not accepted yet; try again later, or wait", connecting.addr)
            }
            TryFinish::Failed(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for TryFinish {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TryFinish::Pending(_) => None,
            TryFinish::Failed(e) => std::error::Error::source(e),
        }
    }
}

/// An attempt that is pending is given up, as [`io::ErrorKind::WouldBlock`].
impl From<TryFinish> for io::Error {
    fn from(e: TryFinish) -> Self {
        match e {
            TryFinish::Pending(_) => Error::new(Reason::WouldBlock, "the listener has not accepted yet").into(),
            TryFinish::Failed(e) => e.into(),
        }
    }
}

static_assertions::assert_impl_all!(Connecting: Send, Sync);
