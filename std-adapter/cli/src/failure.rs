//! How a command fails: a sentence for people and an exit code for scripts.

use std::fmt;
use std::io;

use smstream::inspect::printable;

/// Why a command ends with something else than success.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    coloured: bool,
}

impl Failure {
    /// The peer died, the stream is corrupt, bytes were lost, or local input or output failed.
    pub const BROKEN: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// No connection came about.
    pub const NO_CONNECTION: u8 = 3;
    /// It would have had to wait, and was not to.
    pub const WOULD_WAIT: u8 = 4;

    /// What a shell shows for SIGPIPE.
    const NO_READER: u8 = 141;

    /// A command was found, and cannot be run.
    pub const CANNOT_RUN: u8 = 126;
    /// A command was not found.
    pub const NOT_FOUND: u8 = 127;

    /// Ends with this exit code.
    pub fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), coloured: false }
    }

    /// Ends with exit code 1.
    pub fn broken(message: impl Into<String>) -> Self {
        Self::with_code(Self::BROKEN, message)
    }

    /// Ends with exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::with_code(Self::USAGE, message)
    }

    /// Ends with exit code 3.
    pub fn no_connection(message: impl Into<String>) -> Self {
        Self::with_code(Self::NO_CONNECTION, message)
    }

    /// Ends with exit code 4.
    pub fn would_wait(message: impl Into<String>) -> Self {
        Self::with_code(Self::WOULD_WAIT, message)
    }

    /// Ends with exit code 2, and a text that has its colours already.
    pub fn coloured_usage(message: impl Into<String>) -> Self {
        Self { coloured: true, ..Self::usage(message) }
    }

    /// Ends as a program does that writes into a pipe without a reader: with no word, and the code that a shell shows then.
    pub fn no_reader() -> Self {
        Self::with_code(Self::NO_READER, "")
    }

    /// Says what went wrong.
    pub fn tell(&self) {
        if self.coloured {
            write(&self.message);
        } else if !self.message.is_empty() {
            say(&self.message);
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Adds to a system's error what was tried.
pub trait Context<T> {
    /// Turns the error into a [`Failure`] with exit code 1 that reads `WHAT: ERROR`.
    fn or_broken(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn or_broken(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::broken(format!("{what}: {error}")))
    }
}

/// Says something to the user on standard error, in the one form that all messages have. Control characters, which a name
/// may have, are escaped, but for ends of lines.
pub fn say(message: impl fmt::Display) {
    let text = message.to_string();
    let lines: Vec<String> = text.split('\n').map(|line| printable(line.as_bytes())).collect();
    write(&lines.join("\n"));
}

/// A standard error that cannot be written is no reason to stop.
fn write(text: &str) {
    let _ = io::Write::write_all(&mut io::stderr().lock(), format!("smstream: {text}\n").as_bytes());
}
