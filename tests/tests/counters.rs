//! Counters: kept if the party says so, and otherwise not at all.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use smstream_core::counter::Counts;
use smstream_core::geometry::{self, Config};
use smstream_core::layout::{CounterLine, Features, Header};
use smstream_core::stream::End;
use smstream_tests::give_up::GiveUp;
use smstream_tests::memory::Heap;

/// The words of a line.
fn words(line: &CounterLine) -> Vec<u32> {
    let words = (&raw const *line).cast::<AtomicU32>();
    // SAFETY: a line of counters is 32 words and nothing else, as `layout` asserts.
    let words = unsafe { std::slice::from_raw_parts(words, 32) };
    words.iter().map(|word| word.load(Relaxed)).collect()
}

/// Both ends over two segments whose counters hold what `before` says, after some of everything that is counted.
fn used(features: Features, before: u32) -> [[Vec<u32>; 2]; 2] {
    let config = Config { features, ..Config::new([8, 8]) };
    let memory = [0, 1].map(|party| {
        let heap = Heap::new(config.describe(party).segment_len(), 128);
        // SAFETY: the heap is as long as it says, and only this function knows it.
        unsafe { geometry::init(heap.base(), heap.len(), &config, party) }.unwrap();
        heap
    });
    let headers = memory.each_ref().map(|heap| {
        // SAFETY: a header was set up there, nothing but atomics, and lives as long as `memory`.
        unsafe { &*heap.base().cast::<Header>() }
    });
    for line in headers.iter().flat_map(|header| [&header.port.writes, &header.port.reads]) {
        for counter in [&line.bytes, &line.operations, &line.parks, &line.wakes_sent] {
            counter.low.store(before, Relaxed);
        }
    }
    let end = |mine: usize| {
        let (own, peer) = (&memory[mine], &memory[1 - mine]);
        // SAFETY: the memory outlives the ends, each party has one, and the lanes are used by them alone.
        let attached = unsafe { geometry::attach(own.base(), own.len(), peer.base(), peer.len()) }.unwrap();
        attached.into_end(GiveUp, GiveUp)
    };
    let (mut here, mut there): (End<'_, GiveUp>, End<'_, GiveUp>) = (end(0), end(1));
    let mut out = [0; 8];
    assert!(there.wait_bytes(1, Some(())).is_err());
    let _ = there.consumer.announce(1);
    here.write(b"hello").unwrap();
    there.consumer.withdraw();
    here.write(b"abc").unwrap();
    let _ = here.producer.announce(1);
    assert_eq!(there.read(&mut out), Ok(8));
    here.producer.withdraw();
    there.close();
    here.close();
    if !features.contains(Features::COUNTERS) && before == 0 {
        for half in [here.producer.counts(), here.consumer.counts(), there.producer.counts(), there.consumer.counts()] {
            assert_eq!(half, Counts::default());
        }
    }
    headers.map(|header| [words(&header.port.writes), words(&header.port.reads)])
}

/// Not a store: values that no count would have stay as they are.
#[test]
fn without_the_feature_no_counter_is_touched() {
    for before in [0, 0xdead_beef] {
        let line = |word: usize| if word < 12 && word % 3 == 1 { before } else { 0 };
        let untouched: Vec<u32> = (0..32).map(line).collect();
        for lines in used(Features::empty(), before) {
            assert_eq!(lines, [untouched.clone(), untouched.clone()]);
        }
    }
}

#[test]
fn with_the_feature_everything_is_counted() {
    let [[writes, _], [_, reads]] = used(Features::COUNTERS, 0);
    // Low words of: bytes, operations, parks, wakes sent.
    let low = |line: &[u32]| [1, 4, 7, 10].map(|word| line[word]);
    assert_eq!(low(&writes), [8, 3, 1, 1]);
    assert_eq!(low(&reads), [8, 2, 2, 1]);
    assert!(writes[12..].iter().chain(&reads[12..]).all(|&word| word == 0), "the rest is reserved");
}
