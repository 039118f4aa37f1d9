//! What an allocator does with a ring: blocks are freed by another thread than their owner's, and the owner drains them.
//! `cargo run --release --bin allocator [ROUNDS]`.

use std::hint::{black_box, spin_loop};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Instant;

use smstream_bench_rings::{Case, compare, race};

/// Blocks that are freed before the owner drains them.
const BURST: usize = 256;
const BURSTS: usize = 4_000;
/// Blocks that go through the pipeline.
const BLOCKS: usize = 1_000_000;
/// Blocks that the owner has.
const OWNED: usize = 512;

/// A block; while it is free its first word leads to the next one.
#[repr(align(64))]
struct Block(*mut Block);

/// The address of a block, which one thread has at a time.
#[derive(Clone, Copy)]
struct Address(*mut Block);

// SAFETY: the thread that has taken an address out of a ring or a list is the only one that uses the block.
unsafe impl Send for Address {}

/// The free blocks of the owner.
struct Owned {
    first: *mut Block,
    _memory: Vec<Block>,
}

// SAFETY: it is used by one thread at a time, and so is each block.
unsafe impl Send for Owned {}

impl Owned {
    fn new() -> Self {
        let mut memory: Vec<Block> = (0..OWNED).map(|_| Block(ptr::null_mut())).collect();
        let base = memory.as_mut_ptr();
        let mut owned = Owned { first: ptr::null_mut(), _memory: memory };
        // SAFETY: within the memory, which does not move.
        (0..OWNED).for_each(|i| owned.give(Address(unsafe { base.add(i) })));
        owned
    }

    fn take(&mut self) -> Option<Address> {
        let first = self.first;
        if first.is_null() {
            return None;
        }
        // SAFETY: a block of this list is the owner's alone.
        self.first = unsafe { (*first).0 };
        Some(Address(first))
    }

    fn give(&mut self, Address(block): Address) {
        // SAFETY: as above.
        unsafe { (*block).0 = self.first };
        self.first = block;
    }
}

/// Nanoseconds for each block of `BURSTS` bursts: of freeing them, or of draining them.
fn bursts(freeing: bool, mut free: impl FnMut(Address), mut drain: impl FnMut(&mut Owned)) -> f64 {
    let (mut owned, mut taken, mut spent) = (Owned::new(), Vec::with_capacity(BURST), 0);
    for _ in 0..BURSTS {
        taken.extend((0..BURST).map(|_| owned.take().expect("enough blocks")));
        let begun = Instant::now();
        for &block in &taken {
            free(black_box(block));
        }
        let freed = Instant::now();
        drain(&mut owned);
        let drained = Instant::now();
        spent += if freeing { freed - begun } else { drained - freed }.as_nanos();
        taken.clear();
    }
    spent as f64 / (BURSTS * BURST) as f64
}

/// The owner allocates blocks and hands them over; the other thread uses and frees them; the owner drains when it has none left.
fn pipeline(
    mut hand_over: impl FnMut(Address) -> bool + Send,
    mut receive: impl FnMut() -> Option<Address> + Send,
    mut free: impl FnMut(Address) -> bool + Send,
    mut drain: impl FnMut(&mut Owned) + Send,
) -> f64 {
    let mut owned = Owned::new();
    let spent = race(
        move || {
            for _ in 0..BLOCKS {
                let block = loop {
                    match owned.take() {
                        Some(block) => break block,
                        None => drain(&mut owned),
                    }
                };
                while !hand_over(block) {
                    spin_loop();
                }
            }
            // The memory outlives the other thread's use of it: all blocks come home.
            let mut home = 0;
            while home < OWNED {
                drain(&mut owned);
                while owned.take().is_some() {
                    home += 1;
                }
            }
        },
        move || {
            for _ in 0..BLOCKS {
                let block = loop {
                    match receive() {
                        Some(block) => break block,
                        None => spin_loop(),
                    }
                };
                // SAFETY: the block was handed over to this thread.
                unsafe { (*block.0).0 = ptr::null_mut() };
                while !free(block) {
                    spin_loop();
                }
            }
        },
    );
    spent.as_nanos() as f64 / BLOCKS as f64
}

/// What others take: a list that all threads push to, and that the owner takes as a whole.
struct List(AtomicPtr<Block>);

impl List {
    fn free(&self, Address(block): Address) {
        let mut first = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: the block is the caller's until it is in the list.
            unsafe { (*block).0 = first };
            match self.0.compare_exchange_weak(first, block, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(found) => first = found,
            }
        }
    }

    fn drain(&self, owned: &mut Owned) {
        let mut block = self.0.swap(ptr::null_mut(), Ordering::Acquire);
        while !block.is_null() {
            // SAFETY: the whole list is the owner's now.
            let next = unsafe { (*block).0 };
            owned.give(Address(block));
            block = next;
        }
    }
}

