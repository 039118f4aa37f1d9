//! A ring of bytes for async code.

#[cfg(not(loom))]
use core::convert::Infallible;
#[cfg(not(loom))]
use core::future::poll_fn;
use core::task::{Context, Poll};

#[cfg(not(loom))]
use embedded_io_async::{ErrorType, Read, Write};

use super::waker::WakerCell;
use crate::mutant::mutant;
use crate::spsc::{AlreadySplit, Compact, Consumer, Producer, Ring, Words};

/// A [`Ring`] of bytes whose halves are `embedded_io_async` readers and writers.
///
/// A half may wait in a task and the other be used in an interrupt, by `try_write` and `try_read`.
///
/// ```
/// use embedded_io_async::{Read, Write};
/// use smstream_core::wait::AsyncRing;
///
/// static UART: AsyncRing<64> = AsyncRing::new();
///
/// # async fn task() {
/// let (mut writer, mut reader) = UART.try_split().unwrap();
/// writer.write_all(b"hello").await.unwrap();
/// let mut out = [0; 5];
/// reader.read_exact(&mut out).await.unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct AsyncRing<const N: usize, W: Words = Compact> {
    ring: Ring<u8, N, W>,
    wakers: Wakers,
}

#[derive(Debug)]
struct Wakers {
    reader: WakerCell,
    writer: WakerCell,
}

impl<const N: usize, W: Words> AsyncRing<N, W> {
    /// An empty ring.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        AsyncRing { ring: Ring::new(), wakers: Wakers { reader: WakerCell::new(), writer: WakerCell::new() } }
    }

    /// An empty ring whose cursors begin at `start`.
    #[cfg(loom)]
    pub fn starting_at(start: u32) -> Self {
        let wakers = Wakers { reader: WakerCell::new(), writer: WakerCell::new() };
        AsyncRing { ring: Ring::starting_at(start), wakers }
    }

    /// The two halves, once.
    ///
    /// # Errors
    /// [`AlreadySplit`].
    pub fn try_split(&self) -> Result<(AsyncProducer<'_, W>, AsyncConsumer<'_, W>), AlreadySplit> {
        let (producer, consumer) = self.ring.try_split()?;
        let wakers = &self.wakers;
        Ok((AsyncProducer { producer, wakers }, AsyncConsumer { consumer, wakers }))
    }
}

#[cfg(not(loom))]
impl<const N: usize, W: Words> Default for AsyncRing<N, W> {
    fn default() -> Self {
        Self::new()
    }
}

/// The half that writes.
#[derive(Debug)]
pub struct AsyncProducer<'r, W: Words = Compact> {
    producer: Producer<'r, u8, W>,
    wakers: &'r Wakers,
}

impl<W: Words> AsyncProducer<'_, W> {
    /// Writes what fits now, and wakes the reader. Returns how many bytes that is; 0 also if there is no room.
    pub fn try_write(&mut self, bytes: &[u8]) -> usize {
        if mutant!("async_wakes_early") {
            self.wakers.reader.wake();
            return self.producer.push_slice(bytes);
        }
        let n = self.producer.push_slice(bytes);
        if n != 0 {
            self.wakers.reader.wake();
        }
        n
    }

    /// Writes what fits, and wakes the reader; if nothing does, the task of `cx` is woken when the reader has made room. Returns
    /// how many bytes were written; 0 only if `bytes` is empty.
    ///
    /// `write` of `embedded_io_async` is this in a future. A task that polls and gives up has written nothing, and may be woken
    /// once for nothing. Only the task that polled last is woken.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        let wakers = self.wakers;
        let cell = if mutant!("async_one_waker") { &wakers.reader } else { &wakers.writer };
        look_twice(cell, cx, || ready(self.try_write(bytes), bytes.is_empty()))
    }
}

#[cfg(not(loom))]
impl<W: Words> ErrorType for AsyncProducer<'_, W> {
    type Error = Infallible;
}

#[cfg(not(loom))]
impl<W: Words> Write for AsyncProducer<'_, W> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(poll_fn(|cx| self.poll_write(cx, bytes)).await)
    }

    /// Does nothing: what is written is published at once.
    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The half that reads.
#[derive(Debug)]
pub struct AsyncConsumer<'r, W: Words = Compact> {
    consumer: Consumer<'r, u8, W>,
    wakers: &'r Wakers,
}

impl<W: Words> AsyncConsumer<'_, W> {
    /// Reads what is there now, and wakes the writer. Returns how many bytes that is; 0 also if there is nothing.
    pub fn try_read(&mut self, out: &mut [u8]) -> usize {
        if mutant!("async_wakes_early") {
            self.wakers.writer.wake();
            return self.consumer.pop_slice(out);
        }
        let n = self.consumer.pop_slice(out);
        if n != 0 {
            self.wakers.writer.wake();
        }
        n
    }

    /// Reads what is there, and wakes the writer; if there is nothing, the task of `cx` is woken when the writer has written.
    /// Returns how many bytes were read; 0 only if `out` is empty.
    ///
    /// `read` of `embedded_io_async` is this in a future. A task that polls and gives up has read nothing, and may be woken once
    /// for nothing. Only the task that polled last is woken.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<usize> {
        let (wakers, empty) = (self.wakers, out.is_empty());
        look_twice(&wakers.reader, cx, || ready(self.try_read(out), empty))
    }
}

#[cfg(not(loom))]
impl<W: Words> ErrorType for AsyncConsumer<'_, W> {
    type Error = Infallible;
}

/// There is no end: `read` waits until there is a byte.
#[cfg(not(loom))]
impl<W: Words> Read for AsyncConsumer<'_, W> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        Ok(poll_fn(|cx| self.poll_read(cx, out)).await)
    }
}

fn ready(n: usize, nothing_wanted: bool) -> Poll<usize> {
    if n != 0 || nothing_wanted { Poll::Ready(n) } else { Poll::Pending }
}

/// Looks, and if that was in vain registers the waker and looks again: what the other half publishes after that look wakes it.
fn look_twice(cell: &WakerCell, cx: &Context<'_>, mut look: impl FnMut() -> Poll<usize>) -> Poll<usize> {
    let first = look();
    if first.is_ready() {
        return first;
    }
    cell.register(cx);
    if mutant!("async_recheck_none") { first } else { look() }
}
