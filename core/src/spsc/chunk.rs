//! Many items in place, over two slices, published once.

use core::mem::MaybeUninit;
use core::slice;

use super::words::{Machine, Words};
use super::{Consumer, Producer, TooFew};
use crate::size::{at_most, saturating, to_usize};

/// Free places at the end of a ring, to be filled in place and then published at once.
///
/// Dropping it publishes nothing and drops what was filled.
#[derive(Debug)]
#[must_use = "a chunk that is not committed is given up"]
pub struct WriteChunk<'p, 'r, T, W: Words = Machine> {
    producer: &'p mut Producer<'r, T, W>,
    len: u32,
    /// So many places, from the first on, hold items.
    filled: u32,
}

impl<'r, T, W: Words> Producer<'r, T, W> {
    /// `len` free places, to be filled in place. [`room`](Producer::room) says how many can be had.
    ///
    /// # Errors
    /// [`TooFew`], with the number of free places there are.
    pub fn write_chunk(&mut self, len: usize) -> Result<WriteChunk<'_, 'r, T, W>, TooFew> {
        let available = to_usize(self.room_for(saturating(len)));
        if available < len {
            return Err(TooFew { wanted: len, available });
        }
        Ok(WriteChunk { producer: self, len: saturating(len), filled: 0 })
    }
}

impl<T, W: Words> WriteChunk<'_, '_, T, W> {
    /// The number of places.
    pub fn len(&self) -> usize {
        to_usize(self.len)
    }

    /// Whether there are no places.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many places have been filled.
    pub fn filled(&self) -> usize {
        to_usize(self.filled)
    }

    /// Fills the next place.
    ///
    /// # Errors
    /// [`Full`](super::Full), with the item: all places are filled.
    pub fn push(&mut self, item: T) -> Result<(), super::Full<T>> {
        if self.filled == self.len {
            return Err(super::Full(item));
        }
        let (slots, pushed) = self.producer.place();
        // SAFETY: `filled` < `len` ≤ the room that the producer found, so the place is its own (its invariant 3).
        unsafe { slots.put(pushed.wrapping_add(self.filled), item) };
        self.filled += 1;
        Ok(())
    }

    /// Fills places from `items`, until it ends or all are filled. Returns how many places are filled now.
    pub fn fill(&mut self, items: impl IntoIterator<Item = T>) -> usize {
        let mut items = items.into_iter();
        while self.filled < self.len {
            let Some(item) = items.next() else { break };
            // It cannot be full here.
            let _ = self.push(item);
        }
        self.filled()
    }

    /// The places that are not filled yet, in order, as two slices; the second is empty if they do not wrap.
    ///
    /// After they have been written, [`assume_filled`](WriteChunk::assume_filled) says how many.
    pub fn as_mut_slices(&mut self) -> (&mut [MaybeUninit<T>], &mut [MaybeUninit<T>]) {
        let (slots, pushed) = self.producer.place();
        let [first, second] = slots.runs(pushed.wrapping_add(self.filled), self.len - self.filled);
        // SAFETY: these places are the producer's alone (its invariant 3), which is borrowed exclusively; there is at least
        // one run of so many slots at the pointer, and a `MaybeUninit` may hold anything.
        let first = unsafe { slice::from_raw_parts_mut(first.0.cast(), first.1) };
        // SAFETY: as above; the two runs do not overlap, for together they are at most all places.
        let second = unsafe { slice::from_raw_parts_mut(second.0.cast(), second.1) };
        (first, second)
    }

    /// Counts the next `len` places (at most all that are left) as filled.
    ///
    /// # Safety
    /// They hold items: they were written through [`as_mut_slices`](WriteChunk::as_mut_slices).
    pub unsafe fn assume_filled(&mut self, len: usize) {
        self.filled += at_most(len, self.len - self.filled);
    }

