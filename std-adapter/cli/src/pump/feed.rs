//! Standard input on its way into one connection, or into one after another.

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::{Mutex, PoisonError};

use crate::progress::Meter;
use crate::stdio::{Got, Input};
use crate::transport::Stream;

/// How much is read at once, either way.
pub const BUFFER: usize = 256 << 10;

/// How the sending direction ended.
pub enum FeedEnd {
    /// Standard input ended, and the peer was told.
    End,
    /// It was called off, while so many bytes lay there that were not sent.
    Stopped {
        /// The bytes.
        undelivered: u64,
    },
    /// The stream took no more, and so many bytes are left.
    Refused {
        /// Why.
        error: io::Error,
        /// The bytes.
        undelivered: u64,
    },
    /// Standard input failed.
    Input(io::Error),
}

/// Standard input, with what was read of it and is not sent yet.
pub struct Feed {
    input: Input,
    keep: bool,
    rest: Mutex<Rest>,
}

/// What was read and is not sent yet: `buffer[from..till]`.
struct Rest {
    buffer: Vec<u8>,
    from: usize,
    till: usize,
    ended: bool,
}

impl Feed {
    /// Reads standard input; `keep` means that another connection may follow, which gets what is left.
    pub fn new(keep: bool) -> io::Result<Self> {
        let rest = Rest { buffer: vec![0; BUFFER], from: 0, till: 0, ended: false };
        Ok(Self { input: Input::new()?, keep, rest: Mutex::new(rest) })
    }

    /// Calls off the thread that sends, if it waits for standard input.
    pub fn stop(&self) {
        self.input.stop();
    }

    /// Prepares for the next connection.
    pub fn resume(&self) {
        self.input.resume();
    }

    /// Sends all there is, and then the end of the stream.
    pub fn send(&self, stream: &Stream, meter: &Meter) -> FeedEnd {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Err(error) = rest.send(stream, meter) {
                let undelivered = (rest.till - rest.from) as u64;
                return FeedEnd::Refused { error, undelivered };
            }
            if rest.ended {
                return match stream.shutdown(Shutdown::Write) {
                    Ok(()) => FeedEnd::End,
                    Err(error) => FeedEnd::Refused { error: error.into(), undelivered: 0 },
                };
            }
            match self.input.read(&mut rest.buffer) {
                Ok(Got::Bytes(count)) => (rest.from, rest.till) = (0, count),
                Ok(Got::End) => rest.ended = true,
                Ok(Got::Stopped) => return self.stopped(&mut rest, stream),
                Err(error) => return FeedEnd::Input(error),
            }
        }
    }

    /// The peer is gone: what is lying there can only go to another one, and without another one it is lost.
    fn stopped(&self, rest: &mut Rest, mut stream: &Stream) -> FeedEnd {
        let undelivered = if self.keep {
            0
        } else {
            match self.input.read_what_is_there(&mut rest.buffer) {
                Ok(Got::Bytes(count)) => count as u64,
                Ok(Got::End | Got::Stopped) => 0,
                Err(error) => return FeedEnd::Input(error),
            }
        };
        // An empty write tells whether the peer closed, which is its right, or died.
        match stream.write_vectored(&[]).err() {
            None => FeedEnd::Stopped { undelivered },
            Some(error) => FeedEnd::Refused { error, undelivered },
        }
    }

    /// What becomes of bytes that were not delivered.
    pub fn account(&self, bytes: u64) -> String {
        let were = if bytes == 1 { "byte of standard input was" } else { "bytes of standard input were" };
        let next = if self.keep { " and will go to the next connection" } else { "" };
        format!("{bytes} {were} not delivered{next}")
    }
}

impl Rest {
    /// Sends what is left.
    fn send(&mut self, mut stream: &Stream, meter: &Meter) -> io::Result<()> {
        while let Some(bytes) = self.buffer.get(self.from..self.till).filter(|bytes| !bytes.is_empty()) {
            match stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.from += count;
                    meter.sent(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
