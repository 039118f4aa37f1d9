//! Models of the slot that signal handlers read: all executions of a few threads, by Loom.
//!
//! The slot is the library's own source, with Loom's atomics. A handler is a thread here: that is more than it can do,
//! except that the thread that it interrupts stands still; `slots_tests.rs` has that. For each fence and each ordering
//! that a value depends on there is a *mutant* without it, under which the model must fail.
//!
//! Two orderings have no mutant, the Acquire of a claim and the Release of `leave`: they keep the stores of two entries to
//! one field in order, and Loom takes stores to one atomic in the order in which they are executed anyway.

#![cfg(target_pointer_width = "64")]

#[path = "../src/slots/slot.rs"]
mod slot;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;
use slot::{Fields, Inherited, Slot};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    FenceOfEnter,
    FenceOfRead,
    ReleaseOfPublish,
    AcquireOfRead,
}

thread_local! {
    /// Loom runs all threads of a model in the thread that asks for it, so each test has its own.
    static MUTANT: Cell<Mutant> = const { Cell::new(Mutant::None) };
}

fn is(mutant: Mutant) -> bool {
    MUTANT.get() == mutant
}

/// What the slot takes for the atomics of the standard library.
mod sync {
    use super::{Mutant, is};
    pub(super) use loom::sync::atomic::Ordering;

    pub(super) struct AtomicU64(pub(super) loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(super) fn load(&self, ordering: Ordering) -> u64 {
            let weak = ordering == Ordering::Acquire && is(Mutant::AcquireOfRead);
            self.0.load(if weak { Ordering::Relaxed } else { ordering })
        }

        pub(super) fn store(&self, value: u64, ordering: Ordering) {
            let weak = ordering == Ordering::Release && is(Mutant::ReleaseOfPublish);
            self.0.store(value, if weak { Ordering::Relaxed } else { ordering });
        }

        pub(super) fn compare_exchange(&self, old: u64, new: u64, yes: Ordering, no: Ordering) -> Result<u64, u64> {
            self.0.compare_exchange(old, new, yes, no)
        }
    }

    pub(super) fn fence(ordering: Ordering) {
        let missing = match ordering {
            Ordering::Release => is(Mutant::FenceOfEnter),
            _ => is(Mutant::FenceOfRead),
        };
        if !missing {
            loom::sync::atomic::fence(ordering);
        }
    }
}

/// Two fields that are equal in every entry.
struct Pair(AtomicU64, AtomicU64);

impl Fields for Pair {
    type Value = u64;

    fn store(&self, value: &u64) {
        self.0.store(*value, Ordering::Relaxed);
        self.1.store(*value, Ordering::Relaxed);
    }

    fn load(&self, value: &mut u64) {
        let (first, second) = (self.0.load(Ordering::Relaxed), self.1.load(Ordering::Relaxed));
        *value = if first == second { first } else { u64::MAX };
    }
}

fn new() -> Arc<Slot<Pair>> {
    let word = sync::AtomicU64(AtomicU64::new(0));
    Arc::new(Slot { word, fields: Pair(AtomicU64::new(0), AtomicU64::new(0)) })
}

const PROCESS: u32 = 1;

fn enter(slot: &Slot<Pair>, value: u64) -> Option<slot::Ticket> {
    slot.enter(PROCESS, Inherited::Kept, &value)
}

fn read(slot: &Slot<Pair>) -> Option<(slot::Ticket, u64)> {
    let mut value = 0;
    slot.read(&mut value).map(|ticket| (ticket, value))
}

/// A reader beside a thread that ends one entry and makes the next. The owner is the first thread, which Loom lets run on:
/// its stores are there, and Loom lets the reader's loads return each value that the memory model allows.
fn a_reader_gets_one_entry() {
    let slot = new();
    let reader = thread::spawn({
        let slot = slot.clone();
        move || read(&slot).map(|(_, value)| value)
    });
    slot.leave(enter(&slot, 1).expect("the slot is free"));
    let second = enter(&slot, 2).expect("the slot is free again");
    if let Some(value) = reader.join().unwrap() {
        assert!(value == 1 || value == 2, "the reader got {value}");
    }
    assert_eq!(read(&slot), Some((second, 2)));
}

