//! Tables that signal handlers read: without locks, in memory that is never freed.
//!
//! A table is a chain of chunks, each with the same number of slots. The first is a static; the others are made when they
//! are needed, if the table may grow. See [`slot`] for the protocol of one slot, and why it holds.

mod slot;
#[cfg(test)]
#[path = "slots/slots_tests.rs"]
mod tests;

mod sync;

use slot::Slot;
pub(crate) use slot::{Fields, Inherited, Ticket};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Fields that can be those of a static.
pub(crate) trait StaticFields: Fields + Sized + 'static {
    /// Fields that hold no value yet.
    const EMPTY: Self;
}

pub(crate) struct Table<F: 'static, const SLOTS: usize> {
    slots: [Slot<F>; SLOTS],
    inherited: Inherited,
    /// Null at the last chunk.
    next: AtomicPtr<Table<F, SLOTS>>,
}

/// An entry, which ends when [`leave`](Self::leave) is called, and not when this is dropped.
pub(crate) struct Entry<F: 'static> {
    slot: &'static Slot<F>,
    ticket: Ticket,
}

impl<F> Clone for Entry<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Entry<F> {}

impl<F> fmt::Debug for Entry<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.ticket).finish()
    }
}

impl<F: Fields> Entry<F> {
    /// Ends the entry, if it has not ended. Async-signal-safe.
    pub(crate) fn leave(self) {
        self.slot.leave(self.ticket);
    }

    /// The process that made it.
    pub(crate) fn process(self) -> u32 {
        self.ticket.process()
    }
}

impl<F: StaticFields, const SLOTS: usize> Table<F, SLOTS> {
    pub(crate) const fn new(inherited: Inherited) -> Self {
        let slots = [const { Slot { word: AtomicU64::new(0), fields: F::EMPTY } }; SLOTS];
        Self { slots, inherited, next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Makes an entry in this chunk: `None` if no slot is free. Async-signal-safe.
    pub(crate) fn enter(&'static self, value: &F::Value) -> Option<Entry<F>> {
        let caller = own_process();
        self.slots.iter().find_map(|slot| {
            let ticket = slot.enter(caller, self.inherited, value)?;
            Some(Entry { slot, ticket })
        })
    }

    /// Makes an entry; takes memory from the heap for a further chunk if no slot is free.
    pub(crate) fn enter_or_grow(&'static self, value: &F::Value) -> Entry<F> {
        let mut chunk = self;
        loop {
            if let Some(entry) = chunk.enter(value) {
                return entry;
            }
            chunk = chunk.next().unwrap_or_else(|| chunk.grow());
        }
    }

    /// The entries of all chunks, each as it is when its turn comes, with what it holds in `value`, until `look` returns
    /// something. Async-signal-safe, as far as `look` is.
    pub(crate) fn look<R>(
        &'static self,
        value: &mut F::Value,
        mut look: impl FnMut(Entry<F>, &F::Value) -> Option<R>,
    ) -> Option<R> {
        let mut chunk = Some(self);
        while let Some(here) = chunk {
            for slot in &here.slots {
                if let Some(ticket) = slot.read(value)
                    && let Some(result) = look(Entry { slot, ticket }, value)
                {
                    return Some(result);
                }
            }
            chunk = here.next();
        }
        None
    }

    /// The chunk after this one.
    fn next(&self) -> Option<&'static Self> {
        // SAFETY: the pointer is null or comes from `Box::into_raw` in `grow`, whose Release store this load acquires. A
        // chunk that was stored is never freed.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    /// The chunk after this one, made if there is none.
    fn grow(&self) -> &'static Self {
        let made = Box::into_raw(Box::new(Self::new(self.inherited)));
        let null = ptr::null_mut();
        match self.next.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it has just been made, and from now on it is never freed.
            Ok(_) => unsafe { &*made },
            Err(other) => {
                // SAFETY: it comes from `Box::into_raw` just above and was not stored, so no other thread has it.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: it was stored by another thread's call of this function, and is not null: never freed.
                unsafe { &*other }
            }
        }
    }
}

/// Asks the kernel, because a forked child must not take itself for its parent. Async-signal-safe.
pub(crate) fn own_process() -> u32 {
    std::process::id()
}
