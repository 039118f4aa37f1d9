//! Arithmetic on cursors, thresholds and park words: pure functions, no memory.
//!
//! A cursor counts bytes modulo 2³¹, in bits 0–30 of its word; bit 31 says that it will not move again. A lane holds at
//! most 2²⁹ bytes, so a difference of two honest cursors is far from the modulus, and *empty*, *full* and *corrupt* are
//! three different things.

use crate::arithmetic::Word;
use crate::mutant::mutant;

/// The words of the protocol. [`Word`] has the rules for words of any width, where tests try every case of small ones.
type Rules = Word<32>;

/// Bit 31 of `sent`: no more bytes will come.
pub const FIN: u32 = Rules::FINAL;
/// Bit 31 of `received`: no more bytes will be taken.
pub const STOP: u32 = Rules::FINAL;
/// The bits of a cursor.
pub const CURSOR: u32 = Rules::CURSOR;

/// Bit 31 of a park word: asleep, until the threshold is crossed.
pub const ASLEEP: u32 = Rules::FINAL;
/// Bit 30 of a park word: the whole party sleeps in this wait, without a deadline, so that no thread of it will do anything
/// else before it is over.
pub const EXCLUSIVE: u32 = Rules::EXCLUSIVE;
/// The bits of a threshold: the cursor that is waited for, modulo 2³⁰.
pub const THRESHOLD: u32 = Rules::THRESHOLD;
/// A park word that is neither 0 nor `ASLEEP`: awake for ever, and the cursor word of this half has its final bit
/// set. It lets the peer notice STOP without loading the cursor for every write.
pub const STOPPED_HINT: u32 = 1;

/// The largest capacity of a lane in bytes: 2²⁹.
pub const MAX_CAPACITY: u32 = Rules::MAX_CAPACITY;

/// `a - b`, modulo 2³¹. Bits 31 of both are ignored.
#[inline(always)]
pub const fn diff(a: u32, b: u32) -> u32 {
    Rules::diff(a, b)
}

/// `a + n`, modulo 2³¹, with bit 31 clear.
#[inline(always)]
pub const fn add(a: u32, n: u32) -> u32 {
    Rules::add(a, n)
}

/// Whether `capacity` is one a lane can have: 0, or a power of two of at most 2²⁹.
#[inline]
pub const fn is_capacity(capacity: u32) -> bool {
    Rules::is_capacity(capacity)
}

/// The most bytes, or room, that a half may wait for: `max(1, capacity / 2)`.
///
/// What both parties wait for then adds up to at most `capacity + 1`, unless one of them waits for a single byte. Only
/// above that could both sleep for ever: the reader for more bytes than there are, the writer for more room than is left.
#[inline]
pub fn max_wait(capacity: u32) -> u32 {
    if mutant!("want_too_much") && capacity != 0 {
        return capacity;
    }
    if capacity < 2 { 1 } else { capacity / 2 }
}

/// The park word of a half whose cursor is at `cursor` and that sleeps until the peer's cursor is `ahead` past it.
#[inline(always)]
pub const fn asleep_at(cursor: u32, ahead: u32) -> u32 {
    Rules::asleep_at(cursor, ahead)
}

/// Whether a publication that moved the cursor from `old` to `new` woke the sleeper of `park`: it is asleep and its
/// threshold lies in (old, new]. `last` says that FIN or STOP was set with it: then a threshold still ahead, within `capacity`, is
/// crossed too, for the cursor will not move again.
#[inline(always)]
pub fn crosses(park: u32, old: u32, new: u32, last: bool, capacity: u32) -> bool {
    Rules::crosses(park, old, new, last, capacity)
}

/// Whether the threshold of `park` is ahead of `cursor`, and within `capacity`, as the threshold of a sleeper is that waits for
/// more than has been published.
#[inline(always)]
pub const fn is_ahead(park: u32, cursor: u32, capacity: u32) -> bool {
    Rules::is_ahead(park, cursor, capacity)
}

/// Whether `park` says that its whole party sleeps.
#[inline(always)]
pub const fn is_exclusive(park: u32) -> bool {
    Rules::is_exclusive(park)
}

/// Whether a half that attaches believes the peer: `sent` is at most `capacity` bytes past `received`. Bits 31 are ignored.
#[inline(always)]
pub(crate) const fn accepts_first(sent: u32, received: u32, capacity: u32) -> bool {
    Rules::accepts_first(sent, received, capacity)
}

