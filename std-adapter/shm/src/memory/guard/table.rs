//! The guarded mappings of this process, for a handler to look an address up.
//!
//! A forked child has a copy of the table, and of the mappings.

use super::cut::Cut;
use crate::slots::{self, Fields, Inherited, StaticFields, Table};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// The slots of a chunk.
const SLOTS: usize = 64;

/// A mapping in a slot.
pub(super) struct RangeFields {
    start: AtomicUsize,
    end: AtomicUsize,
    writable: AtomicBool,
    cut: AtomicPtr<Cut>,
}

/// The same as plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuardedRange {
    pub(super) range: Range<usize>,
    pub(super) writable: bool,
    pub(super) cut: *const Cut,
}

impl GuardedRange {
    const NONE: Self = Self { range: 0..0, writable: false, cut: ptr::null() };
}

static TABLE: Table<RangeFields, SLOTS> = Table::new(Inherited::Kept);

/// An entry, until it is left.
pub(super) type Entry = slots::Entry<RangeFields>;

impl Fields for RangeFields {
    type Value = GuardedRange;

    fn store(&self, value: &GuardedRange) {
        self.start.store(value.range.start, Ordering::Relaxed);
        self.end.store(value.range.end, Ordering::Relaxed);
        self.writable.store(value.writable, Ordering::Relaxed);
        self.cut.store(value.cut.cast_mut(), Ordering::Relaxed);
    }

    fn load(&self, value: &mut GuardedRange) {
        value.range = self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed);
        value.writable = self.writable.load(Ordering::Relaxed);
        value.cut = self.cut.load(Ordering::Relaxed);
    }
}

impl StaticFields for RangeFields {
    #[allow(clippy::declare_interior_mutable_const, reason = "it is copied into each slot of a static")]
    const EMPTY: Self = Self {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        writable: AtomicBool::new(false),
        cut: AtomicPtr::new(ptr::null_mut()),
    };
}

/// Enters a mapping.
pub(super) fn enter(range: Range<usize>, writable: bool, cut: *const Cut) -> Entry {
    TABLE.enter_or_grow(&GuardedRange { range, writable, cut })
}

/// The mapping that the address lies in. Async-signal-safe: it takes no lock, and does not wait.
pub(super) fn find(address: usize) -> Option<GuardedRange> {
    let mut found = GuardedRange::NONE;
    TABLE.look(&mut found, |_, entry| entry.range.contains(&address).then_some(()))?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that nothing is mapped at: these tests share the table with all others of this process.
    const NOWHERE: usize = 1 << 12;

    #[test]
    fn an_address_is_found_while_it_is_entered() {
        let cut = ptr::without_provenance::<Cut>(8);
        let range = NOWHERE..NOWHERE + 10;
        let entry = enter(range.clone(), true, cut);
        assert_eq!(find(NOWHERE), Some(GuardedRange { range, writable: true, cut }));
        assert!(find(NOWHERE + 9).is_some());
        assert_eq!(find(NOWHERE + 10), None);
        assert_eq!(find(NOWHERE - 1), None);
        entry.leave();
        assert_eq!(find(NOWHERE), None);
    }

    #[test]
    fn there_is_always_room() {
        let start = NOWHERE + 100;
        let range = |i| start + i..start + i + 1;
        let entries: Vec<_> = (0..3 * SLOTS).map(|i| enter(range(i), i % 2 == 0, ptr::null())).collect();
        for i in 0..3 * SLOTS {
            let expected = GuardedRange { range: range(i), writable: i % 2 == 0, cut: ptr::null() };
            assert_eq!(find(start + i), Some(expected));
        }
        entries.into_iter().for_each(Entry::leave);
        assert_eq!(find(start + SLOTS), None);
    }

    #[test]
    fn fields_keep_their_range() {
        let fields = RangeFields::EMPTY;
        for (range, writable, cut) in [(200..300, true, 16), (400..500, false, 24), (100..250, true, 32)] {
            let value = GuardedRange { range, writable, cut: ptr::without_provenance(cut) };
            fields.store(&value);
            let mut loaded = GuardedRange::NONE;
            fields.load(&mut loaded);
            assert_eq!(loaded, value);
        }
    }
}
