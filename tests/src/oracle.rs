//! The oracle: a channel as two queues, and an interpreter that runs each operation on the queues and on two real ends.
//!
//! The model knows nothing of rings, cached cursors or wrapping. It has a queue per lane, and for the words in memory two
//! cursors that it adds to modulo 2³¹. After each operation it compares the result, the bytes, who was woken and how
//! often a half slept and on which value, and every word of both headers. The same interpreter serves unit tests,
//! property tests and fuzzing: all they do is make up [`Setup`] and [`Op`]s.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use smstream_core::counter::Counts;
use smstream_core::cursor::{ASLEEP, CURSOR, FIN, LOOK, MARK, STOP, WHOLE};
use smstream_core::error::{ReadError, ReserveError, WaitError, WriteError};
use smstream_core::geometry::{self, Config};
use smstream_core::layout::{HEADER_LEN, Header};
use smstream_core::park::{Park, Place, Wake, Watch};
use smstream_core::stream::End;

use crate::memory::Heap;

/// The largest capacity that a [`Setup`] has.
pub const MAX_CAPACITY: u32 = 4096;
/// Words of a header.
const WORDS: usize = HEADER_LEN as usize / 4;

/// The channel that operations run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The capacity of each party's lane: 0 or a power of two.
    pub capacities: [u32; 2],
    /// Where all cursors begin; taken modulo 2³¹.
    pub start: u32,
    /// The alignment of the segments: 128 or more.
    pub align: u32,
    /// Both segments in one allocation, as in a file; or in two, as over memfds.
    pub one_block: bool,
}

/// A half of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The reading half.
    Read = 0,
    /// The writing half.
    Write = 1,
}

/// Something done to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// `write` of so many bytes.
    Append(u16),
    /// `put` at a position.
    Put {
        /// The position.
        at: u16,
        /// How many bytes.
        len: u16,
    },
}

/// How a reservation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `commit(n)`.
    Commit(u16),
    /// `commit_filled()`.
    Filled,
    /// `abort()`.
    Abort,
    /// Dropped.
    Drop,
}

/// How a wait goes, if it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Looks before parking.
    pub spins: u8,
    /// Sleeps that end for no reason before one ends by the deadline.
    pub maybes: u8,
}

/// One operation, by one party (0 or 1; taken modulo 2). Lengths are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `Producer::write`, or `End::write`.
    Write {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
        /// Through the end rather than its half.
        by_end: bool,
    },
    /// `Producer::write_deferred`.
    WriteDeferred {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
    },
    /// `Producer::write_vectored`.
    WriteVectored {
        /// Who.
        party: u8,
        /// How many bytes in each buffer.
        lens: [u16; 3],
    },
    /// `Producer::flush`.
    Flush {
        /// Who.
        party: u8,
    },
    /// `Producer::reserve`, and what is done with it.
    Reserve {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
        /// What is put into it.
        fills: [Fill; 2],
        /// How it ends.
        outcome: Outcome,
    },
    /// `Consumer::read`, or `End::read`.
    Read {
        /// Who.
        party: u8,
        /// The length of the buffer.
        len: u16,
        /// Through the end rather than its half.
        by_end: bool,
    },
    /// `Consumer::read_deferred`.
    ReadDeferred {
        /// Who.
        party: u8,
        /// The length of the buffer.
        len: u16,
    },
    /// `Consumer::read_vectored`.
    ReadVectored {
        /// Who.
        party: u8,
        /// The lengths of the buffers.
        lens: [u16; 3],
    },
    /// `Consumer::flush`.
    GiveBack {
        /// Who.
        party: u8,
    },
    /// `Consumer::peek`, `Peek::copy_to` and, if asked for, `Peek::consume`.
    Peek {
        /// Who.
        party: u8,
        /// The position copied from.
        at: u16,
        /// The length of the buffer.
        len: u16,
        /// How many bytes are then taken.
        take: Option<u16>,
    },
    /// `Consumer::consume`.
    Consume {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
    },
    /// `Producer::finish`.
    Finish {
        /// Who.
        party: u8,
    },
    /// `Consumer::stop`.
    Stop {
        /// Who.
        party: u8,
    },
    /// `End::close`.
    Close {
        /// Who.
        party: u8,
    },
    /// `Producer::wait`, or `End::wait_room`, with a deadline that has passed.
    WaitRoom {
        /// Who.
        party: u8,
        /// How many bytes of room.
        want: u16,
        /// How it goes.
        patience: Patience,
        /// Through the end rather than its half.
        by_end: bool,
        /// For the whole party, without a deadline: `wait_whole`, or `wait_room_whole` and `wait_bytes_whole`.
        whole: bool,
    },
    /// `Consumer::wait`, or `End::wait_bytes`, with a deadline that has passed.
    WaitBytes {
        /// Who.
        party: u8,
        /// How many bytes.
        want: u16,
        /// How it goes.
        patience: Patience,
        /// Through the end rather than its half.
        by_end: bool,
        /// For the whole party, without a deadline: `wait_whole`, or `wait_room_whole` and `wait_bytes_whole`.
        whole: bool,
    },
    /// Drops the end and attaches again. The words in memory are all that is left: bytes written and not flushed are
    /// gone, bytes taken and not given back will be read once more, and everything else goes on where it was.
    Reattach {
        /// Who.
        party: u8,
    },
    /// Writes the words of a half as if it slept in another thread: its mark lies so far ahead of the cursor it waits
    /// for. Does nothing to a reading half that has stopped, which never sleeps again.
    Asleep {
        /// Who sleeps.
        party: u8,
        /// With which half.
        half: Half,
        /// How far ahead the mark lies. An honest one is in 1..=capacity; others must do no harm.
        ahead: u16,
        /// Whether `WHOLE` is set.
        whole: bool,
        /// How it wants to be rung.
        bell: u8,
    },
    /// Writes 0, or bits that mean nothing, into the park word of a half: awake.
    Awake {
        /// Who.
        party: u8,
        /// Which half.
        half: Half,
        /// The bits; `ASLEEP` is left out, and *look* is taken as 0.
        bits: u32,
    },
}

