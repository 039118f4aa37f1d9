//! Does the peer live? And how its death interrupts the threads that wait for it.
//!
//! The authority is the lock byte of the peer (see [`lock`]), or the socket over which the two met: it hangs up when
//! the last process with the other end is gone. No thread polls them: one thread per process, the watcher, sleeps until
//! the kernel says that a process closed the region's file, and then asks, or that a socket hung up. While nothing
//! happens it makes no system call. Where the kernel has no watches left, sleepers ask for themselves every 20 ms.

mod alerts;
mod count;
pub(crate) mod event_count;
mod hang_up;
mod mode;
mod name_events;
pub(crate) mod name_watch;
mod parked;
mod registry;
mod size_watch;
pub(crate) mod sleep;
mod sync;
mod watcher;
mod young;

use crate::futex;
use crate::lock::{self, Byte};
use crate::peer_socket::PeerSocket;
pub(crate) use alerts::HalfAlert;
pub(crate) use mode::SLICE;
pub(crate) use registry::OnReadable;
pub(crate) use size_watch::SizeWatch;

use alerts::Alerts;
use mode::NUDGE;
use rustix::fd::{BorrowedFd, OwnedFd};
use smstream_core::park::{ALERT_CORRUPT, Wake, Watch};
use smstream_core::word::SharedWord;
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Cut;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use young::Young;

pub use mode::{Half, WatchMode};

/// No watch is registered.
const NO_WATCH: u64 = u64::MAX;

/// Gives the descriptor of an end a number at which the kernel releases it early when this process dies.
pub(crate) fn move_above_watcher_fds(fd: OwnedFd) -> OwnedFd {
    watcher::move_above_watcher_fds(fd)
}

/// Counts one event when `fd` becomes readable, or is so already. Until [`unwatch`] the descriptor stays open,
/// and nothing else is done about it here.
pub(crate) fn watch_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    watcher::watch_readable(fd)
}

/// Ends what [`watch_readable`] began.
pub(crate) fn unwatch(fd: BorrowedFd<'_>) {
    watcher::unwatch(fd);
}

/// Calls `back` in the watcher's thread, once, when `fd` becomes readable or is so already. Until [`call_no_more`] the
/// descriptor stays open.
pub(crate) fn call_when_readable(fd: BorrowedFd<'_>, back: Arc<dyn OnReadable>) -> io::Result<()> {
    watcher::call_when_readable(fd, back)
}

/// Ends what [`call_when_readable`] began.
pub(crate) fn call_no_more(fd: BorrowedFd<'_>) {
    watcher::call_no_more(fd);
}

/// What proves that the peer lives.
#[derive(Debug)]
enum Proof {
    /// It holds a lock.
    Lock {
        /// The description of this end. It may be asked about, so it must stay open as long as the watch.
        fd: Arc<OwnedFd>,
        /// The byte that the peer holds.
        byte: Byte,
    },
    /// It holds the other end of a connected socket. This one must stay open as long as the watch.
    Socket(Arc<PeerSocket>),
}

impl Proof {
    /// Whether the peer is gone. A peer about whom nothing can be found out counts as alive.
    fn is_gone(&self) -> bool {
        match self {
            Proof::Lock { fd, byte } => !lock::is_held(&**fd, *byte).unwrap_or(true),
            Proof::Socket(line) => hang_up::has_hung_up(&**line),
        }
    }
}

/// What one end knows about the life of its peer: shared by the halves of the end.
#[derive(Debug)]
pub struct PeerMonitor {
    alerts: Arc<Alerts>,
    proof: Option<Proof>,
    /// Whether to try for a watch at all.
    watch: bool,
    /// The process in which the watch was registered.
    pid: AtomicU32,
    /// The watch, in the watcher of that process: the file's number; 0 for a socket.
    watch_id: AtomicU64,
    /// When it was last looked after, in milliseconds modulo 2³².
    looked: AtomicU32,
    /// Whether the watch was registered lately: the peer may have begun to die before.
    young: Young,
}

