//! Points in time after which a wait gives up.

use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime_dynamic};
use std::time::Duration;

const NANOS: i64 = 1_000_000_000;

/// An absolute point on the monotonic clock, in the form the kernel takes.
///
/// A wait that is interrupted and begun again still ends at the same time. The clock (`CLOCK_MONOTONIC`) does not follow
/// changes of the wall clock, and stands still while the machine is suspended. Its unit is the nanosecond. A deadline means
/// something to this machine only, as long as it runs. Where a filter of system calls forbids to read the clock, each
/// deadline has passed.
///
/// It is what [`futex::wait`](crate::futex::wait) takes.
///
/// ```
/// use smstream_shm::Deadline;
/// use std::time::Duration;
///
/// let soon = Deadline::after(Duration::from_millis(5));
/// assert!(soon < Deadline::after(Duration::from_secs(5)));
/// assert!(soon.remaining() <= Duration::from_millis(5));
/// ```
///
/// # References
/// [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Timespec);

impl Deadline {
    /// This moment: a wait with it looks once and gives up.
    #[must_use]
    pub fn now() -> Self {
        Self::clock().unwrap_or(Self(Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// The moment `wait` from now. A time too far off to be counted becomes the last one that can be.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self::now().plus(wait)
    }

    /// The moment `wait` after this one, or the last one that can be counted.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        let nanos = self.0.tv_nsec + i64::from(wait.subsec_nanos());
        let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
        let tv_sec = self.0.tv_sec.saturating_add(seconds).saturating_add(nanos / NANOS);
        Self(Timespec { tv_sec, tv_nsec: nanos % NANOS })
    }

    /// How long it is until then: zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        let Some(now) = Self::clock().filter(|&now| now < self) else { return Duration::ZERO };
        let mut seconds = self.0.tv_sec.saturating_sub(now.0.tv_sec);
        let mut nanos = self.0.tv_nsec - now.0.tv_nsec;
        if nanos < 0 {
            seconds -= 1;
            nanos += NANOS;
        }
        // Both are in range, because `self` is later than `now`.
        Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        Self::clock().is_none_or(|now| now >= self)
    }

    /// The clock: `None` if a filter of system calls forbids to read it. Each deadline has passed then, since a wait must
    /// not become one without end.
    fn clock() -> Option<Self> {
        clock_gettime_dynamic(DynamicClockId::Known(ClockId::Monotonic)).ok().map(Self)
    }

    /// The point in milliseconds modulo 2³², to tell how long ago something was.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32 is what is asked for")]
    #[doc(hidden)]
    pub fn milliseconds(self) -> u32 {
        (self.0.tv_sec as u32).wrapping_mul(1000).wrapping_add((self.0.tv_nsec / 1_000_000) as u32)
    }

    /// The point in the form the kernel takes.
    #[doc(hidden)]
    pub fn timespec(&self) -> &Timespec {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_and_carries() {
        let d = Deadline(Timespec { tv_sec: 5, tv_nsec: 999_999_999 }).plus(Duration::new(1, 2));
        assert_eq!(d, Deadline(Timespec { tv_sec: 7, tv_nsec: 1 }));
    }

    #[test]
    fn milliseconds_wrap() {
        let at = |tv_sec, tv_nsec| Deadline(Timespec { tv_sec, tv_nsec }).milliseconds();
        assert_eq!(at(1, 2_999_999), 1_002);
        assert_eq!(at(4_294_967, 296_000_000), 0);
        assert_eq!(at(i64::MAX, 0).wrapping_sub(at(i64::MAX - 1, 999_000_000)), 1);
    }

    #[test]
    fn saturates() {
        let far = Deadline::after(Duration::MAX);
        assert_eq!(far.0.tv_sec, i64::MAX);
        assert!(far.0.tv_nsec < NANOS);
        assert!(far.remaining() > Duration::from_secs(1 << 40));
        assert!(!far.has_passed());
    }

    #[test]
    fn remaining_borrows_a_second() {
        let d = Deadline::after(Duration::from_millis(1_500));
        let left = d.remaining();
        assert!(left <= Duration::from_millis(1_500) && left > Duration::from_millis(500), "{left:?}");
        assert_eq!(Deadline::now().remaining(), Duration::ZERO);
        assert!(Deadline::now().has_passed());
    }
}
