//! What the peer of a reading half has done: each look at its words, and the check of what they say.

use super::Consumer;
use crate::cursor;
use crate::error::ReadError;
use crate::mutant::mutant;
use crate::ordering;
use crate::park::{ALERT_CORRUPT, ALERT_GONE, Park};
use crate::size::saturating;
use crate::waiting::{Stopped, alerts};

impl<P: Park> Consumer<'_, P> {
    /// Bytes after looking at the peer's cursor, if what is known is short of `len`. `Ok(0)` is the end of the stream.
    #[inline(always)]
    pub(in crate::lane) fn bytes_for(&mut self, len: usize) -> Result<u32, ReadError> {
        if self.corrupt {
            return Err(ReadError::Corrupt);
        }
        if self.stopped {
            return Ok(0);
        }
        if self.bytes() < saturating(len) && !self.is_peer_finished() {
            // The alert first, then the cursor: after the peer's death what the cursor says is final.
            let before = mutant!("alert_after_refresh").then(|| self.refresh());
            let alerted = alerts(self);
            if before.unwrap_or_else(|| self.refresh()).is_err() || alerted & ALERT_CORRUPT != 0 {
                self.fail();
                return Err(ReadError::Corrupt);
            }
            if self.bytes() == 0 && !self.is_peer_finished() {
                return Err(if alerted & ALERT_GONE != 0 { ReadError::PeerGone } else { ReadError::Empty });
            }
        }
        Ok(self.bytes())
    }

    /// Loads the peer's `sent` once and checks it.
    #[inline]
    pub(super) fn refresh(&mut self) -> Result<u32, Stopped> {
        if self.corrupt {
            return Err(Stopped::Corrupt);
        }
        let word = ordering::peer_sent(&self.peer.sent.word);
        if word != self.word_seen {
            if !cursor::accepts_sent(word, self.word_seen, self.published(), self.ring.capacity()) {
                self.fail();
                return Err(Stopped::Corrupt);
            }
            self.word_seen = word;
            self.settle();
        }
        Ok(word)
    }
}
