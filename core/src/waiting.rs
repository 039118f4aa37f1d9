//! How a half waits: it looks, spins, announces that it sleeps, looks again, and sleeps. See [`park`](crate::park).

use crate::cursor;
use crate::deadlock::Exclusive;
use crate::error::WaitError;
use crate::mutant::mutant;
use crate::ordering;
use crate::park::{ALERT_CANCEL, ALERT_CORRUPT, ALERT_GONE, Park, Place, Wake, Watch};
use crate::sync::AtomicU32;
use crate::word::SharedWord;

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

impl From<Stopped> for WaitError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::TimedOut => WaitError::TimedOut,
            Stopped::Cancelled => WaitError::Cancelled,
            Stopped::Gone => WaitError::PeerGone,
            Stopped::Corrupt => WaitError::Corrupt,
            Stopped::Deadlock => WaitError::Deadlock,
        }
    }
}

/// One half of an end, as the park protocol sees it.
pub(crate) trait Sleeper {
    /// How it sleeps.
    type Park: Park;
    /// How it sleeps.
    fn park(&self) -> &Self::Park;
    /// Whether its party has promised a barrier.
    fn barriers(&self) -> bool;
    /// Whether the peer fences each publication, so that there need be no barrier; after announcing.
    fn is_spared(&self) -> bool;
    /// My park word.
    fn park_word(&self) -> &AtomicU32;
    /// My wake method.
    fn wake_method_word(&self) -> &AtomicU32;
    /// The word that will change: the peer's cursor.
    fn peer_cursor(&self) -> &AtomicU32;
    /// My park word for sleeping until `want` is available.
    fn asleep_until(&self, want: u32) -> u32;
    /// Loads the peer's cursor once and checks it. `Err`: it is corrupt; the half has said so to the peer.
    fn look(&mut self) -> Result<Look, Stopped>;
    /// Counts a park.
    fn parked(&mut self);
    /// Counts a wake that no publication made.
    fn woke_peer(&mut self);
}

type Deadline<S> = Option<<<S as Sleeper>::Park as Park>::Deadline>;

/// Waits until `want` is available or there will never be more: looks, spins, parks.
///
/// `want` must respect [`cursor::max_wait`], unless the peer never waits for more than a byte. With `exclusive` the half waits for its whole party, and there must be no
/// deadline. The park word is 0 again on every way out.
pub(crate) fn wait<S: Sleeper>(
    half: &mut S,
    want: u32,
    deadline: Deadline<S>,
    exclusive: Option<&Exclusive<'_>>,
) -> Result<(), Stopped> {
    if half.look()?.enough(want) || spin(half, want)? {
        return Ok(());
    }
    set_wake_method(half, When::BeforeAnnouncing);
    loop {
        let early = weakened::looks_early(half, exclusive)?;
        announce(half, want, exclusive.is_some());
        let Ok(look) = look_again(half, early.look) else {
            ordering::withdraw(half.park_word());
            return Err(Stopped::Corrupt);
        };
        let alerted = alerts(half);
        let slept = if look.enough(want) || alerted != 0 {
            Slept::ToBeLookedAt
        } else {
            sleep(half, look, alerted, exclusive.map(|exclusive| (exclusive, early.peer_park)), deadline)
        };
        ordering::withdraw(half.park_word());
        if slept == Slept::NotForDeadlock {
            ask_if_peer_lives(half);
        }
        if is_over(half, want, slept, look)? {
            return Ok(());
        }
    }
}

/// Looks for as long as the [`Park`] says, or until there is an alert. Whether there is enough.
fn spin<S: Sleeper>(half: &mut S, want: u32) -> Result<bool, Stopped> {
    let mut spin = half.park().spin_start();
    while half.park().spin(&mut spin) {
        let enough = half.look()?.enough(want);
        if enough || alerts(half) != 0 {
            half.park().spin_found(spin);
            return Ok(enough);
        }
    }
    Ok(false)
}

