//! The half that sends records.

use core::marker::PhantomData;

use super::claim::put_header;
use super::{Claim, GrantError, HEADER, PADDING, SendError, WriteGrant, frame};
use crate::error::{ReserveError, WaitError};
use crate::lane::Producer;
use crate::park::Park;
use crate::size::{at_most, to_usize};
use crate::sync::LaneByte;

/// Sends whole records over a lane whose reader is a [`RecordReader`](super::RecordReader).
#[derive(Debug)]
pub struct RecordWriter<'m, P: Park> {
    producer: Producer<'m, P>,
    /// The grant that is out: where its room is, and how many bytes of padding come before its header.
    out: Option<(*mut LaneByte, u32)>,
}

// SAFETY: the pointer is compared and never followed; all else is the producer's.
unsafe impl<P: Park + Send> Send for RecordWriter<'_, P> {}

impl<'m, P: Park> RecordWriter<'m, P> {
    /// Sends records from here on. Bytes that were written and not flushed are published now.
    pub fn new(mut producer: Producer<'m, P>) -> Self {
        producer.flush();
        RecordWriter { producer, out: None }
    }

    /// The half itself: to wait, to look at counters, to finish. Bytes that are written through it are no records.
    pub fn producer(&self) -> &Producer<'m, P> {
        &self.producer
    }

    /// Gives the half back.
    ///
    /// # Errors
    /// The writer, if a grant is out.
    pub fn into_producer(self) -> Result<Producer<'m, P>, Self> {
        if self.out.is_some() { Err(self) } else { Ok(self.producer) }
    }

    /// The bytes of the longest record: the capacity less four. 0 also if the lane takes none at all.
    pub fn max_len(&self) -> usize {
        self.producer.max_record()
    }

    /// Sends one record, and wakes the reader if it waits for that.
    ///
    /// # Errors
    /// [`SendError`]. Nothing was sent then.
    pub fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.check(0)?;
        self.producer.send_record(record)
    }

    /// Room for a record of up to `len` bytes, to be filled in place. It may wrap round the end of the lane.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn claim(&mut self, len: usize) -> Result<Claim<'_, 'm, P>, SendError> {
        self.check(len)?;
        self.producer.claim_record(len)
    }

    /// Contiguous room for a record of exactly up to `len` bytes, that can be kept while other things go on.
    ///
    /// If the lane ends before that, the rest of it becomes padding. It can be that there is room for the padding only: then
    /// that is sent and this is [`Full`](SendError::Full) until the reader has taken it.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn grant_exact(&mut self, len: usize) -> Result<WriteGrant<'m>, SendError> {
        let len = self.check(len)?;
        let padding = self.padding_before(len);
        match self.grant(padding, len) {
            Err(SendError::Full | SendError::TooLong) if padding != 0 => {
                self.pad(padding)?;
                self.grant(0, len)
            }
            result => result,
        }
    }

    /// The longest contiguous room there is now, before the end of the lane or after it.
    ///
    /// # Errors
    /// [`SendError`]; [`Full`](SendError::Full) if there is none for a single byte.
    pub fn grant_max(&mut self) -> Result<WriteGrant<'m>, SendError> {
        self.check(0)?;
        let capacity = self.capacity();
        let room = self.room()?;
        let place = self.place_of_bytes();
        let here = (capacity - place).min(room.saturating_sub(HEADER));
        let padding = (capacity - place).next_multiple_of(HEADER);
        let beyond = room.saturating_sub(padding + HEADER).min(capacity - HEADER);
        // What is not a multiple of four is filled up to one; the room is.
        match here.max(beyond) {
            0 => Err(SendError::Full),
            _ if here >= beyond => self.grant(0, here),
            _ => self.grant(padding, beyond),
        }
    }

    /// Sends the first `len` bytes of what was granted as one record.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn commit(&mut self, grant: WriteGrant<'m>, len: usize) -> Result<(), GrantError<WriteGrant<'m>>> {
        let Some((_, padding)) = self.out.filter(|(place, _)| *place == grant.place) else {
            return Err(GrantError::Foreign(grant));
        };
        if len > grant.len() {
            return Err(GrantError::Beyond(grant));
        }
        self.out = None;
        let len = at_most(len, grant.len);
        let whole = padding + frame(len);
        let mut reservation =
            self.producer.reserve(to_usize(whole)).map_err(|e: ReserveError| GrantError::Send(e.into()))?;
        if padding != 0 {
            put_header(&mut reservation, 0, PADDING | (padding - HEADER));
        }
        put_header(&mut reservation, padding, len);
        reservation.commit(to_usize(whole));
        Ok(())
    }

    /// Gives a grant back and sends nothing.
    ///
    /// # Errors
    /// [`GrantError::Foreign`].
    pub fn abort(&mut self, grant: WriteGrant<'m>) -> Result<(), GrantError<WriteGrant<'m>>> {
        if self.out.is_none_or(|(place, _)| place != grant.place) {
            return Err(GrantError::Foreign(grant));
        }
        self.out = None;
        Ok(())
    }

    /// Waits until there is room for a record of `len` bytes, as [`Producer::wait_for_record`] does. Returns the room there is,
    /// which can be less only if the deadline passed.
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::TimedOut`] there was no room at all.
    pub fn wait(&mut self, len: usize, deadline: Option<P::Deadline>) -> Result<usize, WaitError> {
        self.producer.wait_for_record(len, deadline)
    }

    /// Says that no more records will come.
    pub fn finish(&mut self) {
        self.producer.finish();
    }

    /// `len`, if a record of that length can be sent at some time, and no grant is out.
    fn check(&self, len: usize) -> Result<u32, SendError> {
        if self.out.is_some() {
            return Err(SendError::Granted);
        }
        if len > self.max_len() || self.capacity() < HEADER {
            return Err(SendError::TooLong);
        }
        Ok(at_most(len, self.capacity()))
    }

    /// Room for bytes of the lane, as it is now.
    fn room(&mut self) -> Result<u32, SendError> {
        // To ask for all of it looks at the reader's cursor, unless all of it is known to be free.
        match self.producer.reserve(self.producer.capacity()) {
            Ok(_) | Err(ReserveError::Write(crate::error::WriteError::Full)) => {
                Ok(at_most(self.producer.known_room(), self.capacity()))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Where the bytes of the next record would begin: an offset into the lane.
    fn place_of_bytes(&self) -> u32 {
        self.producer.place().1.wrapping_add(HEADER) & (self.capacity() - 1)
    }

    /// The lane's capacity, which is at least a header's length wherever this is used.
    fn capacity(&self) -> u32 {
        self.producer.place().0.capacity()
    }

    /// The bytes of padding that the next record needs to be contiguous.
    fn padding_before(&self, len: u32) -> u32 {
        let left = self.capacity() - self.place_of_bytes();
        if len <= left { 0 } else { left.next_multiple_of(HEADER) }
    }

    fn grant(&mut self, padding: u32, len: u32) -> Result<WriteGrant<'m>, SendError> {
        let mut reservation = self.producer.reserve(to_usize(padding + frame(len)))?;
        let at = to_usize(padding + HEADER);
        // The first run that goes beyond the padding and the header.
        let [(first, first_len), (second, _)] = reservation.parts();
        let place = if at < first_len { first.wrapping_add(at) } else { second.wrapping_add(at - first_len) };
        reservation.abort();
        self.out = Some((place, padding));
        Ok(WriteGrant { place, len, memory: PhantomData })
    }

    fn pad(&mut self, padding: u32) -> Result<(), SendError> {
        let mut reservation = self.producer.reserve(to_usize(padding))?;
        put_header(&mut reservation, 0, PADDING | (padding - HEADER));
        reservation.commit(to_usize(padding));
        Ok(())
    }
}
