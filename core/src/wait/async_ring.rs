//! A ring of bytes for async code.

use core::cell::Cell;
use core::convert::Infallible;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use critical_section::Mutex;
use embedded_io_async::{ErrorType, Read, Write};

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

/// The waker of a half that waits. Each access is in a critical section.
struct WakerCell(Mutex<Cell<Option<Waker>>>);

impl fmt::Debug for WakerCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WakerCell")
    }
}

impl WakerCell {
    fn wake(&self) {
        if let Some(waker) = critical_section::with(|section| self.0.borrow(section).take()) {
            waker.wake();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        // The old one is dropped outside of the section.
        drop(critical_section::with(|section| self.0.borrow(section).replace(Some(waker))));
    }
}

impl<const N: usize, W: Words> AsyncRing<N, W> {
    /// An empty ring.
    pub const fn new() -> Self {
        const fn none() -> WakerCell {
            WakerCell(Mutex::new(Cell::new(None)))
        }
        AsyncRing { ring: Ring::new(), wakers: Wakers { reader: none(), writer: none() } }
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
        let n = self.producer.push_slice(bytes);
        if n != 0 {
            self.wakers.reader.wake();
        }
        n
    }
}

impl<W: Words> ErrorType for AsyncProducer<'_, W> {
    type Error = Infallible;
}

impl<W: Words> Write for AsyncProducer<'_, W> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        poll_fn(|cx| {
            let ready = |n: usize| if n != 0 || bytes.is_empty() { Poll::Ready(Ok(n)) } else { Poll::Pending };
            ready(self.try_write(bytes)).or_look_again(|| {
                // The waker is there before the second look: what the reader pops after that look wakes it.
                self.wakers.writer.register(cx);
                ready(self.try_write(bytes))
            })
        })
        .await
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
        let n = self.consumer.pop_slice(out);
        if n != 0 {
            self.wakers.writer.wake();
        }
        n
    }
}

impl<W: Words> ErrorType for AsyncConsumer<'_, W> {
    type Error = Infallible;
}

/// There is no end: `read` waits until there is a byte.
impl<W: Words> Read for AsyncConsumer<'_, W> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|cx| {
            let empty = out.is_empty();
            let ready = |n: usize| if n != 0 || empty { Poll::Ready(Ok(n)) } else { Poll::Pending };
            ready(self.try_read(out)).or_look_again(|| {
                self.wakers.reader.register(cx);
                ready(self.try_read(out))
            })
        })
        .await
    }
}

/// `Poll`, or another look.
trait OrLookAgain: Sized {
    fn or_look_again(self, again: impl FnOnce() -> Self) -> Self;
}

impl<T> OrLookAgain for Poll<T> {
    fn or_look_again(self, again: impl FnOnce() -> Self) -> Self {
        if self.is_ready() { self } else { again() }
    }
}
