//! Detecting a deadlock: both parties sleep, each waits for the other, and no other thread can act for either.
//!
//! A half may park for its *whole* party: the caller holds both halves, and waits without a deadline. It says so by EXCLUSIVE
//! in its park word. If the peer's half for the same direction says the same, at a threshold that I have not reached, then
//! both read empty lanes, or both write full ones, and neither will ever go on:
//!
//! ```text
//! party 0, which reports                      party 1, which wakes
//! store ASLEEP | EXCLUSIVE | threshold                 the same
//! fence                     (SeqCst)          the same
//! load the peer's cursor: not enough          the same
//! load the peer's park word (acquire)         the same
//! stuck? withdraw; ask if the peer lives;     stuck? ring party 0 once
//!   load its cursor again; report
//! sleep on the peer's cursor and on its       sleep on the peer's cursor
//!   park word, each as it was checked
//! ```
//!
//! * *Exactly one wait returns it*, because only party 0 reports. Of two that store, fence and load, one sees the other. If it is
//!   party 1, its ring finds party 0 asleep, or its park word is no longer what party 0 is going to sleep on.
//! * *It is never reported when it is not so.* A peer that was seen stuck stays so until I publish: it sleeps, untimed, and no other thread
//!   of its party can act. A word that is out of date says the same: the peer left that wait only because I had
//!   published what it waited for, so that the threshold is not ahead of my cursor.
//! * *What the peer published before it parked is found*, because the cursor is loaded again after the park word.
//!
//! Stuck is not for ever: party 0 may write, read or close, and thereby wakes the other.

use crate::cursor;
use crate::mutant::mutant;
use crate::ordering;
use crate::park::{Park, Place, Watch};
use crate::sync::AtomicU32;
use crate::word::SharedWord;

/// What a half knows of its other half and of the peer, while it waits for the whole party. Nothing of it changes during
/// the wait, because the caller holds the other half.
pub(crate) struct Exclusive<'a> {
    /// Whether this is party 0.
    pub(crate) reports: bool,
    /// The park word of the peer's half that does what I do: read, or write.
    pub(crate) peer_park: &'a AtomicU32,
    /// The wake method of that half.
    pub(crate) peer_wake_method: &'a AtomicU32,
    /// My cursor that this half of the peer waits for.
    pub(crate) word: &'a AtomicU32,
    /// What I have published there.
    pub(crate) published: u32,
    /// The capacity of the lane that it belongs to: no honest threshold is farther ahead.
    pub(crate) capacity: u32,
}

impl Exclusive<'_> {
    /// Loads the peer's park word.
    pub(crate) fn look(&self) -> u32 {
        ordering::peer_exclusive(self.peer_park)
    }

    /// Whether a peer with this park word sleeps until I publish more.
    pub(crate) fn is_stuck(&self, peer_park: u32) -> bool {
        let asleep = peer_park & cursor::ASLEEP != 0;
        let whole = cursor::is_exclusive(peer_park) || (asleep && mutant!("deadlock_with_anyone"));
        let ahead = cursor::is_ahead(peer_park, self.published, self.capacity);
        whole && (ahead || mutant!("deadlock_mark_untested"))
    }

    /// Wakes the peer, so that it looks at my park word. Only party 1 does.
    pub(crate) fn ring<P: Park>(&self, park: &P) {
        if !mutant!("deadlock_wakes_never") {
            park.wake(SharedWord::new(self.word), ordering::peer_wake_method(self.peer_wake_method));
        }
    }

    /// Whether this party reports. If not, it rings.
    pub(crate) fn reports(&self) -> bool {
        (self.reports || mutant!("deadlock_reported_by_both")) && !mutant!("deadlock_reported_by_none")
    }

    /// The word that party 0 sleeps on besides the cursor: party 1 may park at any moment.
    pub(crate) fn watch(&self, seen: u32) -> Option<Watch<'_>> {
        if !self.reports() || mutant!("deadlock_park_not_watched") {
            return None;
        }
        let afresh = mutant!("deadlock_park_seen_afresh");
        let seen = if afresh { self.look() } else { seen };
        Some(Watch { word: SharedWord::new(self.peer_park), seen, place: Place::Shared })
    }
}
