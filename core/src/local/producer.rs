//! The half that writes.

use core::fmt;

use super::words::Words;
use crate::cursor::{self, ASLEEP, FIN, STOP};
use crate::error::{WaitError, WriteError};
use crate::lane::Ring;
use crate::ordering;
use crate::park::Park;
use crate::publication::{Fence, Publication};
use crate::size::{at_most, to_usize};
use crate::sync::{AtomicU32, LaneByte};
use crate::waiting::{Look, Sleeper, Stopped, wait};

/// The half of a [`ByteRing`](super::ByteRing) that writes.
///
/// Invariants:
/// 1. It is the only producer of the ring. No other code stores the words `sent`, `write_park` and `write_wake_method`; the word
///    `sent` is `sent`, with FIN.
/// 2. `seen` was loaded from the word `received`, or was its value when the halves were made. So `sent` − `seen` is at most the
///    capacity, and at least the number of bytes in the ring.
/// 3. `base` points at `mask` + 1 bytes, a power of two, which live as long as `'r`. Those from `sent` on, as many as the capacity
///    less `sent` − `seen`, are this half's alone.
pub struct ByteProducer<'r, P> {
    words: &'r Words,
    base: *mut LaneByte,
    mask: u32,
    /// A cursor, and FIN once no more will come.
    sent: u32,
    /// A cursor, and STOP once no more will be taken.
    seen: u32,
    /// Whether the other half may sleep, so that there is a look if it does.
    looks: bool,
    park: P,
}

// SAFETY: the pointer is to bytes that are this half's alone where it touches them (invariant 3); all else is atomics, plain
// values, and `P`.
unsafe impl<P: Send> Send for ByteProducer<'_, P> {}

impl<'r, P: Park> ByteProducer<'r, P> {
    /// # Safety
    /// `base` points at `mask` + 1 bytes that go with `words`, a power of two, and they live for `'r`. There is no other producer
    /// meanwhile.
    pub(super) unsafe fn new(words: &'r Words, base: *mut LaneByte, mask: u32, looks: bool, park: P) -> Self {
        let (sent, seen) = (ordering::own(&words.sent), ordering::own(&words.received));
        ByteProducer { words, base, mask, sent, seen, looks, park }
    }

    /// The number of bytes that the ring has room for.
    pub fn capacity(&self) -> usize {
        to_usize(self.mask) + 1
    }

    /// The room there is now, in bytes. It can only become more until this half writes.
    #[must_use]
    pub fn room(&mut self) -> usize {
        self.refresh();
        to_usize(self.known_room())
    }

    /// Writes as much of `bytes` as there is room for, and wakes the consumer if that is what it waits for. Returns how many bytes
    /// were written: at least one, unless `bytes` is empty.
    ///
    /// # Errors
    /// [`WriteError::Full`], and [`WriteError::Closed`] if this half has finished or the consumer has stopped. Nothing was
    /// written then.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        self.refresh();
        if (self.sent | self.seen) & FIN != 0 {
            return Err(WriteError::Closed);
        }
        let n = at_most(bytes.len(), self.known_room());
        if n == 0 {
            return if bytes.is_empty() { Ok(0) } else { Err(WriteError::Full) };
        }
        // SAFETY: `n` ≤ room, so the places are this half's alone and valid (invariant 3). `n` is at most the length of `bytes`, a
        // live slice, which cannot overlap the ring's bytes: no slice of them exists.
        unsafe { Ring::new(self.base, self.mask + 1).write(self.sent, bytes.as_ptr(), n) };
        self.publish(cursor::add(self.sent, n), false);
        Ok(to_usize(n))
    }

    /// Waits until there is room for `want` bytes: looks, spins, then sleeps, as its [`Park`] does.
    ///
    /// `want` is taken as at least 1 and at most half the capacity (but at least 1); more could make both halves sleep for ever.
    /// Returns the room there is; it can be less than `want` only when the deadline passed.
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::TimedOut`] there was no room at all.
    pub fn wait(&mut self, want: usize, deadline: Option<P::Deadline>) -> Result<usize, WaitError> {
        if self.sent & FIN != 0 {
            return Err(WaitError::Closed);
        }
        let waited = wait(self, at_most(want, cursor::max_wait(self.mask + 1)).max(1), deadline, None);
        match waited {
            _ if self.seen & STOP != 0 => Err(WaitError::Closed),
            Ok(()) => Ok(to_usize(self.known_room())),
            Err(Stopped::TimedOut) if self.known_room() > 0 => Ok(to_usize(self.known_room())),
            Err(stopped) => Err(stopped.into()),
        }
    }

    /// Says that no more bytes will come, and wakes the consumer if it sleeps. Calling it again does nothing.
    pub fn finish(&mut self) {
        if self.sent & FIN == 0 {
            self.publish(self.sent, true);
        }
    }

    fn known_room(&self) -> u32 {
        // At most the capacity is subtracted (invariant 2).
        self.mask + 1 - cursor::diff(self.sent, self.seen)
    }

    fn refresh(&mut self) {
        self.seen = ordering::peer_received(&self.words.received);
    }

    /// Publishes all bytes below `new`, for the `last` time or not, and wakes the consumer if that crosses its threshold. The wake
    /// may panic, so this half knows before it that it has finished.
    fn publish(&mut self, new: u32, last: bool) {
        let (old, words) = (core::mem::replace(&mut self.sent, if last { new | FIN } else { new }), self.words);
        let mut fence = if self.looks { Fence::FULL } else { Fence::NO_LOOK };
        let mut publication = Publication {
            word: &words.sent,
            store: ordering::publish_sent,
            peer_park: &words.read_park,
            peer_wake_method: &words.read_wake_method,
            capacity: self.mask + 1,
            fence: &mut fence,
            fence_word: None,
        };
        let park = publication.publish(old, new, last);
        if park & ASLEEP != 0 {
            publication.wake_if_crossed(&self.park, park, old, new, last);
        }
        publication.store_late(new, last);
    }
}

impl<P: Park> Sleeper for ByteProducer<'_, P> {
    type Park = P;
    fn park(&self) -> &P {
        &self.park
    }
    fn barriers(&self) -> bool {
        false
    }
    fn is_spared(&self) -> bool {
        true
    }
    fn park_word(&self) -> &AtomicU32 {
        &self.words.write_park
    }
    fn wake_method_word(&self) -> &AtomicU32 {
        &self.words.write_wake_method
    }
    fn peer_cursor(&self) -> &AtomicU32 {
        &self.words.received
    }
    fn asleep_until(&self, want: u32) -> u32 {
        cursor::asleep_at(self.sent, want.wrapping_sub(self.mask + 1))
    }
    fn look(&mut self) -> Result<Look, Stopped> {
        self.refresh();
        Ok(Look { seen: self.seen, available: self.known_room(), last: self.seen & STOP != 0 })
    }
    fn parked(&mut self) {}
    fn woke_peer(&mut self) {}
}

impl<P> fmt::Debug for ByteProducer<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteProducer").field("sent", &self.sent).field("seen", &self.seen).finish_non_exhaustive()
    }
}
