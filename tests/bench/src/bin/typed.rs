//! Rings of `u64` between two threads, and in one: `cargo run --release --bin typed [ROUNDS]`.

use std::hint::{black_box, spin_loop};
use std::time::Instant;

use ringbuf::traits::{Consumer as _, Producer as _, Split as _};
use smstream_bench_rings::{Case, compare, race};

const CAPACITY: usize = 1024;
const ITEMS: u64 = 1_000_000;
const BATCH: usize = 64;

/// Pushes and pops all items, one at a time, in two threads. Each has its half on its own stack.
fn singly(mut push: impl FnMut(u64) -> bool + Send, mut pop: impl FnMut() -> Option<u64> + Send) -> f64 {
    let spent = race(move || push_all(&mut push), move || pop_all(&mut pop));
    spent.as_nanos() as f64 / ITEMS as f64
}

/// The same with both halves side by side in one stack frame, as where they are borrowed by the threads of a scope.
fn singly_side_by_side(mut push: impl FnMut(u64) -> bool + Send, mut pop: impl FnMut() -> Option<u64> + Send) -> f64 {
    let spent = race(|| push_all(&mut push), || pop_all(&mut pop));
    spent.as_nanos() as f64 / ITEMS as f64
}

fn push_all(push: &mut impl FnMut(u64) -> bool) {
    for i in 0..ITEMS {
        while !push(i) {
            spin_loop();
        }
    }
}

fn pop_all(pop: &mut impl FnMut() -> Option<u64>) {
    for i in 0..ITEMS {
        let got = loop {
            match pop() {
                Some(got) => break got,
                None => spin_loop(),
            }
        };
        assert_eq!(got, i);
    }
}

/// The same with batches: `push` says how many of the items from a number on it has pushed, `pop` how many it has popped and
/// checks them.
fn batched(mut push: impl FnMut(u64) -> usize + Send, mut pop: impl FnMut(u64) -> usize + Send) -> f64 {
    let spent = race(
        move || {
            let mut next = 0;
            while next < ITEMS {
                match push(next) {
                    0 => spin_loop(),
                    n => next += n as u64,
                }
            }
        },
        move || {
            let mut next = 0;
            while next < ITEMS {
                match pop(next) {
                    0 => spin_loop(),
                    n => next += n as u64,
                }
            }
        },
    );
    spent.as_nanos() as f64 / ITEMS as f64
}

/// Pushes half the capacity and pops it, in one thread.
fn alone(mut push: impl FnMut(u64) -> bool, mut pop: impl FnMut() -> Option<u64>) -> f64 {
    let begun = Instant::now();
    for round in 0..ITEMS / (CAPACITY as u64 / 2) {
        for i in 0..CAPACITY as u64 / 2 {
            assert!(push(black_box(round + i)));
        }
        for i in 0..CAPACITY as u64 / 2 {
            assert_eq!(pop(), Some(round + i));
        }
    }
    begun.elapsed().as_nanos() as f64 / ITEMS as f64
}

/// The same with batches.
fn alone_batched(mut push: impl FnMut(u64) -> usize, mut pop: impl FnMut(u64) -> usize) -> f64 {
    let begun = Instant::now();
    let mut next = 0;
    while next < ITEMS {
        for i in 0..CAPACITY / BATCH / 2 {
            assert_eq!(push(next + (i * BATCH) as u64), BATCH);
        }
        for _ in 0..CAPACITY / BATCH / 2 {
            assert_eq!(pop(next), BATCH);
            next += BATCH as u64;
        }
    }
    begun.elapsed().as_nanos() as f64 / next as f64
}

fn check(first: &[u64], second: &[u64], next: u64) {
    for (expected, item) in (next..).zip(first.iter().chain(second)) {
        assert_eq!(*item, expected);
    }
}

