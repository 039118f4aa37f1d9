//! Whether two segments are fit to be attached, by the rules A1–A14 of `docs/LAYOUT.md`. It shares no code with the core.

use smstream_core::layout::HEADER_LEN;

use crate::kit::image::offset;

/// The words of a header.
pub const WORDS: usize = HEADER_LEN as usize / 4;

/// A header, word by word, and the length of the memory that it is in.
pub type Segment = ([u32; WORDS], usize);

fn field((header, _): &Segment, name: &str) -> u32 {
    header[offset(name) / 4]
}

/// Whether it is a segment.
#[must_use]
pub fn is_segment(segment: &Segment) -> bool {
    let field = |name: &str| field(segment, name);
    let capacity = |n: u32| n == 0 || (n.count_ones() == 1 && n <= 0x2000_0000);
    let magic: Vec<u8> = segment.0[..2].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let readable = magic == b"\x89SMS\r\n\x1a\n" && field("byte_order") == 0x0102_0304 && field("version") == 1;
    let align = field("align").count_ones() == 1 && (128..=0x0400_0000).contains(&field("align"));
    if !readable || !align || field("features") & 0xffff != 0 || field("party") > 1 {
        return false;
    }
    let (lane, latest) = (field("lane_offset"), 768u32.div_ceil(field("align")) * field("align"));
    let lane_good = lane % 128 == 0 && (768..=latest).contains(&lane);
    let within = u64::from(lane) + u64::from(field("capacity")) <= segment.1 as u64;
    let capacities = capacity(field("capacity")) && capacity(field("peer_capacity"));
    lane_good && within && capacities && field("start") < 0x8000_0000
}

/// Whether two segments are the two of one channel, and what they say was sent and received is possible.
#[must_use]
pub fn fit_together(mine: &Segment, peer: &Segment) -> bool {
    let same = |one: &str, other: &str| field(mine, one) == field(peer, other);
    is_segment(mine)
        && is_segment(peer)
        && field(mine, "party") != field(peer, "party")
        && same("align", "align")
        && same("start", "start")
        && same("capacity", "peer_capacity")
        && same("peer_capacity", "capacity")
        && is_possible(mine, peer)
        && is_possible(peer, mine)
}

/// Whether one may have sent so much after what the other has received. A lane without room is closed initially.
fn is_possible(sender: &Segment, receiver: &Segment) -> bool {
    let (sent, received) = (field(sender, "sent"), field(receiver, "received"));
    // How far one cursor is past the other, in numbers that do not wrap.
    let past = (u64::from(sent & 0x7fff_ffff) + 0x8000_0000 - u64::from(received & 0x7fff_ffff)) % 0x8000_0000;
    let capacity = field(sender, "capacity");
    past <= capacity.into() && (capacity != 0 || sent >= 0x8000_0000)
}
