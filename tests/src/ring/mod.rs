//! The ring of items against a queue of the standard library: what a fuzzer and the property tests share.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::rc::Rc;

use smstream_core::spsc::{Full, Halves, Ring, SliceRing, TooFew, Words};

use crate::texts::{check_debug, check_error};

mod plain;
pub use plain::{Plain, run_plain};

/// What a test does. Numbers of items may be more than there are, or than fit.
#[derive(Clone, Debug)]
pub enum Op {
    /// Pushes one.
    Push,
    /// Pushes so many, from a slice.
    PushSlice(usize),
    /// Pushes so many, from an iterator.
    PushIter(usize),
    /// Asks for so many places, fills so many, and commits or gives up.
    WriteChunk(usize, usize, bool),
    /// Asks for so many places, and fills so many one by one, the rest where they are.
    WritePlaces(usize, usize),
    /// Pops one.
    Pop,
    /// Pops so many, by an iterator.
    PopIter(usize),
    /// Pops all.
    PopAll,
    /// Pops so many into memory that is not initialised.
    PopUninit(usize),
    /// Looks at the first.
    Peek,
    /// Asks for so many items, and commits so many.
    ReadChunk(usize, usize),
    /// Asks for so many items, and takes all.
    ReadAll(usize),
    /// Drops so many.
    Skip(usize),
    /// Asks how many there are, and looks at all.
    Look,
}

/// An item that is counted as long as it lives.
pub type Item = Rc<u32>;

struct World<'r, W: Words> {
    halves: Halves<'r, Item, W>,
    queue: VecDeque<u32>,
    /// One handle of each item that lives in the ring; `Rc` counts the rest.
    made: Vec<Item>,
    capacity: usize,
}

impl<W: Words> World<'_, W> {
    fn item(&mut self) -> Item {
        let item = Rc::new(self.made.len() as u32);
        self.made.push(item.clone());
        item
    }

    fn some(&mut self, len: usize) -> Vec<Item> {
        (0..len).map(|_| self.item()).collect()
    }

    fn expect(&mut self, got: Item) {
        assert_eq!(Some(*got), self.queue.pop_front());
    }

    fn run(&mut self, op: &Op) {
        let room = self.capacity - self.queue.len();
        match *op {
            Op::Push => {
                let item = self.item();
                match self.halves.0.push(item.clone()) {
                    Ok(()) => {
                        assert!(room > 0);
                        self.queue.push_back(*item);
                    }
                    Err(full) => {
                        check_error(&full);
                        assert!(room == 0 && full == Full(item));
                    }
                }
            }
            // `Rc` is no `Copy`; slices of plain numbers have a test of their own below.
            Op::PushIter(len) | Op::PushSlice(len) => {
                let items = self.some(len);
                let pushed = self.halves.0.push_iter(items.iter().cloned());
                assert_eq!(pushed, len.min(room));
                self.queue.extend(items[..pushed].iter().map(|item| **item));
            }
            Op::WriteChunk(ask, fill, commit) => {
                let items = self.some(fill);
                match self.halves.0.write_chunk(ask) {
                    Err(e) => {
                        check_error(&e);
                        assert_eq!(e, TooFew { wanted: ask, available: room });
                    }
                    Ok(mut chunk) => {
                        let filled = chunk.fill(items.iter().cloned());
                        assert_eq!((filled, chunk.len()), (fill.min(ask), ask));
                        assert!(ask <= room);
                        if commit {
                            assert_eq!(chunk.commit(), filled);
                            self.queue.extend(items[..filled].iter().map(|item| **item));
                        }
                    }
                }
            }
            Op::WritePlaces(ask, by_one) => {
                let items = self.some(ask);
                match self.halves.0.write_chunk(ask) {
                    Err(e) => assert_eq!(e, TooFew { wanted: ask, available: room }),
                    Ok(mut chunk) => {
                        assert_eq!((chunk.len(), chunk.is_empty(), chunk.filled()), (ask, ask == 0, 0));
                        let mut left = items.iter().cloned();
                        left.by_ref().take(by_one).for_each(|item| chunk.push(item).expect("a place"));
                        let (first, second) = chunk.as_mut_slices();
                        let rest = first.len() + second.len();
                        assert_eq!(rest, ask.saturating_sub(by_one));
                        for (place, item) in first.iter_mut().chain(second).zip(left) {
                            place.write(item);
                        }
                        // SAFETY: each place of the two slices has just been filled.
                        unsafe { chunk.assume_filled(rest) };
                        let one_more = Rc::new(0);
                        assert_eq!(chunk.push(Rc::clone(&one_more)), Err(Full(one_more)));
                        assert_eq!((chunk.filled(), chunk.commit()), (ask, ask));
                        self.queue.extend(items.iter().map(|item| **item));
                    }
                }
            }
            Op::Pop => match self.halves.1.pop() {
                Some(got) => self.expect(got),
                None => assert!(self.queue.is_empty()),
            },
            Op::PopIter(len) => {
                let got: Vec<_> = self.halves.1.pop_iter().take(len).collect();
                assert_eq!(got.len(), len.min(self.queue.len()));
                got.into_iter().for_each(|item| self.expect(item));
            }
            Op::PopAll => {
                let (there, queue) = (self.queue.len(), &mut self.queue);
                assert_eq!(self.halves.1.pop_all(|got| assert_eq!(Some(*got), queue.pop_front())), there);
                assert!(queue.is_empty());
            }
            Op::PopUninit(len) => {
                let mut out: Vec<MaybeUninit<Item>> = (0..len).map(|_| MaybeUninit::uninit()).collect();
                let popped = self.halves.1.pop_uninit(&mut out);
                assert_eq!(popped, len.min(self.queue.len()));
                for item in out.into_iter().take(popped) {
                    // SAFETY: so many were initialised.
                    self.expect(unsafe { item.assume_init() });
                }
            }
            Op::Peek => {
                assert_eq!(self.halves.1.peek().map(|item| **item), self.queue.front().copied());
                assert_eq!(self.halves.1.peek_mut().map(|item| **item), self.queue.front().copied());
            }
            Op::ReadAll(ask) => match self.halves.1.read_chunk(ask) {
                Err(e) => assert_eq!(e, TooFew { wanted: ask, available: self.queue.len() }),
                Ok(mut chunk) => {
                    assert_eq!((chunk.len(), chunk.is_empty()), (ask, ask == 0));
                    let (first, second) = chunk.as_mut_slices();
                    let seen: Vec<u32> = first.iter().chain(second.iter()).map(|item| **item).collect();
                    assert_eq!((seen, chunk.commit_all()), (self.queue.drain(..ask).collect(), ask));
                }
            },
            Op::ReadChunk(ask, take) => match self.halves.1.read_chunk(ask) {
                Err(e) => assert_eq!(e, TooFew { wanted: ask, available: self.queue.len() }),
                Ok(mut chunk) => {
                    let (first, second) = chunk.as_slices();
                    let seen: Vec<u32> = first.iter().chain(second).map(|item| **item).collect();
                    assert_eq!(seen, self.queue.iter().copied().take(ask).collect::<Vec<_>>());
                    assert_eq!(chunk.commit(take), take.min(ask));
                    self.queue.drain(..take.min(ask));
                }
            },
            Op::Skip(len) => {
                let there = len.min(self.queue.len());
                assert_eq!(self.halves.1.skip(len), there);
                self.queue.drain(..there);
            }
            Op::Look => {
                let (len, capacity) = (self.queue.len(), self.capacity);
                let (producer, consumer) = &mut self.halves;
                assert_eq!((producer.len(), consumer.len()), (len, len));
                assert_eq!((producer.room(), producer.is_full()), (capacity - len, len == capacity));
                assert_eq!((producer.is_empty(), consumer.is_empty()), (len == 0, len == 0));
                assert_eq!((producer.capacity(), consumer.capacity()), (capacity, capacity));
                assert_eq!(consumer.iter().map(|item| **item).collect::<VecDeque<_>>(), self.queue);
            }
        }
        // Each item lives once here, and once more exactly if it is in the ring.
        let in_ring: usize = self.made.iter().map(|item| Rc::strong_count(item) - 1).sum();
        assert_eq!(in_ring, self.queue.len());
    }
}

