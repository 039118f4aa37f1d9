//! Parking in steps, for callers that wait for several things at once: announce on each half, sleep on all words, withdraw.
//!
//! It is the protocol of [`park`](crate::park), without the sleep in the middle: a half announces that it is asleep,
//! looks again, and hands out the words to sleep on, each with the value that was checked. Between announcing and
//! withdrawing the peer rings as it would ring a half that sleeps in [`wait`](Consumer::wait).

use super::{Consumer, Producer};
use crate::cursor::{self, STOPPED_HINT};
use crate::mutant::mutant;
use crate::ordering;
use crate::park::{Park, Place, Watch};
use crate::size::{at_most, saturating};
use crate::waiting::{self, Look, Sleeper, Stopped, When, alerts, set_wake_method};
use crate::word::SharedWord;

/// What announcing came to.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub enum Announced<'a> {
    /// There is nothing to sleep for: reading or writing would not wait now. The half is awake, as before.
    Ready,
    /// The half is announced. Sleep only while each of these words holds what was seen, then withdraw.
    Asleep {
        /// The peer's cursor.
        cursor: Watch<'a>,
        /// The alert word of the half, if it has one.
        alert: Option<Watch<'a>>,
    },
}

impl<P: Park> Consumer<'_, P> {
    /// Whether [`read`](Consumer::read) would return at once: there are `want` bytes, the end of the stream is near, or an
    /// error. Looks at the peer's words.
    ///
    /// `want` is taken as at least 1 and at most half the capacity, as in [`wait`](Consumer::wait).
    #[inline]
    pub fn is_ready(&mut self, want: usize) -> bool {
        self.is_stopped() || is_ready(self, wanted(want, self.capacity()))
    }

    /// Says to the peer that this half sleeps until there are `want` bytes, and looks again. The room of bytes taken is
    /// given back first. It does not sleep; who does must sleep on the words that this returns, at the values that it
    /// returns, and then [`withdraw`](Consumer::withdraw).
    ///
    /// To announce again, at another threshold, needs no withdrawing before.
    pub fn announce(&mut self, want: usize) -> Announced<'_> {
        let before = mutant!("announced_recheck_none").then(|| self.look());
        self.say_asleep(want);
        waiting::barrier(self);
        self.looked_again(want, before)
    }

    /// The first step of [`announce`](Self::announce), for callers that announce many halves: they issue one
    /// [barrier](Park::barrier) for all, if any of these [needs one](Self::needs_barrier), and then have each
    /// [look again](Self::look_again).
    pub fn say_asleep(&mut self, want: usize) {
        if self.is_stopped() {
            return;
        }
        if !mutant!("announced_unflushed") {
            self.flush();
        }
        let want = wanted(want, self.capacity());
        set_wake_method(self, When::BeforeAnnouncing);
        waiting::say_asleep(self, want, false);
    }

    /// Whether a [barrier](Park::barrier) has to be issued between [`say_asleep`](Self::say_asleep), which was called before this, and
    /// [`look_again`](Self::look_again). Looks at the peer's words.
    pub fn needs_barrier(&self) -> bool {
        waiting::needs_barrier(self)
    }

    /// The last step of [`announce`](Self::announce): what that returns. `want` is as in the first step.
    pub fn look_again(&mut self, want: usize) -> Announced<'_> {
        self.looked_again(want, None)
    }

    fn looked_again(&mut self, want: usize, before: Option<Result<Look, Stopped>>) -> Announced<'_> {
        if self.is_stopped() {
            return Announced::Ready;
        }
        let want = wanted(want, self.capacity());
        match look_again(self, want, before) {
            Some((seen, alerted)) => asleep(self, seen, alerted),
            None => {
                self.withdraw();
                Announced::Ready
            }
        }
    }

    /// Takes back what [`announce`](Consumer::announce) said: the half is awake. Without that, it does nothing.
    pub fn withdraw(&mut self) {
        // A half that has stopped, or found the peer corrupt while announced, goes on saying so.
        if self.is_stopped() && !mutant!("withdrawn_hint") {
            ordering::announce(self.park_word(), STOPPED_HINT);
        } else {
            ordering::withdraw(self.park_word());
        }
    }
}

