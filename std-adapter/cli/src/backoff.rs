//! What a command does when the system or the other side does not give a connection yet: it waits, and tries again.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, say};

/// How long to wait before trying again.
const RETRY: Duration = Duration::from_millis(20);

/// How often accepting may fail in a row before that is the end.
const TRIES: u32 = 100;

/// For those who serve many connections at once: what to do when accepting fails. Most likely no descriptor or no memory
/// is left, until some connection ends.
#[derive(Default)]
pub struct Backoff(u32);

impl Backoff {
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
