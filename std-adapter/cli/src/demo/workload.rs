//! What both processes do while something is measured: hand over blocks, or hand one block back and forth.

use std::hint;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::control::{Contestant, Test};
use crate::transport::Stream;
use smstream_bench::floor::Words;

/// The size of a write and of a read in a bulk test.
pub const BLOCK: usize = 64 << 10;

/// The size of a message that makes a round trip.
pub const MESSAGE: usize = 64;

/// What one process has in hand to trade over; the other one has the other ends.
pub struct Ends {
    pipe_in: OwnedFd,
    pipe_out: OwnedFd,
    socket: UnixStream,
    words: Words,
    streams: [Option<Stream>; 3],
}

/// A way to move a block: all of it, or an error.
trait Exchange {
    fn put(&mut self, block: &[u8]) -> io::Result<()>;
    fn get(&mut self, block: &mut [u8]) -> io::Result<()>;
}

impl Ends {
    /// Gathers the ends of a process.
    pub fn new(pipe_in: OwnedFd, pipe_out: OwnedFd, socket: UnixStream, words: Words) -> Self {
        Self { pipe_in, pipe_out, socket, words, streams: [None, None, None] }
    }

    /// Sets the stream that a test uses.
    pub fn set_stream(&mut self, test: Test, stream: Stream) {
        self.streams[test as usize] = Some(stream);
    }

    /// The shared words.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// What a contestant uses in a test; nothing for the floor.
    fn carrier(&mut self, test: Test, contestant: Contestant) -> io::Result<Carrier<'_>> {
        let (input, output) = match contestant {
            Contestant::Smstream => {
                let stream = self.streams[test as usize].as_mut();
                return Ok(Carrier::Shared(Shared(stream.ok_or_else(|| io::Error::other("no stream for this test"))?)));
            }
            Contestant::Pipe => (self.pipe_in.as_fd(), self.pipe_out.as_fd()),
            Contestant::Socket => (self.socket.as_fd(), self.socket.as_fd()),
            Contestant::Floor => return Err(io::Error::other("the floor carries no bytes")),
        };
        for fd in [input, output] {
            let flags = fcntl_getfl(fd)?;
            let wanted = if test == Test::Busy { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK };
            fcntl_setfl(fd, wanted)?;
        }
        Ok(Carrier::Kernel(Kernel { input, output }))
    }

    /// Writes `count` numbered blocks; returns when it started, on the clock of [`now`].
    pub fn send_blocks(&mut self, contestant: Contestant, count: u64) -> io::Result<u64> {
        match self.carrier(Test::Bulk, contestant)? {
            Carrier::Shared(mut exchange) => send_blocks(&mut exchange, count),
            Carrier::Kernel(mut exchange) => send_blocks(&mut exchange, count),
        }
    }

    /// Reads `count` numbered blocks; returns when the last byte was here.
    pub fn recv_blocks(&mut self, contestant: Contestant, count: u64) -> io::Result<u64> {
        match self.carrier(Test::Bulk, contestant)? {
            Carrier::Shared(mut exchange) => recv_blocks(&mut exchange, count),
            Carrier::Kernel(mut exchange) => recv_blocks(&mut exchange, count),
        }
    }

    /// Makes `count` round trips; returns the mean nanoseconds of a trip of each batch.
    pub fn ping(&mut self, test: Test, contestant: Contestant, count: u64, batch: u64) -> io::Result<Vec<f64>> {
        if contestant == Contestant::Floor {
            let words = &self.words;
            if test == Test::Asleep {
                return batches(count, batch, |trip| words.ping_asleep(turn(trip)));
            }
            return batches(count, batch, |trip| {
                words.ping_busy(turn(trip));
                Ok(())
            });
        }
        match self.carrier(test, contestant)? {
            Carrier::Shared(mut exchange) => ping(&mut exchange, count, batch),
            Carrier::Kernel(mut exchange) => ping(&mut exchange, count, batch),
        }
    }

    /// The other side of [`Ends::ping`].
    pub fn pong(&mut self, test: Test, contestant: Contestant, count: u64) -> io::Result<()> {
        if contestant == Contestant::Floor {
            for trip in 0..count {
                match test {
                    Test::Asleep => self.words.pong_asleep(turn(trip))?,
                    _ => self.words.pong_busy(turn(trip)),
                }
            }
            return Ok(());
        }
        match self.carrier(test, contestant)? {
            Carrier::Shared(mut exchange) => pong(&mut exchange, count),
            Carrier::Kernel(mut exchange) => pong(&mut exchange, count),
        }
    }
}

