//! How a half sleeps and is woken: the [`Park`] trait.
//!
//! The core knows *when* to sleep and *whom* to wake; a `Park` knows *how*: futexes in `smstream`, a busy loop in
//! [`Spin`], WFE/SEV on a microcontroller. The protocol itself, which the halves of [`lane`](crate::lane) follow:
//!
//! ```text
//! publisher                                   sleeper
//! store the cursor          (Release)         store ASLEEP | mark in my park word
//! fence                     (SeqCst)          fence                    (SeqCst)
//! load the peer's park word                   load the peer's cursor again: this value is `seen`
//! ASLEEP, and the mark was crossed? wake      reached? withdraw; else sleep while the cursor is still `seen`
//! ```
//!
//! Of two parties that run these at the same time, at least one sees the other's store: each has a SeqCst fence
//! between its store and its load, and the fences are totally ordered.

use crate::cursor;
use crate::deadlock::Whole;
use crate::mutant::mutant;
use crate::ordering;
use crate::sync::AtomicU32;

/// The peer is gone: no process holds its end any more. Bit of [`Park::alert`].
pub const ALERT_GONE: u32 = 1 << 0;
/// This half is to stop waiting, because it was shut down from another thread. Bit of [`Park::alert`].
pub const ALERT_CANCEL: u32 = 1 << 1;
/// The other half of this end found the peer corrupt. Bit of [`Park::alert`].
pub const ALERT_CORRUPT: u32 = 1 << 2;

/// The bell of a half that sleeps on the word itself, by futex or by looking at it.
pub const BELL_WORD: u32 = 0;
/// The bell of a half that somebody waits for with `poll` or `epoll`: a byte on the socket over which the two parties met.
pub const BELL_SOCKET: u32 = 1;

/// The bells of halves that sleep as for [`BELL_WORD`] and want a signal beside it: this and the signal's number.
pub const BELL_SIGNAL: u32 = 0x100;

/// Where a watched word lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a segment, so other processes change it.
    Shared,
    /// In this process's own memory: only its threads change it.
    Local,
}

/// A word to sleep on, and the value at which sleeping is right.
///
/// `seen` is the very value that was checked before the decision to sleep. A `Park` must not load the word afresh and
/// sleep on what it finds: the change in between would be lost.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The word. In the peer's segment it may lie in memory that is mapped read-only: never write it.
    pub word: &'a AtomicU32,
    /// The value that was checked.
    pub seen: u32,
    /// Whether other processes change the word.
    pub place: Place,
}

/// Why [`Park::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A word changed, somebody rang, a signal came, or for no reason: the caller checks again.
    Maybe,
    /// The deadline has passed.
    TimedOut,
}

/// A way to sleep and to wake.
///
/// # What an implementation owes
/// * [`wait`](Park::wait) sleeps only while every watched word holds its `seen` value, compared after the sleeper has
///   become visible to wakers (as a futex does), or else returns without sleeping now and then, so that the caller's
///   own check finds the change. It may return early at any time.
/// * [`wake`](Park::wake) wakes *all* sleepers of the word, never just one: a bystander would swallow it.
/// * Nothing here may panic.
pub trait Park {
    /// A point in time after which a wait gives up. Use a type nobody can make if there is no clock.
    type Deadline: Copy;
    /// What one bounded spin has to remember.
    type Spin;

    /// Begins a bounded spin.
    fn spin_start(&self) -> Self::Spin;

    /// Called after each look that found nothing: pauses for a moment and returns `true` to look again, or `false` when
    /// spinning has lasted long enough and the half should park.
    fn spin(&self, spin: &mut Self::Spin) -> bool;

