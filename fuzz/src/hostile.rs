//! One end against a peer that writes what it likes into its own segment, also in the middle of an operation.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use smstream_core::cursor::{ASLEEP, CURSOR, EXCLUSIVE, FIN, STOP, STOPPED_HINT, diff, is_exclusive};
use smstream_core::error::{ReadError, ReserveError, WaitError, WriteError};
use smstream_core::findings::Findings;
use smstream_core::geometry::{self, Config};
use smstream_core::layout::{HEADER_LEN, Header, LINE};
use smstream_core::park::{Park, Wake, Watch};
use smstream_core::stream::End;
use smstream_core::word::SharedWord;
use smstream_tests::memory::Heap;

use crate::MAX_OPS;
use crate::bytes::Bytes;

const WORDS: usize = HEADER_LEN as usize / 4;
/// Words of the identity.
const IDENTITY: usize = LINE / 4;

/// What the peer writes, and when: the value is made up at that moment, from what my words say.
#[derive(Clone, Copy)]
struct Scribble {
    target: u8,
    form: u8,
    delta: u16,
}

impl Scribble {
    fn parse(bytes: &mut Bytes<'_>) -> Scribble {
        let (target, form) = (bytes.u8(), bytes.u8());
        // Mostly a few steps; sometimes far.
        let delta = if form & 0x80 == 0 { u16::from(bytes.u8() % 24) } else { bytes.u16() };
        Scribble { target, form, delta }
    }
}

/// The peer, with what it still has up its sleeve.
struct Peer {
    me: &'static Header,
    it: &'static Header,
    lane: *mut u8,
    lane_len: usize,
    sleeve: RefCell<VecDeque<Scribble>>,
    /// Every value given to `sent` and `received` since the operation began, in order.
    sent: RefCell<Vec<u32>>,
    received: RefCell<Vec<u32>>,
    /// What the peer's header holds: only the peer writes there.
    image: RefCell<[u32; WORDS]>,
    alert: AtomicU32,
    calls: Cell<u32>,
    /// Some park word has said EXCLUSIVE.
    said_exclusive: Cell<bool>,
}

fn words_of(header: &Header) -> &[AtomicU32; WORDS] {
    // SAFETY: `layout` pins the size of a header, and every word of it is an `AtomicU32`.
    unsafe { &*(&raw const *header).cast() }
}

fn image_of(header: &Header) -> [u32; WORDS] {
    words_of(header).each_ref().map(|word| word.load(Relaxed))
}

impl Peer {
    fn scribble(&self, s: Scribble) {
        let flag = if s.form & 0x10 != 0 { FIN } else { 0 };
        let far = u32::from(s.delta) << 16 | u32::from(s.delta);
        let (my_sent, my_received) = (self.me.port.sent.word.load(Relaxed), self.me.port.received.word.load(Relaxed));
        let delta = u32::from(s.delta);
        let port = &self.it.port;
        match s.target % 12 {
            0..=3 => {
                let old = port.sent.word.load(Relaxed);
                let word = match s.form % 8 {
                    0..=1 => my_received.wrapping_add(delta) & CURSOR | flag,
                    2..=4 => old.wrapping_add(delta) & CURSOR | flag,
                    5 => old.wrapping_sub(delta) & CURSOR | flag,
                    6 => old ^ FIN,
                    _ => far,
                };
                self.set(&port.sent.word, word);
            }
            4..=7 => {
                let old = port.received.word.load(Relaxed);
                let word = match s.form % 8 {
                    0..=1 => my_sent.wrapping_sub(delta) & CURSOR | flag,
                    2..=4 => old.wrapping_add(delta) & CURSOR | flag,
                    5 => old.wrapping_sub(delta) & CURSOR | flag,
                    6 => old ^ STOP,
                    _ => far,
                };
                self.set(&port.received.word, word);
            }
            half @ 8..=9 => {
                let (word, cursor) =
                    if half == 8 { (&port.park.read_park, my_sent) } else { (&port.park.write_park, my_received) };
                self.set(
                    word,
                    match s.form % 4 {
                        0 => ASLEEP | cursor.wrapping_add(delta),
                        1 => ASLEEP | EXCLUSIVE | cursor.wrapping_add(delta),
                        2 => STOPPED_HINT,
                        _ => far,
                    },
                );
            }
            10 => self.set(&words_of(self.it)[usize::from(s.form & 0x7f) * 3 % WORDS], far),
            _ if self.lane_len > 0 => {
                let at = usize::from(s.delta) % self.lane_len;
                let at = self.lane.wrapping_add(at);
                // SAFETY: it lies in the peer's lane, which only the peer writes; no reference to its bytes exists.
                unsafe { at.write_volatile(s.form) };
            }
            _ => {}
        }
    }

