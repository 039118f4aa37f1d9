//! What the reading half knows, for others to ask.

use super::Consumer;
use crate::counter::Counts;
use crate::cursor::FIN;
use crate::layout::CounterLine;
use crate::park::Park;
use crate::size::to_usize;

impl<'m, P: Park> Consumer<'m, P> {
    /// The bytes the peer's lane holds.
    pub fn capacity(&self) -> usize {
        to_usize(self.ring.capacity())
    }

    /// Bytes known to be there without looking at the peer's words. There may be more; there are not less. None once
    /// this half has stopped.
    #[inline]
    pub fn known_bytes(&self) -> usize {
        if self.stopped { 0 } else { to_usize(self.bytes()) }
    }

    /// Bytes taken whose room has not been given back.
    pub fn unflushed(&self) -> usize {
        to_usize(self.deferred)
    }

    /// How this half sleeps and wakes.
    pub fn park(&self) -> &P {
        &self.park
    }

    /// Where this half counts what it does: for other threads, which may [sample](CounterLine::sample) it at any time.
    pub fn counters(&self) -> &'m CounterLine {
        &self.mine.reads
    }

    /// What this half has done so far; all 0 if its party keeps no [counters](crate::layout::Features::COUNTERS).
    pub fn counts(&self) -> Counts {
        self.mine.reads.sample()
    }

    /// Whether this half has said that it takes no more.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the peer was seen to have sent its last byte. There may still be bytes to read.
    pub fn is_peer_finished(&self) -> bool {
        self.word_seen & FIN != 0
    }

    /// Whether the peer's words broke the rules.
    pub fn is_corrupt(&self) -> bool {
        self.corrupt
    }
}

impl<P> core::fmt::Debug for Consumer<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Consumer")
            .field("capacity", &self.ring.capacity())
            .field("received", &self.received)
            .field("deferred", &self.deferred)
            .field("word_seen", &format_args!("{:#x}", self.word_seen))
            .field("stopped", &self.stopped)
            .field("corrupt", &self.corrupt)
            .finish_non_exhaustive()
    }
}
