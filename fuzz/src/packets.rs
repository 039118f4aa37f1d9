//! Packets of a hostile party in a rendezvous over a socket: what comes of them is what the layout says.

use smstream_tests::handshake::{
    Gift, Manner, Packet, attack_connector, attack_listener, attack_parent, attack_sleeping_connector,
};

use crate::bytes::Bytes;

/// The most packets that an input can ask for.
const MAX_PACKETS: usize = 5;

/// A hostile connector, child or listener, as the first byte says. See [`attack_listener`], [`attack_parent`],
/// [`attack_connector`] and [`attack_sleeping_connector`].
pub fn packets(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let side = bytes.u8();
    let mut packets = Vec::new();
    while !bytes.is_empty() && packets.len() < MAX_PACKETS {
        packets.push(packet(&mut bytes));
    }
    let (proposes, manner) = (side & 3 == 1, if side & 0x10 == 0 { Manner::Stays } else { Manner::Leaves });
    match (side & 1 == 0, side & 0x0c == 0x0c) {
        (true, false) => attack_listener(manner, &packets),
        (true, true) => attack_parent(manner, &packets),
        (false, false) => attack_connector(proposes, manner, &packets),
        (false, true) => attack_sleeping_connector(proposes, side & 0x10 != 0, &packets),
    }
}

fn packet(bytes: &mut Bytes<'_>) -> Packet {
    let (kind, shape) = (bytes.u8(), bytes.u8());
    let words = (0..shape & 3).map(|_| (bytes.u8(), bytes.word())).collect();
    let len = (shape & 0x1c == 0x1c).then(|| bytes.u8());
    let gift = match shape >> 5 {
        0 => Gift::Nothing,
        1 => Gift::Lie(bytes.u8()),
        2..=4 => Gift::Segment(vec![]),
        changes => Gift::Segment((4..changes).map(|_| (bytes.u8(), bytes.word())).collect()),
    };
    Packet { kind, words, len, gift }
}