/// Two threads that want the same slot.
fn one_of_two_gets_the_slot() {
    let slot = new();
    let other = thread::spawn({
        let slot = slot.clone();
        move || slot.enter(PROCESS, Inherited::Void, &1)
    });
    let mine = enter(&slot, 2);
    let found = read(&slot);
    let others = other.join().unwrap();
    assert!(mine.is_some() != others.is_some());
    assert!(mine.or(others).is_some_and(|ticket| ticket.process() == PROCESS));
    let (ticket, value) = read(&slot).expect("one of them has made an entry");
    assert_eq!((Some(ticket), value), if mine.is_some() { (mine, 2) } else { (others, 1) });
    assert!(found.is_none_or(|found| found == (ticket, value)));
}

/// The clean-up table against a signal. The owner of an object registers it, removes it and ends its entry; then it does
/// the same with a second object, but for the end. The handler removes what it finds, and ends that entry.
fn what_is_registered_is_removed_and_no_other_entry_ends() {
    let slot = new();
    let objects = Arc::new([AtomicBool::new(true), AtomicBool::new(true)]);
    let handler = thread::spawn({
        let (slot, objects) = (slot.clone(), objects.clone());
        move || {
            let (ticket, object) = read(&slot)?;
            objects[object as usize - 1].store(false, Ordering::Relaxed);
            slot.leave(ticket);
            Some(object)
        }
    });
    let first = enter(&slot, 1).expect("the slot is free");
    objects[0].store(false, Ordering::Relaxed);
    slot.leave(first);
    let second = enter(&slot, 2).expect("the slot is free: the handler leaves it or was not there");
    let removed = handler.join().unwrap();
    assert!(!objects[0].load(Ordering::Relaxed));
    let second_is_there = objects[1].load(Ordering::Relaxed);
    assert_eq!(second_is_there, removed != Some(2));
    // An object that is there has its entry: the next handler finds it.
    assert_eq!(read(&slot), second_is_there.then_some((second, 2)));
}

/// Runs the model in all executions.
fn explore(model: fn()) {
    let executions = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = executions.clone();
    loom::model::Builder::new().check(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    let executions = executions.load(std::sync::atomic::Ordering::Relaxed);
    println!("{executions} executions");
    assert!(executions > 10, "the model has only {executions} executions");
}

/// The model fails without this.
fn dies(mutant: Mutant, model: fn()) {
    MUTANT.set(mutant);
    let outcome = catch_unwind(AssertUnwindSafe(|| loom::model(model)));
    MUTANT.set(Mutant::None);
    assert!(outcome.is_err(), "the model does not notice that {mutant:?} is missing");
}

#[test]
fn reader_and_owner() {
    explore(a_reader_gets_one_entry);
}

#[test]
fn two_owners() {
    explore(one_of_two_gets_the_slot);
}

#[test]
fn clean_up_against_a_signal() {
    explore(what_is_registered_is_removed_and_no_other_entry_ends);
}

#[test]
fn the_fence_of_enter_is_needed() {
    dies(Mutant::FenceOfEnter, a_reader_gets_one_entry);
}

#[test]
fn the_fence_of_read_is_needed() {
    dies(Mutant::FenceOfRead, a_reader_gets_one_entry);
}

#[test]
fn the_release_of_publish_is_needed() {
    dies(Mutant::ReleaseOfPublish, a_reader_gets_one_entry);
}

#[test]
fn the_acquire_of_read_is_needed() {
    dies(Mutant::AcquireOfRead, a_reader_gets_one_entry);
}
