//! Copies byte by byte up to a boundary of the lane, then words, then what is left: small, and right for machines that
//! access words only where they are aligned.

/// The lane is the target.
pub(super) const IN: bool = true;
/// The lane is the source.
pub(super) const OUT: bool = false;

const WORD: usize = size_of::<usize>();

/// Copies one `T`, `at` bytes from the start: aligned on the side of the lane, anyhow on the other one.
///
/// # Safety
/// `at` + the size of `T` ≤ `len`, for which the promise of [`copy`] holds; the place in the lane is aligned for `T`, and
/// any bytes are one.
#[inline(always)]
unsafe fn piece<T: Copy, const TO_LANE: bool>(src: *const u8, dst: *mut u8, at: usize) {
    // SAFETY: within the bytes that the caller promises.
    let src = unsafe { src.add(at) }.cast::<T>();
    // SAFETY: as above.
    let dst = unsafe { dst.add(at) }.cast::<T>();
    if TO_LANE {
        // SAFETY: `src` is valid for this read by the caller's promise.
        let value = unsafe { src.read_unaligned() };
        // SAFETY: likewise for this write, which is aligned.
        unsafe { dst.write_volatile(value) };
    } else {
        // SAFETY: `src` is valid for this read by the caller's promise, and aligned.
        let value = unsafe { src.read_volatile() };
        // SAFETY: likewise for this write.
        unsafe { dst.write_unaligned(value) };
    }
}

/// Copies `len` bytes between a lane and private memory.
///
/// # Safety
/// `src` is valid for reads and `dst` for writes of `len` bytes, and they do not overlap. The one that is the lane may be
/// read or written by another process meanwhile, the other one by no one.
#[inline]
pub(super) unsafe fn copy<const TO_LANE: bool>(src: *const u8, dst: *mut u8, len: usize) {
    let lane = if TO_LANE { dst.addr() } else { src.addr() };
    let mut at = 0;
    while at < len {
        if (lane + at).is_multiple_of(WORD) && len - at >= WORD {
            // SAFETY: `at` + WORD ≤ `len`, and the place in the lane is a multiple of WORD.
            unsafe { piece::<usize, TO_LANE>(src, dst, at) };
            at += WORD;
        } else {
            // SAFETY: `at` < `len`; a byte is aligned everywhere.
            unsafe { piece::<u8, TO_LANE>(src, dst, at) };
            at += 1;
        }
    }
}