type Ring = smstream_core::spsc::Ring<Address, 1024>;
type Queue = heapless::spsc::Queue<Address, 1024>;

fn burst_cases(freeing: bool) -> Vec<Case<'static>> {
    vec![
        (
            "smstream",
            Box::new(move || {
                let mut ring = Box::new(Ring::new());
                let (mut producer, mut consumer) = ring.split();
                bursts(
                    freeing,
                    |block| assert!(producer.push(block).is_ok()),
                    |owned| {
                        consumer.pop_all(|block| owned.give(block));
                    },
                )
            }),
        ),
        (
            "heapless",
            Box::new(move || {
                let mut queue = Box::new(Queue::new());
                let (mut producer, mut consumer) = queue.split();
                bursts(
                    freeing,
                    |block| assert!(producer.enqueue(block).is_ok()),
                    |owned| {
                        while let Some(block) = consumer.dequeue() {
                            owned.give(block);
                        }
                    },
                )
            }),
        ),
        (
            "rtrb",
            Box::new(move || {
                let (mut producer, mut consumer) = rtrb::RingBuffer::new(1024);
                bursts(
                    freeing,
                    |block| assert!(producer.push(block).is_ok()),
                    |owned| {
                        if let Ok(chunk) = consumer.read_chunk(consumer.slots()) {
                            chunk.into_iter().for_each(|block| owned.give(block));
                        }
                    },
                )
            }),
        ),
    ]
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(15, |rounds| rounds.parse().expect("the number of rounds"));
    compare("free of 256 blocks, one thread: ns per block", rounds, &mut burst_cases(true));
    compare("drain of 256 blocks, one thread: ns per block", rounds, &mut burst_cases(false));
    let mut cases: Vec<Case<'_>> = vec![
        (
            "smstream",
            Box::new(|| {
                let (mut there, mut back) = (Box::new(Ring::new()), Box::new(Ring::new()));
                let (mut hand_over, mut receive) = there.split();
                let (mut free, mut drain) = back.split();
                pipeline(
                    move |block| hand_over.push(block).is_ok(),
                    move || receive.pop(),
                    move |block| free.push(block).is_ok(),
                    move |owned| {
                        drain.pop_all(|block| owned.give(block));
                    },
                )
            }),
        ),
        // The same once more: what differs between the two is noise.
        (
            "smstream again",
            Box::new(|| {
                let (mut there, mut back) = (Box::new(Ring::new()), Box::new(Ring::new()));
                let (mut hand_over, mut receive) = there.split();
                let (mut free, mut drain) = back.split();
                pipeline(
                    move |block| hand_over.push(block).is_ok(),
                    move || receive.pop(),
                    move |block| free.push(block).is_ok(),
                    move |owned| {
                        drain.pop_all(|block| owned.give(block));
                    },
                )
            }),
        ),
        (
            "heapless",
            Box::new(|| {
                let (mut there, mut back) = (Box::new(Queue::new()), Box::new(Queue::new()));
                let (mut hand_over, mut receive) = there.split();
                let (mut free, mut drain) = back.split();
                pipeline(
                    move |block| hand_over.enqueue(block).is_ok(),
                    move || receive.dequeue(),
                    move |block| free.enqueue(block).is_ok(),
                    move |owned| {
                        while let Some(block) = drain.dequeue() {
                            owned.give(block);
                        }
                    },
                )
            }),
        ),
        (
            "rtrb",
            Box::new(|| {
                let (mut hand_over, mut receive) = rtrb::RingBuffer::new(1024);
                let (mut free, mut drain) = rtrb::RingBuffer::new(1024);
                pipeline(
                    move |block| hand_over.push(block).is_ok(),
                    move || receive.pop().ok(),
                    move |block| free.push(block).is_ok(),
                    move |owned| {
                        if let Ok(chunk) = drain.read_chunk(drain.slots()) {
                            chunk.into_iter().for_each(|block| owned.give(block));
                        }
                    },
                )
            }),
        ),
        (
            "list by compare-and-swap",
            Box::new(|| {
                let mut there = Box::new(Ring::new());
                let (mut hand_over, mut receive) = there.split();
                let list = &List(AtomicPtr::new(ptr::null_mut()));
                pipeline(
                    move |block| hand_over.push(block).is_ok(),
                    move || receive.pop(),
                    move |block| {
                        list.free(block);
                        true
                    },
                    move |owned| list.drain(owned),
                )
            }),
        ),
    ];
    compare("pipeline of two threads: allocate, hand over, free, drain: ns per block", rounds, &mut cases);
}
