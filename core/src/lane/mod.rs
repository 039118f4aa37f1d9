//! One lane: bytes in one direction, from a [`Producer`] to a [`Consumer`].
//!
//! The two are the halves of different parties. Each stores only the words of its own port, keeps private copies of all
//! it has stored, and checks every word of the peer's before it believes it.

mod announced;
mod consumer;
mod peek;
mod producer;
mod reservation;

pub use announced::Announced;
pub use consumer::Consumer;
pub use peek::Peek;
pub use producer::Producer;
pub use reservation::Reservation;

use crate::sync::LaneByte;

/// Where the bytes are: a power of two of them, or none.
#[derive(Clone, Copy)]
pub(crate) struct Ring {
    base: *mut LaneByte,
    capacity: u32,
}

impl Ring {
    /// `base` points at `capacity` bytes.
    pub(crate) fn new(base: *mut LaneByte, capacity: u32) -> Self {
        Ring { base, capacity }
    }

    pub(crate) fn capacity(self) -> u32 {
        self.capacity
    }

    /// The one or two runs of bytes that `len` bytes from `cursor` on occupy: `(offset, len)` each.
    ///
    /// Both lie within the lane whatever `cursor` is, if `len` is at most the capacity: the offset is taken modulo the
    /// capacity, the first run ends at the end of the lane at the latest, the second begins at 0 and has less than
    /// `capacity` bytes.
    pub(crate) fn runs(self, cursor: u32, len: u32) -> [(u32, u32); 2] {
        debug_assert!(len <= self.capacity);
        let at = cursor & self.capacity.wrapping_sub(1);
        let first = len.min(self.capacity - at.min(self.capacity));
        [(at, first), (0, len - first)]
    }

    /// Copies `bytes` to the place of `cursor`.
    ///
    /// # Safety
    /// The lane is this party's; it is valid for writes; `bytes.len()` is at most the capacity.
    #[inline]
    pub(crate) unsafe fn write(self, cursor: u32, bytes: &[u8]) {
        let [(at, first), (_, second)] = self.runs(cursor, bytes.len() as u32);
        let (head, tail) = bytes.split_at(first as usize);
        // SAFETY: `at` + `first` ≤ capacity (see `runs`), which the caller promises to be valid.
        let place = unsafe { self.base.add(at as usize) };
        // SAFETY: as above; `bytes` is a live slice, which cannot overlap a lane, for no slice into a lane exists.
        unsafe { crate::bytes::copy_in(head.as_ptr(), place, head.len()) };
        if second != 0 {
            // SAFETY: `second` < capacity (see `runs`).
            unsafe { crate::bytes::copy_in(tail.as_ptr(), self.base, tail.len()) };
        }
    }

    /// Copies `len` bytes from the place of `cursor` to `out`.
    ///
    /// # Safety
    /// The lane is valid for reads; `out` is valid for writes of `len` bytes that no one else uses and does not overlap
    /// the lane; `len` is at most the capacity.
    #[inline]
    pub(crate) unsafe fn read(self, cursor: u32, out: *mut u8, len: u32) {
        let [(at, first), (_, second)] = self.runs(cursor, len);
        // SAFETY: `at` + `first` ≤ capacity (see `runs`), which the caller promises to be valid.
        let place = unsafe { self.base.add(at as usize) };
        // SAFETY: as above; `first` ≤ `len`.
        unsafe { crate::bytes::copy_out(place, out, first as usize) };
        if second != 0 {
            // SAFETY: `first` + `second` = `len`.
            let rest = unsafe { out.add(first as usize) };
            // SAFETY: as above; `second` < capacity (see `runs`).
            unsafe { crate::bytes::copy_out(self.base, rest, second as usize) };
        }
    }

    /// The two runs as raw pointers and lengths.
    pub(crate) fn parts(self, cursor: u32, len: u32) -> [(*mut LaneByte, usize); 2] {
        self.runs(cursor, len).map(|(at, len)| (self.base.wrapping_add(at as usize), len as usize))
    }
}