/// Writes numbered blocks.
fn send_blocks(exchange: &mut impl Exchange, count: u64) -> io::Result<u64> {
    let mut block = vec![0xa5; BLOCK];
    let start = now();
    for number in 0..count {
        stamp(&mut block, number);
        exchange.put(&block)?;
    }
    Ok(start)
}

/// Reads numbered blocks.
fn recv_blocks(exchange: &mut impl Exchange, count: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    for number in 0..count {
        exchange.get(&mut block)?;
        check(&block, number)?;
    }
    Ok(now())
}

/// Sends numbered messages and takes them back.
fn ping(exchange: &mut impl Exchange, count: u64, batch: u64) -> io::Result<Vec<f64>> {
    let (mut sent, mut received) = ([0x5a; MESSAGE], [0; MESSAGE]);
    batches(count, batch, |trip| {
        stamp(&mut sent, trip);
        exchange.put(&sent)?;
        exchange.get(&mut received)?;
        check(&received, trip)
    })
}

/// Sends back what comes.
fn pong(exchange: &mut impl Exchange, count: u64) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    for trip in 0..count {
        exchange.get(&mut message)?;
        check(&message, trip)?;
        exchange.put(&message)?;
    }
    Ok(())
}

/// Runs `count` trips and takes the time of each batch of them; the last batch may be longer.
fn batches(count: u64, batch: u64, mut trip: impl FnMut(u64) -> io::Result<()>) -> io::Result<Vec<f64>> {
    let full = (count / batch).max(1);
    let mut samples = Vec::with_capacity(full as usize);
    let mut from = Instant::now();
    for number in 0..full {
        let first = number * batch;
        let end = if number + 1 == full { count } else { first + batch };
        for number in first..end {
            trip(number)?;
        }
        let till = Instant::now();
        samples.push((till - from).as_nanos() as f64 / (end - first).max(1) as f64);
        from = till;
    }
    Ok(samples)
}

/// The word's value for a trip; a series starts with both words 0.
fn turn(trip: u64) -> u32 {
    // Truncation is harmless: two turns in a row differ.
    (trip as u32).wrapping_add(1)
}

/// Numbers a block, so that one that comes twice, or not at all, is noticed.
fn stamp(block: &mut [u8], number: u64) {
    if let Some(head) = block.first_chunk_mut() {
        *head = number.to_le_bytes();
    }
}

/// Checks the number of a block.
fn check(block: &[u8], number: u64) -> io::Result<()> {
    if block.first_chunk() == Some(&number.to_le_bytes()) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("block {number} did not arrive as it was sent")))
}

/// The clock that both processes share, in nanoseconds.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What carries the blocks: known before the first one, so that no call in the loop is indirect.
enum Carrier<'a> {
    Shared(Shared<'a>),
    Kernel(Kernel<'a>),
}

/// Over smstream.
struct Shared<'a>(&'a mut Stream);

impl Exchange for Shared<'_> {
    fn put(&mut self, block: &[u8]) -> io::Result<()> {
        self.0.write_all(block)
    }

    fn get(&mut self, block: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(block)
    }
}

/// Over two descriptors of the kernel, blocking or not.
struct Kernel<'a> {
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
}

impl Exchange for Kernel<'_> {
    fn put(&mut self, mut block: &[u8]) -> io::Result<()> {
        while !block.is_empty() {
            match rustix::io::write(self.output, block) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => block = &block[count..],
                Err(Errno::AGAIN) => hint::spin_loop(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn get(&mut self, mut block: &mut [u8]) -> io::Result<()> {
        while !block.is_empty() {
            match rustix::io::read(self.input, &mut *block) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => block = &mut block[count..],
                Err(Errno::AGAIN) => hint::spin_loop(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_every_trip_once() {
        for (count, batch, samples) in [(10, 3, 3), (9, 3, 3), (2, 3, 1), (0, 3, 1), (5, 1, 5)] {
            let mut seen = Vec::new();
            let times = batches(count, batch, |trip| {
                seen.push(trip);
                Ok(())
            });
            assert_eq!(times.expect("no error").len(), samples, "{count} by {batch}");
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_block_that_came_twice_is_noticed() {
        let mut block = [0; MESSAGE];
        stamp(&mut block, 7);
        assert!(check(&block, 7).is_ok());
        assert!(check(&block, 8).is_err());
        assert!(check(&block[..4], 7).is_err());
    }
}
