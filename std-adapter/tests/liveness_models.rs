//! Models of how an end learns that its peer is gone, or that its wait is cancelled: all executions of a few threads, by Loom.
//!
//! The files are the library's own source, with Loom's atomics. The kernel is a lock: who wants to sleep compares the word while it has
//! it, and who wakes has it, too. Loom reports a sleeper that is never woken as a deadlock. For each fence, ordering and step that keeps
//! an alert from being slept through there is a *mutant* without it, under which a model must fail.

#![cfg(target_pointer_width = "64")]

#[path = "../src/liveness/count.rs"]
mod count;
#[path = "../src/liveness/parked.rs"]
mod parked;

use count::Count;
use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use parked::Parked;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// The fence between saying where a half sleeps and its last look.
    FenceOfSleeper,
    /// The fence between raising an alert and looking where the half sleeps.
    FenceOfWaker,
    /// The half does not look at its alert again after saying where it sleeps.
    LastLook,
    /// The waker wakes once, and does not ask whether the half has answered.
    Again,
    /// Who tells something raises the count before it can be seen.
    RaisedEarly,
    /// Who waits takes the number after it has looked.
    SeenLate,
    ReleaseOfRaise,
    AcquireOfSeen,
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
    use super::{Mutant, is};
    use loom::sync::atomic::fence;
    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Default)]
    pub(super) struct AtomicU32(pub(super) loom::sync::atomic::AtomicU32);

    impl AtomicU32 {
        pub(super) fn load(&self, ordering: Ordering) -> u32 {
            let weak = ordering == Ordering::Acquire && is(Mutant::AcquireOfSeen);
            self.0.load(if weak { Ordering::Relaxed } else { ordering })
        }

        pub(super) fn store(&self, value: u32, ordering: Ordering) {
            self.0.store(value, ordering);
        }

        pub(super) fn fetch_add(&self, n: u32, ordering: Ordering) -> u32 {
            let weak = ordering == Ordering::Release && is(Mutant::ReleaseOfRaise);
            self.0.fetch_add(n, if weak { Ordering::Relaxed } else { ordering })
        }
    }

    pub(super) fn fence_parked() {
        if !is(Mutant::FenceOfSleeper) {
            fence(Ordering::SeqCst);
        }
    }

    pub(super) fn fence_raised() {
        if !is(Mutant::FenceOfWaker) {
            fence(Ordering::SeqCst);
        }
    }
}

/// The sleepers of one word.
#[derive(Default)]
struct Futex {
    asleep: Mutex<u32>,
    woken: Condvar,
}

impl Futex {
    /// Sleeps while the word is as it was seen: once.
    fn wait(&self, load: impl Fn() -> u32, seen: u32) {
        let mut asleep = self.asleep.lock().unwrap();
        if load() == seen {
            *asleep += 1;
            while *asleep != 0 {
                asleep = self.woken.wait(asleep).unwrap();
            }
        }
    }

    fn wake_all(&self) {
        let mut asleep = self.asleep.lock().unwrap();
        *asleep = 0;
        self.woken.notify_all();
    }
}

const GONE: u32 = 1;
const CANCELLED: u32 = 2;
const PID: u32 = 7;
/// The address of the one word that a half sleeps on.
const CURSOR: usize = 0x80;

/// One half, on a kernel on which it sleeps on the peer's cursor alone.
struct World {
    cursor: AtomicU32,
    futex: Futex,
    alert: AtomicU32,
    parked: Parked,
}

impl World {
    fn new() -> Arc<World> {
        let parked = Parked { on: AtomicUsize::new(0), known: Default::default(), pid: Default::default() };
        Arc::new(World { cursor: AtomicU32::new(0), futex: Futex::default(), alert: AtomicU32::new(0), parked })
    }

    /// The half waits for bytes: what there is in the end, and the alerts that it has seen before that.
    fn wait(&self, knows: u32) -> (u32, u32) {
        loop {
            let alerted = self.alert.load(Ordering::Acquire);
            let cursor = self.cursor.load(Ordering::Acquire);
            if cursor != 0 || alerted & !knows != 0 {
                return (cursor, alerted);
            }
            self.parked.enter_wait(PID, CURSOR, alerted);
            if self.alert.load(Ordering::Relaxed) == alerted || is(Mutant::LastLook) {
                self.futex.wait(|| self.cursor.load(Ordering::Relaxed), cursor);
            }
            self.parked.leave_wait();
        }
    }

    /// Another thread raises an alert, and wakes until the half has answered.
    fn raise(&self, bit: u32) {
        self.alert.fetch_or(bit, Ordering::Release);
        loop {
            parked::raised();
            let Some(at) = self.parked.unaware(PID, || self.alert.load(Ordering::Relaxed)) else { return };
            assert_eq!(at, CURSOR);
            self.futex.wake_all();
            if is(Mutant::Again) {
                return;
            }
            // The next time is a little later.
            thread::yield_now();
        }
    }
}

fn spawn(world: &Arc<World>, does: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || does(&world))
}

