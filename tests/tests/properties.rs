//! Properties of the core: random operations against the oracle, and rules checked one by one.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proptest::prelude::*;
use smstream_core::counter::{Count, CounterWords};
use smstream_core::cursor::{CURSOR, FIN, LOOK, MAX_CAPACITY, STOP, add, diff, is_capacity};
use smstream_core::error::{ReadError, ReserveError, WaitError, WriteError};
use smstream_core::geometry::{self, Config};
use smstream_core::identity::{self, Description, Finding, Findings, MAX_ALIGN, Problem, Whose};
use smstream_core::lane::{Consumer, Producer};
use smstream_core::layout::{BYTE_ORDER, Features, HEADER_LEN, Header, Identity, LINE, Port, VERSION};
use smstream_core::park::{Park, Wake, Watch};
use smstream_tests::memory::Heap;
use smstream_tests::oracle::{self, Fill, Half, Op, Outcome, Patience, Setup};

// Operations against the oracle.

fn a_start() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => (0u32..=8192).prop_map(|back| CURSOR - back),
        1 => (0u32..=8192).prop_map(|back| (CURSOR >> 1) - back),
        1 => Just(0),
        2 => any::<u32>(),
    ]
}

fn a_capacity() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 8 => (0u32..=4).prop_map(|n| 1 << n), 4 => (5u32..=12).prop_map(|n| 1 << n)]
}

fn a_setup() -> impl Strategy<Value = Setup> {
    let align = prop_oneof![4 => Just(128), 1 => Just(256), 1 => Just(4096)];
    ([a_capacity(), a_capacity()], a_start(), align, any::<bool>())
        .prop_map(|(capacities, start, align, one_block)| Setup { capacities, start, align, one_block })
}

fn a_len() -> impl Strategy<Value = u16> {
    prop_oneof![1 => Just(0u16), 8 => 1..10u16, 3 => 10..70u16, 1 => 70..5000u16]
}

