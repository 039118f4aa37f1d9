//! A peer that writes what it likes into its own segment, from another thread, while this party is at work.
//!
//! The segments lie between guard pages, and the peer's is mapped read-only here, so an access that strays or a write to
//! it ends the process. Waits end after a few sleeps, so an operation that does not end is one that loops.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use smstream_core::cursor::{ASLEEP, CURSOR, FIN, STOP, STOPPED_HINT};
use smstream_core::error::{ReadError, WaitError, WriteError};
use smstream_core::geometry::{self, Config};
use smstream_core::layout::{HEADER_LEN, Header, LINE};
use smstream_core::park::{Park, Wake, Watch};
use smstream_core::stream::End;
use smstream_core::word::SharedWord;
use smstream_tests::memory::Shared;

const WORDS: usize = HEADER_LEN as usize / 4;

/// Sleeps by giving way, a few times.
#[derive(Clone, Copy)]
struct Short;

impl Park for Short {
    type Deadline = Instant;
    type Spin = u8;
    fn spin_start(&self) -> u8 {
        3
    }
    fn spin(&self, left: &mut u8) -> bool {
        *left -= 1;
        *left > 0
    }
    fn wait(&self, _: &[Watch<'_>], deadline: Option<Instant>) -> Wake {
        thread::yield_now();
        if Some(Instant::now()) >= deadline { Wake::TimedOut } else { Wake::Maybe }
    }
    fn wake(&self, _: SharedWord<'_>, _: u32) {}
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }
}

/// The segments of both parties. Party 0 is attacked; party 1 attacks, or is honest.
struct Channel {
    segments: [Shared; 2],
    config: Config,
}

impl Channel {
    fn new(config: Config) -> Channel {
        let segments = [0, 1].map(|party| Shared::new(config.describe(party).segment_len()));
        let channel = Channel { segments, config };
        channel.init();
        channel
    }

    fn init(&self) {
        for (party, segment) in self.segments.iter().enumerate() {
            // SAFETY: the memory is as long as it says; other code touches the header by atomics only; no end lives.
            unsafe { geometry::init(segment.own(), segment.len(), &self.config, party) }.expect("init");
        }
    }

    fn end(&self, party: usize) -> Option<End<'_, Short>> {
        let (mine, peer) = (&self.segments[party], &self.segments[1 - party]);
        // SAFETY: the segments outlive the end; each party has one end at a time; lanes are touched by ends only, or by
        // volatile writes of the attacker to its own.
        let attached = unsafe { geometry::attach(mine.own(), mine.len(), peer.view(), peer.len()) };
        attached.ok().map(|attached| attached.into_end(Short, Short))
    }

    /// All words of a party's header, as that party can write them.
    fn words(&self, party: usize) -> &[AtomicU32; WORDS] {
        // SAFETY: the segment is at least as long as a header, which is words only; the memory lives as long as `self`.
        unsafe { &*self.segments[party].own().cast() }
    }

    fn header(&self, party: usize) -> &Header {
        // SAFETY: as above.
        unsafe { &*self.segments[party].own().cast() }
    }
}

// SAFETY: threads share headers as atomics, and each touches only the lane that it owns or reads by volatile accesses.
unsafe impl Sync for Channel {}

/// Writes to what the peer owns, until the test stops it: cursors that are possible, nearly possible and impossible, park
/// words, bytes of the lane; and, while `all` is set, every word of its header.
fn scribble(channel: &Channel, seed: u64, all: &AtomicBool, gentle: &AtomicBool, done: &AtomicBool) -> u64 {
    let mut random = Random(seed);
    let (victim, port) = (&channel.header(0).port, &channel.header(1).port);
    let (lane, capacity) = (channel.config.describe(1).lane_offset as usize, channel.config.capacities[1]);
    let mut n = 0;
    while !done.load(Relaxed) {
        n += 1;
        let steps = random.below(capacity.max(channel.config.capacities[0]) + 3);
        let flag = if random.below(200) == 0 { FIN } else { 0 };
        let wild = !gentle.load(Relaxed) && random.below(50) == 0;
        match random.below(8) {
            0..=1 => {
                let from = victim.received.word.load(Relaxed);
                let word = if wild { random.next() } else { from.wrapping_add(steps.min(capacity)) & CURSOR | flag };
                port.sent.word.store(word, Relaxed);
            }
            2..=3 => {
                let from = victim.sent.word.load(Relaxed);
                let word = if wild { random.next() } else { from & CURSOR | flag };
                port.received.word.store(word, Relaxed);
            }
            4 => {
                port.park.read_park.store([STOPPED_HINT, ASLEEP | random.next(), 0][random.below(3) as usize], Relaxed)
            }
            5 => port.park.write_park.store(ASLEEP | random.next(), Relaxed),
            6 if capacity > 0 => {
                let at = channel.segments[1].own().wrapping_add(lane + random.below(capacity) as usize);
                // SAFETY: a byte of the lane of party 1, which only this thread writes.
                unsafe { at.write_volatile(random.next() as u8) };
            }
            _ if all.load(Relaxed) => {
                channel.words(1)[random.below(WORDS as u32) as usize].store(random.next(), Relaxed);
            }
            _ => thread::yield_now(),
        }
    }
    n
}

