//! The time after a watch was registered, in which the peer is asked about beside what the watcher does.
//!
//! When a process dies the kernel reports the close of the region's file, and then releases the lock. If a watch comes between the
//! two, the first question finds the lock held, and no event comes any more. So a sleeper asks again, at times that double, until it
//! has asked [`YOUNG`] after registering: a peer that was dying at that time is dead by then.

use super::mode::SLICE;
use smstream_shm::Deadline;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Longer than the kernel takes from reporting a close to releasing the lock.
pub(super) const YOUNG: Duration = Duration::from_secs(2);

/// How old the watch of an end is.
#[derive(Debug, Default)]
pub(super) struct Young {
    /// When it was registered, in milliseconds modulo 2³².
    since: AtomicU32,
    on: AtomicBool,
}

impl Young {
    /// A watch has been registered.
    pub(super) fn begin(&self) {
        self.since.store(Deadline::now().milliseconds(), Ordering::Relaxed);
        self.on.store(true, Ordering::Relaxed);
    }

    /// So that nothing but the watcher tells of a death.
    #[cfg(test)]
    pub(super) fn end(&self) {
        self.on.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_young(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// How long to sleep before asking: as long again as the watch is old. If it is old enough, one question is left.
    pub(super) fn slice(&self) -> Duration {
        self.age().filter(|&age| age < YOUNG).map_or(SLICE, |age| age.max(SLICE))
    }

    /// Asks by `is_gone`, and remembers it if that was the last time.
    pub(super) fn ask(&self, is_gone: impl FnOnce() -> bool) -> bool {
        // Before the question.
        let is_old = self.age().is_some_and(|age| age >= YOUNG);
        let gone = is_gone();
        if is_old && !gone {
            self.on.store(false, Ordering::Relaxed);
        }
        gone
    }

    fn age(&self) -> Option<Duration> {
        let since = || Deadline::now().milliseconds().wrapping_sub(self.since.load(Ordering::Relaxed));
        self.is_young().then(|| Duration::from_millis(since().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch that was registered so long ago.
    fn young_since(age: Duration) -> Young {
        let now = Deadline::now().milliseconds();
        let since = now.wrapping_sub(u32::try_from(age.as_millis()).unwrap());
        Young { since: AtomicU32::new(since), on: AtomicBool::new(true) }
    }

    #[test]
    fn the_times_between_questions_double() {
        assert_eq!(young_since(Duration::ZERO).slice(), SLICE);
        let half = young_since(YOUNG / 2);
        assert!(half.slice() >= YOUNG / 2);
        assert!(!half.ask(|| false));
        assert!(half.is_young());
    }

    /// The first sleep of an end comes an hour after it was registered.
    #[test]
    fn the_last_question_comes_soon() {
        let old = young_since(Duration::from_secs(3600));
        assert_eq!(old.slice(), SLICE);
        assert!(old.ask(|| true));
        assert!(old.is_young(), "it has found the peer gone");
        assert!(!old.ask(|| false));
        assert!(!old.is_young());
    }
}
