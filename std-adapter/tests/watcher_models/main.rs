//! Models of the watcher: how an end learns from the kernel's events that its peer has died, and a listener that its name is gone. All
//! executions of a few threads, by Loom.
//!
//! What the watcher knows, asks and decides, and what it says about a name, is the library's own source. The kernel is a model (see
//! [`kernel`]), and the steps of those who register, sleep and die are copies, each of which names what it mirrors. Loom reports a
//! sleeper that is never woken as a deadlock. For each step that keeps a death from being slept through there is a *mutant* without
//! it, under which a model must fail.

#![cfg(target_pointer_width = "64")]

#[path = "../../src/liveness/count.rs"]
mod count;
mod ends;
mod kernel;
#[path = "../../src/liveness/mode.rs"]
#[allow(dead_code, reason = "there is no half here")]
mod mode;
#[path = "../../src/liveness/name_events.rs"]
mod name_events;
mod names;
#[path = "../../src/liveness/registry.rs"]
#[allow(dead_code, reason = "nothing is called back for here")]
mod registry;
mod sockets;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// What is left out, or done at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// The end does not ask once it is registered.
    AskAfterRegistering,
    /// The end does not ask for a while after it is registered.
    Young,
    /// The end looks how old its watch is after it has asked.
    AgeFirst,
    /// The watcher asks at an event, and not again.
    AskLater,
    /// The watcher does not ask at an event.
    AskAtEvents,
    /// The watcher does nothing about a queue that ran over.
    Overflow,
    /// The watcher does nothing about a watch that is lost.
    Lost,
    /// An end that has no watch does not ask in slices.
    Slices,
    /// A half that was woken for nothing does not ask.
    AskAfterWake,
    /// A party that gives its lock up does not wake its peer.
    WakeOfLeaver,
    /// A party wakes its peer before it gives its lock up.
    WakeOfLeaverEarly,
    /// A party that gives its lock up closes no description of the file.
    CloseOfLeaver,
    /// An alert wakes no sleeper.
    WakeOfAlert,
    /// An alert wakes before it can be seen.
    WakeOfAlertEarly,
    /// A watch is removed though another end needs it.
    KeepShared,
    /// A second registration for a file takes the first one's events away.
    AddToMask,
    /// The descriptor of an end is closed before it is deregistered.
    CloseLast,
    /// An end that is dropped stays registered.
    Deregister,
    /// The watcher asks without the registry's lock.
    AskLocked,
    /// The watcher does not ask the socket for which there was an event.
    AskSocket,
    /// A listener does not take it that something may have happened before its name was watched.
    NameMayBeGone,
    /// A listener looks at its name, and then takes what the watcher has said.
    TakeFirst,
    /// A listener takes the number of events after it has looked.
    CountFirst,
    /// What happens to a name is not counted.
    CountName,
}

thread_local! {
    /// Loom runs all threads of a model in the thread that asks for it, so each test has its own.
    static MUTANT: Cell<Mutant> = const { Cell::new(Mutant::None) };
}

fn is(mutant: Mutant) -> bool {
    MUTANT.get() == mutant
}

/// What the files take for the atomics of the standard library.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
}

/// What the files take for the rest of the library.
mod alerts {
    pub(super) use super::world::Alerts;
}

mod event_count {
    pub(super) use super::world::notify;
}

mod hang_up {
    pub(super) use super::kernel::has_hung_up;
}

mod lock {
    pub(super) use super::kernel::{Byte, is_held};
}

fn builder(preemptions: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 2_000;
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder
}

/// One model at a time: two in one process slow each other down, for they map and unmap stacks.
static ONE: Mutex<()> = Mutex::new(());

fn check(builder: &loom::model::Builder, model: impl Fn() + Send + Sync + 'static) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    builder.check(model);
}

/// Runs the model in all executions with at most so many preemptions (`None`: in all).
fn explore(preemptions: Option<usize>, model: fn()) {
    let executions = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = executions.clone();
    check(&builder(preemptions), move || {
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
    let outcome = catch_unwind(AssertUnwindSafe(|| check(&builder(Some(3)), model)));
    MUTANT.set(Mutant::None);
    assert!(outcome.is_err(), "the model does not notice that {mutant:?} is missing");
}