    fn set(&self, word: &AtomicU32, value: u32) {
        word.store(value, Relaxed);
        let at = ((&raw const *word).addr() - (&raw const *self.it).addr()) / 4;
        self.image.borrow_mut()[at] = value;
        let parks = [&self.it.port.park.read_park, &self.it.port.park.write_park];
        if parks.iter().any(|park| std::ptr::eq(*park, word)) && is_exclusive(value) {
            self.said_exclusive.set(true);
        }
        if std::ptr::eq(word, &self.it.port.sent.word) {
            self.sent.borrow_mut().push(value);
        }
        if std::ptr::eq(word, &self.it.port.received.word) {
            self.received.borrow_mut().push(value);
        }
    }

    /// The end is in the middle of something: the peer's moment.
    fn interfere(&self) -> bool {
        self.calls.set(self.calls.get() + 1);
        assert!(self.calls.get() < 10_000, "an operation that does not end");
        let next = self.sleeve.borrow_mut().pop_front();
        if let Some(s) = next {
            self.scribble(s);
        }
        next.is_some()
    }
}

/// A `Park` in which the peer acts, and that gives up when it no longer does.
struct Treacherous(Rc<Peer>);

impl Park for Treacherous {
    type Deadline = ();
    type Spin = ();

    fn spin_start(&self) {
        self.0.interfere();
    }

    fn spin(&self, (): &mut ()) -> bool {
        self.0.interfere()
    }

    fn wait(&self, watches: &[Watch<'_>], _: Option<()>) -> Wake {
        let cursors = [&self.0.it.port.sent.word, &self.0.it.port.received.word];
        assert!((1..=3).contains(&watches.len()) && cursors.iter().any(|c| SharedWord::new(c) == watches[0].word));
        if self.0.interfere() { Wake::Maybe } else { Wake::TimedOut }
    }

    fn wake(&self, _: SharedWord<'_>, _: u32) {
        self.0.interfere();
    }

    fn alert(&self) -> Option<SharedWord<'_>> {
        self.0.interfere();
        Some(SharedWord::new(&self.0.alert))
    }

    fn ask(&self) {
        self.0.interfere();
    }

    fn wake_method(&self) -> u32 {
        self.0.interfere();
        0
    }
}

/// What must hold between operations, from what could be seen before.
struct Before {
    /// The last word of the peer's that each half is known to have believed.
    sent_seen: u32,
    received_seen: u32,
    my_sent: u32,
    my_received: u32,
    unflushed: [u32; 2],
    corrupt: bool,
    finished: bool,
    stopped: bool,
    calm: bool,
}

struct World {
    peer: Rc<Peer>,
    segments: [(*mut u8, usize); 2],
    end: End<'static, Treacherous>,
    capacity: u32,
    peer_capacity: u32,
    /// Whether the end is party 0's, which reports deadlocks.
    first: bool,
    identity: [u32; IDENTITY],
    _memory: [Heap; 2],
}

/// A wait looks at the peer's word first of all: which one?
#[derive(Clone, Copy, PartialEq)]
enum Looks {
    Maybe,
    AtSent,
    AtReceived,
}

