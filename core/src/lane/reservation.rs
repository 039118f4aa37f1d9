//! Room reserved in the lane, to be filled in place.

use super::Producer;
use crate::cursor;
use crate::error::{ReserveError, WriteError};
use crate::park::Park;
use crate::size::{at_most, to_usize};
use crate::sync::LaneByte;

/// Room for a fixed number of bytes at the end of what was written.
///
/// Fill it front to back with [`write`](Reservation::write) or anywhere with [`put`](Reservation::put), then
/// [`commit`](Reservation::commit). Dropping or [aborting](Reservation::abort) it leaves the lane as it was: the peer
/// never sees any of it. A panic or a crash in between is an abort, too.
///
/// There is no `&mut [u8]` here, because the peer may read the lane at any time. [`parts`](Reservation::parts) has raw
/// pointers for those who know what they do (DMA, a C library).
#[derive(Debug)]
#[must_use = "a reservation that is not committed is aborted"]
pub struct Reservation<'r, 'm, P: Park> {
    producer: &'r mut Producer<'m, P>,
    len: u32,
    filled: u32,
}

impl<'m, P: Park> Producer<'m, P> {
    /// Reserves room for exactly `len` bytes, to be filled in any order and then committed or aborted.
    ///
    /// # Errors
    /// [`ReserveError::TooLong`] if the lane can never hold `len` bytes; [`WriteError::Full`] if it cannot now.
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_, 'm, P>, ReserveError> {
        self.check()?;
        if len > self.capacity() {
            return Err(ReserveError::TooLong);
        }
        let room = self.room_for(len)?;
        if to_usize(room) < len {
            return Err(WriteError::Full.into());
        }
        Ok(Reservation::new(self, at_most(len, room)))
    }
}

impl<'r, 'm, P: Park> Reservation<'r, 'm, P> {
    /// The producer has room for `len` bytes.
    pub(super) fn new(producer: &'r mut Producer<'m, P>, len: u32) -> Self {
        Reservation { producer, len, filled: 0 }
    }

    /// The bytes reserved.
    pub fn len(&self) -> usize {
        to_usize(self.len)
    }

    /// Whether no bytes are reserved.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes written by [`write`](Reservation::write) so far.
    pub fn filled(&self) -> usize {
        to_usize(self.filled)
    }

    /// Appends `bytes` to what was filled. Returns how many fitted.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let n = self.put_at(self.filled, bytes);
        self.filled += n;
        to_usize(n)
    }

    /// Copies `bytes` to position `at` of the reservation. Returns how many fitted. Does not count as filled.
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        to_usize(self.put_at(at_most(at, self.len), bytes))
    }

    /// The same, at most at the end.
    fn put_at(&mut self, at: u32, bytes: &[u8]) -> u32 {
        let n = at_most(bytes.len(), self.len - at);
        if n != 0 {
            let (ring, start) = self.producer.place();
            // SAFETY: the producer owns its lane (its invariants 1 and 5); `at` + `n` ≤ `len` ≤ the room there was when
            // this was made, which the peer cannot take away. `n` is at most the length of `bytes`, a live slice, which
            // cannot overlap a lane.
            unsafe { ring.write(cursor::add(start, at), bytes.as_ptr(), n) };
        }
        n
    }

    /// Where the reserved bytes lie in the lane: one or two runs, the second of length 0 if it is one.
    ///
    /// Writing through the pointers is sound within their lengths, while the reservation lives, with volatile or atomic
    /// accesses or from outside of the program; never make a `&mut [u8]` of them unless the peer is trusted not to look
    /// before the commit.
    pub fn parts(&mut self) -> [(*mut LaneByte, usize); 2] {
        let (ring, start) = self.producer.place();
        ring.parts(start, self.len)
    }

    /// Sends the first `n` bytes (at most all) and gives up the rest. Publishes them, and any deferred ones before them,
    /// at once, and wakes the peer if that is what it waits for. Returns how many were sent.
    pub fn commit(self, n: usize) -> usize {
        let n = at_most(n, self.len);
        self.producer.commit(n);
        to_usize(n)
    }

    /// Sends what [`write`](Reservation::write) has filled.
    pub fn commit_filled(self) -> usize {
        let n = self.filled();
        self.commit(n)
    }

    /// Sends nothing.
    pub fn abort(self) {}
}
