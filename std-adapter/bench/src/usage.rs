//! The clock that both sides share, and what a side has used of the machine.

use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock in nanoseconds.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    nanos(time.tv_sec, time.tv_nsec)
}

/// What the calling thread has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in nanoseconds, user and system.
    pub cpu: u64,
    /// How often it gave its CPU up because it had to wait.
    pub sleeps: u64,
}

impl Usage {
    /// Of the calling thread, until now.
    pub fn of_thread() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        // SAFETY: `rusage` is a C struct of integers, for which all zeros is a valid value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a whole `rusage` that lives through the call.
        let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        let sleeps = if result == 0 { u64::try_from(usage.ru_nvcsw).unwrap_or(0) } else { 0 };
        Self { cpu: nanos(time.tv_sec, time.tv_nsec), sleeps }
    }

    /// What was used since an earlier look.
    pub fn since(self, earlier: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(earlier.cpu), sleeps: self.sleeps.saturating_sub(earlier.sleeps) }
    }
}

fn nanos(seconds: i64, nanos: impl TryInto<u64>) -> u64 {
    u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + nanos.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_counted_and_costs_no_cpu_time() {
        let before = Usage::of_thread();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let used = Usage::of_thread().since(before);
        assert!(used.sleeps >= 1, "{used:?}");
        assert!(used.cpu < 20_000_000, "{used:?}");
    }
}