fn an_op() -> impl Strategy<Value = Op> {
    let party = || 0..2u8;
    let lens = || [a_len(), a_len(), a_len()];
    let patience = || (0..3u8, 0..3u8).prop_map(|(spins, maybes)| Patience { spins, maybes });
    let fill =
        || prop_oneof![a_len().prop_map(Fill::Append), (a_len(), a_len()).prop_map(|(at, len)| Fill::Put { at, len })];
    let outcome = prop_oneof![
        3 => a_len().prop_map(Outcome::Commit),
        3 => Just(Outcome::Filled),
        1 => Just(Outcome::Abort),
        1 => Just(Outcome::Drop),
    ];
    let half = || prop_oneof![Just(Half::Read), Just(Half::Write)];
    prop_oneof![
        8 => (party(), a_len(), any::<bool>()).prop_map(|(party, len, by_end)| Op::Write { party, len, by_end }),
        4 => (party(), a_len()).prop_map(|(party, len)| Op::WriteDeferred { party, len }),
        2 => (party(), lens()).prop_map(|(party, lens)| Op::WriteVectored { party, lens }),
        2 => party().prop_map(|party| Op::Flush { party }),
        4 => (party(), a_len(), [fill(), fill()], outcome)
            .prop_map(|(party, len, fills, outcome)| Op::Reserve { party, len, fills, outcome }),
        8 => (party(), a_len(), any::<bool>()).prop_map(|(party, len, by_end)| Op::Read { party, len, by_end }),
        4 => (party(), a_len()).prop_map(|(party, len)| Op::ReadDeferred { party, len }),
        2 => (party(), lens()).prop_map(|(party, lens)| Op::ReadVectored { party, lens }),
        2 => party().prop_map(|party| Op::GiveBack { party }),
        3 => (party(), a_len(), a_len(), proptest::option::of(a_len()))
            .prop_map(|(party, at, len, take)| Op::Peek { party, at, len, take }),
        2 => (party(), a_len()).prop_map(|(party, len)| Op::Consume { party, len }),
        1 => prop_oneof![
            3 => party().prop_map(|party| Op::Finish { party }),
            3 => party().prop_map(|party| Op::Stop { party }),
            1 => party().prop_map(|party| Op::Close { party }),
        ],
        3 => (party(), a_len(), patience(), any::<bool>(), any::<bool>())
            .prop_map(|(party, want, patience, by_end, whole)| Op::WaitRoom { party, want, patience, by_end, whole }),
        3 => (party(), a_len(), patience(), any::<bool>(), any::<bool>())
            .prop_map(|(party, want, patience, by_end, whole)| Op::WaitBytes { party, want, patience, by_end, whole }),
        2 => party().prop_map(|party| Op::Reattach { party }),
        8 => (party(), half(), a_len(), any::<bool>(), any::<u8>())
            .prop_map(|(party, half, ahead, whole, bell)| Op::Asleep { party, half, ahead, whole, bell }),
        1 => (party(), half(), any::<u32>()).prop_map(|(party, half, bits)| Op::Awake { party, half, bits }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn operations_do_what_the_oracle_says(setup in a_setup(), ops in proptest::collection::vec(an_op(), 0..60)) {
        oracle::run(&setup, &ops);
    }
}

/// A stopped half has no bytes, whichever way one asks.
#[test]
fn a_stopped_half_has_no_bytes() {
    let setup = Setup { capacities: [8, 8], start: CURSOR, align: 128, one_block: true };
    oracle::run(
        &setup,
        &[
            Op::Write { party: 0, len: 8, by_end: false },
            Op::ReadDeferred { party: 1, len: 3 },
            Op::Stop { party: 1 },
            Op::Consume { party: 1, len: 2 },
            Op::Peek { party: 1, at: 0, len: 4, take: Some(1) },
            Op::ReadVectored { party: 1, lens: [0, 2, 2] },
        ],
    );
}

// The acceptance rule.

/// Gives up at once; before that, does what it was told to.
struct GiveUp<F: Fn()>(F);

impl<F: Fn()> Park for GiveUp<F> {
    type Deadline = ();
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        Wake::TimedOut
    }
    fn wake(&self, _: &AtomicU32, _: u32) {}
    // Asked after the first look and before the half announces that it sleeps.
    fn bell(&self) -> u32 {
        (self.0)();
        0
    }
}

const CAPACITIES: [u32; 5] = [0, 1, 2, 4, 8];
const BASES: [u32; 5] = [0, 5, CURSOR, CURSOR - 6, (1 << 30) - 1];

/// Every word within two capacities of `near`, each with and without bit 31; and words farther away: each bit of `near`
/// flipped, each power of two added and subtracted.
fn words(near: u32, capacity: u32) -> Vec<u32> {
    let reach = 2 * capacity + 3;
    let mut words: Vec<u32> = (0..=2 * reach).map(|k| near.wrapping_sub(reach).wrapping_add(k)).collect();
    words.extend((4..31).flat_map(|bit| [near ^ (1 << bit), near.wrapping_add(1 << bit), near.wrapping_sub(1 << bit)]));
    words.iter_mut().for_each(|word| *word &= CURSOR);
    words.extend(words.clone().iter().map(|word| word | FIN));
    words
}

fn only_corrupt<T, E: PartialEq>(result: Result<T, E>, corrupt: E) -> Result<(), WaitError> {
    if result.is_err_and(|e| e == corrupt) { Err(WaitError::Corrupt) } else { Ok(()) }
}

/// Every state of a small lane's reader, every word its peer might say next: it is believed if an honest peer could have
/// said it, and otherwise the half is corrupt for good and says STOP.
#[test]
fn a_consumer_believes_exactly_what_an_honest_peer_can_say() {
    let mut tried = 0u64;
    for capacity in CAPACITIES {
        for base in BASES {
            for used in 0..=capacity {
                for taken in 0..=used {
                    for fin in [0, FIN] {
                        for word in words(add(base, used), capacity) {
                            consumer_state(capacity, base, used, taken, fin, word);
                            tried += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(tried > 100_000, "{tried}");
}

fn consumer_state(capacity: u32, base: u32, used: u32, taken: u32, fin: u32, word: u32) {
    let seen = add(base, used) | fin;
    let lane: Vec<u8> = (0..capacity as u8).collect();
    // Looks by waiting; by waiting, and the word comes in the moment before parking; by peeking; by reading.
    for way in 0..4 {
        // Who knows that there is no more, or has enough, need not look.
        let looks = match way {
            0 => true,
            1 => fin == 0 && used - taken < (capacity / 2).max(1),
            _ => fin == 0,
        };
        if !looks {
            continue;
        }
        // A wait gives back first what was taken: from then on the peer may send that much more.
        let given_back = if way < 2 { taken } else { 0 };
        let legal = word == seen || (fin == 0 && (used..=capacity + given_back).any(|k| word & CURSOR == add(base, k)));
        let context =
            || format!("way {way}, capacity {capacity}, from {base:#x}, seen {seen:#x}, taken {taken}, word {word:#x}");
        let (mine, peer) = (Port::new(0, base), Port::new(seen, 0));
        let late = || {
            if way == 1 {
                peer.sent.word.store(word, Relaxed);
            }
        };
        // SAFETY: the lane has `capacity` bytes, and everything outlives the half and is used by it alone.
        let mut half = unsafe { Consumer::from_parts(1, &mine, &peer, lane.as_ptr(), capacity, GiveUp(late)) };
        assert!(!half.is_corrupt(), "{}", context());
        if taken > 0 {
            assert_eq!(half.read_deferred(&mut vec![0; taken as usize]), Ok(taken as usize), "{}", context());
        }
        if way != 1 {
            peer.sent.word.store(word, Relaxed);
        }
        let result = match way {
            0 | 1 => only_corrupt(half.wait(usize::MAX, Some(())), WaitError::Corrupt),
            2 => only_corrupt(half.peek().map(drop), ReadError::Corrupt),
            _ => only_corrupt(half.read(&mut [0; 64]), ReadError::Corrupt),
        };
        if legal {
            assert_eq!(result, Ok(()), "{}", context());
            assert!(!half.is_corrupt(), "{}", context());
            let left = if way == 3 { 0 } else { diff(word, base) - taken };
            assert_eq!(half.known_bytes() as u32, left, "{}", context());
            assert_eq!(half.is_peer_finished(), word & FIN != 0, "{}", context());
            continue;
        }
        assert_eq!(result, Err(WaitError::Corrupt), "{}", context());
        // It stays, even if the peer takes it back.
        for again in [word, seen] {
            peer.sent.word.store(again, Relaxed);
            assert!(half.is_corrupt(), "{}", context());
            assert_eq!(half.read(&mut [0; 9]), Err(ReadError::Corrupt), "{}", context());
            assert_eq!(half.peek().map(|peek| peek.len()), Err(ReadError::Corrupt), "{}", context());
            assert_eq!(half.wait(1, Some(())), Err(WaitError::Corrupt), "{}", context());
            assert_eq!(half.consume(9), 0, "{}", context());
            assert_eq!(mine.received.word.load(Relaxed), add(base, given_back) | STOP, "{}", context());
            assert_eq!(mine.park.read_park.load(Relaxed), LOOK, "{}", context());
        }
    }
}

/// The same for a writer: `flight` bytes published and not received, `unflushed` more in the lane.
#[test]
fn a_producer_believes_exactly_what_an_honest_peer_can_say() {
    let mut tried = 0u64;
    for capacity in CAPACITIES {
        for base in BASES {
            for flight in 0..=capacity {
                for unflushed in 0..=capacity - flight {
                    for stop in [0, STOP] {
                        for word in words(base, capacity) {
                            producer_state(capacity, base, flight, unflushed, stop, word);
                            tried += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(tried > 100_000, "{tried}");
}

fn producer_state(capacity: u32, base: u32, flight: u32, unflushed: u32, stop: u32, word: u32) {
    let seen = base | stop;
    let mut lane = vec![0u8; capacity as usize];
    // Looks by waiting; by waiting, and the word comes in the moment before parking; by reserving all of the lane.
    for way in 0..3 {
        let looks = match way {
            // What is not flushed was written before the peer was seen to stop.
            0 => stop == 0 || unflushed == 0,
            // Who has enough does not come to park.
            1 => stop == 0 && capacity - flight - unflushed < (capacity / 2).max(1),
            _ => stop == 0 && flight + unflushed > 0,
        };
        if !looks {
            continue;
        }
        // A wait publishes first: from then on the peer may receive that, too.
        let published = if way < 2 { flight + unflushed } else { flight };
        let legal = word == seen || (stop == 0 && (0..=published).any(|k| word & CURSOR == add(base, k)));
        let context =
            || format!("way {way}, capacity {capacity}, seen {seen:#x}, flight {flight} + {unflushed}, word {word:#x}");
        let (mine, peer) = (Port::new(add(base, flight), 0), Port::new(0, seen));
        let late = || {
            if way == 1 {
                peer.received.word.store(word, Relaxed);
            }
        };
        // SAFETY: the lane has `capacity` bytes, and everything outlives the half and is used by it alone.
        let mut half = unsafe { Producer::from_parts(0, &mine, &peer, lane.as_mut_ptr(), capacity, GiveUp(late)) };
        assert!(!half.is_corrupt(), "{}", context());
        if unflushed > 0 {
            let written = half.write_deferred(&vec![7; unflushed as usize]);
            assert_eq!(written, Ok(unflushed as usize), "{}", context());
        }
        if way != 1 {
            peer.received.word.store(word, Relaxed);
        }
        let result = match way {
            2 => half.reserve(capacity as usize).map(|room| room.len()).map_err(|e| match e {
                ReserveError::Write(WriteError::Corrupt) => WaitError::Corrupt,
                ReserveError::Write(WriteError::Closed) => WaitError::Closed,
                ReserveError::Write(WriteError::Full) => WaitError::TimedOut,
                other => panic!("{}: {other:?}", context()),
            }),
            _ => half.wait(usize::MAX, Some(())),
        };
        if legal {
            assert_ne!(result, Err(WaitError::Corrupt), "{}", context());
            assert_eq!(result == Err(WaitError::Closed), word & STOP != 0, "{}", context());
            assert!(!half.is_corrupt(), "{}", context());
            let room = capacity - flight - unflushed + diff(word, base);
            assert_eq!(half.known_room() as u32, room, "{}", context());
            continue;
        }
        assert_eq!(result, Err(WaitError::Corrupt), "{}", context());
        for again in [word, seen] {
            peer.received.word.store(again, Relaxed);
            assert!(half.is_corrupt(), "{}", context());
            assert_eq!(half.write(&[1]), Err(WriteError::Corrupt), "{}", context());
            assert_eq!(half.write_vectored([&[1u8][..]]), Err(WriteError::Corrupt), "{}", context());
            let refused = half.reserve(0).map(|room| room.len());
            assert_eq!(refused, Err(ReserveError::Write(WriteError::Corrupt)), "{}", context());
            assert_eq!(half.wait(1, Some(())), Err(WaitError::Corrupt), "{}", context());
            assert_eq!(mine.sent.word.load(Relaxed), add(base, published) | FIN, "{}", context());
            assert_eq!(mine.park.write_park.load(Relaxed), 0, "{}", context());
        }
    }
}

/// Who attaches believes the peer's word if it is within the lane, and else is corrupt from the start.
#[test]
fn halves_begin_corrupt_unless_the_peers_word_is_within_the_lane() {
    for capacity in CAPACITIES {
        let mut lane = vec![0u8; capacity as usize];
        for base in BASES {
            for word in words(base, capacity) {
                let ahead = (0..=capacity).any(|k| add(base, k) == word & CURSOR);
                let behind = (0..=capacity).any(|k| add(word, k) == base);
                let (mine, peer) = (Port::new(base, base), Port::new(word, word));
                // SAFETY: the lane has `capacity` bytes, and everything outlives the half and is used by it alone.
                let reader = unsafe { Consumer::from_parts(1, &mine, &peer, lane.as_ptr(), capacity, GiveUp(|| {})) };
                // SAFETY: as above.
                let writer =
                    unsafe { Producer::from_parts(0, &mine, &peer, lane.as_mut_ptr(), capacity, GiveUp(|| {})) };
                assert_eq!(reader.is_corrupt(), !ahead, "{capacity} {base:#x} {word:#x}");
                assert_eq!(writer.is_corrupt(), !behind, "{capacity} {base:#x} {word:#x}");
                let (stop, fin) = (if ahead { 0 } else { STOP }, if behind { 0 } else { FIN });
                assert_eq!(mine.received.word.load(Relaxed), base | stop, "{capacity} {base:#x} {word:#x}");
                assert_eq!(mine.sent.word.load(Relaxed), base | fin, "{capacity} {base:#x} {word:#x}");
                assert!(reader.known_bytes() <= capacity as usize && writer.known_room() <= capacity as usize);
            }
        }
    }
}

// Setting up and attaching.

#[test]
fn capacities_are_zero_and_powers_of_two_up_to_the_largest() {
    let possible: Vec<u32> = std::iter::once(0).chain((0..=29).map(|n| 1 << n)).collect();
    assert_eq!(possible.last(), Some(&MAX_CAPACITY));
    let near = (0..31).flat_map(|n| [(1u32 << n) - 1, 1 << n, (1 << n) + 1, 3 << n]).chain([1 << 31, u32::MAX]);
    for capacity in near {
        let ok = possible.contains(&capacity);
        assert_eq!(is_capacity(capacity), ok, "{capacity}");
        for capacities in [[capacity, 1], [1, capacity]] {
            let expected = if ok { Ok(()) } else { Err(Problem::Capacity(capacity)) };
            assert_eq!(Config::new(capacities).check(), expected, "{capacity}");
        }
    }
    for align in [0, 1, 64, 127, 129, 384, MAX_ALIGN + 1, MAX_ALIGN * 2] {
        assert_eq!(Config { align, ..Config::new([1, 1]) }.check(), Err(Problem::Align(align)));
    }
    for start in [1 << 31, u32::MAX] {
        assert_eq!(Config { start, ..Config::new([1, 1]) }.check(), Err(Problem::Start(start)));
    }
}

proptest! {
    #[test]
    fn segments_of_a_block_are_aligned_and_apart(
        capacities in [0u32..31, 0u32..31],
        align in 7u32..27,
        start in 0..=CURSOR,
    ) {
        let capacities = capacities.map(|n| if n == 30 { 0 } else { 1 << n });
        let config = Config { align: 1 << align, start, ..Config::new(capacities) };
        prop_assert_eq!(config.check(), Ok(()));
        let (at, len) = config.block();
        let ends = [0, 1].map(|party| {
            let d = config.describe(party);
            assert!(d.lane_offset >= HEADER_LEN && d.lane_offset.is_multiple_of(LINE as u32));
            assert!(d.lane_offset.is_multiple_of(config.align));
            assert_eq!(d.segment_len() as u64, u64::from(d.lane_offset) + u64::from(capacities[party]));
            assert_eq!((d.party, d.capacity, d.peer_capacity), (party as u32, capacities[party], capacities[1 - party]));
            at[party] + d.segment_len()
        });
        prop_assert_eq!(at[0], 0);
        prop_assert!(at[1].is_multiple_of(config.align as usize));
        prop_assert!(ends[0] <= at[1] && at[1] - ends[0] < config.align as usize);
        prop_assert_eq!(ends[1], len);
    }

    #[test]
    fn an_identity_reads_back_as_it_was_written(
        features in any::<u16>(),
        party in 0u32..2,
        align in 7u32..27,
        lane_line in any::<u32>(),
        capacities in [0u32..31, 0u32..31],
        start in 0..=CURSOR,
        pid in any::<u32>(),
        made in any::<u64>(),
        channel in any::<u64>(),
    ) {
        let align = 1 << align;
        // The lane lies on any line from the end of the header to where the alignment puts it.
        let lines = (HEADER_LEN.next_multiple_of(align) - HEADER_LEN) / LINE as u32 + 1;
        let [capacity, peer_capacity] = capacities.map(|n| if n == 30 { 0 } else { 1 << n });
        let description = Description {
            features: Features::from_bits_retain(u32::from(features) << 16),
            party,
            align,
            lane_offset: HEADER_LEN + lane_line % lines * LINE as u32,
            capacity,
            peer_capacity,
            start,
            pid,
            made,
            channel,
        };
        let identity = Identity::blank();
        identity::write(&identity, &description);
        let mut findings = Findings::default();
        prop_assert_eq!(identity::read(&identity, Whose::Peer, &mut findings), Some(description));
        prop_assert_eq!(findings.as_slice(), &[]);
    }

    #[test]
    fn counters_count(
        from in any::<u64>(),
        near_carry in any::<bool>(),
        steps in proptest::collection::vec(any::<u32>(), 0..20),
    ) {
        let from = if near_carry { from | 0xffff_ff00 } else { from };
        let (words, mut count) = (CounterWords::new(from), Count::new(from));
        let mut sum = from;
        for step in steps {
            count.add(step.into(), &words);
            sum = sum.wrapping_add(step.into());
            prop_assert_eq!(words.sample(), Some(sum));
            prop_assert_eq!(count.get(), sum);
        }
        // In the middle of a carry there is no sample, rather than a wrong one.
        words.high_again.store((sum >> 32) as u32 ^ 1, Relaxed);
        prop_assert_eq!(words.sample(), None);
    }
}

/// Two segments, set up and ready.
struct Pair {
    memory: [Heap; 2],
}

const CONFIG: Config = Config { start: CURSOR - 1, pid: 77, made: 0x1_0000_0002, align: 1024, ..Config::new([16, 8]) };

impl Pair {
    fn new() -> Pair {
        let memory = [0, 1].map(|party| {
            let heap = Heap::new(CONFIG.describe(party).segment_len(), 128);
            // SAFETY: the heap is as long as it says, and nobody else knows it.
            unsafe { geometry::init(heap.base(), heap.len(), &CONFIG, party) }.unwrap();
            heap
        });
        Pair { memory }
    }

    fn header(&self, party: usize) -> &Header {
        // SAFETY: a header was set up there, nothing but atomics, and lives as long as `self`.
        unsafe { &*self.memory[party].base().cast() }
    }

    /// What party 0 finds when it attaches with segments that are said to be this long.
    fn findings_with(&self, lens: [usize; 2]) -> Vec<Finding> {
        let [mine, peer] = &self.memory;
        // SAFETY: `lens` are at most the lengths of the memory; the attachment is dropped here.
        match unsafe { geometry::attach(mine.base(), lens[0], peer.base(), lens[1]) } {
            Ok(_) => Vec::new(),
            Err(findings) => {
                assert!(!findings.as_slice().is_empty());
                assert!(!findings.to_string().is_empty());
                findings.as_slice().to_vec()
            }
        }
    }

    fn findings(&self) -> Vec<Finding> {
        self.findings_with([self.memory[0].len(), self.memory[1].len()])
    }
}

/// One word of a good header is changed: exactly that is found, in whichever segment it is.
#[test]
fn each_corruption_of_a_header_is_found() {
    assert_eq!(Pair::new().findings(), []);
    type Word = fn(&Identity) -> &AtomicU32;
    let words: [(Word, &[u32]); 11] = [
        (|i| &i.magic[0], &[0, 1, u32::MAX]),
        (|i| &i.magic[1], &[0, 1, u32::MAX]),
        (|i| &i.byte_order, &[0, BYTE_ORDER.swap_bytes(), 1]),
        (|i| &i.version, &[0, VERSION + 1, u32::MAX]),
        (|i| &i.features, &[1, 1 << 15, 0xffff]),
        (|i| &i.party, &[2, u32::MAX]),
        (|i| &i.align, &[0, 1, 64, 1000, MAX_ALIGN * 2, u32::MAX]),
        (|i| &i.lane_offset, &[0, 640, HEADER_LEN - 1, HEADER_LEN + 1, HEADER_LEN + 64, 1024 + 128, u32::MAX - 127]),
        (|i| &i.capacity, &[3, 17, MAX_CAPACITY * 2, u32::MAX]),
        (|i| &i.peer_capacity, &[3, 17, MAX_CAPACITY * 2, u32::MAX]),
        (|i| &i.start, &[1 << 31, u32::MAX]),
    ];
    for (n, (word, values)) in words.into_iter().enumerate() {
        for &value in values {
            for (party, whose) in [(0, Whose::Mine), (1, Whose::Peer)] {
                let pair = Pair::new();
                let identity = &pair.header(party).identity;
                word(identity).store(value, Relaxed);
                let magic = [0, 1].map(|i| identity.magic[i].load(Relaxed).to_ne_bytes()).concat();
                let problem = match n {
                    0 | 1 => Problem::Magic(magic.try_into().unwrap()),
                    2 => Problem::ByteOrder(value),
                    3 if value == 0 => Problem::NotReady,
                    3 => Problem::Version(value),
                    4 => Problem::UnknownFeatures(value),
                    5 => Problem::Party(value),
                    6 => Problem::Align(value),
                    7 => Problem::LaneOffset(value),
                    8 => Problem::Capacity(value),
                    9 => Problem::PeerCapacity(value),
                    _ => Problem::Start(value),
                };
                assert_eq!(pair.findings(), [Finding { whose, problem }], "word {n}, {value:#x}");
                // SAFETY: the memory is as long as it says.
                let inspected = unsafe { geometry::inspect(pair.memory[party].base(), pair.memory[party].len()) };
                let found = inspected.unwrap_err();
                assert_eq!(found.as_slice(), [Finding { whose: Whose::Peer, problem }], "word {n}, {value:#x}");
            }
        }
    }
}

#[test]
fn segments_that_do_not_fit_together_are_found() {
    let found = |change: fn(&Pair)| {
        let pair = Pair::new();
        change(&pair);
        pair.findings().into_iter().map(|f| (f.whose, f.problem)).collect::<Vec<_>>()
    };
    let peer = |problem| (Whose::Peer, problem);
    let mine = |problem| (Whose::Mine, problem);
    assert_eq!(found(|p| p.header(1).identity.party.store(0, Relaxed)), [peer(Problem::Party(0))]);
    assert_eq!(found(|p| p.header(1).identity.align.store(2048, Relaxed)), [peer(Problem::Align(2048))]);
    assert_eq!(found(|p| p.header(1).identity.start.store(5, Relaxed)), [peer(Problem::Start(5))]);
    assert_eq!(found(|p| p.header(0).identity.peer_capacity.store(4, Relaxed)), [mine(Problem::PeerCapacity(4))]);
    assert_eq!(found(|p| p.header(1).identity.peer_capacity.store(4, Relaxed)), [peer(Problem::PeerCapacity(4))]);
    // Smaller than agreed, as the peer says of itself: its segment is long enough, but not what I was told.
    assert_eq!(found(|p| p.header(1).identity.capacity.store(4, Relaxed)), [mine(Problem::PeerCapacity(8))]);
    // Larger than the memory behind it: never to be touched.
    let short = Problem::TooShort { needed: 1024 + 16, found: 1024 + 8 };
    assert_eq!(found(|p| p.header(1).identity.capacity.store(16, Relaxed)), [peer(short)]);
    // Memory of all zeros is nothing yet, rather than something wrong.
    let blank = |p: &Pair| {
        let identity = &p.header(1).identity;
        for word in [&identity.magic[0], &identity.magic[1], &identity.version] {
            word.store(0, Relaxed);
        }
    };
    assert_eq!(found(blank), [peer(Problem::NotReady)]);
}

#[test]
fn memory_that_is_too_short_or_misaligned_is_found() {
    let pair = Pair::new();
    let full = pair.memory.each_ref().map(Heap::len);
    for (party, whose) in [(0, Whose::Mine), (1, Whose::Peer)] {
        for short in (0..full[party]).step_by(61).chain([full[party] - 1]) {
            let mut lens = full;
            lens[party] = short;
            let needed = if short < HEADER_LEN as usize { HEADER_LEN } else { full[party] as u32 };
            let problem = Problem::TooShort { needed, found: short as u32 };
            assert_eq!(pair.findings_with(lens), [Finding { whose, problem }]);
        }
    }
    let heap = Heap::new(full[0] + 128, 128);
    for offset in [1, 4, 64, 127] {
        // SAFETY: the bytes lie within the heap.
        let found = unsafe { geometry::init(heap.base().wrapping_add(offset), full[0], &CONFIG, 0) }.unwrap_err();
        assert_eq!(found.as_slice(), [Finding { whose: Whose::Mine, problem: Problem::Misaligned }]);
    }
}

/// A failed `init` writes nothing; a good one leaves the lane alone.
#[test]
fn init_writes_the_header_or_nothing() {
    let len = CONFIG.describe(0).segment_len();
    let heap = Heap::new(len, 128);
    // SAFETY: the heap has so many bytes.
    unsafe { heap.base().write_bytes(0xa5, len) };
    let bytes = || {
        // SAFETY: the heap has so many bytes, and nobody writes them while the slice lives.
        unsafe { std::slice::from_raw_parts(heap.base(), len) }.to_vec()
    };
    let before = bytes();
    let bad = [
        (Config::new([3, 8]), 0, len),
        (Config::new([8, 3]), 0, len),
        (Config { align: 100, ..CONFIG }, 0, len),
        (Config { start: STOP, ..CONFIG }, 0, len),
        (CONFIG, 2, len),
        (CONFIG, usize::MAX, len),
        (CONFIG, 0, len - 1),
        (CONFIG, 0, 10),
    ];
    for (config, party, len) in bad {
        // SAFETY: `len` is at most the heap's length.
        assert!(unsafe { geometry::init(heap.base(), len, &config, party) }.is_err(), "{config:?} {party} {len}");
        assert_eq!(bytes(), before, "{config:?} {party} {len}");
    }
    // SAFETY: as above.
    unsafe { geometry::init(heap.base(), len, &CONFIG, 0) }.unwrap();
    assert_eq!(bytes()[HEADER_LEN as usize..], before[HEADER_LEN as usize..]);
}

/// Attaching finds a `sent` that the other party's `received` makes impossible, in both directions.
#[test]
fn attaching_finds_impossible_cursors() {
    for (sender, whose) in [(0, Whose::Mine), (1, Whose::Peer)] {
        let capacity = CONFIG.capacities[sender];
        for word in words(CONFIG.start, capacity) {
            let pair = Pair::new();
            pair.header(sender).port.sent.word.store(word, Relaxed);
            let possible = (0..=capacity).any(|k| add(CONFIG.start, k) == word & CURSOR);
            let expected = if possible { vec![] } else { vec![Finding { whose, problem: Problem::Sent(word) }] };
            assert_eq!(pair.findings(), expected, "{word:#x}");
        }
    }
}
