//! How the halves of a stream sleep and are woken: futexes, after a short spin where that is worth it.

use crate::barrier;
use crate::doorbell::Doorbell;
use crate::futex;
use crate::liveness::{Half, HalfAlert, PeerMonitor, sleep};
use crate::signal::Signals;
use crate::spin::Habit;
use smstream_core::park::{ALERT_CORRUPT, Park, Place, WAKE_BY_SOCKET, Wake, Watch};
use smstream_core::word::SharedWord;
use smstream_shm::Deadline;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a half looks before it sleeps, at most, if the program does not say otherwise. A futex round trip takes about as long.
pub const DEFAULT_SPIN: Duration = Duration::from_micros(50);

/// Looks between two looks at the clock.
const LOOKS_PER_CHECK: u32 = 64;

/// Parks one half of a stream.
///
/// One thread at a time may [`wait`](Park::wait): the one that uses the half.
#[derive(Debug)]
pub struct Parker {
    monitor: Arc<PeerMonitor>,
    /// What interrupts it: of `monitor`, and nearer.
    alert: Arc<HalfAlert>,
    half: Half,
    spin: Duration,
    /// Whether it looks less often where that is in vain.
    adapts: bool,
    /// Whether spinning was worth it.
    habit: Habit,
    /// The wait at hand has begun with looks.
    looked: AtomicBool,
    signals: Signals,
    doorbell: Option<Arc<Doorbell>>,
}

impl Parker {
    /// For `half` of the end that `monitor` belongs to. It looks for about `spin` before it sleeps; [`default_spin`] knows
    /// a good value, and zero means never to spin.
    #[must_use]
    pub fn new(monitor: Arc<PeerMonitor>, half: Half, spin: Duration) -> Self {
        let alert = monitor.half_alert(half);
        Self {
            monitor,
            alert,
            half,
            spin,
            adapts: false,
            habit: Habit::default(),
            looked: AtomicBool::new(false),
            signals: Signals::default(),
            doorbell: None,
        }
    }

    /// The same; if it `adapts` it looks less often where that was in vain.
    #[must_use]
    pub fn adapting(self, adapts: bool) -> Self {
        Self { adapts, ..self }
    }

    /// The same, with signals beside wakes.
    pub(crate) fn with_signals(self, signals: Signals) -> Self {
        Self { signals, ..self }
    }

    /// The same, of an end whose parties met over a socket.
    pub(crate) fn with_doorbell(self, doorbell: Option<Arc<Doorbell>>) -> Self {
        Self { doorbell, ..self }
    }

    /// What this end knows about the life of its peer.
    #[must_use]
    pub fn monitor(&self) -> &Arc<PeerMonitor> {
        &self.monitor
    }

    /// The half that it parks.
    #[must_use]
    pub fn half(&self) -> Half {
        self.half
    }

    /// Whether spinning was worth it lately, if it goes by that.
    pub(crate) fn habit(&self) -> Option<&Habit> {
        self.adapts.then_some(&self.habit)
    }

    /// How long it spins.
    #[must_use]
    pub fn spin_time(&self) -> Duration {
        self.spin
    }
}

/// What a bounded spin remembers.
#[derive(Clone, Copy, Debug)]
pub struct Spinning {
    looks: u32,
    /// It does not spin.
    skips: bool,
    /// It spins for a moment only.
    moment: bool,
    /// Since the first look at the clock: a spin that ends before that costs no clock at all.
    since: Option<Instant>,
}

impl Park for Parker {
    type Deadline = Deadline;
    type Spin = Spinning;

    #[inline]
    fn spin_start(&self) -> Spinning {
        let looks = !self.spin.is_zero() && (!self.adapts || self.habit.looks());
        let moment = !looks && self.adapts && !self.spin.is_zero() && self.habit.looks_for_a_moment();
        self.looked.store(looks, Relaxed);
        Spinning { looks: 0, skips: !looks && !moment, moment, since: None }
    }

    #[inline]
    fn spin(&self, spin: &mut Spinning) -> bool {
        if spin.skips {
            return false;
        }
        std::hint::spin_loop();
        spin.looks = spin.looks.wrapping_add(1);
        !spin.looks.is_multiple_of(LOOKS_PER_CHECK) || (!spin.moment && self.deadline_check(spin))
    }

    #[inline]
    fn spin_found(&self, spin: Spinning) {
        if self.adapts {
            self.habit.found(spin.since.map_or(Duration::ZERO, |since| since.elapsed()));
        }
    }

    fn wait(&self, watches: &[Watch<'_>], deadline: Option<Deadline>) -> Wake {
        if self.monitor.is_cut() {
            // What was seen may be an empty page. No waker comes to a sleeper on that.
            self.monitor.raise_both(ALERT_CORRUPT);
            return Wake::Maybe;
        }
        if !self.adapts || self.looked.load(Relaxed) {
            return sleep::sleep(&self.monitor, Some(self.half), watches, deadline);
        }
        let since = Instant::now();
        let wake = sleep::sleep(&self.monitor, Some(self.half), watches, deadline);
        self.habit.woken(since.elapsed());
        wake
    }

    fn wake(&self, word: SharedWord<'_>, bell: u32) {
        match &self.doorbell {
            Some(doorbell) if bell == WAKE_BY_SOCKET => doorbell.ring(),
            _ => {
                futex::wake_all(word, Place::Shared);
                self.signals.ring(bell);
            }
        }
    }

    fn wake_method(&self) -> u32 {
        match &self.doorbell {
            Some(doorbell) if doorbell.is_polled() => WAKE_BY_SOCKET,
            _ => self.signals.bell(),
        }
    }

    fn ask(&self) {
        self.monitor.probe();
    }

    fn barrier(&self) {
        barrier::issue();
    }

    fn is_reached(&self) -> bool {
        barrier::reach_us()
    }

    #[inline(always)]
    fn alert(&self) -> Option<SharedWord<'_>> {
        Some(self.alert.word())
    }
}

impl Parker {
    /// Looks at the clock: `false` when it is time to park.
    #[cold]
    fn deadline_check(&self, spin: &mut Spinning) -> bool {
        let goes_on = spin.since.get_or_insert_with(Instant::now).elapsed() < self.spin;
        if !goes_on {
            spin.skips = true;
            if self.adapts {
                self.habit.in_vain();
            }
        }
        goes_on
    }
}

/// How long to look before sleeping, at most, unless a `Builder` says otherwise: 50 µs.
///
/// A half goes by what happened. Where looking is in vain, because both ends have to share a CPU, or a quota of CPU time, or the
/// machine has other work, it looks less and less often: at last once in 256 waits.
#[must_use]
pub fn default_spin() -> Duration {
    DEFAULT_SPIN
}

#[cfg(test)]
#[path = "parking_tests.rs"]
mod tests;
