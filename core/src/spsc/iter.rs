//! Items one after the other.

use super::Consumer;
use super::words::{Machine, Words};

/// Pops items until the ring is empty. Each item's place is given back as it is popped.
///
/// What it does not reach stays in the ring. It ends when it finds the ring empty, and can go on later.
#[derive(Debug)]
pub struct PopIter<'c, 'r, T, W: Words = Machine> {
    consumer: &'c mut Consumer<'r, T, W>,
}

impl<T, W: Words> Iterator for PopIter<'_, '_, T, W> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.consumer.pop()
    }
}

impl<'r, T, W: Words> Consumer<'r, T, W> {
    /// An iterator that pops: `for item in consumer.pop_iter()`. [`pop_all`](Consumer::pop_all) gives all places back at
    /// once.
    pub fn pop_iter(&mut self) -> PopIter<'_, 'r, T, W> {
        PopIter { consumer: self }
    }

    /// The items that are there now, oldest first, which stay in the ring.
    pub fn iter(&mut self) -> impl DoubleEndedIterator<Item = &T> + '_ {
        let (first, second) = self.as_slices();
        first.iter().chain(second)
    }
}
