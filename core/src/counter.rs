//! 64-bit counters out of 32-bit words, for inspectors: never for the protocol.
//!
//! A counter is three words: the high half, the low half, and the high half once more. Its one writer stores the second
//! high word, then the low word, then the first high word; its readers load them in the opposite order. A reader that
//! finds the high words equal has a count the writer really had, because each store is a `Release` and each load an
//! acquire: if the first high word was new, the low word was new; if the second was still old, the low word was old.

use crate::cursor::ASLEEP;
use crate::layout::CounterLine;
use crate::mutant::mutant;
use crate::ordering;

pub use crate::layout::CounterWords;

impl CounterWords {
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

/// What the writer of a counter keeps of it: a private copy of the low half, so that adding is one store, but for a carry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count(u32);

impl Count {
    /// Goes on from what `words` say, which this half alone writes.
    #[inline]
    pub fn resume(words: &CounterWords) -> Self {
        Count(ordering::own(&words.low))
    }

    /// The low half of the count.
    pub fn low(self) -> u32 {
        self.0
    }

    /// Adds `n` and publishes the count in `words`, which this half alone writes.
    #[inline]
    pub fn add(&mut self, n: u32, words: &CounterWords) {
        let (low, carried) = self.0.overflowing_add(n);
        self.0 = low;
        if carried {
            carry(words, low);
        } else {
            ordering::count_low(&words.low, low);
        }
    }
}

#[cold]
#[inline(never)]
fn carry(words: &CounterWords, low: u32) {
    // Once in 2³² counts, and for display only: so there is no private copy of this half.
    let high = ordering::own(&words.high).wrapping_add(1);
    ordering::count_high(&words.high_again, high);
    ordering::count_low(&words.low, low);
    ordering::count_high(&words.high, high);
}

/// No counters are kept: park words with ASLEEP, and no others, are at most this.
const NONE: i32 = -1;

/// The counts of one half, or none, if its party keeps none.
#[derive(Debug)]
pub(crate) struct Tally {
    /// As large as any park word can be, if counters are kept; if not, as the park word of a peer that is asleep.
    kept: i32,
    bytes: Count,
    operations: Count,
}

impl Tally {
    /// Goes on from what the line says, which is mine. `keeps`: whether the party keeps counters; if not, the line is
    /// neither loaded nor stored.
    #[inline]
    pub(crate) fn resume(line: &CounterLine, keeps: bool) -> Self {
        // The counters have a model of their own; in the others they would only multiply the states.
        if !keeps || cfg!(loom) {
            return Tally { kept: NONE, bytes: Count::default(), operations: Count::default() };
        }
        Tally { kept: i32::MAX, bytes: Count::resume(&line.bytes), operations: Count::resume(&line.operations) }
    }

    /// Whether counters are kept, or the peer, with this park word, is asleep: one comparison finds either.
    #[inline(always)]
    pub(crate) fn wants(&self, park: u32) -> bool {
        const _: () = assert!(ASLEEP.cast_signed() < 0);
        park.cast_signed() <= self.kept
    }

    /// Whether counters are kept.
    #[inline(always)]
    pub(crate) fn keeps(&self) -> bool {
        self.kept != NONE
    }

    /// A cursor was published, after so many bytes.
    #[inline(always)]
    pub(crate) fn published(&mut self, line: &CounterLine, bytes: u32) {
        if self.keeps() {
            self.bytes.add(bytes, &line.bytes);
            self.operations.add(1, &line.operations);
        }
    }

    /// The half woke the peer.
    #[cold]
    pub(crate) fn woke(&mut self, line: &CounterLine) {
        if self.keeps() {
            Count::resume(&line.wakes_sent).add(1, &line.wakes_sent);
        }
    }

    /// The half announced that it sleeps.
    #[cold]
    pub(crate) fn parked(&mut self, line: &CounterLine) {
        if self.keeps() {
            Count::resume(&line.parks).add(1, &line.parks);
        }
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
}

impl Counts {
    /// Publications that did not need to wake the peer: what is left of the [operations](Counts::operations) without the
    /// [wakes](Counts::wakes_sent).
    ///
    /// ```
    /// use smstream_core::counter::Counts;
    ///
    /// let mut counts = Counts::default();
    /// counts.operations = 10;
    /// counts.wakes_sent = 3;
    /// assert_eq!(counts.wakes_avoided(), 7);
    /// ```
    pub const fn wakes_avoided(&self) -> u64 {
        // A party may wake without publishing, when both wait for each other; and the two counts need not be of one moment.
        self.operations.saturating_sub(self.wakes_sent)
    }
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
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::cursor::asleep_at;

    #[test]
    fn a_count_carries_into_its_high_word() {
        let words = CounterWords::new(u64::from(u32::MAX) - 1);
        let mut count = Count::resume(&words);
        for expected in [u64::from(u32::MAX), 1 << 32, (1 << 32) + 1] {
            count.add(1, &words);
            assert_eq!(words.sample(), Some(expected));
            assert_eq!(u64::from(count.low()), expected & 0xffff_ffff);
        }
    }

    #[test]
    fn a_sample_has_all_counters_each_with_both_halves() {
        let new = |count| CounterWords::new(count);
        let (bytes, operations, parks, wakes_sent) = (1 << 40 | 1, 7, 3 << 32, u64::MAX);
        let mut line = CounterLine::zero();
        (line.bytes, line.operations) = (new(bytes), new(operations));
        (line.parks, line.wakes_sent) = (new(parks), new(wakes_sent));
        assert_eq!(line.sample(), Counts { bytes, operations, parks, wakes_sent });
        ordering::count_high(&line.parks.high_again, 4);
        assert_eq!(line.parks.sample(), None, "it is carrying");
        assert_eq!(line.sample(), Counts { bytes, operations, parks: 0, wakes_sent });
    }

    #[test]
    fn wakes_are_avoided_by_all_publications_but_those_that_woke() {
        let counts = |operations, wakes_sent| Counts { operations, wakes_sent, ..Counts::default() };
        assert_eq!(counts(10, 3).wakes_avoided(), 7);
        assert_eq!(counts(3, 10).wakes_avoided(), 0);
    }

    #[test]
    fn without_counters_only_a_sleeping_peer_wants_more() {
        let line = CounterLine::zero();
        let (kept, none) = (Tally::resume(&line, true), Tally::resume(&line, false));
        assert!(kept.keeps() && !none.keeps());
        for park in [0, 1, 2, ASLEEP - 1] {
            assert!(kept.wants(park) && !none.wants(park), "{park:#x}");
        }
        for park in [ASLEEP, asleep_at(0, 5), u32::MAX] {
            assert!(kept.wants(park) && none.wants(park), "{park:#x}");
        }
    }
}
