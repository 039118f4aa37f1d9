//! Items of plain data between processes: a typed view of a lane.
//!
//! Each item is as many bytes of the lane as its type has, published whole. Only types go through of which any bytes are a
//! value and that have no padding, which `zerocopy` checks:
//!
//! ```
//! use smstream_core::block::{Block, block_len};
//! use smstream_core::geometry::Config;
//! use smstream_core::items::{ItemReader, ItemWriter};
//! use smstream_core::park::Spin;
//! use zerocopy::{FromBytes, Immutable, IntoBytes};
//!
//! #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
//! #[repr(C)]
//! struct Sample {
//!     at: u32,
//!     value: i16,
//!     channel: u16,
//! }
//!
//! const CHANNEL: Config = Config::new([64, 0]);
//! let mut block = Block::<{ block_len(&CHANNEL) }>::new();
//! let (here, there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
//! let mut writer = ItemWriter::<Sample, _>::new(here.producer).unwrap();
//! let mut reader = ItemReader::<Sample, _>::new(there.consumer).unwrap();
//! let sample = Sample { at: 1, value: -2, channel: 3 };
//! writer.push(&sample).unwrap();
//! assert_eq!(reader.pop(), Ok(Some(sample)));
//! ```
//!
//! A struct with padding does not compile, for the padding could be anything, also a secret:
//!
//! ```compile_fail
//! use zerocopy::{FromBytes, Immutable, IntoBytes};
//!
//! #[derive(FromBytes, IntoBytes, Immutable)]
//! #[repr(C)]
//! struct Padded {
//!     at: u32,
//!     channel: u16,
//! }
//! ```

use core::fmt;
use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::error::{ReadError, ReserveError, WaitError, WriteError};
use crate::lane::{Consumer, Producer};
use crate::park::Park;

/// The lane cannot hold a single item, or items have no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadItem {
    /// The bytes of an item.
    pub size: usize,
    /// The bytes of the lane.
    pub capacity: usize,
}

impl fmt::Display for BadItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "items of {} bytes cannot go through a lane of {}", self.size, self.capacity)
    }
}

impl core::error::Error for BadItem {}

fn check<T>(capacity: usize) -> Result<(), BadItem> {
    let size = size_of::<T>();
    if size == 0 || size > capacity { Err(BadItem { size, capacity }) } else { Ok(()) }
}

/// Sends items of type `T` over a lane.
#[derive(Debug)]
pub struct ItemWriter<'m, T, P: Park> {
    producer: Producer<'m, P>,
    items: PhantomData<fn(T)>,
}

impl<'m, T: IntoBytes + Immutable, P: Park> ItemWriter<'m, T, P> {
    /// Sends items from here on. Bytes that were written and not flushed are published now.
    ///
    /// # Errors
    /// [`BadItem`].
    pub fn new(mut producer: Producer<'m, P>) -> Result<Self, BadItem> {
        check::<T>(producer.capacity())?;
        producer.flush();
        Ok(ItemWriter { producer, items: PhantomData })
    }

    /// Sends one item, and wakes the reader if it waits for that.
    ///
    /// # Errors
    /// [`WriteError`]; [`Full`](WriteError::Full) if there is no room for all of the item. Nothing was sent then.
    pub fn push(&mut self, item: &T) -> Result<(), WriteError> {
        self.push_slice(core::slice::from_ref(item)).map(drop)
    }

    /// Sends the first of `items`, as many as fit whole, and publishes them at once. Returns how many.
    ///
    /// # Errors
    /// [`WriteError`]; [`Full`](WriteError::Full) if none fits.
    pub fn push_slice(&mut self, items: &[T]) -> Result<usize, WriteError> {
        let size = size_of::<T>();
        let fit = self.producer.capacity() / size;
        let mut len = items.len().min(fit);
        loop {
            let bytes = items.get(..len).unwrap_or_default().as_bytes();
            match self.producer.reserve(bytes.len()) {
                Ok(mut room) => {
                    room.write(bytes);
                    room.commit_filled();
                    return Ok(len);
                }
                Err(ReserveError::Write(WriteError::Full)) => {
                    // The room was looked at anew, so this is less than `len`.
                    len = self.producer.known_room() / size;
                    if len == 0 {
                        return Err(WriteError::Full);
                    }
                }
                Err(ReserveError::Write(e)) => return Err(e),
                // More than the capacity is never asked for.
                Err(ReserveError::TooLong) => return Err(WriteError::Full),
            }
        }
    }

    /// Waits for room, for one item if that is at most half the lane: [`Producer::wait`].
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait(&mut self, deadline: Option<P::Deadline>) -> Result<(), WaitError> {
        self.producer.wait(size_of::<T>(), deadline).map(drop)
    }

    /// Gives the half back.
    pub fn into_producer(self) -> Producer<'m, P> {
        self.producer
    }
}

