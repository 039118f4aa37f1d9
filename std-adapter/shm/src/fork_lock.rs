//! A lock that a forked child cannot inherit held.
//!
//! After `fork`, the child has only the thread that forked. A lock of the standard library that another thread held at that
//! moment is locked in the child for ever, and what it protects may be half changed. Here:
//! - the word of the lock has the process of its holder, so the child sees that the holder is not there, and takes the lock;
//! - the value is replaced as a whole, by one store of a pointer. So it is the old one or the new one at each moment.
//!
//! The child loses, at most, the memory of one value. A child that has its parent's number in another PID namespace would
//! take the parent's thread for one of its own; it has to be process 1 in both.

use crate::futex::{self, Scope, Word};
use crate::slots::own_process;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Set in the word when a thread may sleep on it. Numbers of processes have 22 bits at most.
const CONTENDED: u32 = 1 << 31;
const UNLOCKED: u32 = 0;

pub(crate) struct ForkLock<T> {
    /// The process of the thread that holds the lock.
    word: AtomicU32,
    /// From `Box::into_raw`; used by the holder alone.
    value: AtomicPtr<T>,
    owns: PhantomData<T>,
}

impl<T> ForkLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            word: AtomicU32::new(UNLOCKED),
            value: AtomicPtr::new(Box::into_raw(Box::new(value))),
            owns: PhantomData,
        }
    }

    /// Puts what `change` returns in the place of the value, unless that is an error. Other threads wait meanwhile.
    pub(crate) fn update<R, E>(&self, change: impl FnOnce(&T) -> Result<(T, R), E>) -> Result<R, E> {
        let _held = self.lock();
        let old = self.value.load(Ordering::Relaxed);
        // SAFETY: the pointer comes from `Box::into_raw`, and only the holder of the lock replaces it and frees the old
        // value. In a forked child that has taken over the lock: the thread that held it is not there, and it stored the
        // new pointer before it freed the old value.
        let (new, result) = change(unsafe { &*old })?;
        self.value.store(Box::into_raw(Box::new(new)), Ordering::Relaxed);
        // SAFETY: from `Box::into_raw`, and no longer reachable.
        drop(unsafe { Box::from_raw(old) });
        Ok(result)
    }

    fn lock(&self) -> Held<'_> {
        let process = own_process();
        let mut mine = process;
        loop {
            let word = self.word.load(Ordering::Relaxed);
            // Another process's: the word was inherited at a fork.
            if word == UNLOCKED || word & !CONTENDED != process {
                if self.word.compare_exchange(word, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Held(&self.word);
                }
                continue;
            }
            let seen = word | CONTENDED;
            if word == seen || self.word.compare_exchange(word, seen, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                futex::wait(&Word { word: &self.word, seen, scope: Scope::Private }, None);
                // Others may sleep as well: the next unlock wakes one of them.
                mine = process | CONTENDED;
            }
        }
    }
}

/// Unlocks when it is dropped.
struct Held<'a>(&'a AtomicU32);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.0.swap(UNLOCKED, Ordering::Release) & CONTENDED != 0 {
            futex::wake_one(self.0, Scope::Private);
        }
    }
}

impl<T> Drop for ForkLock<T> {
    fn drop(&mut self) {
        // SAFETY: from `Box::into_raw`; `&mut self` says that no other thread has it.
        drop(unsafe { Box::from_raw(*self.value.get_mut()) });
    }
}

// SAFETY: it owns a `T`, which it gives to one thread at a time, by reference, and drops in any thread.
unsafe impl<T: Send> Send for ForkLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ForkLock<T> {}

impl<T> fmt::Debug for ForkLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkLock").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn add(lock: &ForkLock<u64>, n: u64) -> u64 {
        let Ok(value) = lock.update(|value| Ok::<_, Infallible>((value + n, value + n)));
        value
    }

    #[test]
    fn changes_by_many_threads_are_not_lost() {
        let lock = ForkLock::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20_000).for_each(|_| _ = add(&lock, 1)));
            }
        });
        assert_eq!(add(&lock, 0), 80_000);
        assert_eq!(lock.word.load(Ordering::Relaxed), UNLOCKED);
    }

    #[test]
    fn an_error_and_a_panic_leave_the_value_and_unlock() {
        let lock = ForkLock::new(5);
        assert_eq!(lock.update(|_| Err::<(u64, ()), _>("no")), Err("no"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lock.update(|_| -> Result<(u64, ()), Infallible> { panic!("on purpose") })
        }));
        assert!(panicked.is_err());
        assert_eq!(add(&lock, 0), 5);
    }

    #[test]
    fn what_a_process_that_is_not_there_holds_is_taken() {
        let lock = ForkLock::new(1);
        for word in [own_process() + 1, (own_process() + 1) | CONTENDED] {
            lock.word.store(word, Ordering::Relaxed);
            add(&lock, 1);
            assert_eq!(lock.word.load(Ordering::Relaxed), UNLOCKED);
        }
        assert_eq!(add(&lock, 0), 3);
    }
}
