//! How a half sleeps and is woken: the [`Park`] trait.
//!
//! The core decides *when* to sleep and *which half* to wake; a `Park` implements *how*: futexes in `smstream`, a busy loop in
//! [`Spin`], WFE/SEV on a microcontroller. The protocol itself, which the halves of [`lane`](crate::lane) follow:
//!
//! ```text
//! publisher                                   sleeper
//! store the cursor          (Release)         store ASLEEP | threshold in my park word
//! fence                     (SeqCst)          fence                    (SeqCst), barrier
//! load the peer's park word                   load the peer's cursor again: this value is `seen`
//! ASLEEP, and the threshold was crossed? wake      reached? withdraw; else sleep while the cursor is still `seen`
//! ```
//!
//! Of two parties that run these at the same time, at least one sees the other's store: each has a SeqCst fence
//! between its store and its load, and the fences are totally ordered.
//!
//! # The barrier
//! Publishing is frequent and sleeping is rare, so the sleeper can pay for both. If its party says
//! [`BARRIER`](crate::layout::Features::BARRIER), it has the operating system run a full fence *in the threads of the publisher*
//! before it looks again ([`Park::barrier`]; `membarrier(2)` on Linux). Wherever that hits the publisher, one sees the other's
//! store: before the load of the park word, that load sees ASLEEP; after it, the cursor was stored before the barrier, and the
//! sleeper's second look finds it. So a publisher that the barrier reaches ([`Park::is_reached`]) only has to keep the
//! compiler from exchanging its store and its load. (P1202 of the C++ committee calls this an asymmetric fence.)
//!
//! Where every publication finds the peer asleep, as in request and response, barriers are the more expensive half of that bargain. So a
//! publisher that has woken its peer goes back to full fences for a while and says so in a word
//! ([`sent_fence`, `received_fence`](crate::layout::ParkLine)), which the sleeper looks at between its own fence and the barrier, to leave the
//! barrier out:
//!
//! ```text
//! publisher, before it fences no more         sleeper
//! store 0 in my fence word                    store ASLEEP | threshold in my park word
//! fence                     (SeqCst)          fence                                        (SeqCst)
//! load the peer's park word, from now on      load the peer's fence word; 0? barrier
//! ```
//!
//! If the sleeper's fence comes first, all those loads see ASLEEP; if the publisher's does, the sleeper sees the 0.
//!
//! A party whose halves never sleep says so as well ([`AWAKE`](crate::layout::Features::AWAKE)); then there is neither
//! fence nor load.

use crate::word::SharedWord;

/// The peer is gone: no process holds its end any more. Bit of [`Park::alert`].
pub const ALERT_GONE: u32 = 1 << 0;
/// This half is to stop waiting, because it was shut down from another thread. Bit of [`Park::alert`].
pub const ALERT_CANCEL: u32 = 1 << 1;
/// The other half of this end found the peer corrupt. Bit of [`Park::alert`].
pub const ALERT_CORRUPT: u32 = 1 << 2;

/// The wake method of a half that sleeps on the word itself, by futex or by polling it.
pub const WAKE_BY_WORD: u32 = 0;
/// The wake method of a half whose program waits with `poll` or `epoll`: a byte on the socket over which the two parties met.
pub const WAKE_BY_SOCKET: u32 = 1;

/// The wake methods of halves that sleep as for [`WAKE_BY_WORD`] and want a signal beside it: this and the signal's number.
pub const WAKE_BY_SIGNAL: u32 = 0x100;

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
    /// The word. In the peer's segment it may lie in memory that is mapped read-only.
    pub word: SharedWord<'a>,
    /// The value that was checked.
    pub seen: u32,
    /// Whether other processes change the word.
    pub place: Place,
}

/// Why [`Park::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A word changed, the peer woke this half, a signal came, or for no reason: the caller checks again.
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
    /// A point in time after which a wait gives up. Use a type without values if there is no clock.
    type Deadline: Copy;
    /// What one bounded spin has to remember.
    type Spin;
    /// Whether a half with this `Park` may sleep, so that it has to be woken. If not, [`wait`](Park::wait) comes back after a
    /// bounded time without being woken, always.
    const SLEEPS: bool = true;

    /// Begins a bounded spin.
    fn spin_start(&self) -> Self::Spin;

    /// Called after each look that found nothing: pauses for a moment and returns `true` to look again, or `false` when
    /// spinning has lasted long enough and the half should park.
    fn spin(&self, spin: &mut Self::Spin) -> bool;

    /// The spin has ended because there is enough, or an alert: for a `Park` that goes by how long that took.
    fn spin_found(&self, _spin: Self::Spin) {}

    /// Sleeps until a watched word differs from what was seen, a waker wakes it, or `deadline` passes (`None`: never).
    /// There are one to three watches, the peer's cursor first.
    fn wait(&self, watches: &[Watch<'_>], deadline: Option<Self::Deadline>) -> Wake;

    /// Wakes everyone who sleeps on `word`, a cursor of this end: most often one that has just been published. `method` is what the
    /// sleeper wrote in its wake method: [`WAKE_BY_WORD`], or a kind that both adapters know. An unknown kind is to be
    /// treated as [`WAKE_BY_WORD`].
    fn wake(&self, word: SharedWord<'_>, method: u32);

    /// A local word that interrupts waiting: 0, or a set of `ALERT_*` bits that never goes back. `None` if nothing can.
    fn alert(&self) -> Option<SharedWord<'_>> {
        None
    }

    /// Asks now whether the peer lives, and raises [`ALERT_GONE`] if it does not: the last question before a deadlock is
    /// reported. A peer that died asleep still says that it sleeps. If there is no way to know, there is nothing to do.
    fn ask(&self) {}

    /// Has every thread that [is reached](Park::is_reached) do a full fence before this returns. Called by the halves of a
    /// party that says [`BARRIER`](crate::layout::Features::BARRIER), between announcing and looking again.
    fn barrier(&self) {}

    /// Whether the [barriers](Park::barrier) of peers reach the threads that use this half. It must stay so as long as the half is
    /// used. Without that, each publication has a full fence.
    fn is_reached(&self) -> bool {
        false
    }

    /// How this half wants to be woken; it is published before the half first parks.
    fn wake_method(&self) -> u32 {
        WAKE_BY_WORD
    }
}

/// The simplest `Park`: never sleeps, looks for ever, and has nothing to wake. For both ends on busy cores, and for tests.
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
    const SLEEPS: bool = false;

    fn spin_start(&self) {}

    fn spin(&self, (): &mut ()) -> bool {
        pause();
        true
    }

    fn wait(&self, _watches: &[Watch<'_>], _deadline: Option<Never>) -> Wake {
        pause();
        Wake::Maybe
    }

    fn wake(&self, _word: SharedWord<'_>, _method: u32) {}
}

fn pause() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}
