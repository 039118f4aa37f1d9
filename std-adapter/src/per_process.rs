//! One value for the whole process, made at its first use, and anew in a forked child.
//!
//! A child has a copy of its parent's value, in which a mutex may be locked for ever, a thread be missing, and a descriptor's
//! number be used for something else. So the copy is left alone: neither used nor dropped.

use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The place of such a value, for a `static`.
#[derive(Debug)]
pub(crate) struct PerProcess<T>(AtomicPtr<Made<T>>);

#[derive(Debug)]
struct Made<T> {
    /// The process that made it.
    pid: u32,
    value: T,
}

impl<T: Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }

    /// The value, if this process has made it.
    pub(crate) fn existing(&'static self) -> Option<&'static T> {
        self.made_here(self.0.load(Ordering::Acquire))
    }

    /// The value. If this process has none yet it is made; a thread that does so at the same moment may make another one,
    /// of which one is kept and the other dropped.
    ///
    /// # Errors
    /// What making it gives.
    pub(crate) fn get_or_make<E>(&'static self, make: impl Fn() -> Result<T, E>) -> Result<&'static T, E> {
        loop {
            let seen = self.0.load(Ordering::Acquire);
            if let Some(value) = self.made_here(seen) {
                return Ok(value);
            }
            let made = Box::into_raw(Box::new(Made { pid: process::id(), value: make()? }));
            // What was there is null, or a parent's.
            if self.0.compare_exchange(seen, made, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: it comes from `Box::into_raw` just above, and was not stored, so only this thread has it.
                drop(unsafe { Box::from_raw(made) });
            }
        }
    }

    fn made_here(&'static self, seen: *mut Made<T>) -> Option<&'static T> {
        // SAFETY: the pointer is null or comes from `Box::into_raw` in `get_or_make`, whose Release store the load that gave
        // it acquired. What was stored is never freed.
        let made = unsafe { seen.as_ref() }?;
        (made.pid == process::id()).then_some(&made.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{helper, role};
    use std::convert::Infallible;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    #[test]
    fn all_threads_get_the_same_one() {
        static PLACE: PerProcess<u32> = PerProcess::new();
        static MADE: AtomicU32 = AtomicU32::new(0);
        assert_eq!(PLACE.existing(), None);
        let make = || Ok::<_, Infallible>(MADE.fetch_add(1, Ordering::Relaxed));
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(move || PLACE.get_or_make(make).unwrap())).collect();
        let got: Vec<_> = threads.into_iter().map(|thread| ptr::from_ref(thread.join().unwrap()).addr()).collect();
        assert!(got.iter().all(|one| *one == got[0]));
        assert_eq!(PLACE.existing().map(|one| ptr::from_ref(one).addr()), Some(got[0]));
    }

    #[test]
    fn what_cannot_be_made_is_tried_again() {
        static PLACE: PerProcess<u32> = PerProcess::new();
        assert_eq!(PLACE.get_or_make(|| Err("no descriptors left")), Err("no descriptors left"));
        assert_eq!(PLACE.get_or_make(|| Ok::<_, Infallible>(7)), Ok(&7));
    }

    /// In a process of its own, because a fork of the test binary would copy the locks of other tests.
    #[test]
    fn a_forked_child_makes_its_own() {
        const ME: &str = "per_process::tests::a_forked_child_makes_its_own";
        static PLACE: PerProcess<AtomicU32> = PerProcess::new();
        if role().is_none() {
            assert!(helper(ME, "fork").status().unwrap().success());
            return;
        }
        let fresh = || Ok::<_, Infallible>(AtomicU32::new(1));
        PLACE.get_or_make(fresh).unwrap().store(2, Ordering::Relaxed);
        // SAFETY: the child calls nothing but this module, getpid and malloc, for which glibc takes care at a fork, and ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let anew = PLACE.existing().is_none();
            let value = PLACE.get_or_make(fresh).map_or(0, |value| value.load(Ordering::Relaxed));
            // SAFETY: it ends this process at once, which is what a child of a fork may do.
            unsafe { libc::_exit(if anew && value == 1 { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's own, and the status goes to writable memory of its type.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(PLACE.existing().unwrap().load(Ordering::Relaxed), 2, "the parent keeps its own");
    }
}