    /// Publishes what was filled. Returns how many items that is.
    pub fn commit(mut self) -> usize {
        let filled = core::mem::take(&mut self.filled);
        if filled != 0 {
            self.producer.publish(self.producer.place().1.wrapping_add(filled));
        }
        to_usize(filled)
    }
}

impl<T, W: Words> Drop for WriteChunk<'_, '_, T, W> {
    fn drop(&mut self) {
        let (slots, pushed) = self.producer.place();
        // SAFETY: so many places hold items, which were not published, so no one else drops them.
        unsafe { slots.drop_items(pushed, core::mem::take(&mut self.filled)) };
    }
}

/// The oldest items of a ring, in place.
///
/// They stay until [`commit`](ReadChunk::commit). Dropping it takes nothing.
#[derive(Debug)]
pub struct ReadChunk<'c, 'r, T, W: Words = Machine> {
    consumer: &'c mut Consumer<'r, T, W>,
    len: u32,
}

impl<'r, T, W: Words> Consumer<'r, T, W> {
    /// The `len` oldest items, in place. [`len`](Consumer::len) says how many can be had.
    ///
    /// # Errors
    /// [`TooFew`], with the number of items there are.
    pub fn read_chunk(&mut self, len: usize) -> Result<ReadChunk<'_, 'r, T, W>, TooFew> {
        let available = to_usize(self.items_for(saturating(len)));
        if available < len {
            return Err(TooFew { wanted: len, available });
        }
        Ok(ReadChunk { consumer: self, len: saturating(len) })
    }

    /// The oldest item, which stays.
    pub fn peek(&mut self) -> Option<&T> {
        self.peek_mut().map(|item| &*item)
    }

    /// The oldest item, which stays.
    pub fn peek_mut(&mut self) -> Option<&mut T> {
        if self.items_for(1) == 0 {
            return None;
        }
        let (slots, popped) = self.place();
        let [(item, _), _] = slots.runs(popped, 1);
        // SAFETY: there is an item, which is this half's alone (invariant 3), and this half is borrowed.
        Some(unsafe { &mut *item })
    }

    /// All items that are there now, oldest first, as two slices; the second is empty if they do not wrap.
    pub fn as_slices(&mut self) -> (&[T], &[T]) {
        let len = self.items_for(u32::MAX);
        let (first, second) = slices(self, len);
        (first, second)
    }
}

/// The first `len` items, of which there are as many.
fn slices<'c, T, W: Words>(consumer: &'c mut Consumer<'_, T, W>, len: u32) -> (&'c mut [T], &'c mut [T]) {
    let (slots, popped) = consumer.place();
    let [first, second] = slots.runs(popped, len);
    // SAFETY: these places hold items and are the consumer's alone (its invariant 3), which is borrowed exclusively; there is
    // a run of so many slots at the pointer.
    let first = unsafe { slice::from_raw_parts_mut(first.0, first.1) };
    // SAFETY: as above; the two runs do not overlap, for together they are at most all places.
    let second = unsafe { slice::from_raw_parts_mut(second.0, second.1) };
    (first, second)
}

impl<T, W: Words> ReadChunk<'_, '_, T, W> {
    /// The number of items.
    pub fn len(&self) -> usize {
        to_usize(self.len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The items, oldest first, as two slices; the second is empty if they do not wrap.
    pub fn as_slices(&mut self) -> (&[T], &[T]) {
        let (first, second) = self.as_mut_slices();
        (first, second)
    }

    /// The items, oldest first, as two slices; the second is empty if they do not wrap.
    pub fn as_mut_slices(&mut self) -> (&mut [T], &mut [T]) {
        slices(self.consumer, self.len)
    }

    /// Drops the first `len` items (at most all), and gives their places back at once. The others stay. Returns how many.
    pub fn commit(self, len: usize) -> usize {
        let len = at_most(len, self.len);
        if len != 0 {
            self.consumer.drop_first(len);
        }
        to_usize(len)
    }

    /// Does so with all items.
    pub fn commit_all(self) -> usize {
        let len = self.len();
        self.commit(len)
    }
}
