//! Packets of a hostile party in a rendezvous over a socket: what comes of them is what the layout says.

use smstream_tests::handshake::{Gift, Packet, attack_connector, attack_listener};

use crate::bytes::Bytes;

/// The most packets that an input can ask for.
const MAX_PACKETS: usize = 5;

/// A hostile connector (the first byte is even) or listener. See [`attack_listener`] and [`attack_connector`].
pub fn packets(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let side = bytes.u8();
    let mut packets = Vec::new();
    while !bytes.is_empty() && packets.len() < MAX_PACKETS {
        packets.push(packet(&mut bytes));
    }
    match side & 3 {
        0 | 2 => attack_listener(&packets),
        side => attack_connector(side == 1, &packets),
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
