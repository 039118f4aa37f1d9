//! Two real ends beside the model, and how they are compared.

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use smstream_core::counter::Counts;
use smstream_core::cursor::{CURSOR, FIN, STOP};
use smstream_core::geometry::{self, Config};
use smstream_core::layout::{HEADER_LEN, Header};
use smstream_core::stream::End;
use smstream_core::word::SharedWord;

use super::model::{Lane, Model};
use super::operation::{Half, Op, Setup};
use super::recorder::{Log, Recorder, wake_method_of};
use crate::memory::Heap;
use crate::texts::check_debug;

/// Words of a header.
const WORDS: usize = HEADER_LEN as usize / 4;

/// Two real ends, the model, and what happened so far.
pub(super) struct World {
    pub(super) ends: [Option<End<'static, Recorder>>; 2],
    pub(super) headers: [&'static Header; 2],
    pub(super) segments: [(*mut u8, usize); 2],
    pub(super) log: Rc<Log>,
    pub(super) model: Model,
    /// The headers as they were set up.
    pub(super) images: [[u32; WORDS]; 2],
    pub(super) next_byte: u8,
    pub(super) setup: Setup,
    /// The operation that is being run, and which it is.
    pub(super) now: Option<(usize, Op)>,
    /// Dropped last: all of the above points into it.
    pub(super) _memory: Vec<Heap>,
}

pub(super) fn words_of(header: &Header) -> &[AtomicU32; WORDS] {
    // SAFETY: `layout` pins the size of a header, and every word of it is an `AtomicU32`.
    unsafe { &*(&raw const *header).cast() }
}

pub(super) fn image_of(header: &Header) -> [u32; WORDS] {
    words_of(header).each_ref().map(|word| word.load(Ordering::Relaxed))
}

impl World {
    pub(super) fn new(setup: &Setup) -> World {
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
            // SAFETY: the bytes lie in `memory`, and no end is attached yet.
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
    pub(super) fn context(&self) -> String {
        match &self.now {
            None => format!("{:?}: setting up", self.setup),
            Some((i, op)) => format!("{:?}: operation {i}, {op:?}", self.setup),
        }
    }

    pub(super) fn attach(&mut self, party: usize) {
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
            let method = wake_method_of(party, half);
            let [own, other, awaited, word, peer_word] = [own, other, awaited, word, peer_word].map(SharedWord::new);
            Recorder { log: Rc::clone(log), party, half, own, other, awaited, word, peer_word, method }
        };
        self.ends[party] = Some(attached.into_end(recorder(Half::Write), recorder(Half::Read)));
    }

    #[track_caller]
    pub(super) fn same<T: PartialEq + Debug>(&self, what: &str, real: T, model: T) {
        assert!(real == model, "{}: {what}:\n  real  {real:?}\n  model {model:?}", self.context());
    }

    #[track_caller]
    pub(super) fn same_bytes(&self, real: &[u8], model: &[Option<u8>]) {
        self.same("number of bytes", real.len(), model.len());
        for (i, (real, model)) in real.iter().zip(model).enumerate() {
            if let Some(model) = model {
                assert!(real == model, "{}: byte {i}: real {real}, model {model}", self.context());
            }
        }
    }

    pub(super) fn bytes(&mut self, len: u16) -> Vec<u8> {
        (0..len)
            .map(|_| {
                self.next_byte = self.next_byte.wrapping_mul(5).wrapping_add(113);
                self.next_byte
            })
            .collect()
    }

    pub(super) fn end(&mut self, party: usize) -> &mut End<'static, Recorder> {
        self.ends[party].as_mut().expect("attached")
    }

    /// Compares all that can be seen without an operation.
    #[track_caller]
    pub(super) fn check(&mut self) {
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
            set(&port.park.read_wake_method, reads.method);
            set(&port.park.write_park, writes.park);
            set(&port.park.write_wake_method, writes.method);
            // No barrier reaches these ends, so they fence each publication.
            set(&port.park.sent_fence, 1);
            set(&port.park.received_fence, 1);
            for (line, words) in [(&port.reads, reads), (&port.writes, writes)] {
                for (counter, count) in [
                    (&line.bytes, words.bytes),
                    (&line.operations, words.operations),
                    (&line.parks, words.parks),
                    (&line.wakes_sent, words.wakes_sent),
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
            if self.now.is_none() {
                assert_eq!((p.park().party, c.park().party), (party, party));
                check_debug(p);
                check_debug(c);
            }
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
                let avoided = words.operations.saturating_sub(words.wakes_sent);
                let Counts { bytes, operations, parks, wakes_sent, .. } = counts;
                self.same(
                    "counters",
                    [bytes, operations, parks, wakes_sent, counts.wakes_avoided()],
                    [words.bytes, words.operations, words.parks, words.wakes_sent, avoided],
                );
            }
        }
    }
}