/// One party with arbitrary or damaged headers and a peer that scribbles on its own segment between and during all
/// operations. Attaching finds what is wrong, or else: nothing panics or runs for ever, no access leaves the segments (a
/// sanitizer sees to that), my words move only by what I did, the peer's segment is only read, no half believes a word
/// that an honest peer could not have written, none is found corrupt whose words were all possible, and corruption is
/// for good.
pub fn hostile(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mode = bytes.u8();
    let config = Config {
        start: bytes.start() & CURSOR,
        align: if mode & 2 == 0 { 128 } else { 1024 },
        ..Config::new([bytes.capacity(9), bytes.capacity(9)])
    };
    let memory = [0, 1].map(|party| Heap::new(config.describe(party).segment_len(), 128));
    for (party, heap) in memory.iter().enumerate() {
        // SAFETY: the heap is as long as it says, and no other code knows it.
        unsafe { geometry::init(heap.base(), heap.len(), &config, party) }.expect("a possible channel");
        let arbitrary = if mode & 1 != 0 { bytes.take(heap.len() / 4) } else { &[] };
        // SAFETY: as above; at most a quarter of the heap's length.
        unsafe { heap.base().copy_from_nonoverlapping(arbitrary.as_ptr(), arbitrary.len()) };
    }
    let headers = memory.each_ref().map(|heap| {
        // SAFETY: long enough for a header, which is atomics only; the memory is dropped after the last use.
        unsafe { &*heap.base().cast::<Header>() }
    });
    for _ in 0..mode >> 2 & 3 {
        let at = bytes.u8();
        let (header, at) = (headers[usize::from(at >> 7)], usize::from(at & 0x7f));
        let at = if at < 32 { at } else { at * 2 % WORDS };
        let value = if bytes.bool() { bytes.u32() } else { 1 << (bytes.u8() % 32) };
        words_of(header)[at].store(value, Relaxed);
    }
    let me = usize::from(mode >> 4 & 1);
    let segments = [me, 1 - me].map(|party| (memory[party].base(), memory[party].len()));
    let its = &headers[1 - me].port.park;
    let peer = Rc::new(Peer {
        me: headers[me],
        it: headers[1 - me],
        lane: segments[1].0.wrapping_add(config.describe(1 - me).lane_offset as usize),
        lane_len: config.capacities[1 - me] as usize,
        sleeve: RefCell::default(),
        sent: RefCell::default(),
        received: RefCell::default(),
        image: RefCell::new(image_of(headers[1 - me])),
        alert: AtomicU32::new(0),
        calls: Cell::new(0),
        said_exclusive: Cell::new(
            [its.read_park.load(Relaxed), its.write_park.load(Relaxed)].into_iter().any(is_exclusive),
        ),
    });
    for (base, len) in segments {
        // SAFETY: the heap is as long as it says.
        if let Err(findings) = Findings::collect(|report| unsafe { geometry::inspect_reporting(base, len, report) }) {
            assert!(!findings.as_slice().is_empty() && !findings.to_string().is_empty());
        }
    }
    // SAFETY: the memory outlives the end, no references to lanes exist, and this is the only end.
    let attached = unsafe { geometry::attach(segments[0].0, segments[0].1, segments[1].0.cast_const(), segments[1].1) };
    let Ok(attached) = attached else {
        return;
    };
    let d = *attached.shape();
    // Between the check of the headers and the making of the halves the peer has time, too.
    if mode & 0x20 != 0 {
        peer.scribble(Scribble::parse(&mut bytes));
    }
    let end = attached.into_end(Treacherous(Rc::clone(&peer)), Treacherous(Rc::clone(&peer)));
    let mut world = World {
        segments,
        end,
        capacity: d.capacity,
        peer_capacity: d.peer_capacity,
        first: d.party == 0,
        identity: image_of(peer.me)[..IDENTITY].try_into().expect("a line"),
        peer,
        _memory: memory,
    };
    for _ in 0..MAX_OPS {
        if bytes.is_empty() || !world.step(&mut bytes) {
            break;
        }
    }
}