/// What a half did to its `Park`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// It woke the sleepers of the cursor it had published.
    Wake { party: usize, half: Half, bell: u32 },
    /// It woke a peer that may wait for it, too.
    Ring { party: usize, half: Half, bell: u32 },
    /// It asked whether the peer lives.
    Ask { party: usize, half: Half },
    /// It went to sleep on the peer's cursor, having seen this value, with this park word announced.
    Sleep { party: usize, half: Half, seen: u32, park: u32 },
    /// It did something else; what, is the message.
    Wrong(&'static str),
}

#[derive(Debug, Default)]
struct Log {
    events: RefCell<Vec<Event>>,
    spins: Cell<u8>,
    maybes: Cell<u8>,
    /// The wait was asked for without a deadline.
    untimed: Cell<bool>,
    /// And it can be one for the whole party.
    whole: Cell<bool>,
}

/// A [`Park`] that never blocks and remembers what it was asked for.
#[derive(Debug)]
struct Recorder {
    log: Rc<Log>,
    party: usize,
    half: Half,
    /// The cursor this half publishes.
    own: &'static AtomicU32,
    /// The cursor that the other half publishes.
    other: &'static AtomicU32,
    /// The cursor it waits for.
    awaited: &'static AtomicU32,
    /// Its park word.
    word: &'static AtomicU32,
    /// The park word of the peer's half that does the same.
    peer_word: &'static AtomicU32,
    bell: u32,
}

impl Recorder {
    fn push(&self, event: Event) {
        self.log.events.borrow_mut().push(event);
    }
}

impl Park for Recorder {
    type Deadline = ();
    type Spin = u8;

    fn spin_start(&self) -> u8 {
        self.log.spins.get()
    }

    fn spin(&self, left: &mut u8) -> bool {
        let more = *left > 0;
        *left = left.saturating_sub(1);
        more
    }

    fn wait(&self, watches: &[Watch<'_>], deadline: Option<()>) -> Wake {
        let (party, half) = (self.party, self.half);
        let whole = self.log.whole.get();
        let [cursor, others @ ..] = watches else { panic!("slept on nothing") };
        // Party 0 sleeps on the peer's park word as well: it is the one to tell.
        let also = match others {
            [] => !(whole && party == 0),
            [w] => {
                let as_it_is = w.seen == self.peer_word.load(Ordering::Relaxed) && w.place == Place::Shared;
                whole && party == 0 && std::ptr::eq(w.word, self.peer_word) && as_it_is
            }
            _ => false,
        };
        if also && std::ptr::eq(cursor.word, self.awaited) && cursor.place == Place::Shared {
            let park = self.word.load(Ordering::Relaxed);
            self.push(Event::Sleep { party, half, seen: cursor.seen, park });
        } else {
            self.push(Event::Wrong("slept on something else"));
        }
        assert!(deadline.is_some() || self.log.untimed.get(), "slept for ever, though there was enough: {self:?}");
        assert!(deadline.is_none() || !whole, "a whole party has no deadline: {self:?}");
        match self.log.maybes.get() {
            0 => Wake::TimedOut,
            left => {
                self.log.maybes.set(left - 1);
                Wake::Maybe
            }
        }
    }

    fn wake(&self, word: &AtomicU32, bell: u32) {
        let (party, half) = (self.party, self.half);
        self.push(if std::ptr::eq(word, self.own) {
            Event::Wake { party, half, bell }
        } else if std::ptr::eq(word, self.other) && self.log.whole.get() {
            Event::Ring { party, half, bell }
        } else {
            Event::Wrong("woke the sleepers of something else")
        });
    }

    fn ask(&self) {
        self.push(Event::Ask { party: self.party, half: self.half });
    }

    fn bell(&self) -> u32 {
        self.bell
    }
}

/// How a half of the oracle says it wants to be rung.
fn bell_of(party: usize, half: Half) -> u32 {
    40 + 2 * party as u32 + half as u32
}

/// Whether a cursor that takes `moved` single steps from `old` passes the mark of `park`, or, if these steps were its
/// last, would have within another `capacity` steps.
fn crossed(park: u32, old: u32, moved: u32, last: bool, capacity: u32) -> bool {
    let steps = if last { moved + capacity } else { moved };
    park & ASLEEP != 0 && (1..=steps).any(|k| old.wrapping_add(k) & MARK == park & MARK)
}

/// A lane in the model. `None` stands for a byte that was committed without being filled.
#[derive(Debug)]
struct Lane {
    capacity: u32,
    /// Published, and the room not given back.
    flow: VecDeque<Option<u8>>,
    /// So many bytes of `flow` have been taken.
    taken: usize,
    /// Written and not published.
    pending: VecDeque<Option<u8>>,
    sent: u32,
    received: u32,
    fin: bool,
    stop: bool,
}

impl Lane {
    fn new(capacity: u32, start: u32) -> Self {
        Lane {
            capacity,
            flow: VecDeque::new(),
            taken: 0,
            pending: VecDeque::new(),
            sent: start,
            received: start,
            fin: capacity == 0,
            stop: capacity == 0,
        }
    }

