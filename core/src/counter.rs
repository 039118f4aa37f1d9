//! 64-bit counters out of 32-bit words, for inspectors: never for the protocol.
//!
//! A counter is three words: the high half, the low half, and the high half once more. Its one writer stores the second
//! high word, then the low word, then the first high word; its readers load them in the opposite order. A reader that
//! finds the high words equal has a count the writer really had, because each store is a `Release` and each load an
//! acquire: if the first high word was new, the low word was new; if the second was still old, the low word was old.

use crate::layout::CounterLine;
use crate::mutant::mutant;
use crate::ordering;
use crate::sync::AtomicU32;

/// Three words that hold a count.
#[derive(Debug)]
#[repr(C)]
pub struct CounterWords {
    /// The high half; stored last.
    pub high: AtomicU32,
    /// The low half.
    pub low: AtomicU32,
    /// The high half again; stored first.
    pub high_again: AtomicU32,
}

impl CounterWords {
    /// A counter at `count`.
    pub fn new(count: u64) -> Self {
        let high = (count >> 32) as u32;
        CounterWords { high: AtomicU32::new(high), low: AtomicU32::new(count as u32), high_again: AtomicU32::new(high) }
    }

    /// The count, if the writer was not just carrying into the high half; `None` then: look again, or do without.
    pub fn sample(&self) -> Option<u64> {
        let (first, last) = if mutant!("count_loaded_as_stored") {
            (&self.high_again, &self.high)
        } else {
            (&self.high, &self.high_again)
        };
        let high = ordering::peer_count(first);
        let low = ordering::peer_count(&self.low);
        let again = ordering::peer_count(last);
        (high == again).then_some(u64::from(high) << 32 | u64::from(low))
    }
}

/// The writer's private count. It is only ever stored to the words, never loaded from them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count(u64);

impl Count {
    /// A private count that starts at `count`.
    pub fn new(count: u64) -> Self {
        Count(count)
    }

    /// The count.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Adds `n` and publishes the count in `words`, which this half alone writes.
    #[inline]
    pub fn add(&mut self, n: u64, words: &CounterWords) {
        let before = self.0;
        self.0 = before.wrapping_add(n);
        let high = (self.0 >> 32) as u32;
        let carried = high != (before >> 32) as u32;
        if carried {
            ordering::count_high(&words.high_again, high);
        }
        ordering::count_low(&words.low, self.0 as u32);
        if carried {
            ordering::count_high(&words.high, high);
        }
    }
}

/// The private counts of one half, and where it publishes them.
#[derive(Debug)]
pub(crate) struct Tally<'m> {
    line: &'m CounterLine,
    bytes: Count,
    operations: Count,
    parks: Count,
    wakes_sent: Count,
    wakes_avoided: Count,
}

impl<'m> Tally<'m> {
    /// Goes on from what the line says, which is mine.
    pub(crate) fn resume(line: &'m CounterLine) -> Self {
        // Under loom nothing is counted, see below.
        let from = |words: &CounterWords| Count(if cfg!(loom) { 0 } else { words.sample().unwrap_or(0) });
        Tally {
            bytes: from(&line.bytes),
            operations: from(&line.operations),
            parks: from(&line.parks),
            wakes_sent: from(&line.wakes_sent),
            wakes_avoided: from(&line.wakes_avoided),
            line,
        }
    }

    /// A cursor was published.
    #[inline]
    pub(crate) fn published(&mut self, bytes: u32, woke: bool) {
        if cfg!(loom) {
            return; // The counters have a model of their own; here they would only multiply the states.
        }
        self.bytes.add(u64::from(bytes), &self.line.bytes);
        self.operations.add(1, &self.line.operations);
        if woke {
            self.wakes_sent.add(1, &self.line.wakes_sent);
        } else {
            self.wakes_avoided.add(1, &self.line.wakes_avoided);
        }
    }

    /// The half woke a peer that waits for it, too, and published nothing.
    pub(crate) fn rang(&mut self) {
        if cfg!(loom) {
            return;
        }
        self.wakes_sent.add(1, &self.line.wakes_sent);
    }

    /// The half announced that it sleeps.
    pub(crate) fn parked(&mut self) {
        if cfg!(loom) {
            return;
        }
        self.parks.add(1, &self.line.parks);
    }
}

/// What a half has done so far: a sample of its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Bytes published.
    pub bytes: u64,
    /// Publications of the cursor.
    pub operations: u64,
    /// Times it announced that it sleeps.
    pub parks: u64,
    /// Times it woke the peer.
    pub wakes_sent: u64,
    /// Publications that needed to wake nobody.
    pub wakes_avoided: u64,
}

impl CounterLine {
    /// A sample of all counters. Each is a value that its counter had; they need not be of the same moment. A counter
    /// that is carrying at every look is left out as 0, which takes a writer that adds 4 GiB between two looks.
    pub fn sample(&self) -> Counts {
        let look = |words: &CounterWords| (0..4).find_map(|_| words.sample()).unwrap_or(0);
        Counts {
            bytes: look(&self.bytes),
            operations: look(&self.operations),
            parks: look(&self.parks),
            wakes_sent: look(&self.wakes_sent),
            wakes_avoided: look(&self.wakes_avoided),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_count_carries_into_its_high_word() {
        let words = CounterWords::new(u64::from(u32::MAX) - 1);
        let mut count = Count::new(u64::from(u32::MAX) - 1);
        for expected in [u64::from(u32::MAX), 1 << 32, (1 << 32) + 1] {
            count.add(1, &words);
            assert_eq!(words.sample(), Some(expected));
            assert_eq!(count.get(), expected);
        }
    }
}
