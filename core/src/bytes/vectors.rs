//! Copies in pieces of up to 16 bytes, at any alignment, on x86-64 and AArch64.
//!
//! The access to the lane is one instruction of inline assembly. A volatile access would need alignment, and wrapped in a
//! packed type it goes through the stack.

use super::lane::{Piece, Wide};

const WIDE: usize = size_of::<Wide>();
static_assertions::const_assert_eq!(WIDE, 16);

/// The lane is the target.
pub(super) const IN: bool = true;
/// The lane is the source.
pub(super) const OUT: bool = false;

/// Copies one `T`, `at` bytes from the start.
///
/// # Safety
/// `at` + the size of `T` ≤ `len`, for which the promise of [`copy`] holds.
#[inline(always)]
unsafe fn piece<T: Piece, const TO_LANE: bool>(src: *const u8, dst: *mut u8, at: usize) {
    // SAFETY: within the bytes that the caller promises.
    let src = unsafe { src.add(at) };
    // SAFETY: as above.
    let dst = unsafe { dst.add(at) };
    if TO_LANE {
        // SAFETY: `src` is valid for this read by the caller's promise; any bytes are a `Piece`.
        let value = unsafe { src.cast::<T>().read_unaligned() };
        // SAFETY: `dst` is valid for this write by the caller's promise.
        unsafe { T::store(dst, value) };
    } else {
        // SAFETY: `src` is valid for this read by the caller's promise.
        let value = unsafe { T::load(src) };
        // SAFETY: `dst` is valid for this write by the caller's promise.
        unsafe { dst.cast::<T>().write_unaligned(value) };
    }
}

/// Copies `len` bytes between a lane and private memory.
///
/// # Safety
/// `src` is valid for reads and `dst` for writes of `len` bytes, and they do not overlap. The one that is the lane may be
/// read or written by another process meanwhile, the other one by no one.
#[inline(always)]
pub(super) unsafe fn copy<const TO_LANE: bool>(src: *const u8, dst: *mut u8, len: usize) {
    /// Two pieces, the second of which ends at the end: they overlap unless `len` is twice their size.
    macro_rules! both_ends {
        ($t:ty) => {{
            // SAFETY: the condition that leads here is that `len` is at least the size of the type.
            unsafe { piece::<$t, TO_LANE>(src, dst, 0) };
            // SAFETY: as above.
            unsafe { piece::<$t, TO_LANE>(src, dst, len - size_of::<$t>()) };
        }};
    }
    if len > WIDE {
        // SAFETY: the caller's promise, and more than one wide piece.
        unsafe { copy_long::<TO_LANE>(src, dst, len) };
    } else if len > 8 {
        both_ends!(u64);
    } else if len == 8 {
        // SAFETY: eight bytes are asked for.
        unsafe { piece::<u64, TO_LANE>(src, dst, 0) };
    } else if len >= 4 {
        both_ends!(u32);
    } else if len >= 2 {
        both_ends!(u16);
    } else if len == 1 {
        // SAFETY: one byte is asked for.
        unsafe { piece::<u8, TO_LANE>(src, dst, 0) };
    }
}

/// More than [`WIDE`] bytes.
///
/// # Safety
/// As for [`copy`]; `len` is more than [`WIDE`].
#[inline]
unsafe fn copy_long<const TO_LANE: bool>(src: *const u8, dst: *mut u8, len: usize) {
    let last = len - WIDE;
    let mut at = 0;
    while at < last {
        // SAFETY: `at` + WIDE < `last` + WIDE = `len`.
        unsafe { piece::<Wide, TO_LANE>(src, dst, at) };
        at += WIDE;
    }
    // SAFETY: `last` + WIDE = `len`.
    unsafe { piece::<Wide, TO_LANE>(src, dst, last) };
}