/// When the half says how it wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    BeforeAnnouncing,
    AfterAnnouncing,
}

/// Says how this half wants to be woken: before it announces. (In a mutant it is after that.)
pub(crate) fn set_wake_method<S: Sleeper>(half: &S, when: When) {
    if (when == When::AfterAnnouncing) == mutant!("method_after_announcing") {
        ordering::set_wake_method(half.wake_method_word(), half.park().wake_method());
    }
}

/// Says that this half sleeps until `want` is available, and whether the whole party does. The fence after it, and the barrier
/// if there is to be one, order the looks that follow.
pub(crate) fn announce<S: Sleeper>(half: &mut S, want: u32, exclusive: bool) {
    if mutant!("barrier_early") {
        barrier(half);
    }
    let spared = weakened::is_spared_early(half);
    say_asleep(half, want, exclusive);
    if !mutant!("barrier_early") && !spared {
        barrier(half);
    }
}

/// Issues the barrier that the party has promised, if it has, and if the publisher does not spare it.
pub(crate) fn barrier<S: Sleeper>(half: &S) {
    if needs_barrier(half) && !mutant!("barrier_none") {
        half.park().barrier();
    }
}

/// Whether there is to be a barrier between announcing, which was done, and looking again.
pub(crate) fn needs_barrier<S: Sleeper>(half: &S) -> bool {
    half.barriers() && !half.is_spared()
}

/// The same as [`announce`] without the barrier, which has to follow.
pub(crate) fn say_asleep<S: Sleeper>(half: &mut S, want: u32, exclusive: bool) {
    let flag = if exclusive || mutant!("exclusive_always") { cursor::EXCLUSIVE } else { 0 };
    half.parked();
    ordering::announce(half.park_word(), half.asleep_until(want) | flag);
    set_wake_method(half, When::AfterAnnouncing);
    ordering::fence_announced();
}

/// The re-check. What it loads is what the sleep compares with. (In a mutant it is a look from before.)
pub(crate) fn look_again<S: Sleeper>(half: &mut S, early: Option<Look>) -> Result<Look, Stopped> {
    early.map_or_else(|| half.look(), Ok)
}

/// How a sleep went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slept {
    /// The half is awake, or was never asleep: what there is, a look will say.
    ToBeLookedAt,
    /// The deadline has passed.
    TimedOut,
    /// The half did not sleep, because the peer sleeps until this party does something.
    NotForDeadlock,
}

/// Sleeps on the peer's cursor, on the alert if there is one, and on the peer's park word if that is to be watched: on
/// each while it is what was checked. Unless this would be a deadlock, and it is this party that reports.
fn sleep<S: Sleeper>(
    half: &mut S,
    look: Look,
    alerted: u32,
    exclusive: Option<(&Exclusive<'_>, Option<u32>)>,
    deadline: Deadline<S>,
) -> Slept {
    let peer = exclusive.map(|(exclusive, early)| (exclusive, early.unwrap_or_else(|| exclusive.look())));
    if let Some((exclusive, park)) = peer
        && exclusive.is_stuck(park)
    {
        if exclusive.reports() {
            return Slept::NotForDeadlock;
        }
        exclusive.ring(half.park());
        half.woke_peer();
    }
    let cursor = cursor_watch(half, look);
    let alert = alert_watch(half, alerted);
    let peer = peer.and_then(|(exclusive, park)| exclusive.watch(park));
    let wake = match (alert, peer) {
        (None, None) => half.park().wait(&[cursor], deadline),
        (Some(other), None) | (None, Some(other)) => half.park().wait(&[cursor, other], deadline),
        (Some(alert), Some(peer)) => half.park().wait(&[cursor, alert, peer], deadline),
    };
    if wake == Wake::TimedOut { Slept::TimedOut } else { Slept::ToBeLookedAt }
}

/// The peer's cursor, as it was checked. (In a mutant it is as it is now.)
fn cursor_watch<S: Sleeper>(half: &S, look: Look) -> Watch<'_> {
    let afresh = mutant!("seen_loaded_afresh");
    let seen = if afresh { ordering::peer_sent(half.peer_cursor()) } else { look.seen };
    Watch { word: SharedWord::new(half.peer_cursor()), seen, place: Place::Shared }
}

