//! Standard input on its way into one connection, or into one after another.

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lines::Lines;
use crate::options::TransferArgs;
use crate::progress::Meter;
use crate::stdio::{Got, Input};
use crate::transport::Stream;

/// How much is read at once, either way.
pub const BUFFER: usize = 256 << 10;

/// How the sending direction ended.
pub enum FeedEnd {
    /// Standard input ended, and the peer knows.
    End,
    /// Standard input ended, and the peer is not to know yet.
    Held,
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
    /// Whether the end of standard input is passed on at once.
    shutdown: bool,
    /// The peer has said all it has to say, and no more input is waited for.
    enough: AtomicBool,
    rest: Mutex<Rest>,
}

/// What was read and is not sent yet: `buffer[from..till]`.
struct Rest {
    buffer: Vec<u8>,
    from: usize,
    till: usize,
    ended: bool,
    lines: Lines,
}

impl Feed {
    /// Reads standard input; `keep` means that another connection may follow, which gets what is left.
    pub fn new(args: &TransferArgs, keep: bool) -> io::Result<Self> {
        let lines = Lines::new(args.lines);
        let rest = Rest { buffer: vec![0; BUFFER], from: 0, till: 0, ended: args.recv_only, lines };
        let (input, enough) = (Input::new()?, AtomicBool::new(false));
        Ok(Self { input, keep, shutdown: !args.no_shutdown, enough, rest: Mutex::new(rest) })
    }

    /// Calls off the thread that sends, if it waits for standard input: the peer is gone.
    pub fn stop(&self) {
        self.input.stop();
    }

    /// Calls off the thread that sends, if it waits for standard input: what was read is sent, and then the end.
    pub fn finish(&self) {
        self.enough.store(true, Ordering::Release);
        self.input.stop();
    }

    /// Prepares for the next connection.
    pub fn resume(&self) {
        self.enough.store(false, Ordering::Release);
        self.input.resume();
    }

    /// Whether standard input is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.input.is_terminal()
    }

    /// Whether standard input is a terminal at which a person may type.
    pub fn is_attended(&self) -> bool {
        self.input.is_attended()
    }

    /// Sends all there is, and then the end of the stream.
    pub fn send(&self, stream: &Stream, meter: &Meter) -> FeedEnd {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Err(error) = rest.send(stream, meter) {
                return FeedEnd::Refused { error, undelivered: rest.left() };
            }
            if rest.ended {
                return if self.shutdown { end(stream) } else { FeedEnd::Held };
            }
            match self.input.read(&mut rest.buffer) {
                Ok(Got::Bytes(count)) => rest.came(count),
                Ok(Got::End) => rest.finish(),
                Ok(Got::Stopped) if self.enough.load(Ordering::Acquire) => return end(stream),
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

/// Tells the peer that no more comes.
pub fn end(stream: &Stream) -> FeedEnd {
    match stream.shutdown(Shutdown::Write) {
        Ok(()) => FeedEnd::End,
        Err(error) => FeedEnd::Refused { error: error.into(), undelivered: 0 },
    }
}

impl Rest {
    /// So many bytes came into the buffer.
    fn came(&mut self, count: usize) {
        (self.from, self.till) = (0, count);
        let mut whole = Vec::new();
        let bytes = self.buffer.get(..count).unwrap_or_default();
        let passed = self.lines.take(bytes, &mut whole);
        // Without lines it is what lies in the buffer already.
        if passed.as_ptr() != self.buffer.as_ptr() {
            self.put(&whole);
        }
    }

    /// No more will come.
    fn finish(&mut self) {
        self.ended = true;
        let last = self.lines.rest();
        self.put(&last);
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.buffer.len() < bytes.len() {
            self.buffer.resize(bytes.len(), 0);
        }
        self.buffer[..bytes.len()].copy_from_slice(bytes);
        (self.from, self.till) = (0, bytes.len());
    }

    /// How much is not sent yet.
    fn left(&self) -> u64 {
        (self.till - self.from) as u64
    }

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
