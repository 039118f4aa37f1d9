//! The half that pushes.

use core::fmt;

use super::Full;
use super::distance;
use super::slots::Slots;
use super::words::{Machine, Words};
use crate::mutant::mutant;
use crate::ordering;
use crate::size::{saturating, to_usize};

/// The half of a ring that pushes items.
///
/// Invariants:
/// 1. It is the only producer of the ring, and the only writer of the word `pushed`, whose value is `pushed`.
/// 2. `popped_seen` is at or before what was loaded from the word `popped`, or its value when the halves were made. So `pushed` −
///    `popped_seen` is at most the capacity, and at least the number of items in the ring.
/// 3. The places from `pushed` on, as many as the capacity less `pushed` − `popped_seen`, hold no items and are this half's
///    alone.
pub struct Producer<'r, T, W: Words = Machine> {
    words: &'r W,
    slots: Slots<T>,
    pushed: u32,
    popped_seen: u32,
    _apart: W::Apart,
}

// SAFETY: a producer moves items into the ring, to be popped in another thread, for which `T: Send` is what it takes. The
// words are atomics, and what else it has is its own.
unsafe impl<T: Send, W: Words + Sync> Send for Producer<'_, T, W> {}

impl<'r, T, W: Words> Producer<'r, T, W> {
    /// # Safety
    /// See [`ring::halves`](super::ring::halves); the cursors are those of the words.
    pub(super) unsafe fn new(words: &'r W, slots: Slots<T>, pushed: u32, popped: u32) -> Self {
        Producer { words, slots, pushed, popped_seen: popped, _apart: W::Apart::default() }
    }

    /// The number of items that the ring has room for.
    pub fn capacity(&self) -> usize {
        to_usize(self.slots.mask()) + 1
    }

    /// The number of items in the ring. It can only become less until this half pushes.
    #[must_use]
    pub fn len(&mut self) -> usize {
        self.capacity() - self.room()
    }

    /// Whether all items that were pushed have been popped.
    #[must_use]
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another item.
    #[must_use]
    #[inline]
    pub fn is_full(&mut self) -> bool {
        // Full is `mask` + 1, and not more (invariant 2); this comparison is one instruction less on small processors.
        if W::CACHES && self.pushed.wrapping_sub(self.popped_seen) <= self.slots.mask() {
            return false;
        }
        self.popped_seen = ordering::peer_popped(self.words.popped());
        if W::CACHES {
            // Not below 0 (invariant 2).
            let room = self.slots.mask() + 1 - self.pushed.wrapping_sub(self.popped_seen);
            self.popped_seen = distance::short_of::<T>(self.popped_seen, room, self.slots.mask());
        }
        self.pushed.wrapping_sub(self.popped_seen) > self.slots.mask()
    }

    /// The number of items that can be pushed now. It can only become more until this half pushes.
    #[must_use]
    pub fn room(&mut self) -> usize {
        to_usize(self.room_for(u32::MAX))
    }

    /// Pushes one item.
    ///
    /// # Errors
    /// [`Full`], with the item.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), Full<T>> {
        if self.is_full() {
            return Err(Full(item));
        }
        if mutant!("item_published_early") {
            self.publish(self.pushed.wrapping_add(1));
            self.pushed = self.pushed.wrapping_sub(1);
        }
        // SAFETY: there is room, so the place is this half's (invariant 3) and holds no item.
        unsafe { self.slots.put(self.pushed, item) };
        self.publish(self.pushed.wrapping_add(1));
        Ok(())
    }

    /// Pushes copies of the first items of `items`, as many as fit, and publishes them at once. Returns how many.
    #[inline]
    pub fn push_slice(&mut self, items: &[T]) -> usize
    where
        T: Copy,
    {
        let len = saturating(items.len());
        let len = self.room_for(len);
        if len != 0 {
            // SAFETY: there is room for `len` items (invariant 3), and `items` has as many. No slice into the ring can be
            // alive here: a chunk borrows this half, and what the consumer hands out holds items, where this does not write.
            unsafe { self.slots.copy_in(self.pushed, items.as_ptr(), len) };
            self.publish(self.pushed.wrapping_add(len));
        }
        to_usize(len)
    }

    /// Pushes items from `items` until it ends or the ring is full, and publishes them at once. Returns how many. No item
    /// is taken from `items` that there is no room for.
    ///
    /// If `items` panics, the items it gave before are pushed.
    pub fn push_iter(&mut self, items: impl IntoIterator<Item = T>) -> usize {
        struct Publish<'p, 'r, T, W: Words> {
            producer: &'p mut Producer<'r, T, W>,
            filled: u32,
        }
        impl<T, W: Words> Drop for Publish<'_, '_, T, W> {
            fn drop(&mut self) {
                if self.filled != 0 {
                    self.producer.publish(self.producer.pushed.wrapping_add(self.filled));
                }
            }
        }
        let room = self.room_for(u32::MAX);
        let (slots, pushed) = (self.slots, self.pushed);
        let mut publish = Publish { producer: self, filled: 0 };
        let mut items = items.into_iter();
        // Place after place; in a loop for each run of them, so that no cursor is masked.
        #[cfg(not(loom))]
        for (place, len) in slots.runs(pushed, room) {
            for i in 0..len {
                let Some(item) = items.next() else { return to_usize(publish.filled) };
                // SAFETY: `i` < `len`, so this is a place of the run.
                let place = unsafe { place.add(i) };
                // SAFETY: less than `room` were filled, so this place is the half's and holds no item (invariant 3).
                unsafe { place.write(item) };
                publish.filled += 1;
            }
        }
        #[cfg(loom)]
        while publish.filled < room {
            let Some(item) = items.next() else { break };
            // SAFETY: less than `room` were filled, so this place is the half's and holds no item (invariant 3).
            unsafe { slots.put(pushed.wrapping_add(publish.filled), item) };
            publish.filled += 1;
        }
        to_usize(publish.filled)
    }

    /// Up to `wanted` free places: looks at the consumer's cursor only if those known are fewer.
    ///
    /// It gives `wanted` itself where there are enough, and not the same number computed: so the compiler sees what a caller
    /// gave as a constant, and copies without a loop.
    #[inline(always)]
    pub(super) fn room_for(&mut self, wanted: u32) -> u32 {
        // At most the capacity is subtracted (invariant 2), and that is `mask` + 1, which may be 2³¹.
        let known = (self.slots.mask() + 1).wrapping_sub(self.pushed.wrapping_sub(self.popped_seen));
        if W::CACHES && known >= wanted {
            return wanted;
        }
        self.popped_seen = ordering::peer_popped(self.words.popped());
        wanted.min((self.slots.mask() + 1).wrapping_sub(self.pushed.wrapping_sub(self.popped_seen)))
    }

    /// Publishes all items below `pushed`.
    #[inline(always)]
    pub(super) fn publish(&mut self, pushed: u32) {
        self.pushed = pushed;
        ordering::publish_pushed(self.words.pushed(), pushed);
    }

    /// For a chunk: the places, and the cursor of the next item.
    #[cfg(not(loom))]
    pub(super) fn place(&self) -> (Slots<T>, u32) {
        (self.slots, self.pushed)
    }
}

impl<T, W: Words> fmt::Debug for Producer<'_, T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &self.capacity())
            .field("pushed", &self.pushed)
            .field("popped_seen", &self.popped_seen)
            .finish_non_exhaustive()
    }
}
