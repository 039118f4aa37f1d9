//! How far a half keeps from the other one.
//!
//! A half goes up to the other's cursor as it saw it, and looks again there. If it went up to the very last item, or place, it would
//! touch the cache line that the other half is writing, and the next look would find few more. Where the two CPUs are far apart,
//! each look takes longer than pushing and popping what it finds. So from a look that finds much a half takes whole blocks only,
//! or at least whole lines, and leaves the rest for the next look. It never makes nothing of what a look finds: the ring is
//! not full, or empty, for longer.

use crate::size::saturating;

/// What a half takes whole if it can, in bytes: eight lines, or a line.
const WHOLE: [usize; 2] = [512, 64];

/// The items of `bytes` bytes in a ring of `mask` + 1 places for items of `size` bytes: a power of two, and at most an eighth of the
/// ring, but at least 1.
#[inline(always)]
const fn items(bytes: usize, size: usize, mask: u32) -> u32 {
    let most = if size == 0 || size > bytes { 1 } else { 1 << saturating(bytes / size).ilog2() };
    let eighth = (mask >> 3) + 1;
    if most < eighth { most } else { eighth }
}

/// Up to which cursor a half goes that saw `seen` there, which gives it `found` items, or places, of type `T`: up to the start of a
/// block, or of a line, if it gets any then. The result gives it at most `found`, and none only if `found` is 0.
#[inline(always)]
pub(super) const fn short_of<T>(seen: u32, found: u32, mask: u32) -> u32 {
    let mut at = 0;
    while at < WHOLE.len() {
        let rest = seen & (items(WHOLE[at], size_of::<T>(), mask) - 1);
        if rest < found {
            return seen.wrapping_sub(rest);
        }
        at += 1;
    }
    seen
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::size::to_usize;

    #[test]
    fn a_block_is_a_power_of_two_and_a_small_part_of_the_ring() {
        for mask in (0..32).map(|bits| u32::MAX >> bits >> 1) {
            for size in (0..=1024).chain([1 << 20, usize::MAX]) {
                for bytes in WHOLE {
                    let items = items(bytes, size, mask);
                    assert!(items.is_power_of_two() && items <= mask / 8 + 1, "{size} {mask}");
                    assert!(items == 1 || size * to_usize(items) <= bytes, "{size} {mask}");
                }
            }
        }
        assert_eq!(WHOLE.map(|bytes| items(bytes, 8, 1023)), [64, 8]);
        assert_eq!(WHOLE.map(|bytes| items(bytes, 24, 1023)), [16, 2]);
        assert_eq!(WHOLE.map(|bytes| items(bytes, 8, 63)), [8, 8]);
        assert_eq!(WHOLE.map(|bytes| items(bytes, 8, 3)), [1, 1]);
    }

    #[test]
    fn the_rest_of_a_block_is_left_then_that_of_a_line_then_nothing() {
        assert_eq!(short_of::<u64>(1000, 1000, 1023), 960);
        assert_eq!(short_of::<u64>(1007, 41, 1023), 1000);
        assert_eq!(short_of::<u64>(1007, 7, 1023), 1007);
        assert_eq!(short_of::<u64>(5, 10, 1023), 0);
        assert_eq!(short_of::<u64>(5, 5, 1023), 5);
    }

    /// All cursors of a small ring, and some beyond which a cursor wraps.
    #[test]
    fn what_is_taken_was_found_and_is_not_nothing() {
        for mask in [0u32, 1, 3, 7, 15, 63, 255] {
            for seen in (0..600u32).chain(u32::MAX - 600..=u32::MAX) {
                for found in 0..=mask + 1 {
                    let taken = found.wrapping_sub(seen.wrapping_sub(short_of::<u64>(seen, found, mask)));
                    assert!(taken <= found && (taken == 0) == (found == 0), "{mask} {seen} {found}");
                }
            }
        }
    }
}