fn corrupt_words(channel: &Channel) -> [u32; 2] {
    let port = &channel.header(0).port;
    [port.sent.word.load(Relaxed), port.received.word.load(Relaxed)]
}

/// How an attacked end lived.
#[derive(Clone, Copy)]
enum Life {
    /// It was never born: attaching found what is wrong.
    Refused = 0,
    /// It became corrupt, and stayed so.
    Corrupt = 1,
    /// All that it saw was possible.
    Calm = 2,
}

/// One life of an attacked end: operations until it is corrupt, and then some.
fn one_life(channel: &Channel, random: &mut Random, operations: &AtomicU64) -> Life {
    let Some(mut end) = channel.end(0) else {
        return Life::Refused;
    };
    let mut out = [0u8; 300];
    let bytes = [7u8; 300];
    let [mine, peers] = channel.config.capacities.map(|c| c as usize);
    for _ in 0..200 {
        operations.fetch_add(1, Relaxed);
        let n = random.below(301) as usize;
        let deadline = Some(Instant::now() + Duration::from_micros(20));
        match random.below(12) {
            0..=1 => assert!(!matches!(end.write(&bytes[..n]), Ok(w) if w > n.min(mine))),
            2..=3 => assert!(!matches!(end.read(&mut out[..n]), Ok(r) if r > n.min(peers))),
            4 => assert!(!matches!(end.wait_bytes(n, deadline), Ok(r) if r > peers)),
            5 => assert!(!matches!(end.wait_room(n, deadline), Ok(w) if w > mine)),
            6 => {
                if let Ok(peek) = end.consumer.peek() {
                    assert!(peek.len() <= peers);
                    assert_eq!(peek.copy_to(n, &mut out), out.len().min(peek.len().saturating_sub(n)));
                    peek.consume(n);
                }
            }
            7 => {
                if let Ok(mut room) = end.producer.reserve(n) {
                    assert!(n <= mine && room.write(&bytes) == n);
                    room.commit_filled();
                }
            }
            8 => {
                let _ = end.consumer.read_deferred(&mut out[..n]);
                let _ = end.producer.write_deferred(&bytes[..n]);
            }
            9 => assert!(!matches!(end.wait_bytes_exclusive(n), Ok(r) if r > peers)),
            10 => assert!(!matches!(end.wait_room_exclusive(n), Ok(w) if w > mine)),
            _ => {
                end.consumer.flush();
                end.producer.flush();
            }
        }
        assert!(end.producer.known_room() <= mine && end.consumer.known_bytes() <= peers);
        if end.producer.is_corrupt() || end.consumer.is_corrupt() {
            // The other half hears of it with the next operation of the end.
            assert_eq!(end.read(&mut out[..0]), Ok(0));
            let words = corrupt_words(channel);
            assert!(words[0] & FIN != 0 && words[1] & STOP != 0, "{words:x?}");
            for _ in 0..20 {
                assert_eq!(end.write(&bytes), Err(WriteError::Corrupt));
                assert_eq!(end.read(&mut out), Err(ReadError::Corrupt));
                assert_eq!(end.wait_room(1, None), Err(WaitError::Corrupt));
                assert_eq!(end.wait_bytes(1, None), Err(WaitError::Corrupt));
                assert_eq!(end.wait_room_exclusive(1), Err(WaitError::Corrupt));
                assert_eq!(end.wait_bytes_exclusive(1), Err(WaitError::Corrupt));
                assert_eq!(end.consumer.consume(9), 0);
                end.close();
            }
            assert_eq!(corrupt_words(channel), words, "they never change again");
            return Life::Corrupt;
        }
    }
    Life::Calm
}

