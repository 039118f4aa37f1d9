//! The compact ring of bytes against a queue of the standard library; between threads; split again; closed.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::thread;

use smstream_core::error::{ReadError, WaitError, WriteError};
use smstream_core::local::{ByteConsumer, ByteProducer, ByteRing};
use smstream_core::park::{Never, Park, Spin, Wake, Watch};
use smstream_core::word::SharedWord;

const WRAP: u32 = (1 << 31) - 3;

/// Sleeps until the other thread unparks this one.
struct Unparked(thread::Thread);

impl Park for Unparked {
    type Deadline = Never;
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<Never>) -> Wake {
        thread::park();
        Wake::Maybe
    }
    fn wake(&self, _: SharedWord<'_>, _: u32) {
        self.0.unpark();
    }
}

/// Gives up at once.
struct GiveUp;

impl Park for GiveUp {
    type Deadline = ();
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        Wake::TimedOut
    }
    fn wake(&self, _: SharedWord<'_>, _: u32) {}
}

/// A generator of numbers that is good enough to choose lengths.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 0x2545_f491u32;
    move |below| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize % below
    }
}

fn like_a_queue<const N: usize>() {
    let mut ring = ByteRing::<N>::starting_at(WRAP);
    assert_eq!(ring.capacity(), N);
    let (mut producer, mut consumer) = ring.split(Spin, Spin);
    let (mut queue, mut next, mut number) = (VecDeque::new(), 0u8, numbers());
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..number(N + 3)).map(|i| next.wrapping_add(i as u8)).collect();
        let room = N - queue.len();
        assert_eq!((producer.room(), consumer.len()), (room, N - room));
        match producer.write(&bytes) {
            Ok(n) => {
                assert_eq!(n, bytes.len().min(room));
                queue.extend(&bytes[..n]);
                next = next.wrapping_add(n as u8);
            }
            Err(e) => assert!(e == WriteError::Full && room == 0 && !bytes.is_empty()),
        }
        let mut out = vec![MaybeUninit::new(0xa5); number(N + 3)];
        let (len, start) = (out.len(), out.as_ptr().cast());
        let result = if number(2) == 0 {
            consumer.read_uninit(&mut out).map(|read| {
                assert_eq!(read.as_ptr(), start);
                read.len()
            })
        } else {
            // SAFETY: it was initialised when it was made.
            consumer.read(unsafe { out.assume_init_mut() })
        };
        match result {
            Ok(n) => {
                assert_eq!(n, len.min(queue.len()));
                // SAFETY: as above.
                let out = unsafe { out.assume_init_ref() };
                assert!(out[..n].iter().eq(queue.drain(..n).collect::<Vec<_>>().iter()));
                assert!(out[n..].iter().all(|byte| *byte == 0xa5));
            }
            Err(e) => assert!(e == ReadError::Empty && queue.is_empty() && len != 0),
        }
    }
}

#[test]
fn it_does_what_a_queue_does() {
    like_a_queue::<1>();
    like_a_queue::<2>();
    like_a_queue::<64>();
}

fn send<P: Park>(producer: &mut ByteProducer<'_, P>, total: usize) {
    let (mut sent, mut number) = (0, numbers());
    while sent < total {
        let bytes: Vec<u8> = (sent..(sent + 1 + number(90)).min(total)).map(|i| (i % 251) as u8).collect();
        match producer.write(&bytes) {
            Ok(n) => sent += n,
            Err(WriteError::Full) => drop(producer.wait(1 + number(32), None).unwrap()),
            Err(e) => panic!("{e}"),
        }
    }
    producer.finish();
}

fn receive<P: Park>(consumer: &mut ByteConsumer<'_, P>) -> usize {
    let (mut received, mut number) = (0, numbers());
    loop {
        let mut out = vec![0; 1 + number(90)];
        match consumer.read(&mut out) {
            Ok(0) => return received,
            Ok(n) => {
                assert!(out[..n].iter().enumerate().all(|(i, byte)| *byte == ((received + i) % 251) as u8));
                received += n;
            }
            Err(ReadError::Empty) => drop(consumer.wait(1 + number(32), None).unwrap()),
            Err(e) => panic!("{e}"),
        }
    }
}

/// Both sleep; one of them never does.
#[test]
fn threads_lose_nothing() {
    const TOTAL: usize = 200_000;
    static RING: ByteRing<64> = ByteRing::new();
    let me = thread::current();
    let (sender, halves) = std::sync::mpsc::channel();
    let other = thread::spawn(move || send(&mut halves.recv().unwrap(), TOTAL));
    let (producer, mut consumer) = RING.try_split(Unparked(me), Unparked(other.thread().clone())).unwrap();
    assert!(RING.try_split(Spin, Spin).is_err());
    sender.send(producer).unwrap();
    assert_eq!(receive(&mut consumer), TOTAL);
    other.join().unwrap();

    let mut ring = ByteRing::<64>::starting_at(WRAP);
    let (mut producer, mut consumer) = ring.split(Unparked(thread::current()), Spin);
    thread::scope(|scope| {
        scope.spawn(move || assert_eq!(receive(&mut consumer), TOTAL));
        let (mut sent, bytes) = (0, (0..TOTAL).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        while sent < TOTAL {
            match producer.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(e) => assert_eq!(e, WriteError::Full),
            }
        }
        producer.finish();
    });
}

#[test]
fn closing_and_splitting_again() {
    let mut ring = ByteRing::<8>::starting_at(WRAP);
    let (mut producer, mut consumer) = ring.split(GiveUp, GiveUp);
    assert_eq!(consumer.wait(1, Some(())), Err(WaitError::TimedOut));
    assert_eq!(producer.write(b"abcdef"), Ok(6));
    assert_eq!(producer.wait(4, Some(())), Ok(2), "what there is when the time is over");
    producer.finish();
    producer.finish();
    assert_eq!(producer.write(b"x"), Err(WriteError::Closed));
    assert_eq!(producer.write(b""), Err(WriteError::Closed));
    assert_eq!(producer.wait(1, None), Err(WaitError::Closed));
    let mut out = [0; 4];
    assert_eq!((consumer.read(&mut out), &out), (Ok(4), b"abcd"));
    assert_eq!(consumer.wait(4, None), Ok(2), "no more will come");
    // The other two bytes stay, and it is open again.
    let (mut producer, mut consumer) = ring.split(Spin, Spin);
    assert_eq!(producer.write(b"123456789"), Ok(6));
    let mut out = [0; 9];
    assert_eq!(consumer.read(&mut out), Ok(8));
    assert_eq!(&out[..8], b"ef123456");
    assert_eq!(consumer.read(&mut out), Err(ReadError::Empty));
    assert_eq!(consumer.read(&mut []), Ok(0));
    consumer.stop();
    consumer.stop();
    assert_eq!(consumer.read(&mut out), Ok(0));
    assert_eq!(consumer.wait(1, None), Ok(0));
    assert_eq!(producer.write(b"x"), Err(WriteError::Closed));
    assert_eq!(producer.wait(1, None), Err(WaitError::Closed));
}
