//! The compact ring of bytes against a queue of the standard library: what a fuzzer and the property tests share.

mod park;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use smstream_core::error::{ReadError, WaitError, WriteError};
use smstream_core::local::{ByteConsumer, ByteProducer, ByteRing};
use smstream_core::park::{Park, Spin};

use crate::texts::{check_debug, check_error, checked};
use park::Acting;

/// What a test does. Lengths may be more than there is, or than fits.
#[derive(Clone, Debug)]
pub enum Op {
    /// Writes so many bytes.
    Write(usize),
    /// Reads into so many bytes.
    Read(usize),
    /// Waits for so many bytes of room, while the reader does this. It gives up when the reader has nothing more to do.
    WaitRoom(usize, Vec<Meanwhile>),
    /// Waits for so many bytes, while the writer does this.
    WaitBytes(usize, Vec<Meanwhile>),
    /// Says that no more will come.
    Finish,
    /// Says that no more will be taken.
    Stop,
    /// Gives up both halves and splits the ring again: bytes stay, and it is open.
    Split,
}

/// What the other half does while a half sleeps.
#[derive(Clone, Debug)]
pub enum Meanwhile {
    /// It writes or reads so many bytes.
    Move(usize),
    /// It says FIN or STOP.
    Last,
    /// Nothing: the sleep ends for no reason.
    Nothing,
}

/// The queue, and what the halves should know.
#[derive(Default)]
struct Model {
    capacity: usize,
    queue: VecDeque<u8>,
    next: u8,
    fin: bool,
    stop: bool,
}

impl Model {
    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        (0..len).map(|n| self.next.wrapping_add(n as u8)).collect()
    }
}

/// The halves, each of which can act while the other one sleeps.
struct Shared<'r> {
    model: RefCell<Model>,
    producer: RefCell<Option<ByteProducer<'r, Acting<'r>>>>,
    consumer: RefCell<Option<ByteConsumer<'r, Acting<'r>>>>,
    /// What the other half has still to do while one sleeps.
    to_do: RefCell<VecDeque<Meanwhile>>,
    /// How many wakes there were.
    wakes: Cell<usize>,
}

fn write<P: Park>(model: &mut Model, producer: &mut ByteProducer<'_, P>, len: usize) {
    let bytes = model.bytes(len);
    let got = checked(producer.write(&bytes));
    let expected = match (model.fin || model.stop, model.room()) {
        (true, _) => Err(WriteError::Closed),
        (false, 0) if len > 0 => Err(WriteError::Full),
        (false, room) => Ok(len.min(room)),
    };
    assert_eq!(got, expected);
    let n = got.unwrap_or(0);
    model.queue.extend(&bytes[..n]);
    model.next = model.next.wrapping_add(n as u8);
}

fn read<P: Park>(model: &mut Model, consumer: &mut ByteConsumer<'_, P>, len: usize) {
    let mut out = vec![0xa5; len];
    let got = checked(consumer.read(&mut out));
    let n = if model.stop { 0 } else { len.min(model.queue.len()) };
    let nothing_yet = n == 0 && len > 0 && !model.fin && !model.stop;
    assert_eq!(got, if nothing_yet { Err(ReadError::Empty) } else { Ok(n) });
    assert!(out[n..].iter().all(|&byte| byte == 0xa5));
    out.truncate(n);
    assert_eq!(out, model.queue.drain(..n).collect::<Vec<_>>());
}

/// What a wait is taken to want: half of the ring at most, and one byte at least.
fn wanted(want: usize, capacity: usize) -> usize {
    want.clamp(1, (capacity / 2).max(1))
}

impl<'r> Shared<'r> {
    /// One thing that the reader does while the writer sleeps, or the writer while the reader does. Whether there was one.
    fn act(&self, writer_sleeps: bool, want: usize) -> bool {
        let Some(next) = self.to_do.borrow_mut().pop_front() else { return false };
        let (wakes, model) = (self.wakes.get(), &mut *self.model.borrow_mut());
        if writer_sleeps {
            let mut consumer = self.consumer.borrow_mut();
            let consumer = consumer.as_mut().expect("the other half");
            match next {
                Meanwhile::Move(len) => read(model, consumer, len),
                Meanwhile::Last => {
                    consumer.stop();
                    model.stop = true;
                }
                Meanwhile::Nothing => {}
            }
        } else {
            let mut producer = self.producer.borrow_mut();
            let producer = producer.as_mut().expect("the other half");
            match next {
                Meanwhile::Move(len) => write(model, producer, len),
                Meanwhile::Last => {
                    producer.finish();
                    model.fin = true;
                }
                Meanwhile::Nothing => {}
            }
        }
        // There was not enough before, so what makes it enough wakes, and nothing else does.
        let there = if writer_sleeps { model.room() } else { model.queue.len() };
        let enough = there >= want || if writer_sleeps { model.stop } else { model.fin };
        assert_eq!(self.wakes.get() - wakes, usize::from(enough), "{there} of {want}");
        true
    }