macro_rules! single_cases {
    ($run:ident) => {
        vec![
            (
                "smstream",
                Box::new(|| {
                    let mut ring = Box::new(smstream_core::spsc::Ring::<u64, CAPACITY>::new());
                    let (mut producer, mut consumer) = ring.split();
                    $run(move |i| producer.push(i).is_ok(), move || consumer.pop())
                }),
            ),
            // The same once more: what differs between the two is noise.
            (
                "smstream again",
                Box::new(|| {
                    let mut ring = Box::new(smstream_core::spsc::Ring::<u64, CAPACITY>::new());
                    let (mut producer, mut consumer) = ring.split();
                    $run(move |i| producer.push(i).is_ok(), move || consumer.pop())
                }),
            ),
            (
                "rtrb",
                Box::new(|| {
                    let (mut producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
                    $run(move |i| producer.push(i).is_ok(), move || consumer.pop().ok())
                }),
            ),
            (
                "ringbuf",
                Box::new(|| {
                    let (mut producer, mut consumer) = ringbuf::HeapRb::new(CAPACITY).split();
                    $run(move |i| producer.try_push(i).is_ok(), move || consumer.try_pop())
                }),
            ),
            (
                "heapless",
                Box::new(|| {
                    let mut queue = Box::new(heapless::spsc::Queue::<u64, CAPACITY>::new());
                    let (mut producer, mut consumer) = queue.split();
                    $run(move |i| producer.enqueue(i).is_ok(), move || consumer.dequeue())
                }),
            ),
        ]
    };
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(15, |rounds| rounds.parse().expect("the number of rounds"));
    let mut cases: Vec<Case<'_>> = single_cases!(singly);
    compare("push + pop of u64, two threads, capacity 1024: ns per item", rounds, &mut cases);

    let mut cases: Vec<Case<'_>> = single_cases!(singly_side_by_side);
    compare("push + pop of u64, two threads, both halves in one stack frame: ns per item", rounds, &mut cases);

    macro_rules! batch_cases {
        ($run:ident) => {
            vec![
                (
                    "smstream slices",
                    Box::new(|| {
                        let mut ring = Box::new(smstream_core::spsc::Ring::<u64, CAPACITY>::new());
                        let (mut producer, mut consumer) = ring.split();
                        $run(
                            move |next| producer.push_slice(&numbers(next)),
                            move |next| {
                                let mut out = [0; BATCH];
                                let n = consumer.pop_slice(&mut out);
                                check(&out[..n], &[], next);
                                n
                            },
                        )
                    }),
                ),
                (
                    "smstream chunks",
                    Box::new(|| {
                        let mut ring = Box::new(smstream_core::spsc::Ring::<u64, CAPACITY>::new());
                        let (mut producer, mut consumer) = ring.split();
                        $run(
                            move |next| producer.push_iter(next..next + BATCH as u64),
                            move |next| {
                                let len = consumer.len().min(BATCH);
                                let Ok(mut chunk) = consumer.read_chunk(len) else { return 0 };
                                let (first, second) = chunk.as_slices();
                                check(first, second, next);
                                chunk.commit_all()
                            },
                        )
                    }),
                ),
                (
                    "rtrb slices",
                    Box::new(|| {
                        let (mut producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
                        $run(
                            move |next| producer.push_partial_slice(&numbers(next)).0.len(),
                            move |next| {
                                let mut out = [0; BATCH];
                                let n = consumer.pop_partial_slice(&mut out).0.len();
                                check(&out[..n], &[], next);
                                n
                            },
                        )
                    }),
                ),
                (
                    "rtrb chunks",
                    Box::new(|| {
                        let (mut producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
                        $run(
                            move |next| {
                                let room = producer.slots().min(BATCH);
                                let Ok(chunk) = producer.write_chunk_uninit(room) else { return 0 };
                                chunk.fill_from_iter(next..next + BATCH as u64)
                            },
                            move |next| {
                                let len = consumer.slots().min(BATCH);
                                let Ok(chunk) = consumer.read_chunk(len) else { return 0 };
                                let (first, second) = chunk.as_slices();
                                check(first, second, next);
                                chunk.commit_all();
                                len
                            },
                        )
                    }),
                ),
                (
                    "ringbuf slices",
                    Box::new(|| {
                        let (mut producer, mut consumer) = ringbuf::HeapRb::new(CAPACITY).split();
                        $run(
                            move |next| producer.push_slice(&numbers(next)),
                            move |next| {
                                let mut out = [0; BATCH];
                                let n = consumer.pop_slice(&mut out);
                                check(&out[..n], &[], next);
                                n
                            },
                        )
                    }),
                ),
            ]
        };
    }
    let mut cases: Vec<Case<'_>> = batch_cases!(batched);
    compare("batches of 64 u64, two threads, capacity 1024: ns per item", rounds, &mut cases);

    let mut cases: Vec<Case<'_>> = batch_cases!(alone_batched);
    compare("batches of 64 u64, 512 pushed and popped, one thread: ns per item", rounds, &mut cases);

    let mut cases: Vec<Case<'_>> = single_cases!(alone);
    compare("push of 512 and pop of 512 u64, one thread: ns per item", rounds, &mut cases);
}

fn numbers(next: u64) -> [u64; BATCH] {
    std::array::from_fn(|i| next + i as u64)
}
