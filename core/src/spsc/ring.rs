//! The ring that has its places in itself.

use core::fmt;

use super::slots::{Slot, Slots};
use super::words::{Machine, Words};
use super::{AlreadySplit, Consumer, Halves, Producer};
use crate::ordering;

/// Room for `N` items of type `T`, for one producer and one consumer. See the [module](super).
///
/// `N` is a power of two, at most 2³¹: anything else is an error of the compiler. All `N` places are used.
///
/// Dropping the ring drops the items that are left in it.
#[repr(C)]
pub struct Ring<T, const N: usize, W: Words = Machine> {
    words: W,
    slots: [Slot<T>; N],
}

// SAFETY: through a shared reference to the ring nothing can be done to items but by its halves, of which there is one pair
// at a time. They move items to other threads, so `T` must be `Send`; they never share one.
unsafe impl<T: Send, const N: usize, W: Words + Sync> Sync for Ring<T, N, W> {}

impl<T, const N: usize, W: Words> Ring<T, N, W> {
    const MASK: u32 = {
        assert!(N.is_power_of_two() && N <= 1 << 31, "the capacity of a ring is a power of two, at most 2^31");
        crate::size::saturating(N - 1)
    };

    /// An empty ring.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        let _checked = Self::MASK;
        Ring { words: W::NEW, slots: [const { Slot::empty() }; N] }
    }

    /// An empty ring whose cursors begin at `start` instead of 0. No other difference can be seen. A test begins just
    /// below 2³², and so sees at once what otherwise happens after 2³² items.
    pub fn starting_at(start: u32) -> Self {
        #[cfg(not(loom))]
        let mut ring = Self::new();
        #[cfg(loom)]
        let mut ring = Ring { words: W::starting_at(start), slots: core::array::from_fn(|_| Slot::empty()) };
        ring.words.set(start);
        ring
    }

    /// The number of items that it has room for: `N`.
    pub const fn capacity(&self) -> usize {
        N
    }

    /// The two halves, as long as the ring is borrowed exclusively. It can be split again afterwards; items that are left
    /// stay.
    pub fn split(&mut self) -> Halves<'_, T, W> {
        // SAFETY: there is no other half, because halves borrow the ring, which is borrowed exclusively here, for as long as
        // these live.
        unsafe { self.halves() }
    }

    /// The two halves, once in the ring's life: so this takes a shared reference, and a `static` gives halves that are
    /// `'static`.
    ///
    /// # Errors
    /// [`AlreadySplit`]: this was called before. Of calls at the same time at most one succeeds. On targets without
    /// compare-and-swap it can then happen that none does.
    pub fn try_split(&self) -> Result<Halves<'_, T, W>, AlreadySplit> {
        if !self.words.claim().take() {
            return Err(AlreadySplit);
        }
        // SAFETY: at most one call ever comes here, and `split` cannot be called while these halves borrow the ring.
        Ok(unsafe { self.halves() })
    }

    /// # Safety
    /// There is no other half of this ring while these live.
    unsafe fn halves(&self) -> Halves<'_, T, W> {
        // SAFETY: `MASK` + 1 is `N`, checked when compiled. The ring is borrowed for as long as the halves live.
        let slots = unsafe { Slots::new(self.slots.as_ptr(), Self::MASK) };
        // SAFETY: these are the ring's words and its places; there is no other half.
        unsafe { halves(&self.words, slots) }
    }
}

/// The halves of a ring.
///
/// # Safety
/// `slots` are the places that go with `words` and live for `'r`; between the cursors, and nowhere else, they hold items.
/// There is no other half of the ring during `'r`.
pub(super) unsafe fn halves<'r, T, W: Words>(words: &'r W, slots: Slots<T>) -> Halves<'r, T, W> {
    let (pushed, popped) = (ordering::own(words.pushed()), ordering::own(words.popped()));
    // SAFETY: the caller promises what both ask for.
    let producer = unsafe { Producer::new(words, slots, pushed, popped) };
    // SAFETY: as above.
    let consumer = unsafe { Consumer::new(words, slots, pushed, popped) };
    (producer, consumer)
}

/// Drops what is left in a ring.
///
/// # Safety
/// As for [`halves`], and there is no half of the ring, now or later.
pub(super) unsafe fn drop_left<T, W: Words>(words: &mut W, slots: Slots<T>) {
    let (pushed, popped) = (ordering::own(words.pushed()), ordering::own(words.popped()));
    // SAFETY: the items that were pushed and not popped lie in these places (at most as many as there are places); no half
    // can take them any more.
    unsafe { slots.drop_items(popped, pushed.wrapping_sub(popped)) };
}

impl<T, const N: usize, W: Words> Drop for Ring<T, N, W> {
    fn drop(&mut self) {
        // SAFETY: as in `halves`.
        let slots = unsafe { Slots::new(self.slots.as_ptr(), Self::MASK) };
        // SAFETY: halves borrow the ring, so there is none; these are its places.
        unsafe { drop_left(&mut self.words, slots) };
    }
}

#[cfg(not(loom))]
impl<T, const N: usize, W: Words> Default for Ring<T, N, W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize, W: Words> fmt::Debug for Ring<T, N, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({N} items)")
    }
}