    fn room(&self) -> usize {
        self.capacity as usize - self.flow.len() - self.pending.len()
    }

    fn visible(&self) -> usize {
        self.flow.len() - self.taken
    }
}

/// The words of a half in the model.
#[derive(Clone, Copy, Debug, Default)]
struct Words {
    park: u32,
    bell: u32,
    bytes: u64,
    operations: u64,
    parks: u64,
    wakes_sent: u64,
    wakes_avoided: u64,
}

/// How a wait goes in the model.
#[derive(Clone, Copy, Debug)]
struct Wait {
    maybes: u8,
    whole: bool,
}

/// The model: lanes by who writes them, words by party and half.
#[derive(Debug)]
struct Model {
    lanes: [Lane; 2],
    words: [[Words; 2]; 2],
    events: Vec<Event>,
}

impl Model {
    fn published(&mut self, party: usize, half: Half, bytes: usize, woke: Option<u32>) {
        let words = &mut self.words[party][half as usize];
        words.bytes += bytes as u64;
        words.operations += 1;
        match woke {
            Some(bell) => {
                words.wakes_sent += 1;
                self.events.push(Event::Wake { party, half, bell });
            }
            None => words.wakes_avoided += 1,
        }
    }

    fn publish_sent(&mut self, party: usize, last: bool) {
        let sleeper = self.words[1 - party][Half::Read as usize];
        let lane = &mut self.lanes[party];
        let moved = lane.pending.len();
        let woke = crossed(sleeper.park, lane.sent, moved as u32, last, lane.capacity).then_some(sleeper.bell);
        lane.sent = (lane.sent + moved as u32) & CURSOR;
        lane.fin |= last;
        lane.flow.append(&mut lane.pending);
        self.published(party, Half::Write, moved, woke);
    }

    fn publish_received(&mut self, party: usize, last: bool) {
        let sleeper = self.words[1 - party][Half::Write as usize];
        let lane = &mut self.lanes[1 - party];
        let moved = lane.taken;
        let woke = crossed(sleeper.park, lane.received, moved as u32, last, lane.capacity).then_some(sleeper.bell);
        lane.received = (lane.received + moved as u32) & CURSOR;
        lane.stop |= last;
        lane.flow.drain(..moved);
        lane.taken = 0;
        self.published(party, Half::Read, moved, woke);
    }

    fn flush(&mut self, party: usize) {
        if !self.lanes[party].pending.is_empty() && !self.lanes[party].fin {
            self.publish_sent(party, false);
        }
    }

    fn give_back(&mut self, party: usize) {
        if self.lanes[1 - party].taken != 0 && !self.lanes[1 - party].stop {
            self.publish_received(party, false);
        }
    }

    fn open(&self, party: usize) -> Result<(), WriteError> {
        if self.lanes[party].fin || self.lanes[party].stop { Err(WriteError::Closed) } else { Ok(()) }
    }

    fn write_deferred(&mut self, party: usize, bytes: &[u8]) -> Result<usize, WriteError> {
        self.open(party)?;
        let lane = &mut self.lanes[party];
        if bytes.is_empty() {
            return Ok(0);
        }
        if lane.room() == 0 {
            return Err(WriteError::Full);
        }
        let n = bytes.len().min(lane.room());
        lane.pending.extend(bytes[..n].iter().map(|&b| Some(b)));
        Ok(n)
    }

    fn write_vectored(&mut self, party: usize, buffers: &[&[u8]]) -> Result<usize, WriteError> {
        self.open(party)?;
        let all = buffers.concat();
        let written = self.write_deferred(party, &all)?;
        self.flush(party);
        Ok(written)
    }

    /// What a read of up to `len` bytes finds, and takes.
    fn read_deferred(&mut self, party: usize, len: usize) -> Result<Vec<Option<u8>>, ReadError> {
        let lane = &mut self.lanes[1 - party];
        if len == 0 || lane.stop {
            return Ok(Vec::new());
        }
        if lane.visible() == 0 && !lane.fin {
            return Err(ReadError::Empty);
        }
        let n = len.min(lane.visible());
        let bytes = lane.flow.iter().skip(lane.taken).take(n).copied().collect();
        lane.taken += n;
        Ok(bytes)
    }

