//! Conversions between `usize`, in which Rust measures slices, and `u32`, in which lanes are measured. No other file of the
//! crate converts numbers with `as`, which would cut off what does not fit.

#![allow(clippy::as_conversions)]

// So a `u32` fits into a `usize`. There is no such peer on a machine of 16 bits: its memory could not hold a lane.
static_assertions::const_assert!(size_of::<usize>() >= size_of::<u32>());

/// `n`, unchanged.
#[inline(always)]
pub(crate) const fn to_usize(n: u32) -> usize {
    n as usize
}

/// `len`, or `most` if that is less.
#[inline(always)]
pub(crate) const fn at_most(len: usize, most: u32) -> u32 {
    // What is less than a `u32` fits into one.
    if len < most as usize { len as u32 } else { most }
}

/// `len`, or the largest `u32` if it is larger.
#[inline(always)]
pub(crate) const fn saturating(len: usize) -> u32 {
    at_most(len, u32::MAX)
}

/// The low half of `n`, and the high half.
#[inline(always)]
pub(crate) const fn halves(n: u64) -> (u32, u32) {
    // A cut is what is wanted here.
    (n as u32, (n >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_off() {
        assert_eq!([at_most(7, 8), at_most(8, 8), at_most(9, 8)], [7, 8, 8]);
        assert_eq!(at_most(usize::MAX, 8), 8);
        assert_eq!(saturating(usize::MAX), u32::MAX);
        assert_eq!(saturating(to_usize(u32::MAX)), u32::MAX);
        #[cfg(target_pointer_width = "64")]
        for len in [1 << 32, (1 << 32) + 1, 5 << 32] {
            assert_eq!((at_most(len, 8), saturating(len)), (8, u32::MAX), "{len:#x}");
        }
        assert_eq!(halves(0x1234_5678_9abc_def0), (0x9abc_def0, 0x1234_5678));
    }
}
