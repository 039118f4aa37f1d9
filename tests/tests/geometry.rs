//! Segments and their headers: where they lie, what is written into them, and what is found wrong when a party attaches.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proptest::prelude::*;
use smstream_core::counter::{Count, CounterWords};
use smstream_core::cursor::{CURSOR, FIN, MAX_CAPACITY, STOP, add, is_capacity};
use smstream_core::findings::Findings;
use smstream_core::geometry::{self, Config};
use smstream_core::identity::{self, Description, Finding, MAX_ALIGN, Problem, Whose};
use smstream_core::layout::{BYTE_ORDER, Features, HEADER_LEN, Header, Identity, LINE, VERSION};
use smstream_tests::cursors::words;
use smstream_tests::memory::Heap;

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
        let mut problems = Vec::new();
        prop_assert_eq!(identity::read(&identity, &mut |problem| problems.push(problem)), Some(description));
        prop_assert_eq!(problems, []);
    }

    #[test]
    fn counters_count(
        from in any::<u64>(),
        near_carry in any::<bool>(),
        steps in proptest::collection::vec(any::<u32>(), 0..20),
    ) {
        let from = if near_carry { from | 0xffff_ff00 } else { from };
        let words = CounterWords::new(from);
        let mut count = Count::resume(&words);
        let mut sum = from;
        for step in steps {
            count.add(step, &words);
            sum = sum.wrapping_add(step.into());
            prop_assert_eq!(words.sample(), Some(sum));
            prop_assert_eq!(count.low(), sum as u32);
        }
        // In the middle of a carry there is no sample, rather than a wrong one.
        words.high_again.store((sum >> 32) as u32 ^ 1, Relaxed);
        prop_assert_eq!(words.sample(), None);
    }
}

/// All that is wrong is said, unless what is read is no identity: then the rest means nothing.
#[test]
fn reading_an_identity_says_all_that_is_wrong() {
    let problems = |identity: &Identity| {
        let mut problems = Vec::new();
        assert_eq!(identity::read(identity, &mut |problem| problems.push(problem)), None);
        problems
    };
    assert_eq!(problems(&Identity::blank()), [Problem::NotReady]);
    let identity = Identity::blank();
    identity::write(&identity, &CONFIG.describe(0));
    identity.party.store(2, Relaxed);
    identity.start.store(STOP, Relaxed);
    assert_eq!(problems(&identity), [Problem::Party(2), Problem::Start(STOP)]);
    identity.byte_order.store(7, Relaxed);
    assert_eq!(problems(&identity), [Problem::ByteOrder(7)]);
    // While the version is 0, each word of the magic may be there or not, and be nothing else.
    identity.version.store(0, Relaxed);
    for word in &identity.magic {
        let right = word.load(Relaxed);
        word.store(0, Relaxed);
        assert_eq!(problems(&identity), [Problem::NotReady]);
        word.store(7, Relaxed);
        assert!(matches!(problems(&identity)[..], [Problem::Magic(_)]));
        word.store(right, Relaxed);
    }
    assert_eq!(problems(&identity), [Problem::NotReady]);
}

/// Two segments, set up and ready.
struct Pair {
    memory: [Heap; 2],
}

const CONFIG: Config = Config { start: CURSOR - 1, pid: 77, made: 0x1_0000_0002, align: 1024, ..Config::new([16, 8]) };

impl Pair {
    fn new() -> Pair {
        Pair::of(&CONFIG)
    }

    fn of(config: &Config) -> Pair {
        let memory = [0, 1].map(|party| {
            let heap = Heap::new(config.describe(party).segment_len(), 128);
            // SAFETY: the heap is as long as it says, and no other code knows it.
            unsafe { geometry::init(heap.base(), heap.len(), config, party) }.unwrap();
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
        let first = unsafe { geometry::attach(mine.base(), lens[0], peer.base(), lens[1]) };
        let attached = Findings::collect(|report| {
            // SAFETY: as above.
            unsafe { geometry::attach_reporting(mine.base(), lens[0], peer.base(), lens[1], report) }
        });
        match attached {
            Ok(_) => {
                assert!(first.is_ok());
                Vec::new()
            }
            Err(findings) => {
                assert!(!findings.as_slice().is_empty());
                for finding in findings.as_slice() {
                    let (text, problem) = (finding.to_string(), finding.problem);
                    assert!(text.len() > problem.to_string().len() && text.ends_with(&problem.to_string()));
                    assert!(findings.to_string().contains(&text) && problem.to_string().len() > 10, "{text}");
                    let shown = format!("{problem:?}");
                    assert_eq!(shown.split(|c: char| !c.is_alphanumeric()).next(), Some(problem.name()));
                }
                assert_eq!(first.unwrap_err(), findings.as_slice()[0], "one alone is the first of all");
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
                assert_eq!(found, Finding { whose: Whose::Peer, problem }, "word {n}, {value:#x}");
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
    // Smaller than agreed, as the peer says of itself: its segment is long enough, but not what was agreed.
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
        assert_eq!(found, Finding { whose: Whose::Mine, problem: Problem::Misaligned });
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
        // SAFETY: the heap has so many bytes, and no code writes them while the slice lives.
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

/// A lane without capacity has no bytes and is closed: `sent` is where it began, with FIN.
#[test]
fn attaching_finds_a_lane_without_capacity_that_is_open() {
    for (sender, whose) in [(0, Whose::Mine), (1, Whose::Peer)] {
        let mut config = CONFIG;
        config.capacities[sender] = 0;
        for word in words(config.start, 0) {
            let pair = Pair::of(&config);
            pair.header(sender).port.sent.word.store(word, Relaxed);
            let expected =
                if word == config.start | FIN { vec![] } else { vec![Finding { whose, problem: Problem::Sent(word) }] };
            assert_eq!(pair.findings(), expected, "{word:#x}");
        }
    }
}