/// The peer has died. Nothing wakes the half but the one who knows that.
fn death_is_not_slept_through() {
    let world = World::new();
    let watcher = spawn(&world, |world| world.raise(GONE));
    assert_eq!(world.wait(0), (0, GONE));
    watcher.join().unwrap();
}

/// The peer publishes a byte and dies without waking: the byte is there before its death is known.
fn the_last_byte_comes_before_death() {
    let world = World::new();
    let watcher = spawn(&world, |world| {
        world.cursor.store(1, Ordering::Release);
        world.raise(GONE);
    });
    let (cursor, alerted) = world.wait(0);
    assert!(cursor == 1 || alerted == 0, "death was reported before the last byte");
    watcher.join().unwrap();
}

/// Another thread cancels the wait while the watcher finds the peer dead: each of them comes to its end, and the half is awake. (Of two
/// that ask again and again, one is enough here.)
fn cancelling_beside_death() {
    let world = World::new();
    let watcher = spawn(&world, |world| world.raise(GONE));
    let other = spawn(&world, |world| {
        world.alert.fetch_or(CANCELLED, Ordering::Release);
        parked::raised();
        if world.parked.unaware(PID, || world.alert.load(Ordering::Relaxed)).is_some() {
            world.futex.wake_all();
        }
    });
    let (_, alerted) = world.wait(0);
    assert_ne!(alerted, 0);
    watcher.join().unwrap();
    other.join().unwrap();
}

/// A half that knows that its peer is gone, and goes on waiting for the rest, is not woken for that again; a cancellation wakes it.
fn what_the_half_knows_does_not_wake_it() {
    let world = World::new();
    world.alert.store(GONE, Ordering::Relaxed);
    let other = spawn(&world, |world| world.raise(CANCELLED));
    assert_eq!(world.wait(GONE), (0, GONE | CANCELLED));
    other.join().unwrap();
}

/// One who waits for many things, and two that have something to tell.
struct Many {
    count: Count,
    futex: Futex,
    things: [AtomicU32; 2],
}

impl Many {
    fn new() -> Arc<Many> {
        Arc::new(Many { count: Count(Default::default()), futex: Futex::default(), things: Default::default() })
    }

    fn happen(&self, which: usize) {
        if is(Mutant::RaisedEarly) {
            self.count.raise();
            self.futex.wake_all();
        }
        self.things[which].store(1, Ordering::Relaxed);
        if !is(Mutant::RaisedEarly) {
            self.count.raise();
            self.futex.wake_all();
        }
    }

    /// Waits until all of these have happened.
    fn wait(&self, all: &[usize]) {
        loop {
            let seen = self.count.seen();
            let there = all.iter().all(|&which| self.things[which].load(Ordering::Relaxed) == 1);
            let seen = if is(Mutant::SeenLate) { self.count.seen() } else { seen };
            if there {
                return;
            }
            self.futex.wait(|| self.count.0.0.load(Ordering::Relaxed), seen);
        }
    }
}

fn nothing_that_happens_is_slept_through() {
    let many = Many::new();
    let others = [0, 1].map(|which| {
        let many = Arc::clone(&many);
        thread::spawn(move || many.happen(which))
    });
    many.wait(&[0, 1]);
    others.into_iter().for_each(|other| other.join().unwrap());
}

fn builder(preemptions: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder
}

/// Runs the model in all executions with at most so many preemptions (`None`: in all).
fn explore(preemptions: Option<usize>, model: fn()) {
    let executions = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = executions.clone();
    builder(preemptions).check(move || {
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
    let outcome = catch_unwind(AssertUnwindSafe(|| builder(Some(3)).check(model)));
    MUTANT.set(Mutant::None);
    assert!(outcome.is_err(), "the model does not notice that {mutant:?} is missing");
}

#[test]
fn death_against_a_sleeper() {
    explore(None, death_is_not_slept_through);
}

#[test]
fn the_last_byte_against_death() {
    explore(None, the_last_byte_comes_before_death);
}

#[test]
fn death_against_cancelling() {
    explore(Some(2), cancelling_beside_death);
}

#[test]
fn a_known_alert_against_a_new_one() {
    explore(None, what_the_half_knows_does_not_wake_it);
}

#[test]
fn many_things_at_once() {
    explore(Some(3), nothing_that_happens_is_slept_through);
}

#[test]
fn each_step_of_an_alert_is_needed() {
    dies(Mutant::FenceOfSleeper, death_is_not_slept_through);
    dies(Mutant::FenceOfWaker, death_is_not_slept_through);
    dies(Mutant::LastLook, death_is_not_slept_through);
    dies(Mutant::Again, death_is_not_slept_through);
}

#[test]
fn each_step_of_an_event_count_is_needed() {
    dies(Mutant::RaisedEarly, nothing_that_happens_is_slept_through);
    dies(Mutant::SeenLate, nothing_that_happens_is_slept_through);
    dies(Mutant::ReleaseOfRaise, nothing_that_happens_is_slept_through);
    dies(Mutant::AcquireOfSeen, nothing_that_happens_is_slept_through);
}
