//! The ring over memory that the caller brings.

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::ring::{drop_left, halves};
use super::slots::{Slot, Slots};
use super::words::{Machine, Words};
use super::{AlreadySplit, BadCapacity, Halves};
use crate::size::{saturating, to_usize};

/// A [`Ring`](super::Ring) whose places are borrowed: from a region of an allocator, a linker section, a large static.
///
/// ```
/// use core::mem::MaybeUninit;
/// use smstream_core::spsc::SliceRing;
///
/// let mut memory = [const { MaybeUninit::uninit() }; 8];
/// let mut ring = SliceRing::<String>::new(&mut memory).unwrap();
/// let (mut producer, mut consumer) = ring.split();
/// producer.push("one".to_owned()).unwrap();
/// assert_eq!(consumer.pop().as_deref(), Some("one"));
/// ```
///
/// Dropping it drops the items that are left; forgetting it (`core::mem::forget`) leaks them. The memory itself is not
/// touched beyond that.
pub struct SliceRing<'m, T, W: Words = Machine> {
    words: W,
    slots: Slots<T>,
    memory: PhantomData<&'m mut [MaybeUninit<T>]>,
}

// SAFETY: it is an exclusive borrow of places for items, which are `Send`, and words, which are atomics.
unsafe impl<T: Send, W: Words + Send> Send for SliceRing<'_, T, W> {}
// SAFETY: as for `Ring`.
unsafe impl<T: Send, W: Words + Sync> Sync for SliceRing<'_, T, W> {}

impl<'m, T, W: Words> SliceRing<'m, T, W> {
    /// An empty ring with room for as many items as `memory` has places. What lies there is not looked at.
    ///
    /// # Errors
    /// [`BadCapacity`]: the length is not a power of two, or above 2³¹.
    pub const fn new(memory: &'m mut [MaybeUninit<T>]) -> Result<Self, BadCapacity> {
        let len = memory.len();
        if !len.is_power_of_two() || len > 1 << 31 {
            return Err(BadCapacity(len));
        }
        let base = memory.as_mut_ptr().cast::<Slot<T>>().cast_const();
        // SAFETY: `memory` has `len` places, a power of two, and is borrowed exclusively for `'m`, longer than this. A slot
        // has the layout of a `MaybeUninit<T>`: it is transparent, and so is an `UnsafeCell`.
        let slots = unsafe { Slots::new(base, saturating(len - 1)) };
        Ok(SliceRing { words: W::NEW, slots, memory: PhantomData })
    }

    /// The number of items that it has room for.
    pub fn capacity(&self) -> usize {
        to_usize(self.slots.mask()) + 1
    }

    /// The two halves, as [`Ring::split`](super::Ring::split).
    pub fn split(&mut self) -> Halves<'_, T, W> {
        // SAFETY: these are the ring's words and places, and halves borrow the ring, so there is no other.
        unsafe { halves(&self.words, self.slots) }
    }

    /// The two halves, once, as [`Ring::try_split`](super::Ring::try_split).
    ///
    /// # Errors
    /// [`AlreadySplit`].
    pub fn try_split(&self) -> Result<Halves<'_, T, W>, AlreadySplit> {
        if !self.words.claim().take() {
            return Err(AlreadySplit);
        }
        // SAFETY: these are the ring's words and places; at most one call ever comes here, and `split` cannot be called
        // while these halves borrow the ring.
        Ok(unsafe { halves(&self.words, self.slots) })
    }
}

impl<T, W: Words> Drop for SliceRing<'_, T, W> {
    fn drop(&mut self) {
        // SAFETY: halves borrow the ring, so there is none; these are its places.
        unsafe { drop_left(&mut self.words, self.slots) };
    }
}

impl<T, W: Words> fmt::Debug for SliceRing<'_, T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SliceRing({} items)", self.capacity())
    }
}