/// Receives items of type `T` from a lane.
#[derive(Debug)]
pub struct ItemReader<'m, T, P: Park> {
    consumer: Consumer<'m, P>,
    items: PhantomData<fn() -> T>,
}

impl<'m, T: FromBytes, P: Park> ItemReader<'m, T, P> {
    /// Receives items from here on.
    ///
    /// # Errors
    /// [`BadItem`].
    pub fn new(consumer: Consumer<'m, P>) -> Result<Self, BadItem> {
        check::<T>(consumer.capacity())?;
        Ok(ItemReader { consumer, items: PhantomData })
    }

    /// The next item. `None`: no more will come.
    ///
    /// # Errors
    /// [`ReadError`]; [`Corrupt`](ReadError::Corrupt) also if the peer has sent a part of an item and finished.
    pub fn pop(&mut self) -> Result<Option<T>, ReadError>
    where
        T: IntoBytes,
    {
        let peek = self.consumer.peek()?;
        if peek.is_empty() {
            return Ok(None);
        }
        let mut item = T::new_zeroed();
        let size = item.as_mut_bytes().len();
        if peek.copy_to(0, item.as_mut_bytes()) == size {
            peek.consume(size);
            return Ok(Some(item));
        }
        if self.consumer.is_peer_finished() {
            self.consumer.fail();
            return Err(ReadError::Corrupt);
        }
        Err(ReadError::Empty)
    }

    /// Waits until there is an item, if that is at most half the lane, or no more will come: [`Consumer::wait`].
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait(&mut self, deadline: Option<P::Deadline>) -> Result<(), WaitError> {
        self.consumer.wait(size_of::<T>(), deadline).map(drop)
    }

    /// Gives the half back.
    pub fn into_consumer(self) -> Consumer<'m, P> {
        self.consumer
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::block::{Block, block_len};
    use crate::config::Config;
    use crate::testing::GiveUp;
    use std::string::ToString;

    const CHANNEL: Config = Config::new([16, 0]);
    type Memory = Block<{ block_len(&CHANNEL) }>;

    #[test]
    fn an_item_has_bytes_and_at_most_as_many_as_the_lane() {
        assert_eq!(check::<[u8; 16]>(16), Ok(()));
        assert_eq!(check::<u8>(16), Ok(()));
        assert_eq!(check::<()>(16), Err(BadItem { size: 0, capacity: 16 }));
        let long = BadItem { size: 17, capacity: 16 };
        assert_eq!(check::<[u8; 17]>(16), Err(long));
        assert_eq!(long.to_string(), "items of 17 bytes cannot go through a lane of 16");
    }

    #[test]
    fn waits_are_for_a_whole_item() {
        let mut block = Memory::new();
        let (here, there) = block.split_apart(&CHANNEL, (GiveUp, GiveUp), (GiveUp, GiveUp)).unwrap();
        let mut writer = ItemWriter::<[u8; 8], _>::new(here.producer).unwrap();
        let mut reader = ItemReader::<[u8; 8], _>::new(there.consumer).unwrap();
        assert_eq!((writer.wait(Some(())), reader.wait(Some(()))), (Ok(()), Err(WaitError::TimedOut)));
        assert_eq!(writer.push_slice(&[[1; 8], [2; 8], [3; 8]]), Ok(2));
        assert_eq!((writer.wait(Some(())), reader.wait(Some(()))), (Err(WaitError::TimedOut), Ok(())));
        assert_eq!(
            (writer.push(&[3; 8]), writer.push_slice(&[[3; 8]])),
            (Err(WriteError::Full), Err(WriteError::Full))
        );
        assert_eq!((reader.pop(), writer.wait(Some(()))), (Ok(Some([1; 8])), Ok(())));
        assert_eq!((writer.push_slice(&[[3; 8], [4; 8]]), writer.push_slice(&[])), (Ok(1), Ok(0)));
        writer.into_producer().finish();
        assert_eq!((reader.pop(), reader.pop()), (Ok(Some([2; 8])), Ok(Some([3; 8]))));
        assert_eq!((reader.pop(), reader.pop(), reader.wait(Some(()))), (Ok(None), Ok(None), Ok(())));
    }

    #[test]
    fn what_was_written_before_is_published_and_the_halves_go_on() {
        let mut block = Memory::new();
        let (mut here, there) = block.split_apart(&CHANNEL, (GiveUp, GiveUp), (GiveUp, GiveUp)).unwrap();
        here.producer.write_deferred(b"ab").unwrap();
        let mut reader = ItemReader::<u16, _>::new(there.consumer).unwrap();
        assert_eq!(reader.pop(), Err(ReadError::Empty));
        let writer = ItemWriter::<u16, _>::new(here.producer).unwrap();
        assert_eq!(reader.pop(), Ok(Some(u16::from_ne_bytes(*b"ab"))));
        writer.into_producer().write(b"cde").unwrap();
        let mut out = [0; 4];
        assert_eq!((reader.into_consumer().read(&mut out), &out), (Ok(3), b"cde\0"));
    }
}