/// Does all of it, and looks at the end. The items that were made, of which some may be in the ring still.
///
/// # Panics
/// If the ring does not do what a queue does.
#[must_use]
pub fn run<W: Words>(halves: Halves<'_, Item, W>, ops: &[Op]) -> Vec<Item> {
    check_debug(&halves.0);
    check_debug(&halves.1);
    let capacity = halves.0.capacity();
    let mut world = World { halves, queue: VecDeque::new(), made: Vec::new(), capacity };
    ops.iter().chain([&Op::Look]).for_each(|op| world.run(op));
    world.made
}

/// Runs on a ring of so many places, and sees that it drops what is left.
///
/// # Panics
/// If the ring does not do what a queue does, or keeps an item.
pub fn run_on<const N: usize, W: Words>(start: u32, ops: &[Op]) {
    let mut ring = Ring::<Item, N, W>::starting_at(start);
    check_debug(&ring);
    assert_eq!(ring.capacity(), N);
    let made = run(ring.split(), ops);
    drop(ring);
    assert!(made.iter().all(|item| Rc::strong_count(item) == 1));

    // A ring that may be shared is split once.
    let ring = Ring::<Item, N, W>::default();
    let made = run(ring.try_split().expect("the first"), ops);
    check_error(&ring.try_split().expect_err("it was split before"));
    drop(ring);
    assert!(made.iter().all(|item| Rc::strong_count(item) == 1));
}

/// Runs on a ring in `places` borrowed places: if it cannot be, the error says so.
///
/// # Panics
/// If the ring does not do what a queue does, or keeps an item.
pub fn run_in_slice<W: Words>(places: usize, twice: bool, ops: &[Op]) {
    let mut memory: Vec<MaybeUninit<Item>> = (0..places).map(|_| MaybeUninit::uninit()).collect();
    let mut ring = match SliceRing::<Item, W>::new(&mut memory) {
        Ok(ring) => ring,
        Err(e) => {
            check_error(&e);
            return assert!(!places.is_power_of_two());
        }
    };
    check_debug(&ring);
    assert!(places.is_power_of_two() && ring.capacity() == places);
    let made = if twice {
        let made = run(ring.try_split().expect("the first"), ops);
        check_error(&ring.try_split().expect_err("it was split before"));
        made
    } else {
        run(ring.split(), ops)
    };
    drop(ring);
    assert!(made.iter().all(|item| Rc::strong_count(item) == 1));
}
