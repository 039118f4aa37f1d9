//! What the peer of a writing half has done: each look at its words, and the check of what they say.

use super::Producer;
use crate::cursor::{self, STOP};
use crate::error::WriteError;
use crate::ordering;
use crate::park::{ALERT_CORRUPT, ALERT_GONE, Park};
use crate::size::saturating;
use crate::waiting::{Stopped, alerts};

impl<P: Park> Producer<'_, P> {
    /// Room after looking at the peer's cursor, if what is known is short of `len`.
    #[inline(always)]
    pub(in crate::lane) fn room_for(&mut self, len: usize) -> Result<u32, WriteError> {
        if self.room() < saturating(len) {
            if self.refresh().is_err() {
                return Err(WriteError::Corrupt);
            }
            if self.is_peer_stopped() {
                return Err(WriteError::Closed);
            }
        }
        Ok(self.room())
    }

    /// Whether writing makes sense at all.
    #[inline(always)]
    pub(in crate::lane) fn check(&mut self) -> Result<(), WriteError> {
        if self.over || self.is_to_look() {
            return self.check_closely();
        }
        Ok(())
    }

    #[cold]
    fn check_closely(&mut self) -> Result<(), WriteError> {
        if self.corrupt {
            return Err(WriteError::Corrupt);
        }
        if self.fin || self.is_peer_stopped() {
            return Err(WriteError::Closed);
        }
        // The alert first, then the cursor: after the peer's death what the cursor says is final.
        let alerted = alerts(self);
        if alerted & ALERT_CORRUPT != 0 {
            self.fail();
            return Err(WriteError::Corrupt);
        }
        if self.refresh().is_err() {
            return Err(WriteError::Corrupt);
        }
        if self.is_peer_stopped() {
            return Err(WriteError::Closed);
        }
        if alerted & ALERT_GONE != 0 {
            return Err(WriteError::PeerGone);
        }
        Ok(())
    }

    /// Loads the peer's `received` once and checks it.
    #[inline]
    pub(super) fn refresh(&mut self) -> Result<u32, Stopped> {
        if self.corrupt {
            return Err(Stopped::Corrupt);
        }
        let word = ordering::peer_received(&self.peer.received.word);
        if word != self.word_seen {
            if !cursor::accepts_received(word, self.word_seen, self.published(), self.ring.capacity()) {
                self.fail();
                return Err(Stopped::Corrupt);
            }
            self.word_seen = word;
            self.over |= word & STOP != 0;
            self.settle();
        }
        Ok(word)
    }
}