/// The alert word, as it was checked. (In mutants it is as it is now, or there is none.)
fn alert_watch<S: Sleeper>(half: &S, alerted: u32) -> Option<Watch<'_>> {
    let word = half.park().alert().filter(|_| !mutant!("alert_not_watched"))?;
    let seen = if mutant!("alert_seen_afresh") { alerts(half) } else { alerted };
    Some(Watch { word, seen, place: Place::Local })
}

/// A peer that died asleep still says that it sleeps. (In a mutant it is taken at its word.)
fn ask_if_peer_lives<S: Sleeper>(half: &S) {
    if !mutant!("deadlock_with_the_dead") {
        half.park().ask();
    }
}

/// Looks once more, awake. Whether there is enough; if not, and there is a reason to give up, that; if none, again.
fn is_over<S: Sleeper>(half: &mut S, want: u32, slept: Slept, rechecked: Look) -> Result<bool, Stopped> {
    // The alert first, then the cursor: after the peer's death what the cursor says is final. And the peer's park word
    // first, then the cursor: what the peer published before it parked is no deadlock.
    let early = weakened::last_look_early(half, slept, rechecked)?;
    let alerted = alerts(half);
    weakened::last_look_left_out(alerted)?;
    if look_again(half, early)?.enough(want) {
        return Ok(true);
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
    match slept {
        Slept::ToBeLookedAt => Ok(false),
        Slept::TimedOut => Err(Stopped::TimedOut),
        Slept::NotForDeadlock => Err(Stopped::Deadlock),
    }
}

/// The half's alert bits; 0 if nothing can alert it. Bits that mean nothing here are left out.
#[inline(always)]
pub(crate) fn alerts<S: Sleeper>(half: &S) -> u32 {
    half.park().alert().map_or(0, SharedWord::load_alert) & (ALERT_GONE | ALERT_CANCEL | ALERT_CORRUPT)
}

/// Steps of [`wait`] that only mutants take: in an ordinary build each of these does nothing.
mod weakened {
    use super::{Exclusive, Look, Sleeper, Slept, Stopped};
    use crate::mutant::mutant;
    use crate::park::ALERT_GONE;

    /// What was looked at before announcing instead of after it.
    #[derive(Clone, Copy)]
    pub(super) struct Early {
        pub(super) look: Option<Look>,
        pub(super) peer_park: Option<u32>,
    }

    pub(super) fn looks_early<S: Sleeper>(half: &mut S, exclusive: Option<&Exclusive<'_>>) -> Result<Early, Stopped> {
        let look = mutant!("recheck_none").then(|| half.look()).transpose()?;
        let peer_park = exclusive.filter(|_| mutant!("deadlock_looked_early")).map(Exclusive::look);
        Ok(Early { look, peer_park })
    }

    pub(super) fn is_spared_early<S: Sleeper>(half: &S) -> bool {
        mutant!("spared_early") && half.is_spared()
    }

    pub(super) fn last_look_early<S: Sleeper>(
        half: &mut S,
        slept: Slept,
        rechecked: Look,
    ) -> Result<Option<Look>, Stopped> {
        if mutant!("alert_after_final_look") {
            return half.look().map(Some);
        }
        let deadlock = slept == Slept::NotForDeadlock;
        Ok((deadlock && mutant!("deadlock_not_looked_again")).then_some(rechecked))
    }

    pub(super) fn last_look_left_out(alerted: u32) -> Result<(), Stopped> {
        if mutant!("final_look_none") && alerted & ALERT_GONE != 0 {
            return Err(Stopped::Gone);
        }
        Ok(())
    }
}
