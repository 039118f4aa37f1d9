//! What the watcher watches, and what it has to ask: all that does not touch its descriptors.
//!
//! `tests/watcher_models` runs this file through all executions of a few threads.

use super::alerts::Alerts;
use super::hang_up::has_hung_up;
use super::mode::{NUDGE, WatchMode};
use super::name_events::NameEvents;
use crate::lock::{self, Byte};
use rustix::fd::{BorrowedFd, RawFd};
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Cut;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Questions are asked 1, 2, 4 … ms after an event, and so on without end: however long a process takes to die after its file
/// was closed, it is noticed in twice that time, and the questions cost ever less. At last they come every 2^this
/// milliseconds, which is a year.
const LAST_STEP: u32 = 35;
/// How often to ask where a watch has been lost.
pub(super) const POLL: Duration = Duration::from_millis(20);
/// The epoll token of the inotify instance.
pub(super) const INOTIFY: u64 = 0;

#[derive(Default)]
pub(super) struct Registry {
    /// Whether the thread runs.
    pub(super) running: bool,
    /// The ends that each watch is for. Two ends of one region in one process share a watch.
    pub(super) ends: BTreeMap<i32, Vec<WatchedEnd>>,
    /// The names of listeners that each watch is for.
    pub(super) names: BTreeMap<i32, Vec<Arc<NameEvents>>>,
    /// Questions to ask later.
    pub(super) later: Vec<Later>,
    /// Whom to tell when a socket hangs up. The sockets are numbers and not handles, for the reason that [`WatchedEnd`] has.
    pub(super) sockets: BTreeMap<RawFd, Arc<Alerts>>,
    /// What is called when a descriptor becomes readable.
    pub(super) calls: BTreeMap<RawFd, Arc<dyn OnReadable>>,
    /// Alerts that some half has not noticed yet, on kernels without `futex_waitv`.
    pub(super) unanswered: Vec<Arc<Alerts>>,
}

/// Something to do in the watcher's thread when a descriptor has become readable, or may have. It must not wait.
pub(crate) trait OnReadable: Send + Sync {
    /// Does it.
    fn on_readable(&self);
}

/// An end to tell when its peer is gone.
pub(super) struct WatchedEnd {
    /// The descriptor of the end. A number and not a handle, because after a fork the child's copy of this registry,
    /// which nothing can reach, must not keep it open.
    pub(super) fd: RawFd,
    /// The byte that the peer holds. `None`: there is no peer, and only the size matters.
    pub(super) byte: Option<Byte>,
    /// If the memory is guarded: asked about, too.
    pub(super) cut: Option<Arc<Cut>>,
    pub(super) alerts: Arc<Alerts>,
}

/// When to ask again about the ends of a watch.
pub(super) struct Later {
    pub(super) wd: i32,
    pub(super) event: Deadline,
    pub(super) due: Deadline,
    /// How often it has been asked after the event. `None`: the watch is lost, ask for ever.
    pub(super) step: Option<u32>,
}

/// The epoll token of a socket: its number, but not that of the inotify instance.
pub(super) fn token(fd: RawFd) -> u64 {
    INOTIFY + 1 + u64::from(fd.unsigned_abs())
}

/// What the kernel says.
pub(super) enum Event {
    /// A process closed the file, or changed it by a system call.
    Touched(i32),
    /// The watch is gone: its file was deleted, or the file system was unmounted.
    Lost(i32),
    /// More happened than the queue holds.
    Overflow,
}

impl Registry {
    /// Enters an end that this watch is for, unless it is there.
    pub(super) fn enter(&mut self, wd: i32, end: WatchedEnd) {
        let ends = self.ends.entry(wd).or_default();
        if !ends.iter().any(|e| Arc::ptr_eq(&e.alerts, &end.alerts)) {
            ends.push(end);
        }
    }

    /// Forgets an end. `true`: nothing needs the watch any more.
    pub(super) fn leave(&mut self, wd: i32, alerts: &Arc<Alerts>) -> bool {
        let Some(ends) = self.ends.get_mut(&wd) else { return false };
        ends.retain(|e| !Arc::ptr_eq(&e.alerts, alerts));
        if !ends.is_empty() {
            return false;
        }
        self.ends.remove(&wd);
        self.later.retain(|l| l.wd != wd);
        !self.names.contains_key(&wd)
    }

    /// Forgets a name. `true`: nothing needs the watch any more.
    pub(super) fn leave_name(&mut self, wd: i32, named: &Arc<NameEvents>) -> bool {
        let Some(names) = self.names.get_mut(&wd) else { return false };
        names.retain(|one| !Arc::ptr_eq(one, named));
        if !names.is_empty() {
            return false;
        }
        self.names.remove(&wd);
        !self.ends.contains_key(&wd)
    }

