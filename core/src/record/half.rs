//! Single records on a half that stays what it is: for code that owns the half and has no place for a wrapper of it.

use super::{Claim, HEADER, PADDING, Record, RecvError, SendError, frame};
use crate::error::WaitError;
use crate::lane::{Announced, Consumer, Producer};
use crate::mutant::{mutant, unless_mutant};
use crate::park::Park;
use crate::size::{at_most, saturating, to_usize};

/// Sending records. Bytes that are written in between are no records, and a reader of records finds them corrupt.
impl<'m, P: Park> Producer<'m, P> {
    /// The bytes of the longest record: the capacity less four. 0 also if the lane takes none at all.
    pub fn max_record(&self) -> usize {
        self.capacity().saturating_sub(to_usize(HEADER))
    }

    /// Sends one record, and wakes the reader if it waits for that. Bytes that were not flushed are published before it.
    ///
    /// # Errors
    /// [`SendError`], never [`Granted`](SendError::Granted). Nothing was sent then.
    pub fn send_record(&mut self, record: &[u8]) -> Result<(), SendError> {
        let mut claim = self.claim_record(record.len())?;
        claim.write(record);
        claim.commit().map_err(|_| SendError::TooLong)
    }

    /// Room for a record of up to `len` bytes, to be filled in place. It may wrap round the end of the lane.
    ///
    /// # Errors
    /// [`SendError`], never [`Granted`](SendError::Granted).
    pub fn claim_record(&mut self, len: usize) -> Result<Claim<'_, 'm, P>, SendError> {
        if len > self.max_record() || self.capacity() < to_usize(HEADER) {
            return Err(SendError::TooLong);
        }
        let len = saturating(len);
        Ok(Claim::new(self.reserve(to_usize(frame(len)))?, len))
    }

    /// Waits like [`wait`](Producer::wait) until there is room for a record of `len` bytes, however long: up to the whole
    /// lane.
    ///
    /// Only for a peer that reads records. It waits for a single byte and takes whole records, so that a lane in which there
    /// is too little room is never one that it waits for. A peer that waits for many bytes could wait for ever, and so could
    /// this half.
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::TimedOut`] there was no room at all.
    pub fn wait_for_record(&mut self, len: usize, deadline: Option<P::Deadline>) -> Result<usize, WaitError> {
        self.wait_for_room(self.room_of_record(len), deadline, None)
    }

    /// The same for the whole party, as in [`wait_exclusive`](Producer::wait_exclusive).
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_for_record_exclusive(
        &mut self,
        len: usize,
        other: &mut Consumer<'m, impl Park>,
    ) -> Result<usize, WaitError> {
        self.wait_for_room_exclusive(self.room_of_record(len), other)
    }

    /// Whether [`send_record`](Producer::send_record) of `len` bytes would return at once: there is room for all of it, or an
    /// error. Looks at the peer's words.
    pub fn is_ready_for_record(&mut self, len: usize) -> bool {
        self.has_room_for(self.room_of_record(len))
    }

    /// Says to the peer that this half sleeps until there is room for a record of `len` bytes, however long, and looks again: like
    /// [`announce`](Producer::announce). Only for a peer that reads records, as for
    /// [`wait_for_record`](Producer::wait_for_record).
    pub fn announce_for_record(&mut self, len: usize) -> Announced<'_> {
        self.announce_for(self.room_of_record(len))
    }

    fn room_of_record(&self, len: usize) -> u32 {
        let capacity = saturating(self.capacity());
        frame(at_most(len, saturating(self.max_record()))).min(capacity).max(1)
    }
}

/// Receiving records. Each header is copied out of the lane once, and checked before it is believed: it cannot make a read go
/// beyond the bytes that the peer has published.
impl<'m, P: Park> Consumer<'m, P> {
    /// The length of the next record, which stays. Padding before it is skipped. `None`: no more will come.
    ///
    /// # Errors
    /// [`RecvError`], of which [`Empty`](RecvError::Empty), [`PeerGone`](RecvError::PeerGone) and
    /// [`Corrupt`](RecvError::Corrupt) can be.
    pub fn record_len(&mut self) -> Result<Option<usize>, RecvError> {
        Ok(self.next_record()?.map(to_usize))
    }

    /// Receives the next record into `out`, and gives its room back. Returns its length. `None`: no more will come.
    ///
    /// # Errors
    /// [`RecvError`], never [`Granted`](RecvError::Granted); a record that is too long for `out` stays.
    pub fn recv_record(&mut self, out: &mut [u8]) -> Result<Option<usize>, RecvError> {
        let Some(record) = self.record()? else { return Ok(None) };
        let needed = record.len();
        let Some(out) = out.get_mut(..needed) else { return Err(RecvError::TooSmall { needed }) };
        record.copy_to(0, out);
        record.consume();
        Ok(Some(needed))
    }

    /// The next record where it lies. `None`: no more will come.
    ///
    /// # Errors
    /// As for [`record_len`](Consumer::record_len).
    pub fn record(&mut self) -> Result<Option<Record<'_, 'm, P>>, RecvError> {
        let Some(len) = self.next_record()? else { return Ok(None) };
        Ok(Some(Record::new(self.peek()?, len)))
    }

    /// The length of the next record, after skipping padding.
    pub(super) fn next_record(&mut self) -> Result<Option<u32>, RecvError> {
        let mut skipped = 0;
        // A peer that sends padding without an end does not keep this call for ever.
        while skipped <= self.capacity() {
            let peek = self.peek()?;
            let there = peek.len();
            if there == 0 {
                return Ok(None);
            }
            let mut header = [0; to_usize(HEADER)];
            let whole = peek.copy_to(0, &mut header) == header.len();
            let header = u32::from_ne_bytes(header);
            let len = header & !PADDING;
            // Records are published whole, so what a header promises is there, or the peer has lied. The first comparison
            // keeps the second from overflowing.
            let impossible = !whole || to_usize(len) > there || to_usize(frame(len)) > there;
            if unless_mutant!("accept_record_beyond", impossible, false) {
                self.fail();
                return Err(RecvError::Corrupt);
            }
            if header & PADDING == 0 || mutant!("padding_received") {
                return Ok(Some(len));
            }
            skipped += self.consume(to_usize(frame(len)));
        }
        Err(RecvError::Empty)
    }
}
