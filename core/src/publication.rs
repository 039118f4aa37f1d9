//! How a half publishes its cursor, and wakes the peer's half if that waits for it. See [`park`](crate::park).

use crate::cursor;
use crate::mutant::mutant;
use crate::ordering;
use crate::park::Park;
use crate::sync::AtomicU32;
use crate::word::SharedWord;

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
}

impl Publication<'_> {
    /// Publishes a cursor that moves from `old` to `new`, for the `last` time or not, and wakes the peer if that crosses
    /// its threshold. Says whether it did.
    #[inline(always)]
    pub(crate) fn publish<P: Park>(&self, park: &P, old: u32, new: u32, last: bool) -> bool {
        let early = mutant!("wake_decided_early").then(|| ordering::peer_park(self.peer_park));
        self.store(old, new, last);
        ordering::fence_published();
        let asleep = early.unwrap_or_else(|| ordering::peer_park(self.peer_park));
        let crossed = cursor::crosses(asleep, old, new, last, self.capacity);
        if crossed {
            self.wake(park);
        }
        self.store_late(new, last);
        crossed
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
    fn store_late(&self, new: u32, last: bool) {
        if last && mutant!("fin_after_wake") {
            (self.store)(self.word, new | cursor::FIN);
        }
    }

    #[cold]
    fn wake<P: Park>(&self, park: &P) {
        park.wake(SharedWord::new(self.word), ordering::peer_wake_method(self.peer_wake_method));
    }
}
