//! What the writing half knows, for others to ask.

use super::Producer;
use crate::counter::Counts;
use crate::cursor::{self, STOP};
use crate::layout::CounterLine;
use crate::park::{ALERT_GONE, Park};
use crate::size::to_usize;
use crate::waiting::alerts;

impl<'m, P: Park> Producer<'m, P> {
    /// The bytes my lane holds.
    pub fn capacity(&self) -> usize {
        to_usize(self.ring.capacity())
    }

    /// Room known without looking at the peer's words. There may be more; there is not less.
    #[inline]
    pub fn known_room(&self) -> usize {
        to_usize(self.room())
    }

    /// Bytes written and not yet flushed.
    pub fn unflushed(&self) -> usize {
        to_usize(self.deferred)
    }

    /// Published bytes that the peer had not taken when its cursor was last looked at.
    pub fn in_flight(&self) -> usize {
        to_usize(cursor::diff(self.published(), self.word_seen))
    }

    /// Bytes that were written and that the peer will never take, because it has stopped, died or turned corrupt. `None`
    /// while it may still take them. Looks at the peer's words.
    pub fn undelivered(&mut self) -> Option<usize> {
        // The alert first, then the cursor: after the peer's death what the cursor says is final.
        let gone = alerts(self) & ALERT_GONE != 0;
        let _ = self.refresh();
        (gone || self.corrupt || self.is_peer_stopped()).then(|| self.in_flight() + self.unflushed())
    }

    /// How this half sleeps and wakes.
    pub fn park(&self) -> &P {
        &self.park
    }

    /// Where this half counts what it does: for other threads, which may [sample](CounterLine::sample) it at any time.
    pub fn counters(&self) -> &'m CounterLine {
        &self.mine.writes
    }

    /// What this half has done so far; all 0 if its party keeps no [counters](crate::layout::Features::COUNTERS).
    pub fn counts(&self) -> Counts {
        self.mine.writes.sample()
    }

    /// Whether this half has said that no more bytes will come.
    pub fn is_finished(&self) -> bool {
        self.fin
    }

    /// Whether the peer was seen to take no more bytes.
    pub fn is_peer_stopped(&self) -> bool {
        self.word_seen & STOP != 0
    }

    /// Whether the peer's words broke the rules.
    pub fn is_corrupt(&self) -> bool {
        self.corrupt
    }
}

impl<P> core::fmt::Debug for Producer<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &self.ring.capacity())
            .field("sent", &self.sent)
            .field("deferred", &self.deferred)
            .field("word_seen", &format_args!("{:#x}", self.word_seen))
            .field("finished", &self.fin)
            .field("corrupt", &self.corrupt)
            .finish_non_exhaustive()
    }
}
