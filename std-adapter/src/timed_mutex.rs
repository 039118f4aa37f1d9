//! A mutex whose waiters may have a deadline, and whose holder does in the end what others have asked for meanwhile.
//!
//! A thread that blocks in a read or an accept holds the lock of its direction all the while. So another thread must be able to
//! give up in time, and one that only wants something done (publish, close) must not wait at all: it leaves a *request*,
//! which is seen to by itself if the lock is free, and by the holder when it unlocks.

use smstream_shm::Deadline;
use smstream_shm::futex::{self, Scope, Wake, Word};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, compiler_fence, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// How long [`TimedMutex::lock_unless`] sleeps before it looks at its condition again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A request to the thread that uses a direction: to publish what is buffered.
pub(crate) const FLUSH: u32 = 1;
/// A request to the thread that uses a direction: to close it, for it was shut down.
pub(crate) const SHUT_DOWN: u32 = 2;

/// What can be asked of the holder of a lock.
pub(crate) trait Requests {
    /// Does what was asked for: the bits of all requests since the last call.
    fn serve(&mut self, _requests: u32) {}
}

/// The lock, and the value behind it. No thread ever blocks in the `Mutex` itself.
#[derive(Debug)]
pub(crate) struct TimedMutex<T: ?Sized> {
    /// The thread that has it: see [`me`]. 0 if none has.
    owner: AtomicUsize,
    /// What is to be done before the lock is free for good.
    requests: AtomicU32,
    /// The threads that sleep until it is their turn.
    sleepers: AtomicU32,
    /// Goes up when there are sleepers and the lock has become free: what they sleep on.
    turns: AtomicU32,
    value: Mutex<T>,
}

/// The lock, taken.
#[derive(Debug)]
pub(crate) struct TimedGuard<'a, T: Requests + ?Sized> {
    mutex: &'a TimedMutex<T>,
    /// `None` only while it is dropped.
    value: Option<MutexGuard<'a, T>>,
}

impl<T> TimedMutex<T> {
    pub(crate) fn new(value: T) -> Self {
        TimedMutex {
            owner: AtomicUsize::new(0),
            requests: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            turns: AtomicU32::new(0),
            value: Mutex::new(value),
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> TimedMutex<T> {
    /// The value, for a caller who has the whole of it.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Requests + ?Sized> TimedMutex<T> {
    /// The lock, if it is free.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<TimedGuard<'_, T>> {
        changing_hands(|| {
            let value = self.take()?;
            self.owner.store(me(), Ordering::Relaxed);
            Some(TimedGuard { mutex: self, value: Some(value) })
        })
    }

    /// The lock, waited for until the deadline. `None`: it has passed.
    pub(crate) fn lock_until(&self, deadline: Option<Deadline>) -> Option<TimedGuard<'_, T>> {
        if let Some(guard) = self.try_lock() {
            return Some(guard);
        }
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        // Pairs with the one in `unlocked`: either the sleeper is seen there, or the free lock here.
        fence(Ordering::SeqCst);
        let guard = loop {
            let seen = self.turns.load(Ordering::Acquire);
            if let Some(guard) = self.try_lock() {
                break Some(guard);
            }
            let word = Word { word: &self.turns, seen, scope: Scope::Private };
            if futex::wait(&word, deadline) == Wake::TimedOut {
                // What became free at the last moment is taken, so that no turn is lost.
                break self.try_lock();
            }
        };
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// The lock, waited for as long as its holder is at work. `None`: `blocked` says that the holder is waiting for something
    /// itself, or the holder is this thread, interrupted by a signal handler.
    pub(crate) fn lock_unless(&self, blocked: impl Fn() -> bool) -> Option<TimedGuard<'_, T>> {
        loop {
            if let Some(guard) = self.try_lock() {
                return Some(guard);
            }
            if blocked() || self.is_mine() {
                return None;
            }
            if let Some(guard) = self.lock_until(Some(Deadline::after(LOOK_AGAIN))) {
                return Some(guard);
            }
        }
    }

    /// Whether this thread holds it. To be asked by a signal handler that may have interrupted the holder, also just when this or
    /// another lock changes hands.
    pub(crate) fn is_mine(&self) -> bool {
        CHANGING.get() != 0 || self.owner.load(Ordering::Relaxed) == me()
    }

    /// Asks for something to be done, and does not wait: it is done now if the lock is free, and otherwise by its holder, at the
    /// latest when that unlocks. Says whether it is done already.
    pub(crate) fn request(&self, requests: u32) -> bool {
        self.requests.fetch_or(requests, Ordering::Release);
        // Pairs with the one in `unlocked`: either the holder sees the request, or the free lock is seen here.
        fence(Ordering::SeqCst);
        // Unlocking does it.
        self.try_lock().is_some()
    }

    /// Waits until what was [requested](Self::request) is done. A holder that keeps the lock for long does it in between:
    /// [`TimedGuard::serve`].
    pub(crate) fn wait_served(&self, requests: u32) {
        while self.requests.load(Ordering::Acquire) & requests != 0 {
            // Unlocking does it, if its holder has not done so.
            drop(self.lock_until(Some(Deadline::after(LOOK_AGAIN))));
        }
    }

    fn take(&self) -> Option<MutexGuard<'_, T>> {
        match self.value.try_lock() {
            Ok(value) => Some(value),
            Err(TryLockError::Poisoned(value)) => Some(value.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// After unlocking: serves requests, and gives the next thread its turn.
    #[inline]
    fn unlocked(&self) {
        fence(Ordering::SeqCst);
        if self.requests.load(Ordering::Relaxed) != 0 {
            self.serve();
        }
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.turns.fetch_add(1, Ordering::Release);
            futex::wake_all(&self.turns, Scope::Private);
        }
    }

    /// Takes the requests to serve them. What is asked for again from now on is served again, but [`SHUT_DOWN`], which is for ever:
    /// it stays until it is [`done`](Self::done), because a thread may wait for that.
    fn begin(&self) -> u32 {
        self.requests.fetch_and(SHUT_DOWN, Ordering::Acquire)
    }

    fn done(&self, requests: u32) {
        if requests & SHUT_DOWN != 0 {
            self.requests.fetch_and(!SHUT_DOWN, Ordering::Release);
        }
    }

    #[cold]
    fn serve(&self) {
        // If the lock is taken again, its new holder serves them.
        while self.requests.load(Ordering::Relaxed) != 0
            && let Some(mut value) =
                changing_hands(|| self.take().inspect(|_| self.owner.store(me(), Ordering::Relaxed)))
        {
            let requests = self.begin();
            value.serve(requests);
            self.done(requests);
            changing_hands(|| {
                self.owner.store(0, Ordering::Relaxed);
                drop(value);
            });
            fence(Ordering::SeqCst);
        }
    }
}

impl<T: Requests + ?Sized> TimedGuard<'_, T> {
    /// Does what others have asked for, and keeps the lock.
    pub(crate) fn serve(&mut self) {
        if self.mutex.requests.load(Ordering::Relaxed) != 0 {
            let requests = self.mutex.begin();
            self.deref_mut().serve(requests);
            self.mutex.done(requests);
        }
    }
}

impl<T: Requests + ?Sized> Deref for TimedGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("the guard is being dropped"),
        }
    }
}

