//! The ring of items against a queue of the standard library: any calls, from any cursors on.

use proptest::prelude::*;
use smstream_core::spsc::{Compact, Spaced};
use smstream_tests::compact::{self, Meanwhile};
use smstream_tests::ring::{Op, Plain, run_in_slice, run_on, run_plain};

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
        2 => (len(), len()).prop_map(|(ask, by_one)| Op::WritePlaces(ask, by_one)),
        1 => len().prop_map(Op::ReadAll),
        1 => len().prop_map(Op::Skip),
        1 => Just(Op::Look),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    let len = || 0..20usize;
    prop_oneof![len().prop_map(Plain::Push), len().prop_map(Plain::Text), len().prop_map(Plain::Pop)]
}

fn compact_op() -> impl Strategy<Value = compact::Op> {
    let len = || 0..12usize;
    let meanwhile = || {
        let one = prop_oneof![
            5 => len().prop_map(Meanwhile::Move),
            1 => Just(Meanwhile::Last),
            1 => Just(Meanwhile::Nothing),
        ];
        proptest::collection::vec(one, 0..4)
    };
    prop_oneof![
        6 => len().prop_map(compact::Op::Write),
        6 => len().prop_map(compact::Op::Read),
        4 => (len(), meanwhile()).prop_map(|(want, meanwhile)| compact::Op::WaitRoom(want, meanwhile)),
        4 => (len(), meanwhile()).prop_map(|(want, meanwhile)| compact::Op::WaitBytes(want, meanwhile)),
        1 => Just(compact::Op::Finish),
        1 => Just(compact::Op::Stop),
        2 => Just(compact::Op::Split),
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
    fn a_ring_in_borrowed_memory_does_what_a_queue_does(places in 0..=17usize, twice in any::<bool>(), ops in ops()) {
        run_in_slice::<Compact>(places, twice, &ops);
    }

    #[test]
    fn slices_and_texts_do_what_a_queue_does(start in a_start(), ops in proptest::collection::vec(plain(), 0..80)) {
        run_plain::<8, Spaced>(start, &ops);
    }

    #[test]
    fn a_compact_ring_of_bytes_does_what_a_queue_does(
        start in a_start(), size in 0..4u8, ops in proptest::collection::vec(compact_op(), 0..80),
    ) {
        match size {
            0 => compact::run::<1>(start, &ops),
            1 => compact::run::<2>(start, &ops),
            2 => compact::run::<8>(start, &ops),
            _ => compact::run_awake::<16>(&ops),
        }
    }
}
