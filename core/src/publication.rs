//! How a half publishes its cursor, and wakes the peer's half if that waits for it. See [`park`](crate::park).

use crate::cursor;
use crate::layout::Features;
use crate::mutant::mutant;
use crate::ordering;
use crate::park::Park;
use crate::sync::AtomicU32;
use crate::word::SharedWord;

/// What stands between storing a cursor and looking if the peer sleeps. One byte, for a half is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence(u8);

/// Publications without a wake after which a publisher goes without its full fence. A fence costs some tens of nanoseconds, the
/// barrier of a sleeper some microseconds, so this is about what one barrier costs: whatever the peer does, the two together cost no
/// more than about twice the better choice.
const CALM: u8 = if cfg!(loom) { 1 } else { 128 };

impl Fence {
    /// Nothing: the peer never sleeps, so there is no look.
    pub(crate) const NO_LOOK: Fence = Fence(0);
    /// What the peer's barrier needs.
    pub(crate) const LIGHT: Fence = Fence(1);
    /// A full fence.
    pub(crate) const FULL: Fence = Fence(u8::MAX);
    /// A full fence, for [`CALM`] publications more that wake no one; each takes 1 away, down to [`LIGHT`](Fence::LIGHT).
    const FOR_A_WHILE: Fence = Fence(Fence::LIGHT.0 + CALM);

    /// For a half that publishes for a peer with these features.
    pub(crate) fn towards<P: Park>(peer: Features, park: &P) -> Self {
        let promised = peer.contains(Features::BARRIER) || mutant!("light_unpromised");
        let reached = park.is_reached() || mutant!("light_unreached");
        if peer.contains(Features::AWAKE) {
            Fence::NO_LOOK
        } else if promised && reached {
            Fence::LIGHT
        } else {
            Fence::FULL
        }
    }

    /// Says in the half's fence word which one it is, before the first publication. The word may be from an end that was here before.
    pub(crate) fn say(self, word: &AtomicU32) {
        match self {
            Fence::FULL => ordering::say_fenced(word),
            _ => ordering::say_unfenced(word),
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
    /// What stands between storing the cursor and looking if the peer sleeps.
    pub(crate) fence: &'a mut Fence,
    /// Where this half says whether it fences; nowhere, if the peer issues no barriers.
    pub(crate) fence_word: Option<&'a AtomicU32>,
}

impl Publication<'_> {
    /// Publishes a cursor that moves from `old` to `new`, for the `last` time or not. Returns the peer's park word, or 0 if it never
    /// sleeps: if that says ASLEEP, [`wake_if_crossed`](Self::wake_if_crossed) comes next.
    #[inline(always)]
    pub(crate) fn publish(&mut self, old: u32, new: u32, last: bool) -> u32 {
        let early = mutant!("wake_decided_early").then(|| ordering::peer_park(self.peer_park));
        self.store(old, new, last);
        match *self.fence {
            Fence::NO_LOOK => return 0,
            Fence::LIGHT => ordering::fence_published_light(),
            _ => {
                ordering::fence_published();
                self.has_fenced();
            }
        }
        early.unwrap_or_else(|| ordering::peer_park(self.peer_park))
    }

    /// Wakes the peer whose park word was `asleep` if the publication has crossed its threshold. Says whether it has.
    #[cold]
    pub(crate) fn wake_if_crossed<P: Park>(&mut self, park: &P, asleep: u32, old: u32, new: u32, last: bool) -> bool {
        let crossed = cursor::crosses(asleep, old, new, last, self.capacity);
        if crossed {
            self.has_woken();
            park.wake(SharedWord::new(self.word), ordering::peer_wake_method(self.peer_wake_method));
        }
        crossed
    }

    /// Publishes a cursor that has not moved for the last time, and wakes the peer if it sleeps.
    pub(crate) fn publish_and_wake<P: Park>(&mut self, park: &P, at: u32) {
        let asleep = self.publish(at, at, true);
        self.wake_if_crossed(park, asleep, at, at, true);
        self.store_late(at, true);
    }

    /// The peer slept, and it will again: from now on it is spared its barrier.
    fn has_woken(&mut self) {
        if let Some(word) = self.fence_word
            && !matches!(*self.fence, Fence::FULL)
        {
            if matches!(*self.fence, Fence::LIGHT) {
                ordering::say_fenced(word);
            }
            *self.fence = Fence::FOR_A_WHILE;
        }
    }

    /// This was one of the publications with a full fence.
    #[inline(always)]
    fn has_fenced(&mut self) {
        if let Some(word) = self.fence_word
            && !matches!(*self.fence, Fence::FULL)
        {
            // No overflow: this is none of the two below `FOR_A_WHILE`.
            self.fence.0 -= 1;
            if matches!(*self.fence, Fence::LIGHT) {
                ordering::say_unfenced(word);
            }
        }
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