impl PeerMonitor {
    /// For an end whose peer is in this process: nothing is watched, but waits can still be interrupted.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Arc::new(Self::build(None, true, futex::has_waitv(), None))
    }

    /// For an end whose peer holds the lock on `peer` of the file that `fd` is open on. If no process holds it any more the
    /// peer is found gone at once.
    #[must_use]
    pub fn of_lock(fd: Arc<OwnedFd>, peer: Byte) -> Arc<Self> {
        Self::of_region(fd, peer, None)
    }

    /// The same, for memory that may be guarded: if `fd` is found to be cut short, the halves get an alert, too.
    pub(crate) fn of_region(fd: Arc<OwnedFd>, peer: Byte, cut: Option<Arc<Cut>>) -> Arc<Self> {
        Self::of_lock_with(fd, peer, true, futex::has_waitv(), cut)
    }

    /// [`none`](Self::none), with `futex_waitv` or without.
    #[cfg(test)]
    pub(crate) fn none_with(waitv: bool) -> Arc<Self> {
        Arc::new(Self::build(None, true, waitv, None))
    }

    /// [`none`](Self::none), for memory that is guarded.
    #[cfg(test)]
    pub(crate) fn none_guarded(cut: Arc<Cut>) -> Arc<Self> {
        Arc::new(Self::build(None, true, futex::has_waitv(), Some(cut)))
    }

    fn of_lock_with(fd: Arc<OwnedFd>, byte: Byte, watch: bool, waitv: bool, cut: Option<Arc<Cut>>) -> Arc<Self> {
        let monitor = Arc::new(Self::build(Some(Proof::Lock { fd, byte }), watch, waitv, cut));
        monitor.ensure_registered();
        monitor
    }

    /// For an end whose peer has the other end of a connected socket. If that has hung up the peer is found gone at
    /// once. Nothing is read from the socket or written to it.
    #[must_use]
    pub(crate) fn of_socket(socket: Arc<PeerSocket>) -> Arc<Self> {
        let monitor = Arc::new(Self::build(Some(Proof::Socket(socket)), true, futex::has_waitv(), None));
        monitor.ensure_registered();
        monitor
    }

    fn build(proof: Option<Proof>, watch: bool, waitv: bool, cut: Option<Arc<Cut>>) -> Self {
        let alerts = Arc::new(Alerts::new(waitv, cut));
        let looked = AtomicU32::new(Deadline::now().milliseconds());
        let (pid, watch_id, young) = (AtomicU32::new(0), AtomicU64::new(NO_WATCH), Young::default());
        Self { alerts, proof, watch, pid, watch_id, looked, young }
    }

    /// The alert word of one half, for [`Park::alert`](smstream_core::park::Park::alert).
    #[must_use]
    pub fn alert(&self, half: Half) -> SharedWord<'_> {
        self.alerts.half_alert(half).word()
    }

    /// What interrupts one half: for who looks at its alert word often.
    pub(crate) fn half_alert(&self, half: Half) -> Arc<HalfAlert> {
        Arc::clone(self.alerts.half_alert(half))
    }

    /// Interrupts one half: sets `bits` (`ALERT_*`) in its alert word and wakes it. On kernels without `futex_waitv`
    /// this returns when the half has noticed.
    pub fn raise(&self, half: Half, bits: u32) {
        self.alerts.raise(half, bits);
        self.see_answered();
    }

    /// Interrupts both halves.
    pub fn raise_both(&self, bits: u32) {
        self.alerts.raise(Half::Reader, bits);
        self.alerts.raise(Half::Writer, bits);
        self.see_answered();
    }

    /// Whether the peer has been found gone. This does not ask the kernel; see [`probe`](Self::probe).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.alerts.is_gone()
    }

    /// Whether the memory of this end was cut short, if that is guarded. This looks at a flag only.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.cut().is_some_and(|cut| cut.is_set())
    }

    /// What tells whether the memory of this end was cut short, if that is guarded.
    pub(crate) fn cut(&self) -> Option<&Arc<Cut>> {
        self.alerts.cut.as_ref()
    }

    /// For a listener, which has no peer: as long as the result lives, this raises an alert for both halves when the file
    /// that `fd` is open on is found to be cut short. `None` if the kernel has no watches left; then no alert comes.
    pub(crate) fn watch_size(&self, fd: &Arc<OwnedFd>, cut: &Arc<Cut>) -> Option<SizeWatch> {
        let wd = watcher::register(fd, None, &self.alerts, Some(cut)).ok()?;
        // It may have been cut before the watch was there.
        if cut.look(&**fd) {
            self.raise_both(ALERT_CORRUPT);
        }
        Some(SizeWatch { wd, alerts: Arc::clone(&self.alerts), _fd: Arc::clone(fd), pid: process::id() })
    }

    /// When the peer was found gone, if it was: by the system's clock.
    pub(crate) fn gone_since(&self) -> Option<SystemTime> {
        self.alerts.gone_since()
    }

    /// Asks the authority now. Says whether the peer is gone, and if so tells both halves. A peer about whom nothing
    /// can be found out counts as alive.
    pub fn probe(&self) -> bool {
        if self.is_gone() {
            return true;
        }
        let Some(proof) = &self.proof else {
            return false;
        };
        if let (Proof::Lock { fd, .. }, Some(cut)) = (proof, self.cut())
            && cut.look(&**fd)
        {
            self.raise_both(ALERT_CORRUPT);
        }
        if !self.young.ask(|| proof.is_gone()) {
            return false;
        }
        self.alerts.raise_gone();
        self.see_answered();
        true
    }

    /// The same, if the peer lives by a lock.
    pub(crate) fn probe_lock(&self) {
        if matches!(self.proof, Some(Proof::Lock { .. })) {
            self.probe();
        }
    }

    /// For ends that never sleep: what a sleep sees to beside sleeping. After a fork the child gets a watcher, and
    /// where nothing tells of the peer's death it is asked about. At most every 20 ms, so this can be called as often
    /// as one likes.
    pub fn maintain(&self) {
        if self.proof.is_none() {
            return;
        }
        let now = Deadline::now().milliseconds();
        let last = self.looked.load(Ordering::Relaxed);
        if now.wrapping_sub(last) < SLICE.as_millis() as u32 {
            return;
        }
        self.looked.store(now, Ordering::Relaxed);
        self.ensure_registered();
        if self.is_timed() {
            self.probe();
        }
    }

    /// How the death of the peer is noticed.
    #[must_use]
    pub fn watch_mode(&self) -> WatchMode {
        self.alerts.mode()
    }

    /// The word that changes when the peer is gone, or [`cancel_waiters`](Self::cancel_waiters) is called.
    fn gone_word(&self) -> SharedWord<'_> {
        self.alerts.gone_word()
    }

    /// Whether [`cancel_waiters`](Self::cancel_waiters) was called.
    fn are_waiters_cancelled(&self) -> bool {
        self.alerts.are_waiters_cancelled()
    }

    /// Ends all [`wait_gone`](Self::wait_gone), now and later.
    pub fn cancel_waiters(&self) {
        self.alerts.cancel_waiters();
    }

    /// Makes sure that this process watches the peer: after a fork the child begins without a watcher. Cheap when there
    /// is nothing to do.
    pub(crate) fn ensure_registered(&self) {
        if self.proof.is_some() {
            self.ensure_registered_in(process::id());
        }
    }

    /// The same, in this process. For many ends at once: to ask for its number takes a system call.
    pub(crate) fn ensure_registered_in(&self, pid: u32) {
        let Some(proof) = &self.proof else { return };
        if self.pid.load(Ordering::Acquire) == pid {
            return;
        }
        // A socket that has hung up needs no watcher; and of one that hangs up from now on the registration tells.
        let is_socket = matches!(proof, Proof::Socket(_));
        if is_socket {
            self.probe();
        }
        // Two halves may get here at once; registering the same alerts again finds the first registration.
        let register = || match proof {
            Proof::Lock { fd, byte } => watcher::register(fd, Some(*byte), &self.alerts, self.cut()),
            Proof::Socket(fd) => watcher::register_socket(fd, &self.alerts).map(|()| 0),
        };
        let watched = self.watch && !(is_socket && self.is_gone());
        let registered = if watched { register().ok() } else { None };
        if registered.is_none() {
            self.alerts.set_mode(WatchMode::Timed);
        }
        if let Some(id) = registered {
            self.watch_id.store(id, Ordering::Relaxed);
            // A socket tells of a hang-up that came before.
            if !is_socket {
                self.young.begin();
            }
        }
        // Otherwise what stands there is the parent's, of which this process knows nothing, or another thread's, which has
        // registered meanwhile: that must be found again.
        self.pid.store(pid, Ordering::Release);
        if !is_socket {
            // After the watch is there: the peer may have died before.
            self.probe();
        }
    }

    /// Whether sleepers have to ask for themselves: nothing tells them, or it may have been too late for that.
    pub(crate) fn is_timed(&self) -> bool {
        (self.watch_mode() == WatchMode::Timed || self.young.is_young()) && !self.is_gone()
    }

    /// How long a sleeper sleeps before it asks.
    fn slice(&self) -> Duration {
        if self.watch_mode() == WatchMode::Watched { self.young.slice() } else { SLICE }
    }

    /// Whether the halves sleep on several words at once.
    pub(crate) fn has_waitv(&self) -> bool {
        self.alerts.waitv
    }

    /// Without `futex_waitv`: sleeps on the first word alone, where alerts find the half.
    pub(crate) fn sleep_on_first(&self, half: Half, watches: &[Watch<'_>], deadline: Option<Deadline>) -> Wake {
        let wake = match watches.first() {
            Some(first) if self.alerts.enter_wait(half, watches) => futex::sleep_on(first, deadline),
            _ => Wake::Maybe,
        };
        self.alerts.leave_wait(half);
        wake
    }

    /// Nudges the halves until they have noticed their alerts. With `futex_waitv` there is nothing to do.
    fn see_answered(&self) {
        while !self.alerts.all_answered() {
            std::thread::sleep(NUDGE);
        }
    }
}

impl Drop for PeerMonitor {
    fn drop(&mut self) {
        let id = *self.watch_id.get_mut();
        // In a forked child that never waited the watch belongs to the parent.
        if id == NO_WATCH || *self.pid.get_mut() != process::id() {
            return;
        }
        match &self.proof {
            Some(Proof::Lock { .. }) => watcher::deregister(id, &self.alerts),
            Some(Proof::Socket(socket)) => watcher::deregister_socket(socket),
            None => {}
        }
    }
}

#[cfg(test)]
#[path = "liveness_tests.rs"]
mod tests;
