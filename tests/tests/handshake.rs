//! A hostile party of a `unix:` rendezvous at random, against what the layout says must come of it.

use proptest::prelude::*;
use smstream_tests::handshake::{
    End, Gift, Manner, Packet, attack_connector, attack_listener, attack_parent, attack_sleeping_connector, channel,
    of_connector, of_listener,
};
use smstream_tests::watchdog::Watchdog;

/// A word's value: a bit, a size, anything.
fn a_value() -> impl Strategy<Value = u32> {
    prop_oneof![2 => (0..32u32).prop_map(|bit| 1 << bit), 2 => 0..5u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn a_gift() -> impl Strategy<Value = Gift> {
    let changes = proptest::collection::vec((0..14u8, a_value()), 0..2);
    let cursors = (prop_oneof![Just(32u8), Just(64)], a_value()).prop_map(|change| Gift::Segment(vec![change]));
    prop_oneof![
        1 => Just(Gift::Nothing),
        6 => Just(Gift::Segment(vec![])),
        3 => changes.prop_map(Gift::Segment),
        1 => cursors,
        2 => any::<u8>().prop_map(Gift::Lie),
    ]
}

fn a_packet(kind: impl Strategy<Value = u8>) -> impl Strategy<Value = Packet> {
    let words = prop_oneof![6 => Just(vec![]), 2 => proptest::collection::vec((0..16u8, a_value()), 1..3)];
    let len = prop_oneof![12 => Just(None), 1 => any::<u8>().prop_map(Some)];
    (kind, words, len, a_gift()).prop_map(|(kind, words, len, gift)| Packet { kind, words, len, gift })
}

/// Mostly in the order in which an honest party would send them.
fn packets(honest: [u8; 2]) -> impl Strategy<Value = Vec<Packet>> {
    let any_kind = || prop_oneof![0..6u8];
    let first = a_packet(prop_oneof![3 => Just(honest[0]), 2 => Just(0), 1 => any_kind()]);
    let second = a_packet(prop_oneof![4 => Just(honest[1]), 1 => any_kind()]);
    (first, second, proptest::collection::vec(a_packet(any_kind()), 0..2)).prop_map(|(first, second, rest)| {
        let mut packets = vec![first, second];
        packets.extend(rest);
        packets
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_listener_answers_as_the_layout_says(packets in packets([1, 3])) {
        let _watchdog = Watchdog::new();
        attack_listener(Manner::Stays, &packets);
        attack_listener(Manner::Leaves, &packets);
        attack_parent(Manner::Stays, &packets);
        attack_parent(Manner::Leaves, &packets);
    }

    #[test]
    fn a_connector_ends_as_the_layout_says(proposes in any::<bool>(), packets in packets([2, 4])) {
        let _watchdog = Watchdog::new();
        attack_connector(proposes, Manner::Stays, &packets);
        attack_connector(proposes, Manner::Leaves, &packets);
        attack_sleeping_connector(proposes, packets.len() % 2 == 0, &packets);
    }
}

fn honest(kind: u8) -> Packet {
    Packet { kind, words: vec![], len: None, gift: Gift::Segment(vec![]) }
}

/// The honest ways lead to a stream, in the model and in truth.
#[test]
fn honest_packets_make_a_stream() {
    let channel = channel();
    let end_of = |packets: &[Packet], party: usize, proposed: bool| {
        let bytes: Vec<_> = packets.iter().map(|packet| packet.bytes(&channel)).collect();
        let gifts: Vec<_> =
            packets.iter().map(|it| smstream_tests::handshake::Wrapped::new(&it.gift, &channel, party)).collect();
        let came: Vec<_> = bytes.iter().zip(&gifts).map(|(bytes, gift)| (&bytes[..], gift.header.as_ref())).collect();
        match party {
            1 => of_listener(&came, &channel).1,
            _ => of_connector(&came, proposed.then_some(&channel), 1 << 16).1,
        }
    };
    for packets in [&[honest(0)][..], &[honest(1), honest(3)]] {
        assert_eq!(end_of(packets, 1, false), End::Established);
        attack_listener(Manner::Stays, packets);
    }
    for (proposes, packets) in
        [(true, &[honest(4)][..]), (true, &[honest(2), honest(4)]), (false, &[honest(2), honest(4)])]
    {
        assert_eq!(end_of(packets, 0, proposes), End::Established);
        attack_connector(proposes, Manner::Stays, packets);
    }
    assert_eq!(end_of(&[honest(1)], 1, false), End::Waiting);
    assert_eq!(end_of(&[honest(4)], 0, false), End::Failed { refused: false });
}
