//! The two words of a semaphore, and the protocol of those who post and those who wait.
//!
//! `tests/semaphore_models.rs` runs this file through all executions of a few threads, and shows that each fence, each ordering and
//! each step that keeps a wake from being lost is needed.

use super::sync::{AtomicU32, Ordering, fence_counted, fence_raised, is_left};

/// The highest value.
pub(super) const MAX: u32 = i32::MAX as u32;

/// How a thread sleeps on a word, and wakes one that does.
pub(super) trait Futex {
    /// When to give up.
    type Deadline: Copy;
    /// Sleeps while the word is 0. `false`: the deadline has passed.
    fn wait_while_zero(&self, word: &AtomicU32, deadline: Option<Self::Deadline>) -> bool;
    /// Wakes one that sleeps on the word.
    fn wake_one(&self, word: &AtomicU32);
}

/// The words of a semaphore. All zeros is one of value 0, without waiters.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Words {
    /// How many waits can return at once.
    pub(super) value: AtomicU32,
    /// How many are about to sleep, or sleep. Too high if a waiter was killed, never too low.
    pub(super) waiters: AtomicU32,
}

impl Words {
    /// Adds 1, and wakes one who waits. `false`: the value is the highest already.
    pub(super) fn post(&self, futex: &impl Futex) -> bool {
        let more = |value| (value < MAX).then(|| value + 1);
        let posted = self.value.fetch_update(Ordering::Release, Ordering::Relaxed, more).is_ok();
        if posted {
            self.wake_one(futex);
        }
        posted
    }

    /// Takes 1 off if there is one; says whether it has.
    pub(super) fn try_wait(&self) -> bool {
        let less = |value: u32| value.checked_sub(1);
        self.value.fetch_update(Ordering::Acquire, Ordering::Relaxed, less).is_ok()
    }

    /// Sleeps until it has taken one, or the deadline has passed.
    pub(super) fn sleep<F: Futex>(&self, futex: &F, deadline: Option<F::Deadline>) -> bool {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        // Against the fence of `wake_one`: the count before the value here, the value before the count there.
        fence_counted();
        let taken = loop {
            if self.try_wait() {
                break true;
            }
            if !futex.wait_while_zero(&self.value, deadline) {
                break self.try_wait();
            }
        };
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        if taken && is_left(&self.value) {
            // A process died that should have woken, or have taken. Or others are on their way: then this was for
            // nothing.
            self.wake_one(futex);
        }
        taken
    }

    /// Wakes one who waits. The value was raised before.
    fn wake_one(&self, futex: &impl Futex) {
        fence_raised();
        if self.waiters.load(Ordering::Relaxed) != 0 {
            futex.wake_one(&self.value);
        }
    }
}