    fn read(&mut self, party: usize, len: usize) -> Result<Vec<Option<u8>>, ReadError> {
        let bytes = self.read_deferred(party, len)?;
        self.give_back(party);
        Ok(bytes)
    }

    fn finish(&mut self, party: usize) {
        if !self.lanes[party].fin {
            self.publish_sent(party, true);
        }
    }

    fn stop(&mut self, party: usize) {
        if !self.lanes[1 - party].stop {
            self.publish_received(party, true);
            self.words[party][Half::Read as usize].park = LOOK;
        }
    }

    /// A half parks until the deadline has passed: once, and once more for each wake without a reason. What its wait ends
    /// with if there is nothing.
    fn sleep(&mut self, party: usize, half: Half, ahead: usize, wait: Wait) -> WaitError {
        let awaited = &self.lanes[if half == Half::Write { party } else { 1 - party }];
        let seen = if half == Half::Write { awaited.received } else { awaited.sent };
        // The other lane: there the peer's half that does the same waits for me, unless I have said that I am done.
        let other = &self.lanes[if half == Half::Write { 1 - party } else { party }];
        let (mine, done) = if half == Half::Write { (other.received, other.stop) } else { (other.sent, other.fin) };
        let capacity = other.capacity;
        let whole = wait.whole && !done;
        let peer = self.words[1 - party][half as usize];
        let stuck = whole && peer.park & WHOLE != 0 && crossed(peer.park, mine, capacity, false, capacity);
        let words = &mut self.words[party][half as usize];
        words.park = 0;
        words.bell = bell_of(party, half);
        if stuck && party == 0 {
            words.parks += 1;
            self.events.push(Event::Ask { party, half });
            return WaitError::Deadlock;
        }
        let mark = seen.wrapping_add(ahead as u32) & MARK;
        let park = ASLEEP | mark | if whole { WHOLE } else { 0 };
        for _ in 0..=wait.maybes {
            words.parks += 1;
            if stuck {
                words.wakes_sent += 1;
                self.events.push(Event::Ring { party, half, bell: peer.bell });
            }
            self.events.push(Event::Sleep { party, half, seen, park });
        }
        WaitError::TimedOut
    }

    fn wait_room(&mut self, party: usize, want: usize, wait: Wait) -> Result<usize, WaitError> {
        self.flush(party);
        let lane = &self.lanes[party];
        if lane.fin || lane.stop {
            return Err(WaitError::Closed);
        }
        let (room, want) = (lane.room(), want.clamp(1, most_wanted(lane.capacity)));
        if room < want {
            let e = self.sleep(party, Half::Write, want - room, wait);
            if room == 0 {
                return Err(e);
            }
        }
        Ok(room)
    }

    fn wait_bytes(&mut self, party: usize, want: usize, wait: Wait) -> Result<usize, WaitError> {
        self.give_back(party);
        let lane = &self.lanes[1 - party];
        if lane.stop {
            return Ok(0);
        }
        let (bytes, want) = (lane.visible(), want.clamp(1, most_wanted(lane.capacity)));
        if bytes < want && !lane.fin {
            let e = self.sleep(party, Half::Read, want - bytes, wait);
            if bytes == 0 {
                return Err(e);
            }
        }
        Ok(bytes)
    }