impl World {
    /// One operation, with what the peer does before and during it. Says whether to go on.
    fn step(&mut self, bytes: &mut Bytes<'_>) -> bool {
        let code = bytes.u8();
        self.peer.sent.borrow_mut().clear();
        self.peer.received.borrow_mut().clear();
        let before = self.before(code & 0x20 == 0);
        // The words as they stand when the operation begins are the first it may see.
        if code & 0x80 != 0 {
            self.peer.scribble(Scribble::parse(bytes));
        }
        for list in [&self.peer.sent, &self.peer.received] {
            let standing = list.borrow_mut().pop();
            list.borrow_mut().clear();
            list.borrow_mut().extend(standing);
        }
        if self.peer.sent.borrow().is_empty() {
            self.peer.sent.borrow_mut().push(self.peer.it.port.sent.word.load(Relaxed));
        }
        if self.peer.received.borrow().is_empty() {
            self.peer.received.borrow_mut().push(self.peer.it.port.received.word.load(Relaxed));
        }
        if !before.calm {
            for _ in 0..=bytes.u8() % 4 {
                let s = Scribble::parse(bytes);
                self.peer.sleeve.borrow_mut().push_back(s);
            }
        }
        self.peer.calls.set(0);
        let by_end = code & 0x40 != 0;
        let mut looks = Looks::Maybe;
        let (p, c) = (&mut self.end.producer, &mut self.end.consumer);
        let (was_writer, was_reader) = (p.is_corrupt(), c.is_corrupt());
        // What was written and taken, and whether the half's answer was `Corrupt`.
        let (mut written, mut taken) = (0, 0);
        let mut reported = [None, None];
        let mut deadlock = false;
        match code & 0x1f {
            0..=2 => {
                let len = bytes.len();
                let data = vec![code; len.into()];
                let result = if by_end { self.end.write(&data) } else { p.write(&data) };
                assert!(result.is_ok_and(|n| n <= data.len()) || result.is_err());
                written = result.unwrap_or(0);
                reported[1] = Some(result == Err(WriteError::Corrupt));
            }
            3..=4 => {
                let data = vec![code; bytes.len().into()];
                let result = p.write_deferred(&data);
                written = result.unwrap_or(0);
                reported[1] = Some(result == Err(WriteError::Corrupt));
            }
            5 => {
                let data = [bytes.len(), bytes.len()].map(|len| vec![code; len.into()]);
                let result = p.write_vectored(data.each_ref().map(Vec::as_slice));
                written = result.unwrap_or(0);
                reported[1] = Some(result == Err(WriteError::Corrupt));
            }
            6 => p.flush(),
            7..=8 => {
                let (len, fill, commit) = (bytes.len(), bytes.len(), bytes.len());
                let result = p.reserve(len.into()).map(|mut room| {
                    let filled = room.write(&vec![code; fill.into()]);
                    assert!(filled <= usize::from(len).min(fill.into()));
                    room.put(commit.into(), &[code; 3]);
                    if by_end { room.commit(commit.into()) } else { room.commit_filled() }
                });
                written = result.unwrap_or(0);
                reported[1] = Some(result == Err(ReserveError::Write(WriteError::Corrupt)));
            }
            9..=11 => {
                let mut out = vec![0xa5; usize::from(bytes.len()) + 1];
                let n = out.len() - 1;
                let result = if by_end { self.end.read(&mut out[..n]) } else { c.read(&mut out[..n]) };
                assert!(out[n] == 0xa5 && result.is_ok_and(|read| read <= n) || result.is_err());
                taken = result.unwrap_or(0);
                reported[0] = (n > 0).then_some(result == Err(ReadError::Corrupt));
            }
            12..=13 => {
                let mut out = vec![0; usize::from(bytes.len()) + 1];
                let result = c.read_deferred(&mut out);
                taken = result.unwrap_or(0);
                reported[0] = Some(result == Err(ReadError::Corrupt));
            }
            14 => {
                let mut out = [bytes.len(), bytes.len()].map(|len| vec![0; usize::from(len) + 1]);
                let result = c.read_vectored(out.each_mut().map(Vec::as_mut_slice));
                taken = result.unwrap_or(0);
                reported[0] = Some(result == Err(ReadError::Corrupt));
            }
            15 => c.flush(),
            16..=17 => {
                let (at, len, take) = (bytes.len(), bytes.len(), bytes.len());
                let result = c.peek().map(|peek| {
                    let mut out = vec![0; len.into()];
                    assert!(peek.copy_to(at.into(), &mut out) <= peek.len());
                    if by_end { peek.consume(take.into()) } else { 0 }
                });
                taken = result.unwrap_or(0);
                reported[0] = Some(result == Err(ReadError::Corrupt));
            }
            18 => taken = c.consume(bytes.len().into()),
            19 if by_end => p.finish(),
            20 if by_end => c.stop(),
            19..=23 => {
                let want = bytes.len().into();
                let result = match (code & 0x1f, by_end) {
                    (22.., true) => self.end.wait_room_exclusive(want),
                    (22.., false) => p.wait_exclusive(want, c),
                    (_, true) => self.end.wait_room(want, Some(())),
                    (_, false) => p.wait(want, Some(())),
                };
                deadlock = result == Err(WaitError::Deadlock);
                reported[1] = Some(result == Err(WaitError::Corrupt));
                if !before.finished {
                    looks = Looks::AtReceived;
                }
            }
            24..=28 => {
                let want = bytes.len().into();
                let result = match (code & 0x1f, by_end) {
                    (27.., true) => self.end.wait_bytes_exclusive(want),
                    (27.., false) => c.wait_exclusive(want, p),
                    (_, true) => self.end.wait_bytes(want, Some(())),
                    (_, false) => c.wait(want, Some(())),
                };
                deadlock = result == Err(WaitError::Deadlock);
                assert!(result.is_ok_and(|n| n <= self.peer_capacity as usize) || result.is_err());
                reported[0] = Some(result == Err(WaitError::Corrupt));
                if !before.stopped {
                    looks = Looks::AtSent;
                }
            }
            29 => {
                smstream_core::ordering::raise(&self.peer.alert, 1 << (bytes.u8() % 4));
            }
            _ => return self.reattach(),
        }
        self.peer.sleeve.borrow_mut().clear();
        // A peer that says it sleeps may make us return `Deadlock`, if our party can.
        assert!(
            !deadlock || (self.first && self.peer.said_exclusive.get()),
            "a deadlock without a park word that said EXCLUSIVE"
        );
        let (p, c) = (&self.end.producer, &self.end.consumer);
        for (reported, was, is) in
            [(reported[0], was_reader, c.is_corrupt()), (reported[1], was_writer, p.is_corrupt())]
        {
            assert!(!was || is, "corruption is for good");
            assert!(!was || reported != Some(false), "corruption is reported each time");
            assert!(reported != Some(true) || is, "corruption that was reported stays");
        }
        self.check(&before, written as u32, taken as u32, looks);
        true
    }

