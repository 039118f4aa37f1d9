//! A connection that is being made while the program does something else.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::addr::Addr;
use crate::attempt::Attempt;
use crate::condition::waitable::{WaitSet, Waitable};
use crate::condition::{Condition, wait_any};
use crate::error::{Error, Reason, Result};
use crate::liveness::{self, PeerMonitor};
use crate::settings::Settings;
use crate::stream::Stream;
use crate::timed_mutex::Requests;
use rustix::fd::AsFd;

/// A connection that is being made: begun by [`Stream::begin_connect`], and going on whenever it is asked.
///
/// ```
/// use smstream::{Listener, Stream, TryFinish};
///
/// let listener = Listener::bind_temp()?;
/// let connecting = Stream::begin_connect(listener.local_addr())?;
/// // The listener has not accepted yet.
/// let Err(TryFinish::Pending(connecting)) = connecting.try_finish() else { panic!("already?") };
/// let there = listener.accept()?;
/// let here = connecting.wait(None)?;
/// # drop((here, there));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The listener can accept it from the moment on in which it has said HELLO; that is done in
/// [`begin_connect`](Stream::begin_connect) if no other connector is before it. Further steps are made by
/// [`try_finish`](Connecting::try_finish), [`wait`](Connecting::wait) and while it is waited for as a
/// [`connectable`](Connecting::connectable) condition, and at no other time: over `unix:` the listener evicts
/// a connector that takes longer than [`Builder::handshake_timeout`](crate::Builder::handshake_timeout) of the listener, unless HELLO was all
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
    On(Attempt),
    /// It has come to an end, which the caller has not been given yet.
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
        let state = match Attempt::begin(&addr, &settings) {
            Ok(attempt) => State::On(attempt),
            Err(e) => State::Over(Box::new(Err(e.of_connecting()))),
        };
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

    /// That [`try_finish`](Connecting::try_finish) gives a stream, or the reason why there will be none.
    #[must_use]
    pub fn connectable(&mut self) -> Condition<'_> {
        Condition::alone("Connectable", self)
    }
}

impl Requests for Connecting {}

impl Waitable for Connecting {
    /// Goes on as far as it can without waiting: whether it has come to an end, good or bad.
    fn is_ready(&mut self) -> bool {
        let State::On(attempt) = &mut self.state else { return true };
        let result = match attempt.step() {
            Ok(None) => return false,
            Ok(Some(connected)) => Stream::met(connected, &self.settings, &self.addr),
            Err(e) => Err(e),
        };
        self.state = State::Over(Box::new(result.map_err(Error::of_connecting)));
        true
    }

    fn monitor(&self) -> Option<&PeerMonitor> {
        match &self.state {
            State::On(Attempt::Region(region)) => region.monitor().map(|monitor| &**monitor),
            _ => None,
        }
    }

    fn arm<'w>(&'w mut self, set: &mut WaitSet<'w>, slice: Duration) -> bool {
        match &self.state {
            State::On(Attempt::Region(region)) => {
                // An alert changes the event count of the process.
                set.words.extend(region.watches()[0]);
                if let Some(time) = region.look_again() {
                    set.limit(time);
                }
            }
            State::On(Attempt::Socket(socket)) => {
                if socket.is_queueing() || liveness::watch_readable(socket.socket().as_fd()).is_err() {
                    set.limit(slice);
                }
            }
            State::Over(_) => return false,
        }
        true
    }

    fn disarm(&mut self) {
        if let State::On(Attempt::Socket(socket)) = &self.state {
            liveness::unwatch(socket.socket().as_fd());
        }
    }
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