impl<T: Requests + ?Sized> DerefMut for TimedGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("the guard is being dropped"),
        }
    }
}

impl<T: Requests + ?Sized> Drop for TimedGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        changing_hands(|| {
            self.mutex.owner.store(0, Ordering::Relaxed);
            drop(self.value.take());
        });
        self.mutex.unlocked();
    }
}

thread_local! {
    /// Whether this thread is about to take or to give up a lock, so that a signal handler cannot tell by the owner.
    static CHANGING: Cell<u32> = const { Cell::new(0) };
}

/// Takes or gives up a lock. A signal handler that interrupts it sees [`CHANGING`].
#[inline]
fn changing_hands<R>(act: impl FnOnce() -> R) -> R {
    CHANGING.set(CHANGING.get() + 1);
    compiler_fence(Ordering::SeqCst);
    let done = act();
    compiler_fence(Ordering::SeqCst);
    CHANGING.set(CHANGING.get() - 1);
    done
}

/// A number that this thread has and no other: an address. Getting it takes no lock and no memory, so a signal handler may.
fn me() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Barrier, mpsc};
    use std::thread;

    #[derive(Debug, Default)]
    struct Counted {
        count: u64,
        served: u32,
    }

    impl Requests for Counted {
        fn serve(&mut self, requests: u32) {
            self.served |= requests;
        }
    }

    #[test]
    fn one_at_a_time_and_each_gets_its_turn() {
        let mutex = TimedMutex::new(Counted::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        mutex.lock_until(None).unwrap().count += 1;
                    }
                });
            }
        });
        assert_eq!(mutex.into_inner().count, 80_000);
    }

    #[test]
    fn a_waiter_gives_up_in_time() {
        let mutex = TimedMutex::new(Counted::default());
        let held = mutex.try_lock().unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| mutex.lock_until(Some(Deadline::after(Duration::from_millis(5)))).is_none());
            assert!(waiter.join().unwrap());
            let asks = scope.spawn(|| mutex.lock_unless(|| true).is_none() && !mutex.is_mine());
            assert!(asks.join().unwrap());
        });
        assert!(mutex.is_mine() && mutex.lock_unless(|| false).is_none(), "by the holder itself");
        drop(held);
        assert!(mutex.lock_until(Some(Deadline::now())).is_some());
        assert!(!mutex.is_mine());
    }

    #[test]
    fn a_holder_at_work_is_waited_for() {
        let mutex = TimedMutex::new(Counted::default());
        let (begin, begun) = mpsc::channel();
        thread::scope(|scope| {
            let mut held = mutex.try_lock().unwrap();
            let waiter = scope.spawn(|| {
                begin.send(()).unwrap();
                mutex.lock_unless(|| false).map(|value| value.count)
            });
            begun.recv().unwrap();
            held.count = 7;
            drop(held);
            assert_eq!(waiter.join().unwrap(), Some(7));
        });
    }

    #[test]
    fn a_request_is_served_now_or_by_the_holder() {
        let mutex = TimedMutex::new(Counted::default());
        assert!(mutex.request(1));
        assert_eq!(mutex.try_lock().unwrap().served, 1);
        let held = mutex.try_lock().unwrap();
        assert!(!mutex.request(2));
        assert_eq!(held.served, 1);
        drop(held);
        assert_eq!(mutex.try_lock().unwrap().served, 3);
    }

    /// Each round one thread unlocks while another asks: one of them sees to it.
    #[test]
    fn no_request_is_lost() {
        const ROUNDS: usize = 3000;
        let (mutex, together) = (TimedMutex::new(Counted::default()), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    together.wait();
                    drop(mutex.try_lock());
                    together.wait();
                }
            });
            for round in 0..ROUNDS {
                together.wait();
                mutex.request(1);
                together.wait();
                assert_eq!(mutex.requests.load(Ordering::Relaxed), 0, "round {round}");
            }
        });
    }
}
