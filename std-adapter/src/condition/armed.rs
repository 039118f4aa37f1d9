//! A condition while it is waited for.

use std::ptr;
use std::time::Duration;

use super::subject::Subject;
use super::waitable::{WaitSet, Waitable};
use crate::futex;
use crate::liveness::PeerMonitor;
use crate::spin::Habit;
use crate::timed_mutex::{FLUSH, TimedGuard, TimedMutex};
use smstream_shm::Deadline;

/// A condition that is waited for.
pub(super) struct Armed<'c> {
    hold: Hold<'c>,
    /// What is to be published before the first sleep.
    flush: Option<&'c TimedMutex<dyn Waitable>>,
    /// It says to other threads that this one waits.
    waiting: bool,
    /// It is to be disarmed.
    armed: bool,
}

/// Whether this thread may use it.
enum Hold<'c> {
    /// It is borrowed alone.
    Alone(&'c mut dyn Waitable),
    /// It is locked.
    Locked(TimedGuard<'c, dyn Waitable>, &'c TimedMutex<dyn Waitable>),
    /// Another thread has it locked.
    Busy(&'c TimedMutex<dyn Waitable>),
    /// This thread waits for it at this place already.
    Same(usize),
}

impl<'c> Armed<'c> {
    /// Acquires what a condition is about, if no other thread uses it; `before` are those that this thread has.
    pub(super) fn new(source: &'c mut Subject<'_>, before: &[Armed<'c>]) -> Self {
        let (hold, flush) = match source {
            Subject::Alone(what) => (Hold::Alone(&mut **what), None),
            Subject::Shared { what, flush } => (Hold::Busy(what), *flush),
        };
        let mut armed = Armed { hold, flush, waiting: false, armed: false };
        armed.try_acquire();
        if let Hold::Busy(busy) = armed.hold
            && let Some(place) = before.iter().position(|other| other.is_of(busy))
        {
            armed.hold = Hold::Same(place);
        }
        armed
    }

    /// Acquires what another thread was using, if it is not any more.
    fn try_acquire(&mut self) {
        if let Hold::Busy(mutex) = self.hold
            && let Some(guard) = mutex.try_lock()
        {
            guard.set_waiting(self.waiting);
            self.hold = Hold::Locked(guard, mutex);
        }
    }

    fn is_of(&self, mutex: &TimedMutex<dyn Waitable>) -> bool {
        matches!(self.hold, Hold::Locked(_, mine) | Hold::Busy(mine) if ptr::addr_eq(mine, mutex))
    }

    /// The place of the condition that this one is the same as.
    pub(super) fn same(&self) -> Option<usize> {
        match self.hold {
            Hold::Same(place) => Some(place),
            _ => None,
        }
    }

    fn what(&self) -> Option<&dyn Waitable> {
        match &self.hold {
            Hold::Alone(what) => Some(&**what),
            Hold::Locked(what, _) => Some(&**what),
            Hold::Busy(_) | Hold::Same(_) => None,
        }
    }

    fn what_mut(&mut self) -> Option<&mut dyn Waitable> {
        match &mut self.hold {
            Hold::Alone(what) => Some(&mut **what),
            Hold::Locked(what, _) => Some(&mut **what),
            Hold::Busy(_) | Hold::Same(_) => None,
        }
    }

    fn monitor(&self) -> Option<&PeerMonitor> {
        self.what()?.monitor()
    }

    /// How long it spins before it sleeps, if it does.
    pub(super) fn spin_time(&self) -> Option<Duration> {
        self.what()?.spin_time()
    }

    /// See [`Waitable::habit`].
    pub(super) fn habit(&self) -> Option<&Habit> {
        self.what()?.habit()
    }

    /// A look that costs next to nothing.
    pub(super) fn is_ready_cheaply(&mut self) -> bool {
        self.what_mut().is_some_and(|what| what.is_ready_cheaply())
    }

    /// Whether the call that it stands for would return at once. One that would have to wait for another thread would not.
    pub(super) fn is_ready(&mut self) -> bool {
        self.try_acquire();
        self.what_mut().is_some_and(|what| what.is_ready())
    }

    /// Done for those who look and never wait.
    pub(super) fn maintain(&self) {
        if let Some(monitor) = self.monitor() {
            monitor.maintain();
        }
    }

    /// Done once, before the first sleep, in this process.
    pub(super) fn prepare(&mut self, pid: u32) {
        self.waiting = true;
        // What was written goes out before an answer is waited for.
        if let Some(flush) = self.flush {
            flush.request(FLUSH);
        }
        if let Some(what) = self.what_mut() {
            what.set_waiting(true);
            what.prepare();
        }
        if let Some(monitor) = self.monitor() {
            monitor.ensure_registered_in(pid);
        }
    }

    /// Done after a sleep that lasted as long as it might: asks whether the peer lives if nothing tells it. Without
    /// `futex_waitv` a wake of the peer's words does not.
    pub(super) fn probe(&self) {
        match self.monitor() {
            Some(monitor) if monitor.is_timed() => drop(monitor.probe()),
            Some(_) if !futex::has_waitv() => self.probe_lock(),
            _ => {}
        }
    }

    /// Done after a wake for which there is no other reason: asks whether the peer has given its lock up.
    pub(super) fn probe_lock(&self) {
        if let Some(monitor) = self.monitor() {
            monitor.probe_lock();
        }
    }

    /// See [`Waitable::say_asleep`].
    pub(super) fn say_asleep(&mut self) -> bool {
        self.armed = true;
        self.what_mut().is_some_and(|what| what.say_asleep())
    }

    /// See [`Waitable::arm`].
    pub(super) fn arm<'w>(&'w mut self, set: &mut WaitSet<'w>, slice: Duration) -> bool {
        let unwatched = self.monitor().is_some_and(PeerMonitor::is_timed);
        if unwatched || matches!(self.hold, Hold::Busy(_)) {
            set.limit(slice);
        }
        self.armed = true;
        self.what_mut().is_none_or(|what| what.arm(set, slice))
    }

    /// Takes back what [`arm`](Self::arm) has done, if anything.
    pub(super) fn disarm(&mut self) {
        if std::mem::take(&mut self.armed)
            && let Some(what) = self.what_mut()
        {
            what.disarm();
        }
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        if self.waiting
            && let Some(what) = self.what()
        {
            what.set_waiting(false);
        }
    }
}

/// When a sleep of at most `most`, until `deadline`, ends.
pub(super) fn sooner(most: Option<Duration>, deadline: Option<Deadline>) -> Option<Deadline> {
    match (most.map(Deadline::after), deadline) {
        (Some(most), Some(deadline)) => Some(most.min(deadline)),
        (most, deadline) => most.or(deadline),
    }
}
