//! The half that reads.

use core::fmt;
use core::mem::MaybeUninit;
use core::slice;

use super::words::Words;
use crate::cursor::{self, ASLEEP, FIN, STOP};
use crate::error::{ReadError, WaitError};
use crate::lane::Ring;
use crate::ordering;
use crate::park::Park;
use crate::publication::{Fence, Publication};
use crate::size::{at_most, to_usize};
use crate::sync::{AtomicU32, LaneByte};
use crate::waiting::{Look, Sleeper, Stopped, wait};

/// The half of a [`ByteRing`](super::ByteRing) that reads.
///
/// Invariants:
/// 1. It is the only consumer of the ring. No other code stores the words `received`, `read_park` and `read_wake_method`; the word
///    `received` is `received`, with STOP.
/// 2. `seen` was loaded from the word `sent`, or was its value when the halves were made. So `seen` − `received` is at most the
///    capacity, and at most the number of bytes in the ring.
/// 3. `base` points at `mask` + 1 bytes, a power of two, which live as long as `'r`. Those from `received` on, `seen` −
///    `received` of them, are this half's alone.
pub struct ByteConsumer<'r, P> {
    words: &'r Words,
    base: *mut LaneByte,
    mask: u32,
    /// A cursor, and STOP once no more will be taken.
    received: u32,
    /// A cursor, and FIN once no more will come.
    seen: u32,
    /// Whether the other half may sleep, so that there is a look if it does.
    looks: bool,
    park: P,
}

// SAFETY: the pointer is to bytes that are this half's alone where it touches them (invariant 3); all else is atomics, plain
// values, and `P`.
unsafe impl<P: Send> Send for ByteConsumer<'_, P> {}

impl<'r, P: Park> ByteConsumer<'r, P> {
    /// # Safety
    /// `base` points at `mask` + 1 bytes that go with `words`, a power of two, and they live for `'r`. There is no other consumer
    /// meanwhile.
    pub(super) unsafe fn new(words: &'r Words, base: *mut LaneByte, mask: u32, looks: bool, park: P) -> Self {
        let (received, seen) = (ordering::own(&words.received), ordering::own(&words.sent));
        ByteConsumer { words, base, mask, received, seen, looks, park }
    }

    /// The number of bytes that the ring has room for.
    pub fn capacity(&self) -> usize {
        to_usize(self.mask) + 1
    }

    /// The bytes there are now. They can only become more until this half reads.
    #[must_use]
    pub fn len(&mut self) -> usize {
        self.refresh();
        to_usize(self.known_bytes())
    }

