//! A look at the bytes that are there.

use super::Consumer;
use crate::cursor;
use crate::error::ReadError;
use crate::park::Park;
use crate::size::{at_most, to_usize};
use crate::sync::LaneByte;

/// The bytes in the lane that have not been taken yet.
///
/// They stay until [`consume`](Peek::consume), so a parser can look, find that a message is not complete, and come back.
/// Each look copies out of the lane, because the peer may be hostile and change what it sent: check what you copied,
/// not what lies there.
#[derive(Debug)]
pub struct Peek<'r, 'm, P: Park> {
    consumer: &'r mut Consumer<'m, P>,
    len: u32,
}

impl<'m, P: Park> Consumer<'m, P> {
    /// A look at the bytes that are there, without taking them. Empty at the end of the stream.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn peek(&mut self) -> Result<Peek<'_, 'm, P>, ReadError> {
        let len = self.bytes_for(usize::MAX)?;
        Ok(Peek::new(self, len))
    }
}

impl<'r, 'm, P: Park> Peek<'r, 'm, P> {
    /// The consumer knows of `len` bytes.
    pub(super) fn new(consumer: &'r mut Consumer<'m, P>, len: u32) -> Self {
        Peek { consumer, len }
    }

    /// The bytes that are there.
    pub fn len(&self) -> usize {
        to_usize(self.len)
    }

    /// Whether there are none: the stream is at its end.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes from position `at` on to `out`. Returns how many there were.
    pub fn copy_to(&self, at: usize, out: &mut [u8]) -> usize {
        let at = at_most(at, self.len);
        let n = at_most(out.len(), self.len - at);
        if n != 0 {
            let (ring, start) = self.consumer.place();
            // SAFETY: the lane is valid for reads (the consumer's invariant 5); `at` + `n` ≤ `len` ≤ the bytes known,
            // which are at most the capacity; `out` is a live slice, which cannot overlap a lane.
            unsafe { ring.read(cursor::add(start, at), out.as_mut_ptr(), n) };
        }
        to_usize(n)
    }

    /// Where the bytes lie in the lane: one or two runs, the second of length 0 if it is one.
    ///
    /// Reading through the pointers is sound within their lengths, while this look lives, with volatile or atomic
    /// accesses or from outside of the program; never make a `&[u8]` of them unless the peer is trusted not to write
    /// there before the bytes are consumed.
    pub fn parts(&self) -> [(*const LaneByte, usize); 2] {
        let (ring, start) = self.consumer.place();
        ring.parts(start, self.len).map(|(at, len)| (at.cast_const(), len))
    }

    /// Takes the first `n` bytes (at most all), gives their room back and wakes the peer if that is what it waits for.
    /// Returns how many were taken.
    pub fn consume(self, n: usize) -> usize {
        self.consumer.consume(n)
    }
}