    /// Whether a wait would not have to sleep.
    fn enough(&self, party: usize, half: Half, want: usize) -> bool {
        let lane = &self.lanes[if half == Half::Write { party } else { 1 - party }];
        let want = want.clamp(1, most_wanted(lane.capacity));
        match half {
            Half::Write => lane.fin || lane.stop || lane.room() >= want,
            // What was taken is given back before, but that makes no bytes.
            Half::Read => lane.fin || lane.stop || lane.visible() >= want,
        }
    }
}

/// Half of the lane, and at least one byte.
fn most_wanted(capacity: u32) -> usize {
    (capacity as usize / 2).max(1)
}

/// Two real ends, the model, and what happened so far.
struct World {
    ends: [Option<End<'static, Recorder>>; 2],
    headers: [&'static Header; 2],
    segments: [(*mut u8, usize); 2],
    log: Rc<Log>,
    model: Model,
    /// The headers as they were set up.
    images: [[u32; WORDS]; 2],
    next_byte: u8,
    setup: Setup,
    /// The operation that is being run, and which it is.
    now: Option<(usize, Op)>,
    /// Dropped last: all of the above points into it.
    _memory: Vec<Heap>,
}

fn words_of(header: &Header) -> &[AtomicU32; WORDS] {
    // SAFETY: `layout` pins the size of a header, and every word of it is an `AtomicU32`.
    unsafe { &*(&raw const *header).cast() }
}

fn image_of(header: &Header) -> [u32; WORDS] {
    words_of(header).each_ref().map(|word| word.load(Ordering::Relaxed))
}

impl World {
    fn new(setup: &Setup) -> World {
        let config = Config { start: setup.start & CURSOR, align: setup.align, ..Config::new(setup.capacities) };
        config.check().expect("a setup is a possible channel");
        let lens = [0, 1].map(|party| config.describe(party).segment_len());
        let mut memory = Vec::new();
        let segments = if setup.one_block {
            let ([first, second], len) = config.block();
            memory.push(Heap::new(len, setup.align as usize));
            let base = memory[0].base();
            [(base.wrapping_add(first), lens[0]), (base.wrapping_add(second), lens[1])]
        } else {
            memory.extend(lens.map(|len| Heap::new(len, 128)));
            [(memory[0].base(), lens[0]), (memory[1].base(), lens[1])]
        };
        for (party, (base, len)) in segments.into_iter().enumerate() {
            // SAFETY: the bytes lie in `memory`, and nobody is attached yet.
            unsafe { geometry::init(base, len, &config, party) }.expect("init");
        }
        let headers = segments.map(|(base, _)| {
            // SAFETY: a header was set up there; it is atomics only; `memory` is dropped after the last use.
            unsafe { &*base.cast::<Header>() }
        });
        let lanes = setup.capacities.map(|capacity| Lane::new(capacity, config.start));
        let mut world = World {
            ends: [None, None],
            headers,
            segments,
            log: Rc::default(),
            model: Model { lanes, words: Default::default(), events: Vec::new() },
            images: headers.map(image_of),
            next_byte: 0,
            setup: *setup,
            now: None,
            _memory: memory,
        };
        world.attach(0);
        world.attach(1);
        world.check();
        world
    }

    /// For messages: where we are.
    fn context(&self) -> String {
        match &self.now {
            None => format!("{:?}: setting up", self.setup),
            Some((i, op)) => format!("{:?}: operation {i}, {op:?}", self.setup),
        }
    }

    fn attach(&mut self, party: usize) {
        let ((mine, mine_len), (peer, peer_len)) = (self.segments[party], self.segments[1 - party]);
        // SAFETY: the segments live in `_memory`, which is dropped after the ends; each party has one end at a time; the
        // interpreter touches headers only as atomics, and lanes not at all.
        let attached = unsafe { geometry::attach(mine, mine_len, peer.cast_const(), peer_len) };
        let attached = attached.unwrap_or_else(|found| panic!("{}: cannot attach: {found}", self.context()));
        let (my, their) = (&self.headers[party].port, &self.headers[1 - party].port);
        let log = &self.log;
        let recorder = |half| {
            let (sent, received) = (&my.sent.word, &my.received.word);
            let (own, other) = if half == Half::Write { (sent, received) } else { (received, sent) };
            let awaited = if half == Half::Write { &their.received.word } else { &their.sent.word };
            let [word, peer_word] = [my, their].map(|port| match half {
                Half::Write => &port.park.write_park,
                Half::Read => &port.park.read_park,
            });
            let bell = bell_of(party, half);
            Recorder { log: Rc::clone(log), party, half, own, other, awaited, word, peer_word, bell }
        };
        self.ends[party] = Some(attached.into_end(recorder(Half::Write), recorder(Half::Read)));
    }

    #[track_caller]
    fn same<T: PartialEq + Debug>(&self, what: &str, real: T, model: T) {
        assert!(real == model, "{}: {what}:\n  real  {real:?}\n  model {model:?}", self.context());
    }

    #[track_caller]
    fn same_bytes(&self, real: &[u8], model: &[Option<u8>]) {
        self.same("number of bytes", real.len(), model.len());
        for (i, (real, model)) in real.iter().zip(model).enumerate() {
            if let Some(model) = model {
                assert!(real == model, "{}: byte {i}: real {real}, model {model}", self.context());
            }
        }
    }

    fn bytes(&mut self, len: u16) -> Vec<u8> {
        (0..len)
            .map(|_| {
                self.next_byte = self.next_byte.wrapping_mul(5).wrapping_add(113);
                self.next_byte
            })
            .collect()
    }

    fn end(&mut self, party: usize) -> &mut End<'static, Recorder> {
        self.ends[party].as_mut().expect("attached")
    }

    /// Compares all that can be seen without an operation.
    #[track_caller]
    fn check(&mut self) {
        let real = std::mem::take(&mut *self.log.events.borrow_mut());
        let model = std::mem::take(&mut self.model.events);
        self.same("wakes and sleeps", real, model);
        for party in 0..2 {
            let (mine, theirs) = (&self.model.lanes[party], &self.model.lanes[1 - party]);
            let mut expected = self.images[party];
            let mut set = |word: &AtomicU32, value: u32| {
                let at = (&raw const *word).addr() - (&raw const *self.headers[party]).addr();
                expected[at / 4] = value;
            };
            let port = &self.headers[party].port;
            set(&port.sent.word, mine.sent | if mine.fin { FIN } else { 0 });
            set(&port.received.word, theirs.received | if theirs.stop { STOP } else { 0 });
            let [reads, writes] = self.model.words[party];
            set(&port.park.read_park, reads.park);
            set(&port.park.read_bell, reads.bell);
            set(&port.park.write_park, writes.park);
            set(&port.park.write_bell, writes.bell);
            for (line, words) in [(&port.reads, reads), (&port.writes, writes)] {
                for (counter, count) in [
                    (&line.bytes, words.bytes),
                    (&line.operations, words.operations),
                    (&line.parks, words.parks),
                    (&line.wakes_sent, words.wakes_sent),
                    (&line.wakes_avoided, words.wakes_avoided),
                ] {
                    set(&counter.low, count as u32);
                    set(&counter.high, (count >> 32) as u32);
                    set(&counter.high_again, (count >> 32) as u32);
                }
            }
            let real = image_of(self.headers[party]);
            if let Some(at) = (0..WORDS).find(|&at| real[at] != expected[at]) {
                panic!(
                    "{}: word {:#x} of party {party}: real {:#x}, model {:#x}",
                    self.context(),
                    at * 4,
                    real[at],
                    expected[at]
                );
            }
            let end = self.ends[party].as_ref().expect("attached");
            let (p, c) = (&end.producer, &end.consumer);
            self.same("capacities", [p.capacity(), c.capacity()], [mine.capacity as usize, theirs.capacity as usize]);
            self.same("corrupt", [p.is_corrupt(), c.is_corrupt()], [false; 2]);
            self.same("finished and stopped", [p.is_finished(), c.is_stopped()], [mine.fin, theirs.stop]);
            self.same("unflushed", [p.unflushed(), c.unflushed()], [mine.pending.len(), theirs.taken]);
            // What is known may lag behind what is so, in one direction.
            assert!(p.known_room() <= mine.room(), "{}: room from nowhere: {p:?}", self.context());
            assert!(p.in_flight() >= mine.flow.len(), "{}: bytes lost in flight: {p:?}", self.context());
            let readable = if theirs.stop { 0 } else { theirs.visible() };
            assert!(c.known_bytes() <= readable, "{}: bytes from nowhere: {c:?}", self.context());
            assert!(!p.is_peer_stopped() || mine.stop, "{}: STOP from nowhere: {p:?}", self.context());
            assert!(!c.is_peer_finished() || theirs.fin, "{}: FIN from nowhere: {c:?}", self.context());
            for (counts, words) in [(c.counts(), reads), (p.counts(), writes)] {
                let Counts { bytes, operations, parks, wakes_sent, wakes_avoided, .. } = counts;
                self.same(
                    "counters",
                    [bytes, operations, parks, wakes_sent, wakes_avoided],
                    [words.bytes, words.operations, words.parks, words.wakes_sent, words.wakes_avoided],
                );
            }
        }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Write { party, len, by_end } => {
                let (party, bytes) = (usize::from(party % 2), self.bytes(len));
                let end = self.end(party);
                let real = if by_end { end.write(&bytes) } else { end.producer.write(&bytes) };
                let model = self.model.write_deferred(party, &bytes).inspect(|_| self.model.flush(party));
                self.same("write", real, model);
            }
            Op::WriteDeferred { party, len } => {
                let (party, bytes) = (usize::from(party % 2), self.bytes(len));
                let real = self.end(party).producer.write_deferred(&bytes);
                let model = self.model.write_deferred(party, &bytes);
                self.same("write_deferred", real, model);
            }
            Op::WriteVectored { party, lens } => {
                let (party, bytes) = (usize::from(party % 2), lens.map(|len| self.bytes(len)));
                let buffers = bytes.each_ref().map(Vec::as_slice);
                let real = self.end(party).producer.write_vectored(buffers);
                let model = self.model.write_vectored(party, &buffers);
                self.same("write_vectored", real, model);
            }
            Op::Flush { party } => {
                let party = usize::from(party % 2);
                self.end(party).producer.flush();
                self.model.flush(party);
            }
            Op::Reserve { party, len, fills, outcome } => self.reserve(usize::from(party % 2), len, fills, outcome),
            Op::Read { party, len, by_end } => {
                let (party, mut out) = (usize::from(party % 2), vec![0; len.into()]);
                let end = self.end(party);
                let real = if by_end { end.read(&mut out) } else { end.consumer.read(&mut out) };
                let model = self.model.read(party, len.into());
                self.compare_read("read", real, &out, model);
            }
            Op::ReadDeferred { party, len } => {
                let (party, mut out) = (usize::from(party % 2), vec![0; len.into()]);
                let real = self.end(party).consumer.read_deferred(&mut out);
                let model = self.model.read_deferred(party, len.into());
                self.compare_read("read_deferred", real, &out, model);
            }
            Op::ReadVectored { party, lens } => {
                let party = usize::from(party % 2);
                let mut out = lens.map(|len| vec![0; len.into()]);
                let real = self.end(party).consumer.read_vectored(out.each_mut().map(Vec::as_mut_slice));
                let model = self.model.read(party, lens.iter().map(|&len| usize::from(len)).sum());
                self.compare_read("read_vectored", real, &out.concat(), model);
            }
            Op::GiveBack { party } => {
                let party = usize::from(party % 2);
                self.end(party).consumer.flush();
                self.model.give_back(party);
            }
            Op::Peek { party, at, len, take } => self.peek(usize::from(party % 2), at.into(), len.into(), take),
            Op::Consume { party, len } => {
                let party = usize::from(party % 2);
                // It takes what is known, and `check` has seen to it that this is there.
                let n = usize::from(len).min(self.end(party).consumer.known_bytes());
                let real = self.end(party).consumer.consume(len.into());
                self.same("consume", real, n);
                if !self.model.lanes[1 - party].stop {
                    self.model.lanes[1 - party].taken += n;
                    self.model.give_back(party);
                }
            }
            Op::Finish { party } => {
                let party = usize::from(party % 2);
                self.end(party).finish();
                self.model.finish(party);
            }
            Op::Stop { party } => {
                let party = usize::from(party % 2);
                self.end(party).stop();
                self.model.stop(party);
            }
            Op::Close { party } => {
                let party = usize::from(party % 2);
                self.end(party).close();
                self.model.finish(party);
                self.model.stop(party);
            }
            Op::WaitRoom { party, want, patience, by_end, whole } => {
                let (party, want) = (usize::from(party % 2), usize::from(want));
                // With enough room the deadline is left out: whoever sleeps then sleeps for ever, which is reported.
                let deadline = (!self.model.enough(party, Half::Write, want)).then_some(());
                self.be_patient(patience);
                self.log.untimed.set(whole);
                self.log.whole.set(whole && !self.model.lanes[1 - party].stop);
                let end = self.end(party);
                let real = match (whole, by_end) {
                    (true, true) => end.wait_room_whole(want),
                    (true, false) => end.producer.wait_whole(want, &mut end.consumer),
                    (false, true) => end.wait_room(want, deadline),
                    (false, false) => end.producer.wait(want, deadline),
                };
                if by_end || whole {
                    self.model.give_back(party);
                }
                let model = self.model.wait_room(party, want, Wait { maybes: patience.maybes, whole });
                self.same("wait for room", real, model);
            }
            Op::WaitBytes { party, want, patience, by_end, whole } => {
                let (party, want) = (usize::from(party % 2), usize::from(want));
                let deadline = (!self.model.enough(party, Half::Read, want)).then_some(());
                self.be_patient(patience);
                self.log.untimed.set(whole);
                self.log.whole.set(whole && !self.model.lanes[party].fin);
                let end = self.end(party);
                let real = match (whole, by_end) {
                    (true, true) => end.wait_bytes_whole(want),
                    (true, false) => end.consumer.wait_whole(want, &mut end.producer),
                    (false, true) => end.wait_bytes(want, deadline),
                    (false, false) => end.consumer.wait(want, deadline),
                };
                if by_end || whole {
                    self.model.flush(party);
                }
                let model = self.model.wait_bytes(party, want, Wait { maybes: patience.maybes, whole });
                self.same("wait for bytes", real, model);
            }
            Op::Reattach { party } => {
                let party = usize::from(party % 2);
                self.ends[party] = None;
                self.attach(party);
                self.model.lanes[party].pending.clear();
                self.model.lanes[1 - party].taken = 0;
            }
            Op::Asleep { party, half, ahead, whole, bell } => {
                let party = usize::from(party % 2);
                let awaited = match half {
                    Half::Read => &self.model.lanes[1 - party],
                    Half::Write => &self.model.lanes[party],
                };
                if half == Half::Read && awaited.stop {
                    return;
                }
                let cursor = if half == Half::Read { awaited.sent } else { awaited.received };
                let whole = if whole { WHOLE } else { 0 };
                let park = ASLEEP | whole | (cursor.wrapping_add(ahead.into()) & MARK);
                self.set_park(party, half, park, bell.into());
            }
            Op::Awake { party, half, bits } => {
                let party = usize::from(party % 2);
                if half == Half::Read && self.model.lanes[1 - party].stop {
                    return;
                }
                let bits = bits & !ASLEEP;
                let bell = self.model.words[party][half as usize].bell;
                self.set_park(party, half, if bits == LOOK { 0 } else { bits }, bell);
            }
        }
        self.check();
    }

