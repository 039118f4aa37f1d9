//! The rules of the protocol as functions of words, and the width of a word as a parameter: where a word is small, every
//! case can be tried. The protocol uses words of 32 bits; see [`cursor`](crate::cursor), which says what each function means.
//!
//! A word of `BITS` bits is a `u32` whose other bits are 0. Its highest bit is FIN, STOP or ASLEEP, the rest is a cursor; a
//! threshold has one bit less, and a lane holds at most half of what a threshold can say.

use crate::mutant::{mutant, unless_mutant};

#[cfg(all(test, not(loom)))]
mod exhaustive_tests;
#[cfg(all(test, not(loom)))]
mod honest_tests;
#[cfg(all(test, not(loom)))]
mod property_tests;

/// The rules for words of so many bits, at least 4 and at most 32.
pub(crate) struct Word<const BITS: u32>;

impl<const BITS: u32> Word<BITS> {
    /// FIN, STOP, ASLEEP.
    pub(crate) const FINAL: u32 = 1 << (BITS - 1);
    /// The bits of a cursor.
    pub(crate) const CURSOR: u32 = Self::FINAL - 1;
    /// A park word of a whole party.
    pub(crate) const EXCLUSIVE: u32 = 1 << (BITS - 2);
    /// The bits of a threshold.
    pub(crate) const THRESHOLD: u32 = Self::EXCLUSIVE - 1;
    /// The most bytes of a lane.
    pub(crate) const MAX_CAPACITY: u32 = 1 << (BITS - 3);

    #[inline(always)]
    pub(crate) const fn diff(a: u32, b: u32) -> u32 {
        a.wrapping_sub(b) & Self::CURSOR
    }

    #[inline(always)]
    pub(crate) const fn add(a: u32, n: u32) -> u32 {
        a.wrapping_add(n) & Self::CURSOR
    }

    #[inline]
    pub(crate) const fn is_capacity(capacity: u32) -> bool {
        capacity == 0 || (capacity.is_power_of_two() && capacity <= Self::MAX_CAPACITY)
    }

    #[inline(always)]
    pub(crate) const fn asleep_at(cursor: u32, ahead: u32) -> u32 {
        Self::FINAL | (cursor.wrapping_add(ahead) & Self::THRESHOLD)
    }

    #[inline(always)]
    pub(crate) fn crosses(park: u32, old: u32, new: u32, last: bool, capacity: u32) -> bool {
        if park & Self::FINAL == 0 {
            return false;
        }
        if mutant!("crossing_untested") {
            return true;
        }
        let threshold = park & Self::THRESHOLD;
        let moved = new.wrapping_sub(old) & Self::THRESHOLD;
        let ahead = threshold.wrapping_sub(old) & Self::THRESHOLD;
        if mutant!("crossing_half_open") {
            return ahead < moved;
        }
        if ahead != 0 && ahead <= moved {
            return true;
        }
        if !last || mutant!("last_rings_on_crossing_only") {
            return false;
        }
        Self::is_ahead(park, new, capacity)
    }

    #[inline(always)]
    pub(crate) const fn is_ahead(park: u32, cursor: u32, capacity: u32) -> bool {
        let beyond = (park & Self::THRESHOLD).wrapping_sub(cursor) & Self::THRESHOLD;
        beyond != 0 && beyond <= capacity
    }

    #[inline(always)]
    pub(crate) const fn is_exclusive(park: u32) -> bool {
        park & (Self::FINAL | Self::EXCLUSIVE) == Self::FINAL | Self::EXCLUSIVE
    }

    #[inline(always)]
    pub(crate) const fn accepts_first(sent: u32, received: u32, capacity: u32) -> bool {
        Self::diff(sent, received) <= capacity
    }

    #[inline(always)]
    pub(crate) fn accepts_sent(word: u32, seen: u32, received: u32, capacity: u32) -> bool {
        let used = Self::diff(seen, received);
        let used_now = Self::diff(word, received);
        let most = capacity + unless_mutant!("accept_sent_one_beyond", 0, 1);
        let changed_after_fin = unless_mutant!("accept_sent_after_fin", seen & Self::FINAL != 0, false);
        let backwards = unless_mutant!("accept_sent_backwards", used_now < used, false);
        let beyond = unless_mutant!("accept_sent_beyond", used_now > most, false);
        !(changed_after_fin || backwards || beyond)
    }

    #[inline(always)]
    pub(crate) fn accepts_received(word: u32, seen: u32, sent: u32, capacity: u32) -> bool {
        let in_flight = Self::diff(sent, seen);
        let still_in_flight = Self::diff(sent, word);
        let changed_after_stop = unless_mutant!("accept_received_after_stop", seen & Self::FINAL != 0, false);
        let most = unless_mutant!("accept_received_le_capacity", in_flight, capacity);
        let impossible = unless_mutant!("accept_received_any", still_in_flight > most, false);
        !(changed_after_stop || impossible)
    }
}
