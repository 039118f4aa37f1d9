//! What a command does when the system or the other side does not give a connection yet: it waits, and tries again.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::say;
use crate::transport::in_options;

/// How long to wait before trying again, at first; each time twice as long.
const FIRST: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST: Duration = Duration::from_millis(500);
/// How often to say that something still fails.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// After so many failures in a row because of bad memory it is not the connectors'.
const DAMAGED: u32 = 4;

/// For a server that keeps on: what to do when accepting fails. What concerns one connector has cost that connector;
/// where descriptors or memory are short, some connection ends some time. So it tries again, for ever, and says so now
/// and then.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
    pause: Option<Duration>,
    said: Option<Instant>,
    unsaid: u32,
}

impl Backoff {
    /// Waits a little, after saying what went wrong if that was not said just now.
    pub fn after(&mut self, place: &dyn fmt::Display, error: &io::Error) {
        self.failures += 1;
        match self.said {
            Some(said) if said.elapsed() < SAY_EVERY => self.unsaid += 1,
            _ => {
                let more = match self.unsaid {
                    0 => String::new(),
                    count => format!(" ({count} times more since then)"),
                };
                let why = in_options(error);
                say(format_args!("could not accept a connection at {place}: {why}{more}; trying again"));
                (self.said, self.unsaid) = (Some(Instant::now()), 0);
            }
        }
        let pause = self.pause.map_or(FIRST, |pause| (pause * 2).min(LONGEST));
        self.pause = Some(pause);
        thread::sleep(pause);
    }

    /// Whether an error of accepting says that no connector will come any more: the name was removed or replaced, or its
    /// memory is damaged, which shows when accepting fails again and again.
    pub fn is_lost(&self, error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::AddrNotAvailable => true,
            io::ErrorKind::InvalidData => self.failures >= DAMAGED,
            _ => false,
        }
    }

    /// Accepting has worked, or there is another listener.
    pub fn restore(&mut self) {
        self.failures = 0;
        self.pause = None;
    }
}

/// Tries to connect, if need be again and again until the time is up. `attempt` gets the time that is left, and should
/// not wait longer for an answer. An error comes with what to advise. What a listener says that refuses is said now and then: it
/// is there, and the user would otherwise wait for it to begin.
pub fn keep_trying<T>(
    wait: Option<Duration>,
    attempt: impl Fn(Option<Duration>) -> io::Result<T>,
) -> Result<T, (io::Error, &'static str)> {
    let end = wait.map(|wait| Instant::now() + wait);
    let mut pause = FIRST;
    let mut said: Option<Instant> = None;
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let error = match attempt(left.map(|left| left.max(FIRST))) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        if let Some(left) = left.filter(|left| absent && !left.is_zero()) {
            if is_refusal(&error) && said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                say(format_args!("{}; trying again", in_options(&error)));
                said = Some(Instant::now());
            }
            thread::sleep(left.min(pause));
            pause = (pause * 5 / 4).min(LONGEST);
            continue;
        }
        let hint = if absent && wait.is_none() { "; `--wait SECONDS` would keep trying" } else { "" };
        return Err((error, hint));
    }
}

/// Whether a listener that is there has refused.
fn is_refusal(error: &io::Error) -> bool {
    smstream::Error::from_io(error).is_some_and(|error| error.name() == "Refused")
}
