//! The half that pops.

use core::fmt;
use core::mem::MaybeUninit;

use super::distance;
use super::slots::Slots;
use super::words::{Machine, Words};
use crate::mutant::mutant;
use crate::ordering;
use crate::size::{saturating, to_usize};

/// The half of a ring that pops items.
///
/// Invariants:
/// 1. It is the only consumer of the ring, and the only writer of the word `popped`, whose value is `popped`.
/// 2. `pushed_seen` is at or after `popped`, and at or before what was loaded from the word `pushed`, or its value when the halves were made. So `pushed_seen` −
///    `popped` is at most the capacity, and at most the number of items in the ring.
/// 3. The places from `popped` on, `pushed_seen` − `popped` of them, hold items and are this half's alone.
pub struct Consumer<'r, T, W: Words = Machine> {
    words: &'r W,
    slots: Slots<T>,
    popped: u32,
    pushed_seen: u32,
    _apart: W::Apart,
}

// SAFETY: a consumer moves items out of the ring that another thread has pushed, for which `T: Send` is what it takes. The
// words are atomics, and what else it has is its own.
unsafe impl<T: Send, W: Words + Sync> Send for Consumer<'_, T, W> {}

impl<'r, T, W: Words> Consumer<'r, T, W> {
    /// # Safety
    /// See [`ring::halves`](super::ring::halves); the cursors are those of the words.
    pub(super) unsafe fn new(words: &'r W, slots: Slots<T>, pushed: u32, popped: u32) -> Self {
        Consumer { words, slots, popped, pushed_seen: pushed, _apart: W::Apart::default() }
    }

    /// The number of items that the ring has room for.
    pub fn capacity(&self) -> usize {
        to_usize(self.slots.mask()) + 1
    }

    /// The number of items in the ring. It can only become more until this half pops.
    #[must_use]
    pub fn len(&mut self) -> usize {
        to_usize(self.items_for(u32::MAX))
    }

    /// Whether there is nothing to pop.
    #[must_use]
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        if W::CACHES && self.pushed_seen != self.popped {
            return false;
        }
        self.pushed_seen = ordering::peer_pushed(self.words.pushed());
        if W::CACHES {
            let found = self.pushed_seen.wrapping_sub(self.popped);
            self.pushed_seen = distance::short_of::<T>(self.pushed_seen, found, self.slots.mask());
        }
        self.pushed_seen == self.popped
    }

    /// The oldest item, or `None` if the ring is empty.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        if mutant!("place_given_back_early") {
            self.publish(self.popped.wrapping_add(1));
            self.popped = self.popped.wrapping_sub(1);
        }
        // SAFETY: there is an item (invariant 3); the cursor moves on below, so it is taken once.
        let item = unsafe { self.slots.take(self.popped) };
        self.publish(self.popped.wrapping_add(1));
        Some(item)
    }

    /// Pops items into `out`, as many as there are and fit, and gives their places back at once. Returns how many.
    #[inline]
    pub fn pop_slice(&mut self, out: &mut [T]) -> usize
    where
        T: Copy,
    {
        // SAFETY: what is copied to `out` are items, so `out` stays initialised. What is overwritten needs no drop.
        unsafe { self.pop_to(out.as_mut_ptr(), out.len()) }
    }

    /// Pops items into `out`, as many as there are and fit, and gives their places back at once. Returns how many; so many
    /// items at the start of `out` are initialised then, and are the caller's to drop.
    #[inline]
    pub fn pop_uninit(&mut self, out: &mut [MaybeUninit<T>]) -> usize {
        // SAFETY: `out` is valid for writes of as many items.
        unsafe { self.pop_to(out.as_mut_ptr().cast(), out.len()) }
    }

    /// # Safety
    /// `out` is valid for writes of `len` items, in other memory than the ring.
    #[inline]
    unsafe fn pop_to(&mut self, out: *mut T, len: usize) -> usize {
        let len = saturating(len);
        let len = self.items_for(len);
        if len != 0 {
            // SAFETY: there are `len` items (invariant 3), and room for them at `out`; the cursor moves on below, so they
            // are taken once.
            unsafe { self.slots.copy_out(self.popped, out, len) };
            self.publish(self.popped.wrapping_add(len));
        }
        to_usize(len)
    }

    /// Pops all items that are there now, hands each to `each`, and gives their places back at once. Returns how many.
    ///
    /// If `each` panics, the item it got is its own, and those after it stay in the ring.
    #[inline]
    pub fn pop_all(&mut self, mut each: impl FnMut(T)) -> usize {
        struct Publish<'c, 'r, T, W: Words> {
            consumer: &'c mut Consumer<'r, T, W>,
            popped: u32,
        }
        impl<T, W: Words> Drop for Publish<'_, '_, T, W> {
            #[inline]
            fn drop(&mut self) {
                if self.popped != self.consumer.popped {
                    self.consumer.publish(self.popped);
                }
            }
        }
        let len = self.items_for(u32::MAX);
        let (slots, popped) = (self.slots, self.popped);
        let end = popped.wrapping_add(len);
        let mut publish = Publish { consumer: self, popped };
        while publish.popped != end {
            // SAFETY: less than `len` were taken, so there is an item (invariant 3). The guard moves the cursor past it,
            // also if `each` panics, so it is taken once.
            let item = unsafe { slots.take(publish.popped) };
            publish.popped = publish.popped.wrapping_add(1);
            each(item);
        }
        to_usize(len)
    }

    /// Drops the `len` oldest items, or all if there are fewer, and gives their places back at once. Returns how many.
    pub fn skip(&mut self, len: usize) -> usize {
        let len = saturating(len);
        let len = self.items_for(len);
        self.drop_first(len);
        to_usize(len)
    }

    /// Drops the first `len` items. If a destructor panics, the items after it are not dropped, now or later.
    pub(super) fn drop_first(&mut self, len: u32) {
        struct Publish<'c, 'r, T, W: Words>(&'c mut Consumer<'r, T, W>, u32);
        impl<T, W: Words> Drop for Publish<'_, '_, T, W> {
            fn drop(&mut self) {
                self.0.publish(self.1);
            }
        }
        let end = self.popped.wrapping_add(len);
        let publish = Publish(self, end);
        let consumer = &publish.0;
        // SAFETY: the callers have seen `len` items (invariant 3); the guard moves the cursor past all of them, also if a
        // destructor panics, so each is taken at most once.
        unsafe { consumer.slots.drop_items(consumer.popped, len) };
    }

    /// Up to `wanted` items: looks at the producer's cursor only if those known are fewer. As for the producer, `wanted`
    /// itself if there are enough.
    #[inline(always)]
    pub(super) fn items_for(&mut self, wanted: u32) -> u32 {
        if W::CACHES && self.pushed_seen.wrapping_sub(self.popped) >= wanted {
            return wanted;
        }
        self.pushed_seen = ordering::peer_pushed(self.words.pushed());
        wanted.min(self.pushed_seen.wrapping_sub(self.popped))
    }

    /// Gives back all places below `popped`.
    #[inline(always)]
    pub(super) fn publish(&mut self, popped: u32) {
        self.popped = popped;
        ordering::publish_popped(self.words.popped(), popped);
    }

    /// For a chunk: the places, and the cursor of the oldest item.
    #[cfg(not(loom))]
    pub(super) fn place(&self) -> (Slots<T>, u32) {
        (self.slots, self.popped)
    }
}

impl<T, W: Words> fmt::Debug for Consumer<'_, T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("capacity", &self.capacity())
            .field("popped", &self.popped)
            .field("pushed_seen", &self.pushed_seen)
            .finish_non_exhaustive()
    }
}