impl<P: Park> Producer<'_, P> {
    /// Whether [`write`](Producer::write) would return at once: there is room for `want` bytes, or an error. Looks at the
    /// peer's words.
    ///
    /// `want` is taken as at least 1 and at most half the capacity, as in [`wait`](Producer::wait).
    #[inline]
    pub fn is_ready(&mut self, want: usize) -> bool {
        let want = self.usual(want);
        self.has_room_for(want)
    }

    /// [`is_ready`](Self::is_ready), for exactly `want`: it is [usual](Self::usual), or the peer reads records and it is at most the
    /// capacity.
    #[inline]
    pub(crate) fn has_room_for(&mut self, want: u32) -> bool {
        self.is_finished() || is_ready(self, want)
    }

    /// Says to the peer that this half sleeps until there is room for `want` bytes, and looks again. Unflushed bytes are
    /// published first. It does not sleep; who does must sleep on the words that this returns, at the values that it
    /// returns, and then [`withdraw`](Producer::withdraw).
    ///
    /// To announce again, at another threshold, needs no withdrawing before.
    pub fn announce(&mut self, want: usize) -> Announced<'_> {
        let want = self.usual(want);
        self.announce_for(want)
    }

    /// [`announce`](Self::announce), for exactly `want`: it is [usual](Self::usual), or the peer reads records and it is at most the
    /// capacity.
    pub(crate) fn announce_for(&mut self, want: u32) -> Announced<'_> {
        let before = mutant!("announced_recheck_none").then(|| self.look());
        self.say_asleep_for(want);
        waiting::barrier(self);
        self.looked_again(want, before)
    }

    /// The first step of [`announce`](Self::announce), for callers that announce many halves: they issue one
    /// [barrier](Park::barrier) for all, if any of these [needs one](Self::needs_barrier), and then have each
    /// [look again](Self::look_again).
    pub fn say_asleep(&mut self, want: usize) {
        let want = self.usual(want);
        self.say_asleep_for(want);
    }

    fn say_asleep_for(&mut self, want: u32) {
        if self.is_finished() {
            return;
        }
        if !mutant!("announced_unflushed") {
            self.flush();
        }
        set_wake_method(self, When::BeforeAnnouncing);
        waiting::say_asleep(self, want, false);
    }

    /// Whether a [barrier](Park::barrier) has to be issued between [`say_asleep`](Self::say_asleep), which was called before this, and
    /// [`look_again`](Self::look_again). Looks at the peer's words.
    pub fn needs_barrier(&self) -> bool {
        waiting::needs_barrier(self)
    }

    /// The last step of [`announce`](Self::announce): what that returns. `want` is as in the first step.
    pub fn look_again(&mut self, want: usize) -> Announced<'_> {
        let want = self.usual(want);
        self.looked_again(want, None)
    }

    fn looked_again(&mut self, want: u32, before: Option<Result<Look, Stopped>>) -> Announced<'_> {
        if self.is_finished() {
            return Announced::Ready;
        }
        match look_again(self, want, before) {
            Some((seen, alerted)) => asleep(self, seen, alerted),
            None => {
                self.withdraw();
                Announced::Ready
            }
        }
    }

    /// Takes back what [`announce`](Producer::announce) said: the half is awake. Without that, it does nothing.
    pub fn withdraw(&mut self) {
        ordering::withdraw(self.park_word());
    }
}

/// What may be waited for.
pub(super) fn wanted(want: usize, capacity: usize) -> u32 {
    at_most(want, cursor::max_wait(saturating(capacity))).max(1)
}

#[inline]
fn is_ready<S: Sleeper>(half: &mut S, want: u32) -> bool {
    alerts(half) != 0 || half.look().map_or(true, |look| look.enough(want))
}

/// Looks again, after announcing. What was seen: the peer's cursor and the alerts; `None`: that is enough. (In a mutant it is a
/// look from `before`.)
fn look_again<S: Sleeper>(half: &mut S, want: u32, before: Option<Result<Look, Stopped>>) -> Option<(u32, u32)> {
    let look = before.unwrap_or_else(|| half.look()).ok()?;
    let alerted = alerts(half);
    let enough = look.enough(want) || (alerted != 0 && !mutant!("announced_alert_unchecked"));
    (!enough).then_some((look.seen, alerted))
}

/// The words to sleep on.
fn asleep<S: Sleeper>(half: &S, seen: u32, alerted: u32) -> Announced<'_> {
    let seen = if mutant!("announced_seen_afresh") { ordering::peer_sent(half.peer_cursor()) } else { seen };
    let cursor = Watch { word: SharedWord::new(half.peer_cursor()), seen, place: Place::Shared };
    let alert = half.park().alert().map(|word| Watch { word, seen: alerted, place: Place::Local });
    Announced::Asleep { cursor, alert }
}