    /// Sleeps until a watched word differs from what was seen, somebody wakes it, or `deadline` passes (`None`: never).
    /// There are one to three watches, the peer's cursor first.
    fn wait(&self, watches: &[Watch<'_>], deadline: Option<Self::Deadline>) -> Wake;

    /// Wakes everyone who sleeps on `word`, a cursor of this end: most often one that has just been published. `bell` is what the
    /// sleeper wrote in its bell word: [`BELL_WORD`], or a kind that both adapters know. An unknown kind is to be
    /// treated as [`BELL_WORD`].
    fn wake(&self, word: &AtomicU32, bell: u32);

    /// A local word that interrupts waiting: 0, or a set of `ALERT_*` bits that never goes back. `None` if nothing can.
    fn alert(&self) -> Option<&AtomicU32> {
        None
    }

    /// Asks now whether the peer lives, and raises [`ALERT_GONE`] if it does not: the last question before a deadlock is
    /// told. A peer that died asleep still says that it sleeps. If nobody knows, there is nothing to do.
    fn ask(&self) {}

    /// How this half wants to be woken; it is published before the half first parks.
    fn bell(&self) -> u32 {
        BELL_WORD
    }
}

/// The simplest `Park`: never sleeps, looks for ever, wakes nobody. For both ends on busy cores, and for tests.
///
/// It lives by the caller's own checks, so it needs no help from the other end. It never times out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin;

/// A deadline that cannot be made, for a [`Park`] without a clock.
#[derive(Clone, Copy, Debug)]
pub enum Never {}

impl Park for Spin {
    type Deadline = Never;
    type Spin = ();

    fn spin_start(&self) {}

    fn spin(&self, (): &mut ()) -> bool {
        pause();
        true
    }

    fn wait(&self, _watches: &[Watch<'_>], _deadline: Option<Never>) -> Wake {
        pause();
        Wake::Maybe
    }

    fn wake(&self, _word: &AtomicU32, _bell: u32) {}
}

fn pause() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}

/// The words and the capacity that a publication has to do with.
pub(crate) struct Publication<'a> {
    /// The cursor word that is published.
    pub(crate) word: &'a AtomicU32,
    /// The park word of the peer's half that may sleep on it.
    pub(crate) peer_park: &'a AtomicU32,
    /// The bell word of that half.
    pub(crate) peer_bell: &'a AtomicU32,
    /// The lane's capacity: no honest mark is farther ahead.
    pub(crate) capacity: u32,
}

impl Publication<'_> {
    /// Publishes a cursor that moves from `old` to `new`, for the `last` time or not, and wakes the peer if that crosses
    /// its mark. Says whether it did.
    #[inline(always)]
    pub(crate) fn publish<P: Park>(
        &self,
        park: &P,
        store: fn(&AtomicU32, u32),
        old: u32,
        new: u32,
        last: bool,
    ) -> bool {
        let early = mutant!("wake_decided_early").then(|| ordering::peer_park(self.peer_park));
        if last && mutant!("fin_before_data") {
            store(self.word, old | cursor::FIN);
        }
        let late = last && mutant!("fin_after_wake");
        store(self.word, if last && !late { new | cursor::FIN } else { new });
        ordering::fence_published();
        let asleep = early.unwrap_or_else(|| ordering::peer_park(self.peer_park));
        let crossed = cursor::crosses(asleep, old, new, last, self.capacity);
        if crossed {
            park.wake(self.word, ordering::peer_bell(self.peer_bell));
        }
        if late {
            store(self.word, new | cursor::FIN);
        }
        crossed
    }
}

/// What a look at the peer's cursor found.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// The whole word, as loaded.
    pub(crate) seen: u32,
    /// Bytes that can be read, or room that can be written.
    pub(crate) available: u32,
    /// FIN or STOP: there will never be more.
    pub(crate) last: bool,
}

impl Look {
    pub(crate) fn enough(self, want: u32) -> bool {
        self.available >= want || self.last
    }
}

/// Why [`wait`] ended without enough.
pub(crate) enum Stopped {
    TimedOut,
    Cancelled,
    Gone,
    Corrupt,
    Deadlock,
}

/// One half of an end, as the park protocol sees it.
pub(crate) trait Sleeper {
    /// How it sleeps.
    type Park: Park;
    /// How it sleeps.
    fn park(&self) -> &Self::Park;
    /// My park word.
    fn park_word(&self) -> &AtomicU32;
    /// My bell word.
    fn bell_word(&self) -> &AtomicU32;
    /// The word that will change: the peer's cursor.
    fn peer_cursor(&self) -> &AtomicU32;
    /// My park word for sleeping until `want` is available.
    fn asleep_until(&self, want: u32) -> u32;
    /// Loads the peer's cursor once and checks it. `Err`: it is corrupt; the half has said so to the peer.
    fn look(&mut self) -> Result<Look, Stopped>;
    /// Counts a park.
    fn parked(&mut self);
    /// Counts a wake that no publication made.
    fn rang(&mut self);
}