    fn be_patient(&self, patience: Patience) {
        self.log.spins.set(patience.spins);
        self.log.maybes.set(patience.maybes);
    }

    fn set_park(&mut self, party: usize, half: Half, park: u32, bell: u32) {
        let line = &self.headers[party].port.park;
        let (park_word, bell_word) = match half {
            Half::Read => (&line.read_park, &line.read_bell),
            Half::Write => (&line.write_park, &line.write_bell),
        };
        park_word.store(park, Ordering::Relaxed);
        bell_word.store(bell, Ordering::Relaxed);
        let words = &mut self.model.words[party][half as usize];
        (words.park, words.bell) = (park, bell);
    }

    #[track_caller]
    fn compare_read(
        &self,
        what: &str,
        real: Result<usize, ReadError>,
        out: &[u8],
        model: Result<Vec<Option<u8>>, ReadError>,
    ) {
        self.same(what, real, model.as_ref().map(Vec::len).map_err(|&e| e));
        if let (Ok(n), Ok(bytes)) = (real, model) {
            self.same_bytes(&out[..n], &bytes);
            assert!(out[n..].iter().all(|&b| b == 0), "{}: {what} wrote beyond what it read", self.context());
        }
    }

    fn reserve(&mut self, party: usize, len: u16, fills: [Fill; 2], outcome: Outcome) {
        let contents = fills.map(|fill| match fill {
            Fill::Append(len) | Fill::Put { len, .. } => self.bytes(len),
        });
        let lane = &self.model.lanes[party];
        let expected = match self.model.open(party) {
            Err(closed) => Err(ReserveError::Write(closed)),
            Ok(()) if len as u32 > lane.capacity => Err(ReserveError::TooLong),
            Ok(()) if usize::from(len) > lane.room() => Err(ReserveError::Write(WriteError::Full)),
            Ok(()) => Ok(usize::from(len)),
        };
        let mut room: Vec<Option<u8>> = vec![None; len.into()];
        let (mut filled, mut committed, mut counts, mut expected_counts) = (0, None, Vec::new(), Vec::new());
        let real = match self.end(party).producer.reserve(len.into()) {
            Err(e) => Err(e),
            Ok(mut reservation) => {
                let got = reservation.len();
                for (fill, bytes) in fills.into_iter().zip(&contents) {
                    let (at, n) = match fill {
                        Fill::Append(_) => (filled, reservation.write(bytes)),
                        Fill::Put { at, .. } => (usize::from(at), reservation.put(at.into(), bytes)),
                    };
                    let fits = bytes.len().min(room.len().saturating_sub(at));
                    counts.push(n);
                    expected_counts.push(fits);
                    for (slot, &byte) in room.iter_mut().skip(at).zip(bytes) {
                        *slot = Some(byte);
                    }
                    if let Fill::Append(_) = fill {
                        filled += fits;
                    }
                }
                counts.push(reservation.filled());
                expected_counts.push(filled);
                counts.push(reservation.parts().map(|(_, len)| len).iter().sum());
                expected_counts.push(room.len());
                match outcome {
                    Outcome::Commit(n) => {
                        counts.push(reservation.commit(n.into()));
                        expected_counts.push(room.len().min(n.into()));
                        committed = Some(room.len().min(n.into()));
                    }
                    Outcome::Filled => {
                        counts.push(reservation.commit_filled());
                        expected_counts.push(filled);
                        committed = Some(filled);
                    }
                    Outcome::Abort => reservation.abort(),
                    Outcome::Drop => drop(reservation),
                }
                Ok(got)
            }
        };
        self.same("reserve", real, expected);
        self.same("bytes into a reservation", counts, expected_counts);
        if let Some(n) = committed {
            self.model.lanes[party].pending.extend(&room[..n]);
            self.model.flush(party);
        }
    }

