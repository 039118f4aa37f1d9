//! Messages that are built and looked at where they lie, by a caller who has the whole stream.

use std::io;

use super::Stream;
use crate::half::{Caller, ReadChunk, WriteChunk};

impl Stream {
    /// Waits until there is room for `len` bytes, at most half of the lane, and reserves it, so that a message can be built where
    /// it will be read, without a buffer of its own.
    ///
    /// The timeout and the nonblocking mode hold as for a write.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// let (mut here, mut there) = smstream::Stream::pair()?;
    /// // A length in front of a text that is not known yet.
    /// let mut message = here.reserve(64)?;
    /// message.write_all(&[0])?;
    /// write!(message, "{} and {}", 1, 2)?;
    /// let len = message.filled() as u8 - 1;
    /// message.put(0, &[len]);
    /// message.commit_filled()?;
    /// let mut out = [0; 8];
    /// there.read_exact(&mut out)?;
    /// assert_eq!(&out, b"\x071 and 2");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of a write; [`Reason::InvalidInput`](crate::Reason::InvalidInput) for more than half of the lane.
    ///
    /// # References
    /// `Producer::reserve` of the core; `write_chunk` of rtrb.
    pub fn reserve(&mut self, len: usize) -> io::Result<WriteChunk<'_>> {
        let peer_corrupt = self.is_half_corrupt();
        if peer_corrupt {
            self.fail_both_or_neither();
        }
        let (reader, writer) = self.halves_mut();
        writer.reserve_for(len, Caller::Whole(reader.consumer_mut()))
    }

    /// Waits until there are `want` bytes, at most half of the lane, and shows all that are there, without taking them: for a
    /// parser that takes whole messages only. Fewer are shown if no more will come, or the wait has ended otherwise (the
    /// timeout has passed, or the stream does not block); none at the end of the stream. What it was, a read tells.
    ///
    /// The timeout and the nonblocking mode hold as for a read.
    ///
    /// ```
    /// use std::io::Write;
    /// let (mut here, mut there) = smstream::Stream::pair()?;
    /// here.write_all(b"\x05hello")?;
    /// let chunk = there.peek(1)?;
    /// let mut len = [0];
    /// chunk.copy_to(0, &mut len);
    /// let chunk = there.peek(1 + usize::from(len[0]))?;
    /// let mut text = vec![0; usize::from(len[0])];
    /// assert_eq!(chunk.copy_to(1, &mut text), 5);
    /// chunk.consume(1 + text.len())?;
    /// assert_eq!(text, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of a read; [`Reason::InvalidInput`](crate::Reason::InvalidInput) for more than half of the lane.
    ///
    /// # References
    /// `Consumer::peek` of the core; [`BufRead`](std::io::BufRead), which needs a [`Trusted`](crate::Trusted) peer.
    pub fn peek(&mut self, want: usize) -> io::Result<ReadChunk<'_>> {
        let peer_corrupt = self.is_half_corrupt();
        if peer_corrupt {
            self.fail_both_or_neither();
        }
        let (reader, writer) = self.halves_mut();
        reader.peek_for(want, Caller::Whole(writer))
    }
}