    fn before(&self, calm: bool) -> Before {
        let (p, c) = (&self.end.producer, &self.end.consumer);
        let (my_sent, my_received) =
            (self.peer.me.port.sent.word.load(Relaxed), self.peer.me.port.received.word.load(Relaxed));
        let unflushed = [c.unflushed() as u32, p.unflushed() as u32];
        let last = |yes, bit| if yes { bit } else { 0 };
        Before {
            sent_seen: my_received.wrapping_add(unflushed[0]).wrapping_add(c.known_bytes() as u32) & CURSOR
                | last(c.is_peer_finished(), FIN),
            received_seen: my_sent.wrapping_sub(p.in_flight() as u32) & CURSOR | last(p.is_peer_stopped(), STOP),
            my_sent,
            my_received,
            unflushed,
            corrupt: p.is_corrupt() || c.is_corrupt(),
            finished: p.is_finished(),
            stopped: c.is_stopped(),
            calm,
        }
    }

    fn check(&self, before: &Before, written: u32, taken: u32, looks: Looks) {
        let (p, c) = (&self.end.producer, &self.end.consumer);
        let after = self.before(true);
        // Nothing is beyond a lane.
        assert!(p.known_room() as u32 + p.unflushed() as u32 + p.in_flight() as u32 <= self.capacity, "{p:?}");
        assert!(c.known_bytes() as u32 + c.unflushed() as u32 <= self.peer_capacity || c.is_stopped(), "{c:?}");
        // My words move by what I did, until they move no more.
        let moved = diff(after.my_sent, before.my_sent);
        if before.my_sent & FIN != 0 {
            assert_eq!(after.my_sent, before.my_sent, "moved after FIN");
        } else if p.is_corrupt() {
            assert!(moved <= before.unflushed[1] + written && after.my_sent & FIN != 0);
        } else {
            assert_eq!(moved + after.unflushed[1], before.unflushed[1] + written);
            assert_eq!(after.my_sent & FIN != 0, p.is_finished());
        }
        let moved = diff(after.my_received, before.my_received);
        if before.my_received & STOP != 0 {
            assert_eq!(after.my_received, before.my_received, "moved after STOP");
            assert_eq!(taken, 0, "took bytes after STOP");
        } else if c.is_corrupt() {
            assert!(moved <= before.unflushed[0] + taken && after.my_received & STOP != 0);
            assert_eq!(self.peer.me.port.park.read_park.load(Relaxed), STOPPED_HINT, "says STOP and not where");
        } else {
            assert_eq!(moved + after.unflushed[0], before.unflushed[0] + taken);
            assert_eq!(after.my_received & STOP != 0, c.is_stopped());
        }
        assert_eq!(image_of(self.peer.me)[..IDENTITY], self.identity, "my identity changed");
        assert_eq!(image_of(self.peer.it), *self.peer.image.borrow(), "the peer's header changed");
        assert!(!before.corrupt || p.is_corrupt() || c.is_corrupt());
        // A half that saw nothing but what an honest peer can say is not corrupt; its own words at the start bound that.
        let mut possible = self.peer.alert.load(Relaxed) & smstream_core::park::ALERT_CORRUPT == 0;
        let mut seen = before.sent_seen;
        // A half that has stopped or finished looks at nothing.
        for &word in self.peer.sent.borrow().iter().filter(|_| !before.stopped) {
            let ahead = diff(word, before.my_received);
            possible &= word == seen
                || seen & FIN == 0 && ahead >= diff(seen, before.my_received) && ahead <= self.peer_capacity;
            seen = word;
        }
        let mut seen = before.received_seen;
        for &word in self.peer.received.borrow().iter().filter(|_| !before.finished) {
            let behind = diff(before.my_sent, word);
            possible &= word == seen || seen & STOP == 0 && behind <= diff(before.my_sent, seen);
            seen = word;
        }
        let corrupt = p.is_corrupt() || c.is_corrupt();
        assert!(before.corrupt || !corrupt || !possible, "an honest peer was called corrupt: {p:?} {c:?}");
        // And who looked at an impossible word is.
        if before.calm && !before.corrupt {
            let sent = self.peer.sent.borrow()[0];
            let given_back = before.my_received.wrapping_add(before.unflushed[0]);
            let fits = before.sent_seen & FIN == 0
                && diff(sent, given_back) >= diff(before.sent_seen, given_back)
                && diff(sent, given_back) <= self.peer_capacity;
            assert!(looks != Looks::AtSent || sent == before.sent_seen || fits || corrupt, "believed {sent:#x}: {c:?}");
            let received = self.peer.received.borrow()[0];
            let flushed = before.my_sent.wrapping_add(before.unflushed[1]);
            let fits =
                before.received_seen & STOP == 0 && diff(flushed, received) <= diff(flushed, before.received_seen);
            let believed = looks == Looks::AtReceived && received != before.received_seen && !fits;
            assert!(!believed || corrupt, "believed {received:#x}: {p:?}");
        }
        // Whatever is believed now was said, and is where an honest peer could have gone from what was believed before.
        if !c.is_stopped() {
            assert!(after.sent_seen == before.sent_seen || self.peer.sent.borrow().contains(&after.sent_seen));
            let from = before.my_received;
            assert!(diff(after.sent_seen, from) >= diff(before.sent_seen, from), "{c:?}");
        }
        if !p.is_corrupt() {
            assert!(
                after.received_seen == before.received_seen
                    || self.peer.received.borrow().contains(&after.received_seen)
            );
            let from = before.received_seen;
            assert!(diff(after.received_seen, from) <= diff(after.my_sent, from), "{p:?}");
        }
    }

    fn reattach(&mut self) -> bool {
        self.peer.sleeve.borrow_mut().clear();
        let [(mine, mine_len), (it, it_len)] = self.segments;
        // SAFETY: the memory outlives the end; the old end is dropped below and not used in between.
        let Ok(attached) = (unsafe { geometry::attach(mine, mine_len, it.cast_const(), it_len) }) else {
            return false;
        };
        self.end = attached.into_end(Treacherous(Rc::clone(&self.peer)), Treacherous(Rc::clone(&self.peer)));
        true
    }
}
