//! The ring of items against a queue of the standard library: any calls, from any cursors on.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::rc::Rc;

use proptest::prelude::*;
use smstream_core::spsc::{Compact, Ring, SliceRing, Spaced};
use smstream_tests::ring::{Item, Op, run, run_on};

fn an_op() -> impl Strategy<Value = Op> {
    let len = || 0..12usize;
    prop_oneof![
        4 => Just(Op::Push),
        2 => len().prop_map(Op::PushIter),
        2 => len().prop_map(Op::PushSlice),
        2 => (len(), len(), any::<bool>()).prop_map(|(ask, fill, commit)| Op::WriteChunk(ask, fill, commit)),
        4 => Just(Op::Pop),
        1 => len().prop_map(Op::PopIter),
        1 => Just(Op::PopAll),
        2 => len().prop_map(Op::PopUninit),
        1 => Just(Op::Peek),
        2 => (len(), len()).prop_map(|(ask, take)| Op::ReadChunk(ask, take)),
        1 => len().prop_map(Op::Skip),
        1 => Just(Op::Look),
    ]
}

fn a_start() -> impl Strategy<Value = u32> {
    prop_oneof![4 => (0u32..40).prop_map(|back| u32::MAX - back), 1 => Just(0), 1 => any::<u32>()]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(an_op(), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ring_does_what_a_queue_does(start in a_start(), size in 0..4u8, ops in ops()) {
        match size {
            0 => run_on::<1, Spaced>(start, &ops),
            1 => run_on::<2, Compact>(start, &ops),
            2 => run_on::<8, Spaced>(start, &ops),
            _ => run_on::<16, Compact>(start, &ops),
        }
    }

    #[test]
    fn a_ring_in_borrowed_memory_does_what_a_queue_does(size in 0..5u32, ops in ops()) {
        let mut memory: Vec<MaybeUninit<Item>> = (0..1 << size).map(|_| MaybeUninit::uninit()).collect();
        let ring = SliceRing::<Item, Compact>::new(&mut memory).unwrap();
        let made = run(ring.try_split().unwrap(), &ops);
        drop(ring);
        assert!(made.iter().all(|item| Rc::strong_count(item) == 1));
    }

    #[test]
    fn slices_of_numbers_do_what_a_queue_does(
        start in a_start(),
        ops in proptest::collection::vec((any::<bool>(), 0..20usize), 0..80),
    ) {
        let mut ring = Ring::<u16, 8>::starting_at(start);
        let (mut producer, mut consumer) = ring.split();
        let (mut queue, mut next) = (VecDeque::new(), 0u16);
        for (push, len) in ops {
            if push {
                let items: Vec<u16> = (0..len as u16).map(|i| next + i).collect();
                let pushed = producer.push_slice(&items);
                assert_eq!(pushed, len.min(8 - queue.len()));
                queue.extend(&items[..pushed]);
                next += pushed as u16;
            } else {
                let mut out = vec![0xffff; len];
                let popped = consumer.pop_slice(&mut out);
                assert_eq!(popped, len.min(queue.len()));
                assert_eq!(out[..popped], queue.drain(..popped).collect::<Vec<_>>());
                assert!(out[popped..].iter().all(|item| *item == 0xffff));
            }
        }
    }
}
