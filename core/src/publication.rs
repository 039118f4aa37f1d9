//! How a half publishes its cursor, and wakes the peer's half if that waits for it. See [`park`](crate::park).

use crate::cursor;
use crate::layout::Features;
use crate::mutant::mutant;
use crate::ordering;
use crate::park::Park;
use crate::sync::AtomicU32;
use crate::word::SharedWord;

/// What stands between storing a cursor and looking if the peer sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fence {
    /// Nothing: the peer never sleeps, so there is no look.
    NoLook,
    /// What the peer's barrier needs.
    Light,
    /// A full fence.
    Full,
}

impl Fence {
    /// For a half that publishes for a peer with these features.
    pub(crate) fn towards<P: Park>(peer: Features, park: &P) -> Self {
        let promised = peer.contains(Features::BARRIER) || mutant!("light_unpromised");
        let reached = park.is_reached() || mutant!("light_unreached");
        if peer.contains(Features::AWAKE) {
            Fence::NoLook
        } else if promised && reached {
            Fence::Light
        } else {
            Fence::Full
        }
    }
}

/// The words and the capacity that a publication has to do with.
pub(crate) struct Publication<'a> {
    /// The cursor word that is published.
    pub(crate) word: &'a AtomicU32,
    /// How it is stored: the edge of [`ordering`] that it is.
    pub(crate) store: fn(&AtomicU32, u32),
    /// The park word of the peer's half that may sleep on it.
    pub(crate) peer_park: &'a AtomicU32,
    /// The wake method of that half.
    pub(crate) peer_wake_method: &'a AtomicU32,
    /// The lane's capacity: no honest threshold is farther ahead.
    pub(crate) capacity: u32,
    pub(crate) fence: Fence,
}

impl Publication<'_> {
    /// Publishes a cursor that moves from `old` to `new`, for the `last` time or not. Returns the peer's park word, or 0 if it never
    /// sleeps: if that says ASLEEP, [`wake_if_crossed`](Self::wake_if_crossed) comes next.
    #[inline(always)]
    pub(crate) fn publish(&self, old: u32, new: u32, last: bool) -> u32 {
        let early = mutant!("wake_decided_early").then(|| ordering::peer_park(self.peer_park));
        self.store(old, new, last);
        if self.fence == Fence::NoLook {
            return 0;
        }
        if self.fence == Fence::Light {
            ordering::fence_published_light();
        } else {
            ordering::fence_published();
        }
        early.unwrap_or_else(|| ordering::peer_park(self.peer_park))
    }

    /// Wakes the peer whose park word was `asleep` if the publication has crossed its threshold. Says whether it has.
    #[cold]
    pub(crate) fn wake_if_crossed<P: Park>(&self, park: &P, asleep: u32, old: u32, new: u32, last: bool) -> bool {
        let crossed = cursor::crosses(asleep, old, new, last, self.capacity);
        if crossed {
            park.wake(SharedWord::new(self.word), ordering::peer_wake_method(self.peer_wake_method));
        }
        crossed
    }

    /// Publishes a cursor that has not moved for the last time, and wakes the peer if it sleeps.
    pub(crate) fn publish_and_wake<P: Park>(&self, park: &P, at: u32) {
        let asleep = self.publish(at, at, true);
        self.wake_if_crossed(park, asleep, at, at, true);
        self.store_late(at, true);
    }

    /// Stores the cursor, with its final bit if it is the last.
    #[inline(always)]
    fn store(&self, old: u32, new: u32, last: bool) {
        if last && mutant!("fin_before_data") {
            (self.store)(self.word, old | cursor::FIN);
        }
        let last = last && !mutant!("fin_after_wake");
        (self.store)(self.word, if last { new | cursor::FIN } else { new });
    }

    /// Nothing, but in the mutant that stores the final bit too late.
    #[inline(always)]
    pub(crate) fn store_late(&self, new: u32, last: bool) {
        if last && mutant!("fin_after_wake") {
            (self.store)(self.word, new | cursor::FIN);
        }
    }
}