    fn wait_for_room(&self, want: usize) {
        let got = checked(
            self.producer.borrow_mut().as_mut().expect("a half").wait(want, Some(wanted(want, self.capacity()))),
        );
        let model = self.model.borrow();
        let expected = match model.room() {
            _ if model.fin || model.stop => Err(WaitError::Closed),
            0 => Err(WaitError::TimedOut),
            room => Ok(room),
        };
        assert_eq!(got, expected);
    }

    fn wait_for_bytes(&self, want: usize) {
        let got = checked(
            self.consumer.borrow_mut().as_mut().expect("a half").wait(want, Some(wanted(want, self.capacity()))),
        );
        let model = self.model.borrow();
        let expected = match model.queue.len() {
            _ if model.stop => Ok(0),
            0 if !model.fin => Err(WaitError::TimedOut),
            there => Ok(there),
        };
        assert_eq!(got, expected);
    }

    fn capacity(&self) -> usize {
        self.model.borrow().capacity
    }

    fn run(&self, op: &Op) {
        let producer = || self.producer.borrow_mut();
        let consumer = || self.consumer.borrow_mut();
        match op {
            Op::Write(len) => write(&mut self.model.borrow_mut(), producer().as_mut().expect("a half"), *len),
            Op::Read(len) => read(&mut self.model.borrow_mut(), consumer().as_mut().expect("a half"), *len),
            Op::WaitRoom(want, meanwhile) => {
                self.to_do.borrow_mut().extend(meanwhile.iter().cloned());
                self.wait_for_room(*want);
            }
            Op::WaitBytes(want, meanwhile) => {
                self.to_do.borrow_mut().extend(meanwhile.iter().cloned());
                self.wait_for_bytes(*want);
            }
            Op::Finish => {
                producer().as_mut().expect("a half").finish();
                self.model.borrow_mut().fin = true;
            }
            Op::Stop => {
                consumer().as_mut().expect("a half").stop();
                self.model.borrow_mut().stop = true;
            }
            Op::Split => unreachable!("the halves are given up before"),
        }
        self.to_do.borrow_mut().clear();
        let model = self.model.borrow();
        let (mut producer, mut consumer) = (producer(), consumer());
        let (producer, consumer) = (producer.as_mut().expect("a half"), consumer.as_mut().expect("a half"));
        assert_eq!((producer.capacity(), consumer.capacity()), (model.capacity, model.capacity));
        assert_eq!((producer.room(), consumer.len()), (model.room(), model.queue.len()));
        assert_eq!(consumer.is_empty(), model.queue.is_empty());
    }
}

/// Does all of it on a ring of `N` bytes whose cursors begin at `start`, with halves that sleep and act in each other's sleep.
///
/// # Panics
/// If the ring does not do what a queue does, or a half that sleeps is not woken for enough, or is for less.
pub fn run<const N: usize>(start: u32, ops: &[Op]) {
    let mut ring = ByteRing::<N>::starting_at(start);
    check_debug(&ring);
    let mut model = Model { capacity: ring.capacity(), ..Model::default() };
    for part in ops.split(|op| matches!(op, Op::Split)) {
        let shared = Rc::new(Shared {
            model: RefCell::new(model),
            producer: RefCell::default(),
            consumer: RefCell::default(),
            to_do: RefCell::default(),
            wakes: Cell::new(0),
        });
        let park = |writes| Acting { shared: Rc::clone(&shared), writes };
        let (producer, consumer) = ring.split(park(true), park(false));
        check_debug(&producer);
        check_debug(&consumer);
        shared.producer.replace(Some(producer));
        shared.consumer.replace(Some(consumer));
        part.iter().for_each(|op| shared.run(op));
        // They hold the other ends of the circle.
        drop((shared.producer.take(), shared.consumer.take()));
        model = Rc::into_inner(shared).expect("both halves are gone").model.into_inner();
        (model.fin, model.stop) = (false, false);
    }
}

/// The same with halves that never sleep, of a ring that can be split once: writes and reads alone.
///
/// # Panics
/// If the ring does not do what a queue does, or is split twice.
pub fn run_awake<const N: usize>(ops: &[Op]) {
    let ring = ByteRing::<N>::default();
    let mut model = Model { capacity: N, ..Model::default() };
    let (mut producer, mut consumer) = ring.try_split(Spin, Spin).expect("the first");
    check_error(&ring.try_split(Spin, Spin).expect_err("the second"));
    for op in ops {
        match op {
            Op::Write(len) => write(&mut model, &mut producer, *len),
            Op::Read(len) => read(&mut model, &mut consumer, *len),
            Op::Finish => {
                producer.finish();
                model.fin = true;
            }
            Op::Stop => {
                consumer.stop();
                model.stop = true;
            }
            // With enough it returns at once; with less it would look for ever.
            Op::WaitRoom(want, _) if model.fin || model.stop || model.room() >= wanted(*want, N) => {
                let open = !model.fin && !model.stop;
                assert_eq!(producer.wait(*want, None), if open { Ok(model.room()) } else { Err(WaitError::Closed) });
            }
            Op::WaitBytes(want, _) if model.fin || model.stop || model.queue.len() >= wanted(*want, N) => {
                assert_eq!(consumer.wait(*want, None), Ok(if model.stop { 0 } else { model.queue.len() }));
            }
            Op::WaitRoom(..) | Op::WaitBytes(..) | Op::Split => {}
        }
    }
}
