//! The ring that has its bytes in itself.

use core::fmt;

use super::words::Words;
use super::{ByteConsumer, ByteProducer};
use crate::cursor::{CURSOR, MAX_CAPACITY};
use crate::park::Park;
use crate::size::{saturating, to_usize};
use crate::spsc::AlreadySplit;
use crate::sync::LaneByte;

/// Room for `N` bytes, a power of two of at most 2²⁹. See the [module](super).
#[repr(C)]
pub struct ByteRing<const N: usize> {
    words: Words,
    #[cfg(not(loom))]
    bytes: core::cell::UnsafeCell<[LaneByte; N]>,
    #[cfg(loom)]
    bytes: [LaneByte; N],
}

// SAFETY: through a shared reference to the ring nothing can be done to its bytes but by its halves, of which there is one pair at
// a time. The words are atomics.
unsafe impl<const N: usize> Sync for ByteRing<N> {}

/// Both halves of a ring whose writing half sleeps as `W` does, and its reading half as `R`.
type Halves<'r, W, R> = (ByteProducer<'r, W>, ByteConsumer<'r, R>);

impl<const N: usize> ByteRing<N> {
    const CAPACITY: u32 = {
        assert!(
            N.is_power_of_two() && N <= to_usize(MAX_CAPACITY),
            "the capacity of a ring of bytes is a power of two, at most 2^29"
        );
        saturating(N)
    };

    /// An empty ring.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self::at(0)
    }

    #[cfg(not(loom))]
    const fn at(start: u32) -> Self {
        let _checked = Self::CAPACITY;
        ByteRing { words: Words::starting_at(start), bytes: core::cell::UnsafeCell::new([0; N]) }
    }

    #[cfg(loom)]
    fn at(start: u32) -> Self {
        ByteRing { words: Words::starting_at(start), bytes: core::array::from_fn(|_| LaneByte::new(0)) }
    }

    /// An empty ring whose cursors begin at `start`, taken modulo 2³¹, instead of 0. No other difference can be seen; a test
    /// begins just below 2³¹.
    pub fn starting_at(start: u32) -> Self {
        Self::at(start & CURSOR)
    }

    /// The number of bytes that it has room for: `N`.
    pub const fn capacity(&self) -> usize {
        N
    }

    /// The two halves, as long as the ring is borrowed exclusively. It can be split again afterwards, and is open then; bytes that
    /// are left stay.
    pub fn split<W: Park, R: Park>(&mut self, write_park: W, read_park: R) -> Halves<'_, W, R> {
        self.words.open();
        // SAFETY: there is no other half, because halves borrow the ring, which is borrowed exclusively here, for as long as
        // these live.
        unsafe { self.halves(write_park, read_park) }
    }

    /// The two halves, once in the ring's life: so this takes a shared reference, and a `static` gives halves that are
    /// `'static`.
    ///
    /// # Errors
    /// [`AlreadySplit`]: this was called before. Of calls at the same time at most one succeeds. On targets without
    /// compare-and-swap it can then happen that none does.
    pub fn try_split<W: Park, R: Park>(&self, write_park: W, read_park: R) -> Result<Halves<'_, W, R>, AlreadySplit> {
        if !self.words.claim.take() {
            return Err(AlreadySplit);
        }
        // SAFETY: at most one call ever comes here, and `split` cannot be called while these halves borrow the ring.
        Ok(unsafe { self.halves(write_park, read_park) })
    }

    /// # Safety
    /// There is no other half of this ring while these live.
    unsafe fn halves<W: Park, R: Park>(&self, write_park: W, read_park: R) -> Halves<'_, W, R> {
        #[cfg(not(loom))]
        let base: *mut LaneByte = self.bytes.get().cast();
        #[cfg(loom)]
        let base = self.bytes.as_ptr().cast_mut();
        let (words, mask) = (&self.words, Self::CAPACITY - 1);
        (
            // SAFETY: these are the ring's words and its bytes, which live and do not move while it is borrowed; there is no
            // other half.
            unsafe { ByteProducer::new(words, base, mask, R::SLEEPS, write_park) },
            // SAFETY: as above.
            unsafe { ByteConsumer::new(words, base, mask, W::SLEEPS, read_park) },
        )
    }
}

#[cfg(not(loom))]
impl<const N: usize> Default for ByteRing<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for ByteRing<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteRing({N} bytes)")
    }
}

#[cfg(not(loom))]
mod pinned {
    use super::{ByteConsumer, ByteProducer, ByteRing};
    use crate::park::Spin;
    use static_assertions::const_assert;

    const_assert!(size_of::<ByteRing<64>>() <= 64 + 32);
    const_assert!(size_of::<ByteProducer<'static, Spin>>() <= 32);
    const_assert!(size_of::<ByteConsumer<'static, Spin>>() <= 32);
}