    /// Whether there are no bytes now.
    #[must_use]
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// Reads as many bytes as there are, up to the length of `out`, and wakes the producer if that is what it waits for. Returns
    /// how many; 0 means that the producer has finished and all was read, that this half has stopped, or that `out` is empty.
    ///
    /// # Errors
    /// [`ReadError::Empty`].
    #[inline]
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        // SAFETY: a live slice is valid for writes of its length, and cannot overlap bytes that are this half's.
        unsafe { self.read_to(out.as_mut_ptr(), out.len()) }
    }

    /// Reads like [`read`](ByteConsumer::read) into memory that need not be initialised. Returns the bytes that were read: the
    /// start of `out`. The rest of `out` is as it was.
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use smstream_core::local::ByteRing;
    /// use smstream_core::park::Spin;
    ///
    /// static UART: ByteRing<64> = ByteRing::new();
    ///
    /// let (mut handler, mut main_loop) = UART.try_split(Spin, Spin).unwrap();
    /// handler.write(b"hello").unwrap();
    /// let mut out = [MaybeUninit::uninit(); 16];
    /// assert_eq!(main_loop.read_uninit(&mut out).unwrap(), b"hello");
    /// ```
    ///
    /// # Errors
    /// [`ReadError::Empty`].
    #[inline]
    pub fn read_uninit<'b>(&mut self, out: &'b mut [MaybeUninit<u8>]) -> Result<&'b mut [u8], ReadError> {
        // SAFETY: as in `read`.
        let n = unsafe { self.read_to(out.as_mut_ptr().cast(), out.len()) }?;
        // SAFETY: so many bytes at its start were just written, at most its length, and they are borrowed as `out` was.
        Ok(unsafe { slice::from_raw_parts_mut(out.as_mut_ptr().cast(), n) })
    }

    /// Reads up to `len` bytes, and writes as many as it returns to the start of `out`.
    ///
    /// # Safety
    /// `out` is valid for writes of `len` bytes that no other thread uses meanwhile, in other memory than the ring.
    #[inline]
    unsafe fn read_to(&mut self, out: *mut u8, len: usize) -> Result<usize, ReadError> {
        self.refresh();
        if self.received & STOP != 0 {
            return Ok(0);
        }
        let n = at_most(len, self.known_bytes());
        if n == 0 {
            return if len == 0 || self.seen & FIN != 0 { Ok(0) } else { Err(ReadError::Empty) };
        }
        // SAFETY: there are `n` bytes, which are this half's alone and valid (invariant 3), and `n` ≤ `len`, for which `out` has
        // room.
        unsafe { Ring::new(self.base, self.mask + 1).read(self.received, out, n) };
        self.publish(cursor::add(self.received, n), false);
        Ok(to_usize(n))
    }

    /// Waits until there are `want` bytes, or as many as there will ever be: looks, spins, then sleeps, as its [`Park`] does.
    ///
    /// `want` is taken as at least 1 and at most half the capacity (but at least 1); more could make both halves sleep for ever.
    /// Returns the bytes there are. They can be less than `want` if the deadline passed or the producer has finished; 0 is the
    /// end.
    ///
    /// # Errors
    /// [`WaitError`], never [`WaitError::Closed`]. There were no bytes then.
    pub fn wait(&mut self, want: usize, deadline: Option<P::Deadline>) -> Result<usize, WaitError> {
        if self.received & STOP != 0 {
            return Ok(0);
        }
        match wait(self, at_most(want, cursor::max_wait(self.mask + 1)).max(1), deadline, None) {
            Ok(()) => Ok(to_usize(self.known_bytes())),
            Err(_) if self.known_bytes() > 0 => Ok(to_usize(self.known_bytes())),
            Err(stopped) => Err(stopped.into()),
        }
    }

    /// Says that no more bytes will be taken, and wakes the producer if it sleeps: its writes fail from now on. Calling it again
    /// does nothing.
    pub fn stop(&mut self) {
        if self.received & STOP == 0 {
            self.publish(self.received, true);
        }
    }

    fn known_bytes(&self) -> u32 {
        cursor::diff(self.seen, self.received)
    }

    fn refresh(&mut self) {
        self.seen = ordering::peer_sent(&self.words.sent);
    }

    /// Gives back the room of all bytes below `new`, for the `last` time or not, and wakes the producer if that crosses its
    /// threshold. The wake may panic, so this half knows before it that it has stopped.
    fn publish(&mut self, new: u32, last: bool) {
        let (old, words) = (core::mem::replace(&mut self.received, if last { new | STOP } else { new }), self.words);
        let mut fence = if self.looks { Fence::FULL } else { Fence::NO_LOOK };
        let mut publication = Publication {
            word: &words.received,
            store: ordering::publish_received,
            peer_park: &words.write_park,
            peer_wake_method: &words.write_wake_method,
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

impl<P: Park> Sleeper for ByteConsumer<'_, P> {
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
        &self.words.read_park
    }
    fn wake_method_word(&self) -> &AtomicU32 {
        &self.words.read_wake_method
    }
    fn peer_cursor(&self) -> &AtomicU32 {
        &self.words.sent
    }
    fn asleep_until(&self, want: u32) -> u32 {
        cursor::asleep_at(self.received, want)
    }
    fn look(&mut self) -> Result<Look, Stopped> {
        self.refresh();
        Ok(Look { seen: self.seen, available: self.known_bytes(), last: self.seen & FIN != 0 })
    }
    fn parked(&mut self) {}
    fn woke_peer(&mut self) {}
}

impl<P> fmt::Debug for ByteConsumer<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteConsumer")
            .field("received", &self.received)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