    /// When the next question is due.
    pub(super) fn next(&self) -> Option<Deadline> {
        let nudge = (!self.unanswered.is_empty()).then(|| Deadline::after(NUDGE));
        self.later.iter().map(|l| l.due).chain(nudge).min()
    }

    pub(super) fn note(&mut self, event: Event, now: Deadline) {
        match event {
            Event::Touched(wd) => {
                self.names.get(&wd).into_iter().flatten().for_each(|named| named.touch());
                self.schedule(wd, now, Some(0));
            }
            Event::Lost(wd) => self.lose(wd, now),
            Event::Overflow => {
                self.names.values().flatten().for_each(|named| named.touch());
                for wd in self.watches() {
                    self.schedule(wd, now, Some(0));
                }
            }
        }
    }

    /// The kernel reported an event of a socket. The socket itself is asked: the event may be of one that had the number before.
    pub(super) fn hung_up(&mut self, found_token: u64) {
        let Some(fd) = found_token.checked_sub(token(0)).and_then(|fd| RawFd::try_from(fd).ok()) else { return };
        let Some(alerts) = self.sockets.get(&fd) else { return };
        // SAFETY: the descriptor is open and stays so during this borrow: the end that registered it deregisters it first,
        // which needs the registry's lock, and that is held here.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        if !has_hung_up(socket) {
            return;
        }
        alerts.raise_gone();
        if !alerts.all_answered() {
            self.unanswered.push(Arc::clone(alerts));
        }
    }

    pub(super) fn watches(&self) -> Vec<i32> {
        self.ends.keys().copied().collect()
    }

    /// From now on, asks from time to time about everything.
    pub(super) fn lose_all(&mut self) {
        let now = Deadline::now();
        for wd in self.watches() {
            self.lose(wd, now);
        }
        self.names.values().flatten().for_each(|named| named.lose());
        self.calls.values().for_each(|call| call.on_readable());
        // A thread that sleeps on these asks for itself from the next time on.
        for alerts in self.sockets.values() {
            alerts.set_mode(WatchMode::Timed);
        }
    }

    pub(super) fn lose(&mut self, wd: i32, now: Deadline) {
        self.names.get(&wd).into_iter().flatten().for_each(|named| named.lose());
        for end in self.ends.get(&wd).into_iter().flatten() {
            end.alerts.set_mode(WatchMode::Timed);
        }
        self.schedule(wd, now, None);
    }

    /// Asks about a watch now, and later. A newer event begins anew, but a lost watch stays lost.
    pub(super) fn schedule(&mut self, wd: i32, event: Deadline, step: Option<u32>) {
        if !self.ends.contains_key(&wd) || self.later.iter().any(|l| l.wd == wd && l.step.is_none()) {
            return;
        }
        self.later.retain(|l| l.wd != wd);
        self.later.push(Later { wd, event, due: event, step });
    }

    /// Asks all that is due, tells the ends that have lost their peers, and decides when to ask again.
    pub(super) fn probe(&mut self, now: Deadline) {
        let Self { ends, later, unanswered, .. } = self;
        later.retain_mut(|l| {
            if l.due > now {
                return true;
            }
            let ends = ends.get(&l.wd).map_or(&[][..], Vec::as_slice);
            // All are asked, so no short-circuit.
            let open = ends.iter().filter(|end| !end.probe(unanswered)).count();
            l.again(now);
            open != 0
        });
        unanswered.retain(|alerts| !alerts.all_answered());
    }
}

impl Later {
    /// Sets the time of the next question.
    fn again(&mut self, now: Deadline) {
        match &mut self.step {
            None => self.due = now.plus(POLL),
            Some(step) => {
                self.due = self.event.plus(Duration::from_millis(1 << *step)).max(now.plus(NUDGE));
                *step = LAST_STEP.min(*step + 1);
            }
        }
    }
}

impl WatchedEnd {
    /// Asks whether the peer is gone and whether the memory is whole, and tells the end if not. `true`: there is nothing
    /// more to be asked.
    pub(super) fn probe(&self, unanswered: &mut Vec<Arc<Alerts>>) -> bool {
        // SAFETY: the descriptor is open and stays so during this borrow. The `PeerMonitor` of this end (or the `SizeWatch`)
        // owns it until it has deregistered the end, which needs the registry's lock, and the caller holds that.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        let cut = self.cut.as_ref().is_some_and(|cut| cut.look(fd));
        if cut {
            self.alerts.raise_corrupt();
        }
        let gone = match self.byte {
            None => cut,
            Some(_) if self.alerts.is_gone() => true,
            Some(byte) => {
                let gone = !lock::is_held(fd, byte).unwrap_or(true);
                if gone {
                    self.alerts.raise_gone();
                }
                gone
            }
        };
        if (cut || gone) && !self.alerts.all_answered() {
            unanswered.push(Arc::clone(&self.alerts));
        }
        gone
    }
}