/// Waits until `want` is available or there will never be more: looks, spins, parks.
///
/// `want` must respect [`cursor::most_wanted`]. With `whole` the half waits for its whole party, and there must be no
/// deadline. The park word is 0 again on every way out.
pub(crate) fn wait<S: Sleeper>(
    half: &mut S,
    want: u32,
    deadline: Option<<S::Park as Park>::Deadline>,
    whole: Option<&Whole<'_>>,
) -> Result<(), Stopped> {
    if half.look()?.enough(want) {
        return Ok(());
    }
    let mut spin = half.park().spin_start();
    while half.park().spin(&mut spin) {
        if half.look()?.enough(want) {
            return Ok(());
        }
        if alerts(half) != 0 {
            break;
        }
    }
    if !mutant!("bell_after_announcing") {
        ordering::set_bell(half.bell_word(), half.park().bell());
    }
    let flag = if whole.is_some() || mutant!("whole_always") { cursor::WHOLE } else { 0 };
    loop {
        let before = mutant!("recheck_none").then(|| half.look()).transpose()?;
        let early = mutant!("deadlock_looked_early").then(|| whole.map(Whole::look));
        half.parked();
        ordering::announce(half.park_word(), half.asleep_until(want) | flag);
        if mutant!("bell_after_announcing") {
            ordering::set_bell(half.bell_word(), half.park().bell());
        }
        ordering::fence_announced();
        // The re-check. What it loads is what the sleep compares with.
        let look = match before.map_or_else(|| half.look(), Ok) {
            Ok(look) => look,
            Err(corrupt) => {
                ordering::withdraw(half.park_word());
                return Err(corrupt);
            }
        };
        let alerted = alerts(half);
        let mut deadlock = false;
        let mut wake = Wake::Maybe;
        if !look.enough(want) && alerted == 0 {
            let peer = whole.zip(early.unwrap_or_else(|| whole.map(Whole::look)));
            let stuck = peer.filter(|(whole, park)| whole.is_stuck(*park));
            deadlock = stuck.is_some_and(|(whole, _)| whole.tells());
            if !deadlock {
                if let Some((whole, _)) = stuck {
                    whole.ring(half.park());
                    half.rang();
                }
                wake = sleep(half, look, alerted, peer.and_then(|(whole, park)| whole.watch(park)), deadline);
            }
        }
        ordering::withdraw(half.park_word());
        if deadlock && !mutant!("deadlock_with_the_dead") {
            half.park().ask();
        }
        // The alert first, then the cursor: after the peer's death what the cursor says is final. And the peer's park word
        // first, then the cursor: what the peer published before it parked is no deadlock.
        let before = mutant!("alert_after_final_look").then(|| half.look()).transpose()?;
        let before = before.or((deadlock && mutant!("deadlock_not_looked_again")).then_some(look));
        let alerted = alerts(half);
        if mutant!("final_look_none") && alerted & ALERT_GONE != 0 {
            return Err(Stopped::Gone);
        }
        if before.map_or_else(|| half.look(), Ok)?.enough(want) {
            return Ok(());
        }
        if alerted & ALERT_CORRUPT != 0 {
            return Err(Stopped::Corrupt);
        }
        if alerted & ALERT_CANCEL != 0 {
            return Err(Stopped::Cancelled);
        }
        if alerted & ALERT_GONE != 0 {
            return Err(Stopped::Gone);
        }
        if deadlock {
            return Err(Stopped::Deadlock);
        }
        if wake == Wake::TimedOut {
            return Err(Stopped::TimedOut);
        }
    }
}

/// Sleeps on the peer's cursor, on the alert if there is one, and on the `peer` park word if that is to be watched: on each
/// while it is what was checked.
fn sleep<S: Sleeper>(
    half: &S,
    look: Look,
    alerted: u32,
    peer: Option<Watch<'_>>,
    deadline: Option<<S::Park as Park>::Deadline>,
) -> Wake {
    let afresh = mutant!("seen_loaded_afresh");
    let seen = if afresh { ordering::peer_sent(half.peer_cursor()) } else { look.seen };
    let cursor = Watch { word: half.peer_cursor(), seen, place: Place::Shared };
    let alert = half.park().alert().filter(|_| !mutant!("alert_not_watched")).map(|word| {
        let afresh = mutant!("alert_seen_afresh");
        let seen = if afresh { alerts(half) } else { alerted };
        Watch { word, seen, place: Place::Local }
    });
    match (alert, peer) {
        (None, None) => half.park().wait(&[cursor], deadline),
        (Some(other), None) | (None, Some(other)) => half.park().wait(&[cursor, other], deadline),
        (Some(alert), Some(peer)) => half.park().wait(&[cursor, alert, peer], deadline),
    }
}

/// The half's alert bits; 0 if nothing can alert it. Bits that mean nothing here are left out.
#[inline(always)]
pub(crate) fn alerts<S: Sleeper>(half: &S) -> u32 {
    half.park().alert().map_or(0, ordering::alert) & (ALERT_GONE | ALERT_CANCEL | ALERT_CORRUPT)
}
