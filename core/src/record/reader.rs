//! The half that receives records.

use core::marker::PhantomData;

use super::{GrantError, ReadGrant, RecvError, frame};
use crate::error::WaitError;
use crate::lane::Consumer;
use crate::park::Park;
use crate::size::{saturating, to_usize};
use crate::sync::LaneByte;

/// Receives whole records from a lane whose writer is a [`RecordWriter`](super::RecordWriter).
///
/// A hostile header cannot make a read go beyond the bytes that the peer has published.
#[derive(Debug)]
pub struct RecordReader<'m, P: Park> {
    consumer: Consumer<'m, P>,
    /// The grant that is out: where its record lies, and the bytes of its frame.
    out: Option<(*const LaneByte, u32)>,
}

// SAFETY: the pointer is compared and never followed; all else is the consumer's.
unsafe impl<P: Park + Send> Send for RecordReader<'_, P> {}

impl<'m, P: Park> RecordReader<'m, P> {
    /// Receives records from here on: the next byte is the first of a header.
    pub fn new(consumer: Consumer<'m, P>) -> Self {
        RecordReader { consumer, out: None }
    }

    /// The half itself: to look at counters, or whether the peer has finished.
    pub fn consumer(&self) -> &Consumer<'m, P> {
        &self.consumer
    }

    /// Gives the half back.
    ///
    /// # Errors
    /// The reader, if a grant is out.
    pub fn into_consumer(self) -> Result<Consumer<'m, P>, Self> {
        if self.out.is_some() { Err(self) } else { Ok(self.consumer) }
    }

    /// The length of the next record, which stays. `None`: no more will come.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn next_len(&mut self) -> Result<Option<usize>, RecvError> {
        Ok(self.next()?.map(to_usize))
    }

    /// The length of the next record, after skipping padding.
    fn next(&mut self) -> Result<Option<u32>, RecvError> {
        self.check()?;
        self.consumer.next_record()
    }

    /// No grant is out.
    fn check(&self) -> Result<(), RecvError> {
        if self.out.is_some() { Err(RecvError::Granted) } else { Ok(()) }
    }

    /// Receives the next record into `out`, and gives its room back. Returns its length. `None`: no more will come.
    ///
    /// # Errors
    /// [`RecvError`]; a record that is too long for `out` stays.
    pub fn recv(&mut self, out: &mut [u8]) -> Result<Option<usize>, RecvError> {
        self.check()?;
        self.consumer.recv_record(out)
    }

    /// Drops the next record unread. `None`: no more will come; else its length.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn skip(&mut self) -> Result<Option<usize>, RecvError> {
        let Some(len) = self.next()? else { return Ok(None) };
        self.consumer.consume(to_usize(frame(len)));
        Ok(Some(to_usize(len)))
    }

    /// The next record in place, which can be kept while other things go on. `None`: no more will come.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn grant(&mut self) -> Result<Option<ReadGrant<'m>>, RecvError> {
        self.check()?;
        let Some(record) = self.consumer.record()? else { return Ok(None) };
        let parts = record.parts();
        self.out = Some((parts[0].0, frame(saturating(record.len()))));
        Ok(Some(ReadGrant { parts, memory: PhantomData }))
    }

    /// Gives a grant back, and its room to the writer.
    ///
    /// # Errors
    /// [`GrantError::Foreign`].
    pub fn release(&mut self, grant: ReadGrant<'m>) -> Result<(), GrantError<ReadGrant<'m>>> {
        let Some((_, frame)) = self.out.filter(|(place, _)| *place == grant.parts[0].0) else {
            return Err(GrantError::Foreign(grant));
        };
        self.out = None;
        self.consumer.consume(to_usize(frame));
        Ok(())
    }

    /// Waits until there is something to receive, or no more will come. It can return for padding alone: then
    /// [`recv`](RecordReader::recv) finds [`Empty`](RecvError::Empty).
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait(&mut self, deadline: Option<P::Deadline>) -> Result<(), WaitError> {
        self.consumer.wait(1, deadline).map(drop)
    }

    /// Says that no more records will be taken.
    pub fn stop(&mut self) {
        self.consumer.stop();
    }
}
