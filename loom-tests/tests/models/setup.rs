//! Words that are set up once, and words for inspectors: identity, rendezvous, counters.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use smstream_core::counter::{Count, CounterWords};
use smstream_core::identity::{self, Description, Problem};
use smstream_core::layout::{Features, HEADER_LEN, Identity, state};
use smstream_core::ordering;
use smstream_core::sync::AtomicU32;
use smstream_core::word::SharedWord;

use crate::common::{World, check};

/// A reader that sees the version sees the rest; one that does not finds that the segment is not ready, and nothing else.
#[test]
fn an_identity_is_whole_or_not_ready() {
    let complete = Description {
        features: Features::COUNTERS,
        party: 1,
        align: 4096,
        lane_offset: HEADER_LEN,
        capacity: 4096,
        peer_capacity: 8192,
        start: 3,
        pid: 77,
        made: 5 << 32 | 6,
        channel: 7 << 32 | 8,
    };
    check(None, move || {
        let segment = Arc::new(Identity::blank());
        let owner = {
            let segment = segment.clone();
            thread::spawn(move || identity::write(&segment, &complete))
        };
        let mut problems = Vec::new();
        match identity::read(&segment, &mut |problem| problems.push(problem)) {
            Some(found) => assert_eq!(found, complete),
            None => assert_eq!(problems[0], Problem::NotReady),
        }
        owner.join().unwrap();
        assert_eq!(identity::read(&segment, &mut |_| ()), Some(complete));
    });
}

/// What is set up before a step of the rendezvous: a cell that reports a race.
struct Prepared(UnsafeCell<u32>);

// SAFETY: loom runs the threads of a model one at a time, and reports accesses to a cell that are not ordered.
unsafe impl Sync for Prepared {}

impl Prepared {
    fn set(&self, value: u32) {
        // SAFETY: loom checks the cell.
        self.0.with_mut(|p| unsafe { *p = value });
    }

    fn get(&self) -> u32 {
        // SAFETY: loom checks the cell.
        self.0.with(|p| unsafe { *p })
    }
}

fn await_state(word: &AtomicU32, wanted: u32) {
    while SharedWord::new(word).load_state() != wanted {
        thread::yield_now();
    }
}

/// ARMED, HELLO, ACCEPTED: each step promises what was set up before it.
#[test]
fn each_step_of_the_rendezvous_shows_what_was_set_up_before_it() {
    check(None, || {
        let world = World::new(1, 0);
        let prepared = Arc::new([0, 0, 0].map(|value| Prepared(UnsafeCell::new(value))));
        let connector = {
            let (world, prepared) = (world.clone(), prepared.clone());
            thread::spawn(move || {
                let (listener, mine) = (&world.port(0).park.state, &world.port(1).park.state);
                await_state(listener, state::ARMED);
                assert_eq!(prepared[0].get(), 10);
                prepared[1].set(11);
                ordering::publish_state(mine, state::HELLO);
                await_state(listener, state::ACCEPTED);
                assert_eq!(prepared[2].get(), 12);
            })
        };
        let (mine, connectors) = (&world.port(0).park.state, &world.port(1).park.state);
        prepared[0].set(10);
        ordering::publish_state(mine, state::ARMED);
        await_state(connectors, state::HELLO);
        assert_eq!(prepared[1].get(), 11);
        prepared[2].set(12);
        ordering::publish_state(mine, state::ACCEPTED);
        connector.join().unwrap();
    });
}

/// An inspector finds counts that the writer really had, while it carries into the high word; they never go back.
#[test]
fn a_counter_never_goes_back_while_it_carries() {
    check(None, || {
        const START: u64 = u32::MAX as u64 - 1;
        let words = Arc::new(CounterWords::new(START));
        let half = {
            let words = words.clone();
            thread::spawn(move || {
                let mut count = Count::resume(&words);
                for _ in 0..2 {
                    count.add(1, &words);
                }
            })
        };
        let mut last = START;
        for _ in 0..2 {
            if let Some(count) = words.sample() {
                assert!((last..=START + 2).contains(&count), "{count:#x} after {last:#x}");
                last = count;
            }
        }
        half.join().unwrap();
        assert_eq!(words.sample(), Some(START + 2));
    });
}

/// Two carries, by steps as large as the low word: a sample is one of three counts, or none.
#[test]
fn a_counter_is_read_whole_while_it_carries() {
    check(None, || {
        const START: u64 = 5;
        const STEP: u32 = u32::MAX;
        let words = Arc::new(CounterWords::new(START));
        let half = {
            let words = words.clone();
            thread::spawn(move || {
                let mut count = Count::resume(&words);
                count.add(STEP, &words);
                count.add(STEP, &words);
            })
        };
        if let Some(count) = words.sample() {
            assert!(
                [0, 1, 2].map(|steps| START + steps * u64::from(STEP)).contains(&count),
                "{count:#x} was never the count"
            );
        }
        half.join().unwrap();
    });
}
