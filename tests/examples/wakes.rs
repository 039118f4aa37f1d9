//! What it costs to be woken by one of many streams: `wait_any` over n of them, beside `epoll` over n Unix sockets, in the
//! same run. Another thread answers each message on a stream that chance picks.
//!
//!     cargo run --release -p smstream-tests --example wakes
//!
//! Shown are medians over rounds by turns: the time there and back, asleep (no end spins) and with the usual spin; and the
//! time of a call that finds one of them ready.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use smstream::{Builder, Stream, wait_any};
use smstream_tests::flow::Random;

const SIZES: [usize; 5] = [1, 8, 32, 64, 127];
const ROUNDS: usize = 15;
const TRIPS: usize = 400;

/// Streams of some kind: one to ask with, and many to be answered on.
trait Many {
    /// Makes it, and the other side of it: that one gets a number, and sends a byte on the stream of that number.
    fn new(count: usize) -> (Self, impl FnOnce() + Send)
    where
        Self: Sized;
    /// Asks for a byte on this stream; 255 ends the other side.
    fn ask(&mut self, number: u8);
    /// Waits for a byte on any stream: which, not taken yet.
    fn wait(&mut self) -> usize;
    fn take(&mut self, number: usize);
}

struct Streams<const SPIN: u64> {
    ask: Stream,
    answers: Vec<Stream>,
}

impl<const SPIN: u64> Many for Streams<SPIN> {
    fn new(count: usize) -> (Self, impl FnOnce() + Send) {
        let builder = Builder::new().capacity(4096).spin(Duration::from_micros(SPIN));
        let (ask, mut asked) = builder.pair().unwrap();
        let (answers, mut there): (Vec<_>, Vec<_>) = (0..count).map(|_| builder.pair().unwrap()).unzip();
        let other = move || {
            let mut number = [0];
            while asked.read(&mut number).unwrap() == 1 && number[0] != u8::MAX {
                there[usize::from(number[0])].write_all(&[1]).unwrap();
            }
        };
        (Streams { ask, answers }, other)
    }
    fn ask(&mut self, number: u8) {
        self.ask.write_all(&[number]).unwrap();
    }
    fn wait(&mut self) -> usize {
        let mut conditions: Vec<_> = self.answers.iter().map(Stream::readable).collect();
        wait_any(&mut conditions, None).unwrap().iter().next().unwrap()
    }
    fn take(&mut self, number: usize) {
        assert_eq!(self.answers[number].read(&mut [0]).unwrap(), 1);
    }
}

struct Sockets {
    ask: UnixStream,
    answers: Vec<UnixStream>,
    epoll: rustix::fd::OwnedFd,
}

impl Many for Sockets {
    fn new(count: usize) -> (Self, impl FnOnce() + Send) {
        let (ask, mut asked) = UnixStream::pair().unwrap();
        let (answers, mut there): (Vec<_>, Vec<_>) = (0..count).map(|_| UnixStream::pair().unwrap()).unzip();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (i, socket) in answers.iter().enumerate() {
            epoll::add(&epoll, socket, epoll::EventData::new_u64(i as u64), epoll::EventFlags::IN).unwrap();
        }
        let other = move || {
            let mut number = [0];
            while asked.read(&mut number).unwrap() == 1 && number[0] != u8::MAX {
                there[usize::from(number[0])].write_all(&[1]).unwrap();
            }
        };
        (Sockets { ask, answers, epoll }, other)
    }
    fn ask(&mut self, number: u8) {
        self.ask.write_all(&[number]).unwrap();
    }
    fn wait(&mut self) -> usize {
        let mut events = Vec::with_capacity(128);
        epoll::wait(&self.epoll, spare_capacity(&mut events), None).unwrap();
        events[0].data.u64() as usize
    }
    fn take(&mut self, number: usize) {
        assert_eq!(self.answers[number].read(&mut [0]).unwrap(), 1);
    }
}

/// The time of one trip, and of one call that finds something, in nanoseconds.
fn measure<M: Many>(count: usize) -> [f64; 2] {
    let (mut many, other) = M::new(count);
    thread::scope(|scope| {
        scope.spawn(other);
        let mut random = Random::new(7);
        let mut trip = |many: &mut M| {
            let number = random.below(count as u64) as u8;
            many.ask(number);
            assert_eq!(many.wait(), usize::from(number));
            many.take(usize::from(number));
        };
        (0..TRIPS / 10).for_each(|_| trip(&mut many));
        let begun = Instant::now();
        (0..TRIPS).for_each(|_| trip(&mut many));
        let trips = begun.elapsed();
        many.ask(0);
        many.wait();
        let begun = Instant::now();
        for _ in 0..TRIPS {
            many.wait();
        }
        let found = begun.elapsed();
        many.take(0);
        many.ask(u8::MAX);
        [trips, found].map(|time| time.as_nanos() as f64 / TRIPS as f64)
    })
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    println!("there and back, asleep       | usual spin | a call that finds one ready");
    println!(
        "{:>4} {:>9} {:>9} {:>6} | {:>9} | {:>9} {:>9} {:>6}   (µs; wait_any, epoll, ratio)",
        "n", "wait_any", "epoll", "", "wait_any", "wait_any", "epoll", ""
    );
    for count in SIZES {
        let mut results: [Vec<f64>; 5] = Default::default();
        for _ in 0..ROUNDS {
            let [asleep, found] = measure::<Streams<0>>(count);
            let [socket, socket_found] = measure::<Sockets>(count);
            let [spinning, _] = measure::<Streams<50>>(count);
            for (result, value) in results.iter_mut().zip([asleep, socket, spinning, found, socket_found]) {
                result.push(value / 1000.0);
            }
        }
        let [asleep, socket, spinning, found, socket_found] = results.map(median);
        println!(
            "{count:>4} {asleep:>9.2} {socket:>9.2} {:>6.2} | {spinning:>9.2} | {found:>9.3} {socket_found:>9.3} {:>6.2}",
            asleep / socket,
            found / socket_found
        );
    }
}