#[test]
fn a_scribbling_peer_does_no_harm() {
    for (seed, capacities) in [[1, 1], [64, 16], [0, 256], [256, 0], [4096, 128]].into_iter().enumerate() {
        let config = Config { start: CURSOR - 40, ..Config::new(capacities) };
        let channel = Channel::new(config);
        let [all, gentle, done] = [(); 3].map(|()| AtomicBool::new(false));
        let operations = AtomicU64::new(0);
        let identity =
            |channel: &Channel| channel.words(0)[..LINE / 4].iter().map(|w| w.load(Relaxed)).collect::<Vec<_>>();
        let before = identity(&channel);
        let lives = thread::scope(|scope| {
            scope.spawn(|| {
                // Whatever fails below, the attacker has to end.
                scribble(&channel, 0x9e37_79b9_7f4a_7c15 + seed as u64, &all, &gentle, &done)
            });
            let guard = SetOnDrop(&done);
            let mut random = Random(77 + seed as u64);
            let mut lives = [0u32; 3];
            let (enough, until) = (12, Instant::now() + Duration::from_secs(30));
            while lives[Life::Corrupt as usize] < enough && Instant::now() < until {
                all.store(false, Relaxed);
                gentle.store(random.below(4) == 0, Relaxed);
                channel.init();
                all.store(random.below(2) == 0, Relaxed);
                lives[one_life(&channel, &mut random, &operations) as usize] += 1;
                assert_eq!(identity(&channel), before, "my identity changed");
            }
            drop(guard);
            lives
        });
        let operations = operations.into_inner();
        println!("{capacities:?}: {operations} operations; ends refused, corrupt, calm: {lives:?}");
        assert!(lives[Life::Corrupt as usize] >= 12, "the attack was none: {lives:?}");
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Two honest ends, and every word of both headers scribbled on but those that the protocol reads: nothing changes.
#[test]
fn only_the_words_of_the_protocol_are_read_again() {
    let config = Config { start: CURSOR - 5000, ..Config::new([64, 256]) };
    let channel = Channel::new(config);
    let [mut a, mut b] = [0, 1].map(|party| channel.end(party).expect("attached"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut random = Random(99);
            let mut n = 0u64;
            while !done.load(Relaxed) {
                let party = random.below(2) as usize;
                let word = &channel.words(party)[random.below(WORDS as u32) as usize];
                let port = &channel.header(party).port;
                let spared = [&port.sent.word, &port.received.word, &port.park.read_park, &port.park.write_park];
                if !spared.iter().any(|spared| std::ptr::eq(*spared, word)) {
                    word.store(random.next(), Relaxed);
                    n += 1;
                }
            }
            n
        });
        let guard = SetOnDrop(&done);
        let mut random = Random(5);
        let mut totals = [(0u64, 0u64); 2];
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            for ((writer, reader), (written, read)) in [(&mut a, &mut b)].into_iter().zip(&mut totals[..1]) {
                exchange(writer, reader, written, read, &mut random);
            }
            for ((writer, reader), (written, read)) in [(&mut b, &mut a)].into_iter().zip(&mut totals[1..]) {
                exchange(writer, reader, written, read, &mut random);
            }
        }
        drop(guard);
        let scribbled = attacker.join().expect("the attacker");
        println!("{totals:?} bytes, {scribbled} words scribbled");
        assert!(scribbled > 1000 && totals.iter().all(|(_, read)| *read > 10_000));
    });
}

/// The byte at a position of a stream.
fn byte_at(position: u64) -> u8 {
    (position ^ position >> 8).wrapping_mul(167) as u8
}

fn exchange(
    writer: &mut End<'_, Short>,
    reader: &mut End<'_, Short>,
    written: &mut u64,
    read: &mut u64,
    random: &mut Random,
) {
    let bytes: Vec<u8> = (0..u64::from(random.below(80))).map(|i| byte_at(*written + i)).collect();
    match writer.write(&bytes) {
        Ok(n) => *written += n as u64,
        Err(e) => assert_eq!(e, WriteError::Full),
    }
    let mut out = vec![0; random.below(80) as usize];
    match reader.read(&mut out) {
        Ok(n) => {
            for (i, &byte) in out[..n].iter().enumerate() {
                assert_eq!(byte, byte_at(*read + i as u64), "at {}", *read + i as u64);
            }
            *read += n as u64;
        }
        Err(e) => assert!(e == ReadError::Empty && written == read, "{e:?}, {written} written, {read} read"),
    }
}

/// The tests above say something only if a stray access really is the end.
#[test]
fn stray_accesses_end_the_process() {
    const NAME: &str = "SMSTREAM_STRAY";
    if let Ok(which) = std::env::var(NAME) {
        let segment = Shared::new(HEADER_LEN as usize + 128);
        let (own, view) = (segment.own(), segment.view().cast_mut());
        let address = match which.as_str() {
            "behind" => own.wrapping_add(segment.len()),
            "view behind" => view.wrapping_add(segment.len()),
            "before" => own.wrapping_sub(1 << 16),
            _ => view,
        };
        if which == "write" {
            // SAFETY: none: the process is to die here.
            unsafe { address.write_volatile(1) };
        } else {
            // SAFETY: none, unless it is `fine`, which reads the first byte: the process is to die here.
            unsafe { address.read_volatile() };
        }
        return;
    }
    for (which, signal) in
        [("fine", None), ("behind", Some(11)), ("view behind", Some(11)), ("before", Some(11)), ("write", Some(11))]
    {
        let me = std::env::current_exe().expect("my name");
        let status = Command::new(me)
            .args(["--exact", "stray_accesses_end_the_process"])
            .env(NAME, which)
            .output()
            .expect("a child")
            .status;
        assert_eq!(status.signal(), signal, "{which}: {status}");
    }
}
