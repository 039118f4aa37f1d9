//! Models of a rendezvous by a file: a listener that sleeps until a connector has said HELLO, connectors that die or are stopped at any
//! step, and the next connector. All executions of a few threads, by Loom.
//!
//! The parties' steps are copies, each of which names what it mirrors; the kernel is a model (see [`region`]). Loom reports a sleeper that
//! is never woken as a deadlock. For each step there is a *mutant* without it, under which a model must fail.

#![cfg(target_pointer_width = "64")]

mod parties;
mod region;

use parties::{Died, Ends, connect, die_while_connecting, listen};
use region::{World, spawn};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// What is left out, or done at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// A connector that has said HELLO does not wake the listener.
    WakeOfHello,
    /// It wakes the listener, and then says HELLO.
    WakeOfHelloEarly,
    /// A connector that finds HELLO said does not wake the listener.
    WakeOfNext,
    /// A connector that has no region does not look again after a while.
    LookAgain,
    /// A connector takes the claim without looking first whether HELLO was said.
    LookBeforeClaim,
    /// A connector does not look again once it holds the claim.
    LookWithClaim,
    /// The listener does not ask whether the connector that said HELLO lives.
    AskForClaim,
    /// The listener accepts, and then gives the name to the next region.
    NameFirst,
    /// A connector asks whether the region has its name, and then what the listener has said.
    NameLast,
    /// A listener that accepts does not wake the connector.
    WakeOfAnswer,
    /// A connector looks for an answer, and then for an alert.
    AlertFirst,
    /// The listener sleeps whatever the word holds.
    Compare,
}

thread_local! {
    /// Loom runs all threads of a model in the thread that asks for it, so each test has its own.
    static MUTANT: Cell<Mutant> = const { Cell::new(Mutant::None) };
}

fn is(mutant: Mutant) -> bool {
    MUTANT.get() == mutant
}

/// The number of a connector.
const FIRST: u32 = 1;
const SECOND: u32 = 2;

/// A listener and one connector.
fn two_meet() {
    let world = World::new();
    let listener = spawn(&world, |world| listen(world, FIRST, Ends::Well));
    assert!(connect(&world, FIRST));
    listener.join().unwrap();
}

/// The first connector dies at this step, or is stopped; the second one is accepted all the same, by a listener that sleeps or not.
fn the_second_is_accepted(died: Died) {
    let world = World::new();
    let listener = spawn(&world, |world| listen(world, SECOND, Ends::Well));
    let first = spawn(&world, move |world| die_while_connecting(world, FIRST, died));
    assert!(connect(&world, SECOND), "the second connector has an error");
    first.join().unwrap();
    listener.join().unwrap();
}

fn the_first_dies_with_the_claim() {
    the_second_is_accepted(Died::WithClaim);
}

fn the_first_dies_before_its_wake() {
    the_second_is_accepted(Died::BeforeWake);
}

fn the_first_is_stopped_before_its_wake() {
    the_second_is_accepted(Died::StoppedBeforeWake);
}

fn the_first_dies_after_its_wake() {
    the_second_is_accepted(Died::AfterWake);
}

/// The first connector is dead before the listener looks, so that it is not accepted.
fn the_dead_are_not_accepted() {
    let world = World::new();
    die_while_connecting(&world, FIRST, Died::BeforeWake);
    let listener = spawn(&world, |world| {
        listen(world, SECOND, Ends::Well);
        assert_eq!(world.accepted(), [SECOND]);
    });
    assert!(connect(&world, SECOND));
    listener.join().unwrap();
}

/// Two connectors that live, one of which is accepted after the other.
fn both_are_accepted() {
    let world = World::new();
    let listener = spawn(&world, |world| {
        listen(world, 0, Ends::Well);
        listen(world, 0, Ends::Well);
    });
    let first = spawn(&world, |world| assert!(connect(world, FIRST)));
    assert!(connect(&world, SECOND));
    first.join().unwrap();
    listener.join().unwrap();
}

/// The listener accepts and dies before it wakes the connector: what it has sent is still to be read.
fn the_listener_dies_before_its_wake() {
    let world = World::new();
    let listener = spawn(&world, |world| listen(world, FIRST, Ends::BeforeWake));
    assert!(connect(&world, FIRST), "the listener has accepted");
    listener.join().unwrap();
}

fn builder(preemptions: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 2_000;
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

#[test]
fn hello_against_a_sleeper() {
    explore(Some(3), two_meet);
}

#[test]
fn two_connectors() {
    explore(Some(2), both_are_accepted);
}

#[test]
fn death_with_the_claim() {
    explore(Some(2), the_first_dies_with_the_claim);
}

#[test]
fn death_between_hello_and_its_wake() {
    explore(Some(2), the_first_dies_before_its_wake);
    explore(Some(2), the_first_is_stopped_before_its_wake);
    explore(Some(2), the_dead_are_not_accepted);
}

#[test]
fn death_after_the_wake() {
    explore(Some(2), the_first_dies_after_its_wake);
}

#[test]
fn death_of_the_listener() {
    explore(Some(3), the_listener_dies_before_its_wake);
}

#[test]
fn each_step_of_saying_hello_is_needed() {
    dies(Mutant::WakeOfHello, two_meet);
    dies(Mutant::WakeOfHelloEarly, two_meet);
    dies(Mutant::Compare, two_meet);
    dies(Mutant::WakeOfAnswer, two_meet);
    dies(Mutant::AlertFirst, the_listener_dies_before_its_wake);
}

#[test]
fn each_step_of_the_next_connector_is_needed() {
    dies(Mutant::WakeOfNext, the_first_dies_before_its_wake);
    dies(Mutant::WakeOfNext, the_first_is_stopped_before_its_wake);
    dies(Mutant::LookAgain, the_first_dies_with_the_claim);
    dies(Mutant::LookBeforeClaim, the_dead_are_not_accepted);
    dies(Mutant::LookWithClaim, the_first_dies_before_its_wake);
    dies(Mutant::NameLast, both_are_accepted);
}

#[test]
fn each_step_of_accepting_is_needed() {
    dies(Mutant::AskForClaim, the_dead_are_not_accepted);
    dies(Mutant::NameFirst, both_are_accepted);
}
