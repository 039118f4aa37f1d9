//! The bytes of a lane, as a ring.

use crate::bytes::{copy_in, copy_out};
use crate::size::to_usize;
use crate::sync::LaneByte;

/// Where the bytes are: a power of two of them, or none.
#[derive(Clone, Copy)]
pub(crate) struct Ring {
    base: *mut LaneByte,
    /// The capacity less one; all ones if there is none.
    mask: u32,
}

impl Ring {
    /// `base` points at `capacity` bytes.
    pub(crate) fn new(base: *mut LaneByte, capacity: u32) -> Self {
        Ring { base, mask: capacity.wrapping_sub(1) }
    }

    #[inline(always)]
    pub(crate) fn capacity(self) -> u32 {
        self.mask.wrapping_add(1)
    }

    /// The one or two runs of bytes that `len` bytes from `cursor` on occupy: `(offset, len)` each.
    ///
    /// Both lie within the lane whatever `cursor` is, if `len` is at most the capacity: the offset is taken modulo the
    /// capacity, the first run ends at the end of the lane at the latest, the second begins at 0 and has less than
    /// `capacity` bytes.
    #[inline(always)]
    pub(crate) fn runs(self, cursor: u32, len: u32) -> [(u32, u32); 2] {
        debug_assert!(len <= self.capacity());
        let at = self.place(cursor);
        // Without a capacity the mask is all ones: then `len` is 0, and so is what is left.
        let first = len.min(self.capacity().saturating_sub(at));
        [(at, first), (0, len.wrapping_sub(first))]
    }

    /// Where in the lane `cursor` is: less than the capacity, unless that is 0.
    #[inline(always)]
    pub(crate) fn place(self, cursor: u32) -> u32 {
        cursor & self.mask
    }

    /// How many of the `len` bytes from `cursor` on do not reach the end of the lane.
    #[inline(always)]
    pub(crate) fn before_end(self, cursor: u32, len: u32) -> u32 {
        let at = self.place(cursor);
        len.min(self.capacity().saturating_sub(at).saturating_sub(1))
    }

    /// Copies `len` bytes from `bytes` to the place `at`.
    ///
    /// # Safety
    /// As for [`write`](Ring::write); and `at` and `len` make at most the capacity.
    #[inline(always)]
    pub(crate) unsafe fn write_run(self, at: u32, bytes: *const u8, len: u32) {
        // SAFETY: at most the capacity, which the caller promises to be valid.
        let place = unsafe { self.base.add(to_usize(at)) };
        // SAFETY: as above; the rest is the caller's promise.
        unsafe { copy_in(bytes, place, to_usize(len)) };
    }

    /// Copies `len` bytes from the place `at` to `out`.
    ///
    /// # Safety
    /// As for [`read`](Ring::read); and `at` and `len` make at most the capacity.
    #[inline(always)]
    pub(crate) unsafe fn read_run(self, at: u32, out: *mut u8, len: u32) {
        // SAFETY: at most the capacity, which the caller promises to be valid.
        let place = unsafe { self.base.add(to_usize(at)) };
        // SAFETY: as above; the rest is the caller's promise.
        unsafe { copy_out(place, out, to_usize(len)) };
    }

    /// Copies `len` bytes from `bytes` to the place of `cursor`.
    ///
    /// # Safety
    /// The lane is this party's and valid for writes; `bytes` is valid for reads of `len` bytes that no other thread writes
    /// meanwhile, and does not overlap the lane; `len` is at most the capacity.
    #[inline]
    pub(crate) unsafe fn write(self, cursor: u32, bytes: *const u8, len: u32) {
        let [(at, first), (_, second)] = self.runs(cursor, len);
        // SAFETY: `at` + `first` ≤ capacity (see `runs`), which the caller promises to be valid.
        let place = unsafe { self.base.add(to_usize(at)) };
        // SAFETY: as above; `first` ≤ `len`.
        unsafe { copy_in(bytes, place, to_usize(first)) };
        if second != 0 {
            // SAFETY: `first` + `second` = `len`.
            let rest = unsafe { bytes.add(to_usize(first)) };
            // SAFETY: as above; `second` < capacity (see `runs`).
            unsafe { copy_in(rest, self.base, to_usize(second)) };
        }
    }

    /// Copies `len` bytes from the place of `cursor` to `out`.
    ///
    /// # Safety
    /// The lane is valid for reads; `out` is valid for writes of `len` bytes that no other thread uses meanwhile, and does
    /// not overlap the lane; `len` is at most the capacity.
    #[inline]
    pub(crate) unsafe fn read(self, cursor: u32, out: *mut u8, len: u32) {
        let [(at, first), (_, second)] = self.runs(cursor, len);
        // SAFETY: `at` + `first` ≤ capacity (see `runs`), which the caller promises to be valid.
        let place = unsafe { self.base.add(to_usize(at)) };
        // SAFETY: as above; `first` ≤ `len`.
        unsafe { copy_out(place, out, to_usize(first)) };
        if second != 0 {
            // SAFETY: `first` + `second` = `len`.
            let rest = unsafe { out.add(to_usize(first)) };
            // SAFETY: as above; `second` < capacity (see `runs`).
            unsafe { copy_out(self.base, rest, to_usize(second)) };
        }
    }

    /// The two runs as raw pointers and lengths.
    pub(crate) fn parts(self, cursor: u32, len: u32) -> [(*mut LaneByte, usize); 2] {
        self.runs(cursor, len).map(|(at, len)| (self.base.wrapping_add(to_usize(at)), to_usize(len)))
    }
}
