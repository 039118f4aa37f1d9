//! Whether to look for a while before sleeping.
//!
//! Looking is right if the peer is running, on another CPU, and about to answer. If it is not, or waits for this very CPU,
//! each look makes it later. That is not known beforehand, so a half goes by what happened: it does not look the next time if it
//! has looked in vain, or longer than sleeping took lately; and each time that happens again, twice as many times not. One
//! look that was worth it, and it looks each time again.

use std::time::{Duration, Instant};

/// How often it sleeps at once, at most, between two times that it looks.
const MOST_SKIPPED: u32 = 256;
/// Nothing that sleeps takes less.
const QUICK: Duration = Duration::from_micros(5);

/// How one half looks before it sleeps.
#[derive(Debug, Default)]
pub(super) struct Spin {
    now: Now,
    /// How many more waits begin with sleep.
    skip: u32,
    /// How many there were before the last look that was not worth it; 0 after one that was.
    skipped: u32,
    /// How long waits lasted lately that began with sleep, if there were any.
    slept: Option<Duration>,
}

/// In this wait.
#[derive(Clone, Copy, Debug, Default)]
enum Now {
    #[default]
    Awake,
    Looking(Instant),
    /// Since when, if it has not looked before.
    Asleep(Option<Instant>),
}

impl Spin {
    /// Whether to look once more, of a half that looks for `time` at most.
    pub(super) fn goes_on(&mut self, time: Duration) -> bool {
        match self.now {
            Now::Looking(since) if since.elapsed() < time => return true,
            Now::Looking(_) => {
                self.look_less();
                self.now = Now::Asleep(None);
            }
            Now::Awake if time.is_zero() => self.now = Now::Asleep(None),
            Now::Awake if self.skip > 0 => {
                self.skip -= 1;
                self.now = Now::Asleep(Some(Instant::now()));
            }
            Now::Awake => {
                self.now = Now::Looking(Instant::now());
                return true;
            }
            Now::Asleep(_) => {}
        }
        false
    }

    /// The wait is over, or there was none.
    #[inline]
    pub(super) fn over(&mut self) {
        match std::mem::take(&mut self.now) {
            Now::Looking(since) => self.found(since.elapsed()),
            Now::Asleep(Some(since)) => self.woken(since.elapsed()),
            Now::Awake | Now::Asleep(None) => {}
        }
    }

    /// What it looked for came after `time`.
    fn found(&mut self, time: Duration) {
        match self.slept {
            _ if time < QUICK => self.skipped = 0,
            // Sleep for once, to know what that takes.
            None => self.skip = 1,
            Some(slept) if time > slept => self.look_less(),
            Some(_) => self.skipped = 0,
        }
    }

    /// It was woken after `time`, and had not looked.
    fn woken(&mut self, time: Duration) {
        self.slept = Some(self.slept.map_or(time, |before| (3 * before + time.min(10 * before)) / 4));
    }

    fn look_less(&mut self) {
        self.skipped = (2 * self.skipped).clamp(1, MOST_SKIPPED);
        self.skip = self.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const MICRO: Duration = Duration::from_micros(1);

    /// A wait in a world where looking finds after `found`, or never, and sleeping takes `slept`: whether it looked.
    fn wait(spin: &mut Spin, found: Option<Duration>, slept: Duration) -> bool {
        let looks = spin.goes_on(LONG);
        match spin.now {
            Now::Looking(_) if found.is_none() => {
                assert!(!spin.goes_on(Duration::ZERO));
                assert!(!spin.goes_on(LONG), "it does not begin again in the same wait");
            }
            Now::Looking(_) => spin.found(found.unwrap_or_default()),
            _ => spin.woken(slept),
        }
        spin.now = Now::Awake;
        looks
    }

    fn looked(spin: &mut Spin, found: Option<Duration>, slept: Duration) -> Vec<usize> {
        (0..2000).filter(|_| wait(spin, found, slept)).collect()
    }

    #[test]
    fn who_finds_at_once_looks_always() {
        assert_eq!(looked(&mut Spin::default(), Some(MICRO), LONG).len(), 2000);
    }

    #[test]
    fn who_finds_sooner_than_it_would_be_woken_looks_always_but_once() {
        assert_eq!(looked(&mut Spin::default(), Some(35 * MICRO), 70 * MICRO).len(), 1999);
    }

    #[test]
    fn who_looks_in_vain_looks_less_and_less_and_never_gives_up() {
        for found in [None, Some(35 * MICRO)] {
            let mut spin = Spin::default();
            let looked = looked(&mut spin, found, 10 * MICRO);
            let gaps: Vec<_> = looked.windows(2).map(|w| w[1] - w[0]).collect();
            assert_eq!(gaps.last(), Some(&(MOST_SKIPPED as usize + 1)), "{looked:?}");
            assert!(looked.len() < 20, "{looked:?}");
            // The peer is running again: found out at the next look at the latest.
            let until = (0..).find(|_| wait(&mut spin, Some(MICRO), 10 * MICRO)).unwrap();
            assert!(until <= MOST_SKIPPED, "{until}");
            assert!(wait(&mut spin, Some(MICRO), 10 * MICRO));
        }
    }

    #[test]
    fn who_is_not_to_look_does_not() {
        let mut spin = Spin::default();
        for _ in 0..10 {
            assert!(!spin.goes_on(Duration::ZERO));
            spin.over();
        }
    }

    #[test]
    fn a_wait_is_timed_from_its_beginning() {
        let mut spin = Spin { skip: 1, ..Spin::default() };
        assert!(!spin.goes_on(LONG));
        std::thread::sleep(Duration::from_millis(2));
        assert!(!spin.goes_on(LONG));
        spin.over();
        assert!(spin.slept.unwrap() >= Duration::from_millis(2));
        assert!(spin.goes_on(LONG));
        std::thread::sleep(3 * spin.slept.unwrap());
        spin.over();
        assert_eq!(spin.skip, 1, "it was slower than sleeping");
    }
}
