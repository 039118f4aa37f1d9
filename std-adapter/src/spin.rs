//! Whether to look for a while before sleeping.
//!
//! Looking is right if the peer is running, on another CPU, and about to answer. If it is not, or waits for this very CPU, or
//! uses up a quota of CPU time, each look makes it later. No call tells beforehand, so a half goes by what happened: it does not
//! look the next time if it has looked in vain, or longer than sleeping took lately; and each time that happens again, twice as
//! many times not. One look that was worth it, and it looks each time again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often a half sleeps at once, at most, between two times that it looks.
pub(crate) const MOST_SKIPPED: u32 = 256;
/// While it skips, each time of so many it looks for a moment only, which costs little and finds a peer that is running again.
const MOMENTS: u32 = 32;
/// No sleep takes less.
const QUICK: Duration = Duration::from_micros(5);

/// What one half has learned. One thread at a time uses it, the one that uses the half; the words are atomic so that it can do
/// that through a shared reference.
#[derive(Debug, Default)]
pub(crate) struct Habit {
    /// How many more waits begin with sleep.
    skip: AtomicU32,
    /// How many there were before the last look that was not worth it; 0 after one that was.
    skipped: AtomicU32,
    /// How long waits lasted lately that began with sleep, in nanoseconds; 0 if there were none.
    slept: AtomicU64,
}

impl Habit {
    /// A wait begins: whether it begins with looks.
    #[inline]
    pub(crate) fn looks(&self) -> bool {
        let skip = self.skip.load(Relaxed);
        if skip == 0 {
            return true;
        }
        self.skip.store(skip - 1, Relaxed);
        false
    }

    /// Whether a wait that does not [begin with looks](Self::looks) is to look for a moment. That it was in vain means nothing.
    pub(crate) fn looks_for_a_moment(&self) -> bool {
        self.skip.load(Relaxed) % MOMENTS == MOMENTS - 1
    }

    /// What it looked for came after `time`.
    pub(crate) fn found(&self, time: Duration) {
        if time < QUICK {
            self.skipped.store(0, Relaxed);
            self.skip.store(0, Relaxed);
            return;
        }
        match self.slept() {
            // Sleep for once, to know what that takes.
            None => self.skip.store(1, Relaxed),
            Some(slept) if time > slept => self.in_vain(),
            Some(_) => self.skipped.store(0, Relaxed),
        }
    }

    /// It looked for as long as it may, and what it looked for did not come.
    pub(crate) fn in_vain(&self) {
        let skipped = (2 * self.skipped.load(Relaxed)).clamp(1, MOST_SKIPPED);
        self.skipped.store(skipped, Relaxed);
        self.skip.store(skipped, Relaxed);
    }

    /// It was woken after `time`, and had not looked.
    pub(crate) fn woken(&self, time: Duration) {
        let time = self.slept().map_or(time, |before| (3 * before + time.min(10 * before)) / 4);
        self.slept.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1), Relaxed);
    }

    /// How long waits lasted lately that began with sleep.
    pub(crate) fn slept(&self) -> Option<Duration> {
        Some(self.slept.load(Relaxed)).filter(|slept| *slept != 0).map(Duration::from_nanos)
    }

    /// How many more waits begin with sleep.
    #[cfg(all(test, feature = "tokio"))]
    pub(crate) fn skip(&self) -> u32 {
        self.skip.load(Relaxed)
    }

    /// The next `skip` waits begin with sleep.
    #[cfg(all(test, feature = "tokio"))]
    pub(crate) fn skipping(skip: u32) -> Self {
        Habit { skip: AtomicU32::new(skip), ..Habit::default() }
    }
}
