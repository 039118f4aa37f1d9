//! Two lanes as one duplex end.

use core::mem::MaybeUninit;

use crate::error::{ReadError, WaitError, WriteError};
use crate::lane::{Consumer, Producer};
use crate::mutant::mutant;
use crate::park::Park;

/// One party's end: it writes its own lane and reads the peer's.
///
/// Its halves may sleep in different ways: `W` is how the writing half does, `R` how the reading half does.
///
/// The halves can be used on their own, from two threads, after [`split`](End::split). Dropping an end says nothing to
/// the peer: call [`close`](End::close), or let the peer find out by its own means that you are gone.
#[derive(Debug)]
pub struct End<'m, W, R = W> {
    /// The writing half.
    pub producer: Producer<'m, W>,
    /// The reading half.
    pub consumer: Consumer<'m, R>,
}

impl<'m, W: Park, R: Park> End<'m, W, R> {
    /// Writes like [`Producer::write`]. If either half found the peer corrupt, the other is, too.
    ///
    /// # Errors
    /// [`WriteError`].
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        let result = self.producer.write(bytes);
        self.share_corruption();
        result
    }

    /// Reads like [`Consumer::read`]. If either half found the peer corrupt, the other is, too.
    ///
    /// # Errors
    /// [`ReadError`].
    #[inline]
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let result = self.consumer.read(out);
        self.share_corruption();
        result
    }

    /// Reads like [`Consumer::read_uninit`]. If either half found the peer corrupt, the other is, too.
    ///
    /// # Errors
    /// [`ReadError`].
    #[inline]
    pub fn read_uninit<'b>(&mut self, out: &'b mut [MaybeUninit<u8>]) -> Result<&'b mut [u8], ReadError> {
        let result = self.consumer.read_uninit(out);
        self.share_corruption();
        result
    }

    /// Gives back the room of bytes that were taken and not flushed, then waits like [`Producer::wait`]. The peer may need
    /// that room to answer before it reads on.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_room(&mut self, want: usize, deadline: Option<W::Deadline>) -> Result<usize, WaitError> {
        if !mutant!("end_parks_unflushed") {
            self.consumer.flush();
        }
        let result = self.producer.wait(want, deadline);
        self.share_corruption();
        result
    }

    /// Publishes what was written and not flushed, then waits like [`Consumer::wait`]. The peer may need those bytes to
    /// send the ones that are waited for.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_bytes(&mut self, want: usize, deadline: Option<R::Deadline>) -> Result<usize, WaitError> {
        if !mutant!("end_parks_unflushed") {
            self.producer.flush();
        }
        let result = self.consumer.wait(want, deadline);
        self.share_corruption();
        result
    }

    /// Waits for room like [`Producer::wait_exclusive`]: without a deadline, and a deadlock is reported.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_room_exclusive(&mut self, want: usize) -> Result<usize, WaitError> {
        let result = self.producer.wait_exclusive(want, &mut self.consumer);
        self.share_corruption();
        result
    }

    /// Waits for bytes like [`Consumer::wait_exclusive`]: without a deadline, and a deadlock is reported.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_bytes_exclusive(&mut self, want: usize) -> Result<usize, WaitError> {
        let result = self.consumer.wait_exclusive(want, &mut self.producer);
        self.share_corruption();
        result
    }

    /// Half-close: no more bytes will come from here. Reading goes on.
    pub fn finish(&mut self) {
        self.producer.finish();
    }

    /// Half-close: no more bytes will be taken here. Writing goes on.
    pub fn stop(&mut self) {
        self.consumer.stop();
    }

    /// Both: the peer drains what was sent and then reads the end of the stream; its writes fail.
    pub fn close(&mut self) {
        self.producer.finish();
        self.consumer.stop();
    }

    /// The halves.
    pub fn split(self) -> (Consumer<'m, R>, Producer<'m, W>) {
        (self.consumer, self.producer)
    }

    #[inline]
    fn share_corruption(&mut self) {
        if self.producer.is_corrupt() != self.consumer.is_corrupt() {
            self.producer.fail();
            self.consumer.fail();
        }
    }
}