    fn peek(&mut self, party: usize, at: usize, len: usize, take: Option<u16>) {
        let lane = &self.model.lanes[1 - party];
        let expected = if lane.stop {
            Ok(Vec::new())
        } else if lane.visible() == 0 && !lane.fin {
            Err(ReadError::Empty)
        } else {
            Ok(lane.flow.iter().skip(lane.taken).copied().collect::<Vec<_>>())
        };
        let mut out = vec![0; len];
        let mut taken = None;
        let real = match self.end(party).consumer.peek() {
            Err(e) => Err(e),
            Ok(peek) => {
                let found = [peek.len(), peek.parts().map(|(_, len)| len).iter().sum(), peek.copy_to(at, &mut out)];
                assert_eq!(peek.is_empty(), found[0] == 0);
                if let Some(n) = take {
                    taken = Some(peek.consume(n.into()));
                }
                Ok(found)
            }
        };
        let looked = expected.as_ref().map(|bytes| {
            let copied = bytes.len().saturating_sub(at).min(len);
            [bytes.len(), bytes.len(), copied]
        });
        self.same("peek", real, looked.map_err(|&e| e));
        if let Ok(bytes) = expected {
            let copied = bytes.len().saturating_sub(at).min(len);
            if copied > 0 {
                self.same_bytes(&out[..copied], &bytes[at..at + copied]);
            }
            assert!(out[copied..].iter().all(|&b| b == 0), "{}: peek wrote beyond what it copied", self.context());
            let expected = take.map(|n| bytes.len().min(n.into()));
            self.same("taken after a peek", taken, expected);
            if let Some(n) = expected.filter(|_| !self.model.lanes[1 - party].stop) {
                self.model.lanes[1 - party].taken += n;
                self.model.give_back(party);
            }
        }
    }
}

/// Runs `ops` on a fresh channel and on the model, then drains both lanes.
///
/// # Panics
/// If the channel and the model differ in anything that can be seen. The message says at which operation.
pub fn run(setup: &Setup, ops: &[Op]) {
    let mut world = World::new(setup);
    let all = |party| {
        let patience = Patience { spins: 1, maybes: 1 };
        [
            Op::Finish { party },
            Op::WaitBytes { party: 1 - party, want: 1, patience, by_end: true, whole: false },
            Op::Read { party: 1 - party, len: MAX_CAPACITY as u16, by_end: true },
            Op::Read { party: 1 - party, len: 1, by_end: false },
            Op::WaitRoom { party, want: 1, patience, by_end: false, whole: false },
        ]
    };
    for (i, op) in ops.iter().chain(&all(0)).chain(&all(1)).enumerate() {
        world.now = Some((i, op.clone()));
        world.run(op);
    }
}
