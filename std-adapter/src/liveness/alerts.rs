//! The words that interrupt the waits of one end, and how their sleepers are woken.

use super::event_count;
use super::mode::{Half, WatchMode};
use super::parked::{self, Parked};
use crate::futex;
use smstream_core::ordering;
use smstream_core::park::{ALERT_CORRUPT, ALERT_GONE, Place, Watch};
use smstream_core::word::SharedWord;
use smstream_shm::memory::guard::Cut;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The peer is gone.
const GONE: u32 = 1 << 0;
/// A thread that waits for the peer to be gone shall not wait any longer.
const CANCELLED: u32 = 1 << 1;

/// What one end's halves, its watcher and the thread that shuts it down share.
#[derive(Debug)]
pub(super) struct Alerts {
    halves: [Arc<HalfAlert>; 2],
    /// [`GONE`] when the peer is gone, [`CANCELLED`] when this end does not care any more: a word of its own, for those who
    /// wait for just that.
    gone: AtomicU32,
    /// When the peer was found gone first, in nanoseconds since 1970; 0: it was not.
    gone_at: AtomicU64,
    /// A [`WatchMode`].
    mode: AtomicU8,
    /// Whether the halves sleep on their alert words too. If not, they have to be found on the words they sleep on.
    pub(super) waitv: bool,
    /// Whether the memory of this end was cut short, if that is guarded.
    pub(super) cut: Option<Arc<Cut>>,
}

/// The alert of one half.
#[derive(Debug, Default)]
pub(crate) struct HalfAlert {
    word: AtomicU32,
    /// Without `waitv`: where this half sleeps.
    parked: Parked,
}

impl HalfAlert {
    /// The alert word.
    #[inline(always)]
    pub(crate) fn word(&self) -> SharedWord<'_> {
        SharedWord::new(&self.word)
    }
}

impl Alerts {
    pub(super) fn new(waitv: bool, cut: Option<Arc<Cut>>) -> Self {
        let mode = AtomicU8::new(WatchMode::None as u8);
        Self {
            halves: [Arc::default(), Arc::default()],
            gone: AtomicU32::new(0),
            gone_at: AtomicU64::new(0),
            mode,
            waitv,
            cut,
        }
    }

    /// What interrupts one half.
    pub(super) fn half_alert(&self, half: Half) -> &Arc<HalfAlert> {
        &self.halves[half as usize]
    }

    /// The word that changes from 0 when the peer is gone, or no thread is to wait for that any longer.
    pub(super) fn gone_word(&self) -> SharedWord<'_> {
        SharedWord::new(&self.gone)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) & GONE != 0
    }

    pub(super) fn are_waiters_cancelled(&self) -> bool {
        self.gone.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Ends the waits for the peer to be gone, now and later.
    pub(super) fn cancel_waiters(&self) {
        self.gone.fetch_or(CANCELLED, Ordering::Release);
        futex::wake_all(SharedWord::new(&self.gone), Place::Local);
    }

    /// When the peer was found gone, if it was.
    pub(super) fn gone_since(&self) -> Option<SystemTime> {
        match self.gone_at.load(Ordering::Relaxed) {
            0 => None,
            nanos => UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)),
        }
    }

    pub(super) fn mode(&self) -> WatchMode {
        WatchMode::from_u8(self.mode.load(Ordering::Relaxed))
    }

    /// Changes the mode. A thread that sleeps already does not see it before the next sleep.
    pub(super) fn set_mode(&self, mode: WatchMode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Sets bits of one half's word and wakes it once.
    pub(super) fn raise(&self, half: Half, bits: u32) {
        let alert = &self.halves[half as usize];
        // Release: what the caller knows (the peer is dead, so its words are final) comes before the bits.
        ordering::raise(&alert.word, bits);
        futex::wake_all(SharedWord::new(&alert.word), Place::Local);
        event_count::notify();
    }

    /// Tells everyone that the peer is gone: the writing half first. A program that has read that its peer is gone must not
    /// write something afterwards and learn that it was sent. Reading later waits until its half has the alert.
    pub(super) fn raise_gone(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        // Two threads may find out at once; the first one's time stays. Before the alerts: a thread that sees one finds the time.
        let _ = self.gone_at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.raise(Half::Writer, ALERT_GONE);
        self.raise(Half::Reader, ALERT_GONE);
        self.gone.fetch_or(GONE, Ordering::Release);
        futex::wake_all(SharedWord::new(&self.gone), Place::Local);
    }

    /// Tells both halves that their memory was cut short. It is no use to any.
    pub(super) fn raise_corrupt(&self) {
        self.raise(Half::Writer, ALERT_CORRUPT);
        self.raise(Half::Reader, ALERT_CORRUPT);
    }

    /// Without `waitv`, wakes the halves that sleep and do not know their alert yet. The thread that raised it calls
    /// this again, with pauses, until it says `true`: a half may be between its last look and its sleep, and the wake
    /// finds no sleeper.
    pub(super) fn all_answered(&self) -> bool {
        if self.waitv {
            return true;
        }
        parked::raised();
        let mut all = true;
        for alert in &self.halves {
            if let Some(on) = alert.parked.unaware(process::id(), || alert.word.load(Ordering::Relaxed)) {
                futex::wake_all_at(on);
                all = false;
            }
        }
        all
    }

    /// Without `waitv`, called by a half before it sleeps on the first of the watched words alone: says where it is.
    /// `false`: another word has changed, do not sleep. Then or after the sleep, [`leave_wait`](Self::leave_wait).
    pub(super) fn enter_wait(&self, half: Half, watches: &[Watch<'_>]) -> bool {
        let own = &self.halves[half as usize];
        let Some((first, others)) = watches.split_first() else {
            return false;
        };
        let alert = others.iter().find(|w| w.place == Place::Local);
        own.parked.enter_wait(process::id(), first.word.as_ptr().addr(), alert.map_or(u32::MAX, |w| w.seen));
        others.iter().all(|w| w.word.load() == w.seen)
    }

    pub(super) fn leave_wait(&self, half: Half) {
        self.halves[half as usize].parked.leave_wait();
    }
}
