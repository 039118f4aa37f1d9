//! How an end sleeps while its peer may die.

use super::{Half, PeerMonitor, SLICE};
use crate::futex;
use smstream_core::park::{Place, Wake, Watch};
use smstream_shm::Deadline;
use std::time::Duration;

impl PeerMonitor {
    /// Waits until the peer is gone (`true`), or the deadline passes (`None`: never) or [`cancel_waiters`](Self::cancel_waiters) is called
    /// (`false`). An end whose peer is in this process has nothing to wait for but these.
    pub fn wait_gone(&self, deadline: Option<Deadline>) -> bool {
        loop {
            if self.is_gone() {
                return true;
            }
            if self.are_waiters_cancelled() {
                return false;
            }
            let watch = Watch { word: self.gone_word(), seen: 0, place: Place::Local };
            if sleep(self, None, &[watch], deadline) == Wake::TimedOut {
                return self.is_gone();
            }
        }
    }
}

/// Sleeps while the watched words hold what was seen. A half says which one it is; alerts find it by that on kernels
/// without `futex_waitv`. A caller that is no half watches one word only.
pub(crate) fn sleep(
    monitor: &PeerMonitor,
    half: Option<Half>,
    watches: &[Watch<'_>],
    deadline: Option<Deadline>,
) -> Wake {
    monitor.ensure_registered();
    loop {
        let slice = slice(monitor, watches).map(Deadline::after);
        let until = match (slice, deadline) {
            (Some(slice), Some(deadline)) => Some(slice.min(deadline)),
            (slice, deadline) => slice.or(deadline),
        };
        let wake = match (half, watches) {
            (_, [only]) => futex::sleep_on(only, until),
            (Some(half), _) if !monitor.has_waitv() => monitor.sleep_on_first(half, watches, until),
            _ => futex::sleep_on_all(watches, until),
        };
        if wake == Wake::Maybe && watches.iter().all(|watch| watch.word.load() == watch.seen) {
            // Woken, and nothing has changed: a party that gives its lock up without closing the file says so in this way.
            monitor.probe_lock();
        }
        if wake == Wake::Maybe || slice.is_none() {
            return wake;
        }
        if monitor.is_timed() && (monitor.probe() || monitor.is_cut()) {
            return Wake::Maybe;
        }
        if deadline.is_some_and(Deadline::has_passed) {
            return Wake::TimedOut;
        }
        // The kernel compares the words again, with the same values, so that no change is lost.
    }
}

/// How long to sleep at most if something that should end the sleep would not wake it: the peer's death, or, without `futex_waitv`, a
/// change of a shared word after the first, or an alert after the memory with the first word was replaced by an empty page.
fn slice(monitor: &PeerMonitor, watches: &[Watch<'_>]) -> Option<Duration> {
    let lost = || monitor.cut().is_some() || watches.iter().skip(1).any(|w| w.place == Place::Shared);
    if !monitor.has_waitv() && lost() {
        return Some(SLICE);
    }
    monitor.is_timed().then(|| monitor.slice())
}
