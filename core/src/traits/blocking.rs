//! `embedded-io` for the two halves of a lane: reads and writes that wait as the half's [`Park`] does.

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};

use crate::error::{ReadError, WaitError, WriteError};
use crate::lane::{Consumer, Producer};
use crate::park::Park;

impl embedded_io::Error for WaitError {
    fn kind(&self) -> ErrorKind {
        match self {
            WaitError::TimedOut => ErrorKind::TimedOut,
            WaitError::Cancelled => ErrorKind::Interrupted,
            WaitError::Closed => ErrorKind::BrokenPipe,
            WaitError::PeerGone => ErrorKind::ConnectionAborted,
            WaitError::Corrupt => ErrorKind::InvalidData,
            _ => ErrorKind::Other,
        }
    }
}

fn write_error(e: WriteError) -> Option<WaitError> {
    match e {
        WriteError::Full => None,
        WriteError::Closed => Some(WaitError::Closed),
        WriteError::PeerGone => Some(WaitError::PeerGone),
        WriteError::Corrupt => Some(WaitError::Corrupt),
    }
}

fn read_error(e: ReadError) -> Option<WaitError> {
    match e {
        ReadError::Empty => None,
        ReadError::PeerGone => Some(WaitError::PeerGone),
        ReadError::Corrupt => Some(WaitError::Corrupt),
    }
}

impl<P: Park> ErrorType for Producer<'_, P> {
    type Error = WaitError;
}

/// `write` waits until a byte fits, and publishes what it wrote.
impl<P: Park> Write for Producer<'_, P> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, WaitError> {
        loop {
            match Producer::write(self, bytes).map_err(write_error) {
                Ok(n) => return Ok(n),
                Err(Some(e)) => return Err(e),
                Err(None) => {
                    self.wait(1, None)?;
                }
            }
        }
    }

    fn flush(&mut self) -> Result<(), WaitError> {
        Producer::flush(self);
        Ok(())
    }
}

impl<P: Park> WriteReady for Producer<'_, P> {
    fn write_ready(&mut self) -> Result<bool, WaitError> {
        match self.reserve(1).map(drop) {
            Ok(()) => Ok(true),
            Err(crate::error::ReserveError::Write(e)) => write_error(e).map_or(Ok(false), Err),
            // A lane without capacity takes nothing, ever.
            Err(crate::error::ReserveError::TooLong) => Err(WaitError::Closed),
        }
    }
}

impl<P: Park> ErrorType for Consumer<'_, P> {
    type Error = WaitError;
}

/// `read` waits until there is a byte; 0 is the end of the stream.
impl<P: Park> Read for Consumer<'_, P> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, WaitError> {
        loop {
            match Consumer::read(self, out).map_err(read_error) {
                Ok(n) => return Ok(n),
                Err(Some(e)) => return Err(e),
                Err(None) => {
                    self.wait(1, None)?;
                }
            }
        }
    }
}

impl<P: Park> ReadReady for Consumer<'_, P> {
    fn read_ready(&mut self) -> Result<bool, WaitError> {
        match self.peek().map(drop) {
            Ok(()) => Ok(true),
            Err(e) => read_error(e).map_or(Ok(false), Err),
        }
    }
}
