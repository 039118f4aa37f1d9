//! The guarded mappings of this process, for a handler to look an address up: without locks, in memory that is never freed.
//!
//! A slot is FREE, being FILLED, or READY. Its state word has a generation beside that, which changes when the slot
//! becomes free. Whoever reads a slot copies it and then looks whether the state is the same as before. There are as many
//! chunks of slots as were ever needed at once.
//!
//! A forked child has a copy of the table, and of the mappings.

use super::Cut;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence};

/// The slots of a chunk.
const SLOTS: usize = 64;

const FREE: u32 = 0;
const FILLED: u32 = 1;
const READY: u32 = 2;
/// The bits of the state; the others are the generation.
const STATE: u32 = 3;
const GENERATION: u32 = 4;

struct Slot {
    state: AtomicU32,
    start: AtomicUsize,
    end: AtomicUsize,
    writable: AtomicBool,
    cut: AtomicPtr<Cut>,
}

struct Chunk {
    slots: [Slot; SLOTS],
    /// Null at the last one.
    next: AtomicPtr<Chunk>,
}

static FIRST: Chunk = Chunk::new();

/// An entry, as long as its slot has this state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    slot: &'static Slot,
    ready: u32,
}

/// The mapping that an address lies in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it ends.
    pub(super) end: usize,
    pub(super) writable: bool,
    pub(super) cut: *const Cut,
}

impl Slot {
    const fn new() -> Self {
        Self {
            state: AtomicU32::new(FREE),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            writable: AtomicBool::new(false),
            cut: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Takes the slot if it is free, fills it, and makes it READY: the state that it has then.
    fn fill(&self, range: &Range<usize>, writable: bool, cut: *const Cut) -> Option<u32> {
        let free = self.state.load(Ordering::Relaxed);
        if free & STATE != FREE {
            return None;
        }
        // Acquire: who fills it comes after who used it before.
        self.state.compare_exchange(free, free | FILLED, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // Against the fence of `holds`: a reader that sees one of these values sees the state that came before, too.
        fence(Ordering::Release);
        self.start.store(range.start, Ordering::Relaxed);
        self.end.store(range.end, Ordering::Relaxed);
        self.writable.store(writable, Ordering::Relaxed);
        self.cut.store(cut.cast_mut(), Ordering::Relaxed);
        let ready = free | READY;
        self.state.store(ready, Ordering::Release);
        Some(ready)
    }

    /// What it holds, if that is a mapping with this address.
    fn holds(&self, address: usize) -> Option<Found> {
        let state = self.state.load(Ordering::Acquire);
        if state & STATE != READY {
            return None;
        }
        let start = self.start.load(Ordering::Relaxed);
        let found = Found {
            end: self.end.load(Ordering::Relaxed),
            writable: self.writable.load(Ordering::Relaxed),
            cut: self.cut.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let same = self.state.load(Ordering::Relaxed) == state;
        (same && (start..found.end).contains(&address)).then_some(found)
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Chunk {
    const fn new() -> Self {
        Self { slots: [const { Slot::new() }; SLOTS], next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The chunk after this one.
    fn next(&self) -> Option<&'static Chunk> {
        // SAFETY: the pointer is null or comes from `Box::into_raw` in `grow`, whose Release store this load acquires. A
        // chunk that was stored is never freed.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    /// The chunk after this one, made if there is none.
    fn grow(&self) -> &'static Chunk {
        let made = Box::into_raw(Box::new(Chunk::new()));
        let null = ptr::null_mut();
        match self.next.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it has just been made, and from now on it is never freed.
            Ok(_) => unsafe { &*made },
            Err(other) => {
                // SAFETY: it comes from `Box::into_raw` just above, and was not stored, so nobody else has it.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: it was stored by another thread's call of this function, and is not null: never freed.
                unsafe { &*other }
            }
        }
    }
}

/// Enters a mapping.
pub(super) fn enter(range: Range<usize>, writable: bool, cut: *const Cut) -> Entry {
    let mut chunk = &FIRST;
    loop {
        for slot in &chunk.slots {
            if let Some(ready) = slot.fill(&range, writable, cut) {
                return Entry { slot, ready };
            }
        }
        chunk = chunk.next().unwrap_or_else(|| chunk.grow());
    }
}

/// Takes an entry out.
pub(super) fn leave(entry: Entry) {
    let free = (entry.ready & !STATE).wrapping_add(GENERATION);
    entry.slot.state.store(free, Ordering::Release);
}

/// The mapping that the address lies in. Async-signal-safe: it takes no lock, and waits for nobody.
pub(super) fn find(address: usize) -> Option<Found> {
    let mut chunk = Some(&FIRST);
    while let Some(here) = chunk {
        if let Some(found) = here.slots.iter().find_map(|slot| slot.holds(address)) {
            return Some(found);
        }
        chunk = here.next();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that nothing is mapped at: these tests share the table with all others of this process.
    const NOWHERE: usize = 1 << 12;

    #[test]
    fn an_address_is_found_while_it_is_entered() {
        let cut = ptr::without_provenance::<Cut>(8);
        let entry = enter(NOWHERE..NOWHERE + 10, true, cut);
        assert_eq!(find(NOWHERE), Some(Found { end: NOWHERE + 10, writable: true, cut }));
        assert!(find(NOWHERE + 9).is_some());
        assert_eq!(find(NOWHERE + 10), None);
        assert_eq!(find(NOWHERE - 1), None);
        leave(entry);
        assert_eq!(find(NOWHERE), None);
    }

    #[test]
    fn there_is_always_room() {
        let start = NOWHERE + 100;
        let entries: Vec<_> =
            (0..3 * SLOTS).map(|i| enter(start + i..start + i + 1, i % 2 == 0, ptr::null())).collect();
        for i in 0..3 * SLOTS {
            assert_eq!(find(start + i), Some(Found { end: start + i + 1, writable: i % 2 == 0, cut: ptr::null() }));
        }
        entries.into_iter().for_each(leave);
        assert_eq!(find(start + SLOTS), None);
    }

    #[test]
    fn nobody_finds_half_of_one_entry_and_half_of_another() {
        let slot = Slot::new();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Some(found) = slot.holds(250) {
                        assert_eq!((found.end, found.writable, found.cut.addr()), (300, true, 16));
                    }
                }
            });
            for _ in 0..100_000 {
                for (range, writable, cut) in [(200..300, true, 16), (400..500, false, 24), (100..250, true, 32)] {
                    let ready = slot.fill(&range, writable, ptr::without_provenance(cut)).expect("free");
                    slot.state.store((ready & !STATE).wrapping_add(GENERATION), Ordering::Release);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