/// Whether a reader that has published `received` and seen the word `seen` believes its peer's next `sent` word, which differs
/// from that: the peer had not said FIN, and the cursor has not moved back, nor more than `capacity` past `received`.
#[inline(always)]
pub(crate) fn accepts_sent(word: u32, seen: u32, received: u32, capacity: u32) -> bool {
    Rules::accepts_sent(word, seen, received, capacity)
}

/// Whether a writer that has published `sent` and seen the word `seen` believes its peer's next `received` word, which differs
/// from that: the peer had not said STOP, and the cursor has not moved back, nor past `sent`. `capacity` is the lane's.
#[inline(always)]
pub(crate) fn accepts_received(word: u32, seen: u32, sent: u32, capacity: u32) -> bool {
    Rules::accepts_received(word, seen, sent, capacity)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What "crossed" means, by counting one byte at a time.
    fn crosses_by_counting(threshold: u32, old: u32, new: u32) -> bool {
        let mut at = old;
        while at != new {
            at = add(at, 1);
            if at & THRESHOLD == threshold {
                return true;
            }
        }
        false
    }

    #[test]
    fn cursors_wrap_at_bit_31() {
        for at in [0, 1, 7, CURSOR - 1, CURSOR] {
            for n in [0, 1, 5, CURSOR] {
                assert_eq!(diff(add(at, n), at), n, "{at} {n}");
            }
        }
        assert_eq!((add(CURSOR, 1), diff(0, CURSOR), diff(3, 5)), (0, 1, CURSOR - 1));
        assert_eq!(diff(FIN | 9, STOP | 2), 7, "bits 31 are no part of a cursor");
    }

    #[test]
    fn a_capacity_is_nothing_or_a_power_of_two_that_the_cursors_bear() {
        assert!(is_capacity(0) && !is_capacity(u32::MAX));
        for shift in 0..32 {
            let power = 1 << shift;
            assert_eq!(is_capacity(power), shift <= 29, "{power}");
            // Beside a power of two there is another only near 1.
            assert_eq!(is_capacity(power + 1), shift == 0, "{power}");
            assert_eq!(is_capacity(power - 1), shift <= 1, "{power}");
        }
    }

    #[test]
    fn crossing_is_what_counting_says() {
        for base in [0, 1, THRESHOLD - 3, THRESHOLD, THRESHOLD + 1, CURSOR - 2, CURSOR] {
            for moved in 0..8 {
                for ahead in 0..12 {
                    let new = add(base, moved);
                    let park = asleep_at(base, ahead);
                    let counted = crosses_by_counting(park & THRESHOLD, base, new);
                    assert_eq!(crosses(park, base, new, false, 8), counted, "{base} +{moved}, threshold +{ahead}");
                }
            }
        }
    }

    #[test]
    fn the_last_publication_crosses_every_threshold_still_ahead() {
        for base in [0, CURSOR - 1] {
            for ahead in 1..=8 {
                assert!(crosses(asleep_at(base, ahead), base, base, true, 8));
            }
            assert!(!crosses(asleep_at(base, 9), base, base, true, 8), "no honest threshold lies there");
            assert!(!crosses(asleep_at(base, 0), base, base, true, 8));
        }
    }

    #[test]
    fn awake_words_cross_nothing() {
        assert!(!crosses(0, 0, 1, true, 8));
        assert!(!crosses(STOPPED_HINT, 0, 1, true, 8));
    }

    #[test]
    fn exclusive_is_no_part_of_the_threshold() {
        for base in [0, THRESHOLD - 1, THRESHOLD, CURSOR] {
            let park = asleep_at(base, 2) | EXCLUSIVE;
            assert!(is_exclusive(park));
            assert!(is_ahead(park, base, 8) && is_ahead(park, add(base, 1), 8));
            assert!(!is_ahead(park, add(base, 2), 8), "reached");
            assert!(!is_ahead(park, add(base, 3), 8), "passed");
            assert!(!is_ahead(park, base, 1), "no honest threshold lies there");
            assert!(crosses(park, base, add(base, 2), false, 8));
        }
        for awake in [0, STOPPED_HINT, EXCLUSIVE, EXCLUSIVE | STOPPED_HINT, asleep_at(0, 1)] {
            assert!(!is_exclusive(awake), "{awake:#x}");
        }
    }

    #[test]
    fn what_both_parties_want_never_exceeds_the_lane_by_two() {
        for shift in 0..=29 {
            let capacity = 1u32 << shift;
            assert!(max_wait(capacity) * 2 <= capacity + 1, "{capacity}");
            assert!(max_wait(capacity) < capacity + 1);
        }
    }
}
