//! Models of the semaphore in shared memory: all executions of a few threads, by Loom.
//!
//! The words are the library's own source, with Loom's atomics. The kernel is a lock: who wants to sleep compares the word while it
//! has it, and who wakes has it, too. Loom reports a sleeper that is never woken as a deadlock. For each fence, each ordering that a value
//! depends on and each step that keeps a wake from being lost there is a *mutant* without it, under which a model must fail.

#![cfg(target_pointer_width = "64")]

#[path = "../src/posix/semaphore/words.rs"]
mod words;

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use sync::AtomicU32;
use words::{Futex, Words};

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// The fence between counting a waiter and looking at the value.
    FenceOfSleep,
    /// The fence between raising the value and looking at the waiters.
    FenceOfWake,
    ReleaseOfPost,
    AcquireOfWait,
    /// The kernel does not compare before it puts a waiter to sleep.
    Compare,
    /// Who has slept and leaves a value behind wakes the next one: it does not.
    PassOn,
}

thread_local! {
    /// Loom runs all threads of a model in the thread that asks for it, so each test has its own.
    static MUTANT: Cell<Mutant> = const { Cell::new(Mutant::None) };
}

fn is(mutant: Mutant) -> bool {
    MUTANT.get() == mutant
}

/// What the words take for the atomics of the standard library.
mod sync {
    use super::{Mutant, is};
    pub(super) use loom::sync::atomic::Ordering;
    use loom::sync::atomic::fence;

    #[derive(Debug)]
    pub(super) struct AtomicU32(pub(super) loom::sync::atomic::AtomicU32);

    impl AtomicU32 {
        pub(super) fn load(&self, ordering: Ordering) -> u32 {
            self.0.load(ordering)
        }

        pub(super) fn fetch_add(&self, n: u32, ordering: Ordering) -> u32 {
            self.0.fetch_add(n, ordering)
        }

        pub(super) fn fetch_sub(&self, n: u32, ordering: Ordering) -> u32 {
            self.0.fetch_sub(n, ordering)
        }

        pub(super) fn fetch_update(
            &self,
            yes: Ordering,
            no: Ordering,
            f: impl FnMut(u32) -> Option<u32>,
        ) -> Result<u32, u32> {
            let weak = is(if yes == Ordering::Release { Mutant::ReleaseOfPost } else { Mutant::AcquireOfWait });
            self.0.fetch_update(if weak { Ordering::Relaxed } else { yes }, no, f)
        }
    }

    pub(super) fn fence_counted() {
        if !is(Mutant::FenceOfSleep) {
            fence(Ordering::SeqCst);
        }
    }

    pub(super) fn fence_raised() {
        if !is(Mutant::FenceOfWake) {
            fence(Ordering::SeqCst);
        }
    }

    pub(super) fn is_left(value: &AtomicU32) -> bool {
        value.load(Ordering::Relaxed) > 0 && !is(Mutant::PassOn)
    }
}

/// The kernel: who sleeps on the value, and for whom there is a wake.
#[derive(Default)]
struct Kernel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asleep: usize,
    wakes: usize,
}

impl Futex for Kernel {
    type Deadline = ();
    fn wait_while_zero(&self, word: &AtomicU32, _: Option<()>) -> bool {
        let mut state = self.state.lock().unwrap();
        if word.load(sync::Ordering::Relaxed) != 0 && !is(Mutant::Compare) {
            return true;
        }
        state.asleep += 1;
        while state.wakes == 0 {
            state = self.changed.wait(state).unwrap();
        }
        state.wakes -= 1;
        state.asleep -= 1;
        true
    }

    fn wake_one(&self, _: &AtomicU32) {
        let mut state = self.state.lock().unwrap();
        if state.wakes < state.asleep {
            state.wakes += 1;
            self.changed.notify_one();
        }
    }
}

/// A semaphore of value 0, the kernel, and what is handed over by it.
struct World {
    words: Words,
    kernel: Kernel,
    data: UnsafeCell<u32>,
}

