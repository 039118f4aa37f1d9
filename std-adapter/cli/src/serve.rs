//! `smstream listen` and `smstream connect`: how the connections come about.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::args::{ConnectArgs, ListenArgs};
use crate::exec;
use crate::failure::{Context, Failure, say};
use crate::pump::{self, Feed, Trouble};
use crate::stdio::Input;
use crate::transport::{self, Addr, Options, Stream};

/// How long to wait before asking again whether somebody listens.
const RETRY: Duration = Duration::from_millis(20);

/// Serves one connection, or one after another.
pub fn listen(args: &ListenArgs) -> Result<u8, Failure> {
    let addr = &args.addr;
    if let Some(note) = args.capacity.and_then(|capacity| capacity.note()) {
        say(note);
    }
    let options = Options { capacity: args.capacity.map(|capacity| capacity.bytes()), spin: None };
    let listener = transport::bind(addr, options)
        .map_err(|error| Failure::no_connection(format!("could not listen at {addr}: {error}")))?;
    if !args.command.is_empty() {
        return exec::listen(listener, addr, &args.command, args.keep_open, args.progress.progress);
    }
    let feed = feed(args.keep_open)?;
    let accept = || {
        let stream = listener.accept();
        stream.map_err(|error| Failure::no_connection(format!("could not accept a connection at {addr}: {error}")))
    };
    if !args.keep_open {
        let stream = accept()?;
        // Whoever comes next shall not wait for an answer that never comes.
        drop(listener);
        return conclude(pump::run(stream, addr, &feed, args.progress.progress)?);
    }
    loop {
        if let Some(trouble) = pump::run(accept()?, addr, &feed, args.progress.progress)? {
            say(trouble);
        }
    }
}

/// How often accepting may fail in a row before that is the end.
const TRIES: u32 = 100;

/// For those who serve many connections at once: what to do when accepting fails. Most likely no descriptor or no memory
/// is left, until some connection ends.
#[derive(Default)]
pub struct Patience(u32);

impl Patience {
    /// Waits a little; after many failures in a row, that is the end.
    pub fn after(&mut self, place: &dyn fmt::Display, error: &io::Error) -> Result<(), Failure> {
        let what = format!("could not accept a connection at {place}: {error}");
        self.0 += 1;
        if self.0 >= TRIES {
            return Err(Failure::no_connection(what));
        }
        if self.0 == 1 {
            say(format_args!("{what}; trying again"));
        }
        thread::sleep(RETRY);
        Ok(())
    }

    /// Accepting has worked.
    pub fn restore(&mut self) {
        self.0 = 0;
    }
}

/// Connects and serves that connection.
pub fn connect(args: &ConnectArgs) -> Result<u8, Failure> {
    if !args.command.is_empty() {
        let stream = reach(&args.addr, args.wait)?;
        return exec::connected(stream, &args.addr, &args.command, args.progress.progress);
    }
    let feed = feed(false)?;
    let stream = reach(&args.addr, args.wait)?;
    conclude(pump::run(stream, &args.addr, &feed, args.progress.progress)?)
}

/// Standard input.
fn feed(keep: bool) -> Result<Arc<Feed>, Failure> {
    if Input::is_closed() {
        say("standard input is not open: nothing will be sent");
    }
    Feed::new(keep).map(Arc::new).or_broken("could not prepare standard input")
}

/// The result of the only connection.
fn conclude(trouble: Trouble) -> Result<u8, Failure> {
    trouble.map_or(Ok(0), |trouble| Err(Failure::broken(trouble)))
}

/// Connects, if need be again and again until the time is up.
fn reach(addr: &Addr, wait: Option<Duration>) -> Result<Stream, Failure> {
    keep_trying(wait, |limit| transport::connect(addr, Options::default(), limit))
        .map_err(|(error, hint)| Failure::no_connection(format!("could not connect to {addr}: {error}{hint}")))
}

/// Tries to connect, if need be again and again until the time is up. `attempt` gets the time that is left, and should
/// not wait longer for an answer. An error comes with what to advise.
pub fn keep_trying<T>(
    wait: Option<Duration>,
    attempt: impl Fn(Option<Duration>) -> io::Result<T>,
) -> Result<T, (io::Error, &'static str)> {
    let end = wait.map(|wait| Instant::now() + wait);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let error = match attempt(left.map(|left| left.max(RETRY))) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let nobody = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        if let Some(left) = left.filter(|left| nobody && !left.is_zero()) {
            thread::sleep(left.min(RETRY));
            continue;
        }
        let hint = if nobody && wait.is_none() { ", or let --wait SECONDS keep trying" } else { "" };
        return Err((error, hint));
    }
}
