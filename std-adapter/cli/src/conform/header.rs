//! What a header of the peer's has to say: H, A, P, C2.

use smstream::memory::page_size;
use smstream::smstream_core::geometry::Config;
use smstream::smstream_core::layout::{BYTE_ORDER, HEADER_LEN, MAGIC, VERSION};

use super::segment::{Segment, at};
use super::trouble::{Trouble, need};
use super::words::{CURSOR, LAST, diff};

/// The bits of `features` that the layout has.
const KNOWN: u32 = 0xf << 16;

/// Checks the header of a segment of `party`, alone, in the layout's order. Its lane: where it begins and its capacity.
pub fn check(segment: &Segment, party: usize) -> Result<(usize, u32), Trouble> {
    let word = |name| segment.load(at(name));
    need(segment.len() >= HEADER_LEN as usize, &["A1"], || format!("its memory has {} bytes only", segment.len()))?;
    need(word("version") != 0, &["H3", "A3"], || {
        "its segment has version 0, although it says that it is ready".into()
    })?;
    let magic = [segment.load(0).to_ne_bytes(), segment.load(4).to_ne_bytes()].concat();
    need(magic == MAGIC, &["A4"], || format!("its magic is {magic:02x?}"))?;
    let order = word("byte_order");
    need(order == BYTE_ORDER, &["A5", "A16"], || format!("its byte order is {order:#010x}"))?;
    need(word("version") == VERSION, &["A6"], || format!("its version is {}", word("version")))?;
    let features = word("features");
    need(features & 0xffff == 0, &["A7"], || {
        format!("its features are {features:#010x}: bits 0 to 15 are for what this side must know")
    })?;
    need(features & !KNOWN == 0, &["H4"], || {
        format!("its features are {features:#010x}, with bits that the layout does not have")
    })?;
    need(word("party") == party as u32, &["A8"], || format!("it says that it is party {}", word("party")))?;
    let align = word("align");
    let is_align = align.is_power_of_two() && (128..=1 << 26).contains(&align);
    need(is_align, &["A9"], || format!("its align is {align}"))?;
    need(align.is_multiple_of(page_size() as u32), &["P4"], || {
        format!("its align is {align}, no multiple of the page size")
    })?;
    let offset = word("lane_offset");
    let good = offset.is_multiple_of(128) && offset >= HEADER_LEN && offset <= HEADER_LEN.next_multiple_of(align);
    need(good, &["A10"], || format!("its lane_offset is {offset}"))?;
    for (name, clause) in [("capacity", "A11"), ("peer_capacity", "A12")] {
        let bytes = word(name);
        let good = bytes == 0 || bytes.is_power_of_two() && bytes <= 1 << 29;
        need(good, &[clause], || format!("its {name} is {bytes}"))?;
    }
    need(word("start") <= CURSOR, &["A13"], || format!("its start is {:#010x}", word("start")))?;
    let capacity = word("capacity");
    let end = u64::from(offset) + u64::from(capacity);
    need(segment.len() as u64 >= end, &["A1", "P2"], || {
        format!("its segment has {} bytes, and its lane ends at {end}", segment.len())
    })?;
    reserved(segment)?;
    counters(segment, features)?;
    Ok((offset as usize, capacity))
}

/// What both parties say must be the same: A8 to A14.
pub fn agrees(segment: &Segment, config: &Config, party: usize) -> Result<(), Trouble> {
    let word = |name| segment.load(at(name));
    need(word("align") == config.align, &["A9"], || {
        format!("its align is {}, and {} was agreed", word("align"), config.align)
    })?;
    need(word("start") == config.start, &["A13"], || {
        format!("its start is {:#x}, and {:#x} was agreed", word("start"), config.start)
    })?;
    for (name, wanted, clause) in
        [("capacity", config.capacities[party], "A11"), ("peer_capacity", config.capacities[1 - party], "A12")]
    {
        need(word(name) == wanted, &[clause], || format!("its {name} is {}, and {wanted} was agreed", word(name)))?;
    }
    Ok(())
}

/// The cursors of a party that has sent and taken nothing yet: C2, A14.
pub fn is_fresh(segment: &Segment, config: &Config, party: usize) -> Result<(), Trouble> {
    for (name, capacity) in [("sent", config.capacities[party]), ("received", config.capacities[1 - party])] {
        let found = segment.load(at(name));
        let closed = if capacity == 0 { LAST } else { 0 };
        // A party may have sent bytes as soon as it is accepted, and may have been stopped.
        let early = name == "sent" && capacity != 0 && diff(found, config.start) <= capacity;
        need(early || found == config.start | closed, &["C2", "A14"], || {
            format!("its `{name}` begins at {found:#010x} and not at {:#010x}", config.start | closed)
        })?;
    }
    Ok(())
}

/// H2.
fn reserved(segment: &Segment) -> Result<(), Trouble> {
    let holes = [(0x40, 0x80), (0x84, 0x100), (0x104, 0x180), (0x19c, 0x200), (0x230, 0x280), (0x2b0, 0x300)];
    let found = holes.iter().find_map(|&(from, to)| segment.first_that_is_not_0(from, to));
    need(found.is_none(), &["H2"], || {
        let offset = found.unwrap_or_default();
        format!("the reserved word at {offset:#05x} is {:#010x}", segment.load(offset))
    })
}

/// H5: without bit 16 they are 0.
fn counters(segment: &Segment, features: u32) -> Result<(), Trouble> {
    let found = segment.first_that_is_not_0(0x200, 0x300).filter(|_| features & (1 << 16) == 0);
    need(found.is_none(), &["H5"], || {
        format!(
            "it keeps no counters (bit 16 of features), and the word at {:#05x} is not 0",
            found.unwrap_or_default()
        )
    })
}

/// H5 after a transfer: what the counters say is what the cursors have done.
pub fn counted(segment: &Segment, config: &Config, words: [u32; 2]) -> Result<(), Trouble> {
    if segment.load(at("features")) & (1 << 16) == 0 {
        return Ok(());
    }
    for (name, cursor) in [("writes.bytes", words[0]), ("reads.bytes", words[1])] {
        let [high, low, again] = [0, 4, 8].map(|more| segment.load(at(name) + more));
        let moved = diff(cursor, config.start);
        need(high == 0 && again == 0 && low == moved, &["H5"], || {
            format!("its counter {name} is {high:#x} {low:#x} {again:#x}, and its cursor has moved by {moved}")
        })?;
    }
    Ok(())
}
