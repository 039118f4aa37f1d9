//! A stream in two halves, and whole again.

use super::Stream;
use crate::half::{ReadHalf, WriteHalf};
use crate::timed_mutex::TimedMutex;
use std::fmt;
use std::sync::Arc;

impl Stream {
    /// The two halves, to be used by two threads without locks. Each closes its direction when it is dropped. What is
    /// buffered is published.
    ///
    /// [`ReadHalf::reunite`] makes one stream of them again.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let (reader, mut writer) = (self.reader.into_inner(), self.writer.into_inner());
        writer.flush_buffered();
        (reader, writer)
    }
}

impl ReadHalf {
    /// Makes one stream of the two halves that [`Stream::split`] gave out.
    ///
    /// ```
    /// let (stream, _peer) = smstream::Stream::pair()?;
    /// let (reader, writer) = stream.split();
    /// let stream = reader.reunite(writer)?;
    /// # drop(stream);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReuniteError`] with both if they are of different streams.
    ///
    /// # References
    /// `reunite` of the halves of tokio's `TcpStream`.
    #[allow(clippy::result_large_err, reason = "both halves are given back, and are not to be put on the heap")]
    pub fn reunite(self, writer: WriteHalf) -> Result<Stream, ReuniteError> {
        if !Arc::ptr_eq(&self.shared, &writer.shared) {
            return Err(ReuniteError(self, writer));
        }
        let shared = Arc::clone(&self.shared);
        Ok(Stream { reader: TimedMutex::new(self), writer: TimedMutex::new(writer), shared })
    }
}

impl WriteHalf {
    /// [`ReadHalf::reunite`], from the other half.
    ///
    /// # Errors
    /// [`ReuniteError`] with both if they are of different streams.
    #[allow(clippy::result_large_err, reason = "both halves are given back, and are not to be put on the heap")]
    pub fn reunite(self, reader: ReadHalf) -> Result<Stream, ReuniteError> {
        reader.reunite(self)
    }
}

/// Two halves that are not of the same stream, given back.
#[derive(Debug)]
pub struct ReuniteError(pub ReadHalf, pub WriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "cannot reunite two halves: they are of different streams; keep each with the one that it was split from",
        )
    }
}

impl std::error::Error for ReuniteError {}
