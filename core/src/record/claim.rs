//! Room for a record that is filled in place.

use super::{BeyondClaim, HEADER, frame};
use crate::lane::Reservation;
use crate::mutant::mutant;
use crate::park::Park;
use crate::size::{at_most, to_usize};

pub(super) fn put_header<P: Park>(reservation: &mut Reservation<'_, '_, P>, at: u32, header: u32) {
    reservation.put(to_usize(at), &header.to_ne_bytes());
}

/// Room for a record, to be filled front to back with [`write`](Claim::write) or anywhere with [`put`](Claim::put).
///
/// Dropping or [aborting](Claim::abort) it leaves the lane as it was.
#[derive(Debug)]
#[must_use = "a claim that is not committed is aborted"]
pub struct Claim<'r, 'm, P: Park> {
    reservation: Reservation<'r, 'm, P>,
    len: u32,
    filled: u32,
}

impl<'r, 'm, P: Park> Claim<'r, 'm, P> {
    /// `reservation` has room for the frame of a record of `len` bytes.
    pub(super) fn new(reservation: Reservation<'r, 'm, P>, len: u32) -> Self {
        Claim { reservation, len, filled: 0 }
    }

    /// The bytes that were claimed.
    pub fn len(&self) -> usize {
        to_usize(self.len)
    }

    /// Whether only an empty record was claimed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes written by [`write`](Claim::write) so far.
    pub fn filled(&self) -> usize {
        to_usize(self.filled)
    }

    /// Appends `bytes` to what was filled. Returns how many fitted.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let n = self.put(to_usize(self.filled), bytes);
        self.filled += at_most(n, self.len);
        n
    }

    /// Copies `bytes` to position `at` of the record. Returns how many fitted. Does not count as filled.
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.len().saturating_sub(at));
        if n == 0 { 0 } else { self.reservation.put(to_usize(HEADER) + at, &bytes[..n]) }
    }

    /// Sends all bytes that were claimed as one record. Bytes that were not filled are what lay there before.
    ///
    /// # Errors
    /// None. It has the type of [`commit_len`](Claim::commit_len).
    pub fn commit(self) -> Result<(), BeyondClaim> {
        let len = self.len();
        self.commit_len(len)
    }

    /// Sends what [`write`](Claim::write) has filled.
    ///
    /// # Errors
    /// None, as for [`commit`](Claim::commit).
    pub fn commit_filled(self) -> Result<(), BeyondClaim> {
        let len = to_usize(self.filled);
        self.commit_len(len)
    }

    /// Sends the first `len` bytes as one record.
    ///
    /// # Errors
    /// [`BeyondClaim`]: fewer were claimed. Nothing was sent.
    pub fn commit_len(mut self, len: usize) -> Result<(), BeyondClaim> {
        if len > self.len() {
            return Err(BeyondClaim { claimed: self.len() });
        }
        let len = at_most(len, self.len);
        put_header(&mut self.reservation, 0, len);
        let whole = if mutant!("record_cut_short") { HEADER } else { frame(len) };
        self.reservation.commit(to_usize(whole));
        Ok(())
    }

    /// Sends nothing.
    pub fn abort(self) {}
}