// SAFETY: Loom runs one thread at a time, and reports accesses to the cell that are not ordered.
unsafe impl Sync for World {}

impl World {
    fn new() -> Arc<World> {
        let word = || AtomicU32(loom::sync::atomic::AtomicU32::new(0));
        let words = Words { value: word(), waiters: word() };
        Arc::new(World { words, kernel: Kernel::default(), data: UnsafeCell::new(0) })
    }

    fn wait(&self) {
        let _ = self.words.try_wait() || self.words.sleep(&self.kernel, None);
    }

    fn post(&self) {
        assert!(self.words.post(&self.kernel));
    }
}

fn spawn(world: &Arc<World>, does: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || does(&world))
}

/// The waiter returns, and what was written before the post is there.
fn a_waiter_gets_what_was_posted() {
    let world = World::new();
    let poster = spawn(&world, |world| {
        // SAFETY: Loom reports a race; no other reference lives.
        world.data.with_mut(|data| unsafe { *data = 7 });
        world.post();
    });
    world.wait();
    // SAFETY: as above.
    assert_eq!(world.data.with(|data| unsafe { *data }), 7);
    poster.join().unwrap();
    assert!(!world.words.try_wait(), "one post, one wait");
    assert_eq!(world.words.waiters.load(sync::Ordering::Relaxed), 0);
}

/// Two waiters and two posts by one thread: each returns, in either order.
fn two_posts_let_two_go() {
    let world = World::new();
    let other = spawn(&world, World::wait);
    let poster = spawn(&world, |world| {
        world.post();
        world.post();
    });
    world.wait();
    other.join().unwrap();
    poster.join().unwrap();
    assert!(!world.words.try_wait());
}

/// A process died between posting and waking, so that its value is there and no sleeper was woken. The next post wakes one, and that one
/// wakes the other.
fn a_post_whose_poster_died_is_passed_on() {
    let world = World::new();
    let other = spawn(&world, World::wait);
    let poster = spawn(&world, |world| {
        let more = |value| Some(value + 1);
        world.words.value.fetch_update(sync::Ordering::Release, sync::Ordering::Relaxed, more).unwrap();
        world.post();
    });
    world.wait();
    other.join().unwrap();
    poster.join().unwrap();
    assert!(!world.words.try_wait());
}

/// Runs the model in all executions with at most so many preemptions (`None`: in all).
fn builder(preemptions: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder
}

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
    let outcome = catch_unwind(AssertUnwindSafe(|| builder(Some(2)).check(model)));
    MUTANT.set(Mutant::None);
    assert!(outcome.is_err(), "the model does not notice that {mutant:?} is missing");
}

#[test]
fn waiter_and_poster() {
    explore(None, a_waiter_gets_what_was_posted);
}

#[test]
fn two_waiters() {
    explore(Some(2), two_posts_let_two_go);
}

#[test]
fn a_poster_that_dies() {
    explore(Some(2), a_post_whose_poster_died_is_passed_on);
}

#[test]
fn the_fence_of_a_waiter_is_needed() {
    dies(Mutant::FenceOfSleep, a_waiter_gets_what_was_posted);
}

#[test]
fn the_fence_of_a_poster_is_needed() {
    dies(Mutant::FenceOfWake, a_waiter_gets_what_was_posted);
}

#[test]
fn the_release_of_a_post_is_needed() {
    dies(Mutant::ReleaseOfPost, a_waiter_gets_what_was_posted);
}

#[test]
fn the_acquire_of_a_wait_is_needed() {
    dies(Mutant::AcquireOfWait, a_waiter_gets_what_was_posted);
}

#[test]
fn the_compare_of_the_kernel_is_needed() {
    dies(Mutant::Compare, a_waiter_gets_what_was_posted);
}

#[test]
fn passing_a_wake_on_is_needed() {
    dies(Mutant::PassOn, a_post_whose_poster_died_is_passed_on);
}
