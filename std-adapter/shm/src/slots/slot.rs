//! One slot of a table that signal handlers read: its protocol, and why it holds.
//!
//! A slot has a state word and fields. The word holds a phase, a generation, and the process that claimed the slot:
//!
//! ```text
//!        claim             publish            leave
//!  FREE ───────▶ FILLED ───────────▶ READY ───────────▶ FREE, of the next generation
//! ```
//!
//! No step waits for another thread: a slot that is being filled is passed over. So a handler may do all of them, whatever
//! it has interrupted.
//!
//! # What holds
//! 1. **One thread at a time stores to the fields.** Only [`Slot::enter`] does, between `claim` and `publish`. A claim is a
//!    compare-and-swap from FREE to FILLED, so of several threads one gets the slot; and no thread of this process claims
//!    a slot that is FILLED by this process, or leaves it. (Entries of another process: see 5.)
//! 2. **The fields of two entries do not mix in memory.** The claim is an Acquire, and partner of the Release with which
//!    the slot was left. So the stores of this entry come after those of the entry before it, for each field.
//! 3. **A reader gets the fields of one entry, or nothing.** [`Slot::read`] loads the word (Acquire), the fields, and the
//!    word again. The first load sees READY of this entry, which was stored with Release after the fields: so each field
//!    is at least as new as this entry. Say that one is newer. Then it was stored by a later `enter`, after that one's
//!    Release fence, and loaded before the reader's Acquire fence: the fences pair, so the reader's second load of the
//!    word sees the later claim, or what followed it. That is another generation, and the reader returns nothing.
//! 4. **An entry is left once, and only by its ticket.** The ticket is the whole word, with its generation. Leaving is a
//!    compare-and-swap from it, so a ticket that is out of date changes nothing.
//! 5. **A forked child loses no slot.** The child has a copy of the table, in which a thread that the child does not have
//!    may be in the middle of `enter`. The word tells the child that this is another process's claim: it may claim such a
//!    slot, and 1 holds, because the parent writes to its own copy. An entry that was READY at the fork is valid in the
//!    child, or may be claimed as well, as the table says ([`Inherited`]).
//!
//! A generation comes again after 2³⁰ entries of one slot. A reader would have to be interrupted for as long, between its
//! two loads of the word, to take a new entry for the old one.
//!
//! `tests/slot_models.rs` runs this file through all executions of a few threads, and shows that each fence and each
//! ordering that is named above is needed.

use super::sync::{AtomicU64, Ordering, fence};

const FREE: u64 = 0;
const FILLED: u64 = 1;
const READY: u64 = 2;
const PHASE: u64 = 3;
const GENERATION: u64 = 4;
/// Phase and generation; the process is above them.
const TURN: u64 = 0xffff_ffff;
const PROCESS_SHIFT: u32 = 32;

/// What a slot holds: atomics, which are stored and loaded with Relaxed. The slot sees to the order.
pub(crate) trait Fields {
    /// The same as a plain value.
    type Value;

    /// Stores each field of the value.
    fn store(&self, value: &Self::Value);

    /// Loads what the fields hold into `value`. The slot may be written meanwhile: then `value` is not looked at, so it
    /// must be one that can be made of any mix of fields. It is not returned, because the stack of a handler may be small.
    fn load(&self, value: &mut Self::Value);
}

/// What becomes of the entries that a process has when it forks, in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inherited {
    /// They are valid there, too.
    Kept,
    /// They are the parent's business: the child may use their slots.
    Void,
}

/// The word of a slot that is READY, which stands for one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// The process that made the entry.
    pub(crate) fn process(self) -> u32 {
        process(self.0)
    }
}

pub(crate) struct Slot<F> {
    pub(super) word: AtomicU64,
    pub(super) fields: F,
}

impl<F: Fields> Slot<F> {
    /// Makes an entry of the calling process, if the slot can be had.
    pub(crate) fn enter(&self, caller: u32, inherited: Inherited, value: &F::Value) -> Option<Ticket> {
        let claimed = self.claim(caller, inherited)?;
        // Rule 3: who sees one of these stores sees the claim, after the reader's fence.
        fence(Ordering::Release);
        self.fields.store(value);
        Some(self.publish(claimed))
    }

    /// Rules 1, 2 and 5.
    fn claim(&self, caller: u32, inherited: Inherited) -> Option<u64> {
        let word = self.word.load(Ordering::Relaxed);
        let of_another = process(word) != caller;
        let turn = match word & PHASE {
            FREE => word & TURN,
            FILLED if of_another => freed(word),
            READY if of_another && inherited == Inherited::Void => freed(word),
            _ => return None,
        };
        let claimed = turn | FILLED | u64::from(caller) << PROCESS_SHIFT;
        self.word.compare_exchange(word, claimed, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(claimed)
    }

    /// Rule 3: Release, after the fields.
    fn publish(&self, claimed: u64) -> Ticket {
        let ready = claimed & !PHASE | READY;
        self.word.store(ready, Ordering::Release);
        Ticket(ready)
    }

    /// The entry that the slot has at this moment, and what it holds. Rule 3. Without an entry, `value` is of no use.
    pub(crate) fn read(&self, value: &mut F::Value) -> Option<Ticket> {
        let word = self.word.load(Ordering::Acquire);
        if word & PHASE != READY {
            return None;
        }
        self.fields.load(value);
        fence(Ordering::Acquire);
        (self.word.load(Ordering::Relaxed) == word).then_some(Ticket(word))
    }

    /// Ends this entry, if it has not ended. Rules 2 and 4.
    pub(crate) fn leave(&self, ticket: Ticket) {
        // If it fails, another thread or a handler has left it.
        let _ = self.word.compare_exchange(ticket.0, freed(ticket.0), Ordering::Release, Ordering::Relaxed);
    }
}

/// The process in a word.
fn process(word: u64) -> u32 {
    (word >> PROCESS_SHIFT) as u32
}

/// The word after the entry of this word has ended: FREE, of the next generation, of no process.
fn freed(word: u64) -> u64 {
    ((word & TURN & !PHASE) + GENERATION) & TURN
}
