//! Whether to look for a while before sleeping.
//!
//! Looking is right if the peer is running, on another CPU, and about to answer. If it is not, or waits for this very CPU,
//! each look makes it later. Nobody can tell beforehand; so a half that has looked in vain does not look the next time, and
//! each time that it was in vain again, twice as many times not. One success, and it looks each time again.

use std::time::{Duration, Instant};

/// How often it sleeps at once, at most, between two times that it looks.
const MOST_SKIPPED: u32 = 256;

/// How one half looks before it sleeps.
#[derive(Debug, Default)]
pub(super) struct Spin {
    now: Now,
    /// How many more waits begin with sleep.
    skip: u32,
    /// How many there were before the last look that was in vain; 0 if it was not.
    skipped: u32,
}

/// In this wait.
#[derive(Clone, Copy, Debug, Default)]
enum Now {
    #[default]
    Awake,
    Looking(Instant),
    Asleep,
}

impl Spin {
    /// Whether to look once more, of a half that looks for `time` at most.
    pub(super) fn goes_on(&mut self, time: Duration) -> bool {
        match self.now {
            Now::Looking(until) if Instant::now() < until => return true,
            Now::Looking(_) => {
                self.skipped = (2 * self.skipped).clamp(1, MOST_SKIPPED);
                self.skip = self.skipped;
                self.now = Now::Asleep;
            }
            Now::Awake if time.is_zero() => self.now = Now::Asleep,
            Now::Awake if self.skip > 0 => {
                self.skip -= 1;
                self.now = Now::Asleep;
            }
            Now::Awake => {
                if let Some(until) = Instant::now().checked_add(time) {
                    self.now = Now::Looking(until);
                    return true;
                }
                self.now = Now::Asleep;
            }
            Now::Asleep => {}
        }
        false
    }

    /// The wait is over, or there was none.
    #[inline]
    pub(super) fn over(&mut self) {
        if matches!(self.now, Now::Looking(_)) {
            self.skipped = 0;
        }
        self.now = Now::Awake;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const NO_TIME: Duration = Duration::from_nanos(1);

    /// A wait that ends while it looks, or after it has looked in vain: whether it looked.
    fn wait(spin: &mut Spin, found: bool) -> bool {
        let looks = spin.goes_on(if found { LONG } else { NO_TIME });
        while !found && spin.goes_on(NO_TIME) {}
        assert!(found || !spin.goes_on(LONG), "it does not begin again in the same wait");
        spin.over();
        looks
    }

    #[test]
    fn who_finds_goes_on_looking() {
        let mut spin = Spin::default();
        for _ in 0..1000 {
            assert!(wait(&mut spin, true));
        }
    }

    #[test]
    fn who_looks_in_vain_looks_less_and_less_and_never_gives_up() {
        let mut spin = Spin::default();
        let mut looked = Vec::new();
        for n in 0..2000 {
            if wait(&mut spin, false) {
                looked.push(n);
            }
        }
        assert_eq!(looked[..5], [0, 2, 5, 10, 19], "{looked:?}");
        let gaps: Vec<_> = looked.windows(2).map(|w| w[1] - w[0]).collect();
        assert_eq!(*gaps.last().unwrap(), MOST_SKIPPED as i32 + 1);
        // The peer is running again: found out at the next look at the latest.
        let until = (0..).find(|_| wait(&mut spin, true)).unwrap();
        assert!(until <= MOST_SKIPPED, "{until}");
        assert!(wait(&mut spin, true));
    }

    #[test]
    fn who_is_not_to_look_does_not() {
        let mut spin = Spin::default();
        for _ in 0..10 {
            assert!(!spin.goes_on(Duration::ZERO));
            spin.over();
        }
    }
}
