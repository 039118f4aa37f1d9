//! The places of a ring: the only code that touches items in them.

use core::mem::MaybeUninit;

use crate::size::to_usize;

#[cfg(not(loom))]
use core::cell::UnsafeCell;
#[cfg(loom)]
use loom::cell::UnsafeCell;

/// A place for one item. Under loom a cell that reports every race.
#[repr(transparent)]
pub(super) struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

impl<T> Slot<T> {
    #[cfg(not(loom))]
    pub(super) const fn empty() -> Self {
        Slot(UnsafeCell::new(MaybeUninit::uninit()))
    }

    #[cfg(loom)]
    pub(super) fn empty() -> Self {
        Slot(UnsafeCell::new(MaybeUninit::uninit()))
    }

    #[inline(always)]
    fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        #[cfg(not(loom))]
        return f(self.0.get().cast());
        #[cfg(loom)]
        self.0.with_mut(|place| f(place.cast()))
    }

    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        #[cfg(not(loom))]
        return f(self.0.get().cast_const().cast());
        #[cfg(loom)]
        self.0.with(|place| f(place.cast()))
    }
}

/// All places of a ring.
///
/// Invariants:
/// 1. `base` points at `mask` + 1 slots, a power of two, which live and do not move while this is used.
/// 2. The place of a cursor is `base` + (cursor & `mask`), so it is one of them whatever the cursor.
pub(super) struct Slots<T> {
    base: *const Slot<T>,
    mask: u32,
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Slots<T> {}

impl<T> Slots<T> {
    /// # Safety
    /// `base` points at `mask` + 1 slots, a power of two, which live and do not move while the result is used.
    pub(super) const unsafe fn new(base: *const Slot<T>, mask: u32) -> Self {
        Slots { base, mask }
    }

    /// The number of places less one.
    #[inline(always)]
    pub(super) fn mask(self) -> u32 {
        self.mask
    }

    #[inline(always)]
    fn place(self, cursor: u32) -> *const Slot<T> {
        // SAFETY: invariant 2.
        unsafe { self.base.add(to_usize(cursor & self.mask)) }
    }

    /// Moves `item` to the place of `cursor`.
    ///
    /// # Safety
    /// The place is the caller's alone; it holds no item (one that it holds is forgotten).
    #[inline(always)]
    pub(super) unsafe fn put(self, cursor: u32, item: T) {
        // SAFETY: invariants 1 and 2; shared references to a slot may overlap.
        let slot = unsafe { &*self.place(cursor) };
        // SAFETY: the place is the caller's alone, and a slot is valid for writes and aligned.
        slot.with_mut(|place| unsafe { place.write(item) });
    }

    /// Moves the item out of the place of `cursor`.
    ///
    /// # Safety
    /// The place is the caller's alone; it holds an item, which is taken only once.
    #[inline(always)]
    pub(super) unsafe fn take(self, cursor: u32) -> T {
        // SAFETY: invariants 1 and 2; shared references to a slot may overlap.
        let slot = unsafe { &*self.place(cursor) };
        // SAFETY: the place holds an item, says the caller, and no other thread writes it.
        slot.with(|place| unsafe { place.read() })
    }

    /// Copies `len` items to the places from `cursor` on.
    ///
    /// # Safety
    /// As for [`put`](Slots::put), for `len` places, of which there are as many; `from` is valid for reads of `len` items,
    /// in other memory.
    #[inline]
    pub(super) unsafe fn copy_in(self, cursor: u32, from: *const T, len: u32)
    where
        T: Copy,
    {
        #[cfg(loom)]
        for i in 0..len {
            // SAFETY: `i` < `len`, so `from` is valid there.
            let from = unsafe { from.add(to_usize(i)) };
            // SAFETY: as above.
            let item = unsafe { from.read() };
            // SAFETY: the caller promises it for each of the places.
            unsafe { self.put(cursor.wrapping_add(i), item) };
        }
        #[cfg(not(loom))]
        {
            let [(place, len), (again, rest)] = self.runs(cursor, len);
            // SAFETY: the caller promises both sides.
            unsafe { place.copy_from_nonoverlapping(from, len) };
            if rest != 0 {
                // SAFETY: the runs have as many items together as there are at `from`.
                let from = unsafe { from.add(len) };
                // SAFETY: the caller promises both sides.
                unsafe { again.copy_from_nonoverlapping(from, rest) };
            }
        }
    }

    /// Copies `len` items from the places from `cursor` on. They are moved, if the caller advances the cursor.
    ///
    /// # Safety
    /// As for [`take`](Slots::take), for `len` places, of which there are as many; `to` is valid for writes of `len` items,
    /// in other memory.
    #[inline]
    pub(super) unsafe fn copy_out(self, cursor: u32, to: *mut T, len: u32) {
        #[cfg(loom)]
        for i in 0..len {
            // SAFETY: the caller promises it for each of the places.
            let item = unsafe { self.take(cursor.wrapping_add(i)) };
            // SAFETY: `i` < `len`, so `to` is valid there.
            let to = unsafe { to.add(to_usize(i)) };
            // SAFETY: as above.
            unsafe { to.write(item) };
        }
        #[cfg(not(loom))]
        {
            let [(place, len), (again, rest)] = self.runs(cursor, len);
            // SAFETY: the caller promises both sides.
            unsafe { place.copy_to_nonoverlapping(to, len) };
            if rest != 0 {
                // SAFETY: the runs have as many items together as fit at `to`.
                let to = unsafe { to.add(len) };
                // SAFETY: the caller promises both sides.
                unsafe { again.copy_to_nonoverlapping(to, rest) };
            }
        }
    }

    /// The one or two runs of places that `len` items from `cursor` on have: where each begins, and how many places it has.
    /// The second has none if they do not wrap.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(super) fn runs(self, cursor: u32, len: u32) -> [(*mut T, usize); 2] {
        // At least 1 is added to less than 2³¹, so this does not overflow.
        let first = len.min(self.mask - (cursor & self.mask) + 1);
        let item = |slot: *const Slot<T>| UnsafeCell::raw_get(slot.cast::<UnsafeCell<T>>());
        [(item(self.place(cursor)), to_usize(first)), (item(self.base), to_usize(len - first))]
    }

    /// Drops the items of the places from `cursor` on, in order.
    ///
    /// # Safety
    /// As for [`take`](Slots::take), for `len` places, of which there are as many.
    pub(super) unsafe fn drop_items(self, cursor: u32, len: u32) {
        if core::mem::needs_drop::<T>() {
            for i in 0..len {
                // SAFETY: the caller promises this for each of the places.
                drop(unsafe { self.take(cursor.wrapping_add(i)) });
            }
        }
    }
}
