//! Properties of the operations: at random, against the oracle.

use proptest::prelude::*;
use smstream_core::cursor::CURSOR;
use smstream_tests::oracle::{self, Fill, Half, Op, Outcome, Patience, Setup};

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
        4 => (party(), a_len(), any::<bool>()).prop_map(|(party, len, by_end)| Op::ReadUninit { party, len, by_end }),
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
            .prop_map(|(party, want, patience, by_end, exclusive)| Op::WaitRoom { party, want, patience, by_end, exclusive }),
        3 => (party(), a_len(), patience(), any::<bool>(), any::<bool>())
            .prop_map(|(party, want, patience, by_end, exclusive)| Op::WaitBytes { party, want, patience, by_end, exclusive }),
        4 => (party(), half(), a_len(), any::<bool>(), any::<bool>())
            .prop_map(|(party, half, want, in_steps, withdraw)| Op::Announce { party, half, want, in_steps, withdraw }),
        2 => (party(), a_len()).prop_map(|(party, len)| Op::Text { party, len }),
        2 => party().prop_map(|party| Op::Reattach { party }),
        8 => (party(), half(), a_len(), any::<bool>(), any::<u8>())
            .prop_map(|(party, half, ahead, exclusive, method)| Op::Asleep { party, half, ahead, exclusive, method }),
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
            Op::ReadUninit { party: 1, len: 2, by_end: false },
            Op::ReadVectored { party: 1, lens: [0, 2, 2] },
        ],
    );
}
