//! How the halves of a stream sleep and are woken: futexes, after a short spin.

use crate::barrier;
use crate::doorbell::Doorbell;
use crate::futex;
use crate::liveness::{Half, Life, Side, sleep};
use crate::signal::Signals;
use smstream_core::park::{ALERT_CORRUPT, Park, Place, WAKE_BY_SOCKET, Wake, Watch};
use smstream_core::word::SharedWord;
use smstream_shm::Deadline;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a half looks before it sleeps, if the builder does not say otherwise. A futex round trip takes about as long.
pub const DEFAULT_SPIN: Duration = Duration::from_micros(50);

/// Looks between two looks at the clock.
const LOOKS_PER_CHECK: u32 = 64;

/// Parks one half of a stream.
///
/// One thread at a time may [`wait`](Park::wait): the one that uses the half.
#[derive(Clone, Debug)]
pub struct Parker {
    life: Arc<Life>,
    /// What interrupts it: of `life`, and nearer.
    side: Arc<Side>,
    half: Half,
    spin: Duration,
    signals: Signals,
    doorbell: Option<Arc<Doorbell>>,
}

impl Parker {
    /// For `half` of the end that `life` belongs to. It looks for about `spin` before it sleeps; [`default_spin`] knows
    /// a good value, and zero means never to spin.
    #[must_use]
    pub fn new(life: Arc<Life>, half: Half, spin: Duration) -> Self {
        let side = life.side(half);
        Self { life, side, half, spin, signals: Signals::default(), doorbell: None }
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
    pub fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// The half that it parks.
    #[must_use]
    pub fn half(&self) -> Half {
        self.half
    }

    /// How long it spins.
    #[must_use]
    pub fn spin_time(&self) -> Duration {
        self.spin
    }
}

/// What a bounded spin remembers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spinning {
    looks: u32,
    /// Known after the first look at the clock: a spin that ends before that costs no clock at all.
    until: Option<Instant>,
}

impl Park for Parker {
    type Deadline = Deadline;
    type Spin = Spinning;

    #[inline]
    fn spin_start(&self) -> Spinning {
        Spinning::default()
    }

    #[inline]
    fn spin(&self, spin: &mut Spinning) -> bool {
        if self.spin.is_zero() {
            return false;
        }
        std::hint::spin_loop();
        spin.looks = spin.looks.wrapping_add(1);
        !spin.looks.is_multiple_of(LOOKS_PER_CHECK) || deadline_check(spin, self.spin)
    }

    fn wait(&self, watches: &[Watch<'_>], deadline: Option<Deadline>) -> Wake {
        if self.life.is_cut() {
            // What was seen may be an empty page. No waker comes to a sleeper on that.
            self.life.raise_both(ALERT_CORRUPT);
            return Wake::Maybe;
        }
        sleep::sleep(&self.life, Some(self.half), watches, deadline)
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
        self.life.ask();
    }

    fn barrier(&self) {
        barrier::issue();
    }

    fn is_reached(&self) -> bool {
        barrier::reach_us()
    }

    #[inline(always)]
    fn alert(&self) -> Option<SharedWord<'_>> {
        Some(self.side.word())
    }
}

/// Looks at the clock: `false` when it is time to park.
#[cold]
fn deadline_check(spin: &mut Spinning, time: Duration) -> bool {
    let now = Instant::now();
    match spin.until {
        Some(until) => now < until,
        None => {
            spin.until = now.checked_add(time);
            true
        }
    }
}

/// How long to look before sleeping, unless a `Builder` says otherwise: 50 µs, or not at all if this process may use
/// only one CPU, because the peer could not run meanwhile.
///
/// What counts is what the process's first thread may use: a thread that pins itself to a CPU leaves the others to
/// peers.
#[must_use]
pub fn default_spin() -> Duration {
    let process = rustix::process::getpid();
    let one_cpu = rustix::thread::sched_getaffinity(Some(process)).is_ok_and(|set| set.count() == 1);
    if one_cpu { Duration::ZERO } else { DEFAULT_SPIN }
}

#[cfg(test)]
#[path = "parking_tests.rs"]
mod tests;
