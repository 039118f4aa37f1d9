//! Whether a task looks for a while before it sleeps: see [`spin`](crate::spin).

use crate::spin::Habit;
use std::time::{Duration, Instant};

/// How one half looks before it sleeps.
#[derive(Debug, Default)]
pub(super) struct Spin {
    now: Now,
    habit: Habit,
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
                self.habit.in_vain();
                self.now = Now::Asleep(None);
            }
            Now::Awake if time.is_zero() => self.now = Now::Asleep(None),
            Now::Awake if self.habit.looks() => {
                self.now = Now::Looking(Instant::now());
                return true;
            }
            Now::Awake => self.now = Now::Asleep(Some(Instant::now())),
            Now::Asleep(_) => {}
        }
        false
    }

    /// The wait is over, or there was none.
    #[inline]
    pub(super) fn over(&mut self) {
        match std::mem::take(&mut self.now) {
            Now::Looking(since) => self.habit.found(since.elapsed()),
            Now::Asleep(Some(since)) => self.habit.woken(since.elapsed()),
            Now::Awake | Now::Asleep(None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spin::MOST_SKIPPED;

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
            Now::Looking(_) => spin.habit.found(found.unwrap_or_default()),
            _ => spin.habit.woken(slept),
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
        let mut spin = Spin { habit: Habit::skipping(1), ..Spin::default() };
        assert!(!spin.goes_on(LONG));
        std::thread::sleep(Duration::from_millis(2));
        assert!(!spin.goes_on(LONG));
        spin.over();
        assert!(spin.habit.slept().unwrap() >= Duration::from_millis(2));
        assert!(spin.goes_on(LONG));
        std::thread::sleep(3 * spin.habit.slept().unwrap());
        spin.over();
        assert_eq!(spin.habit.skip(), 1, "it was slower than sleeping");
    }
}
