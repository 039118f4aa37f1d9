//! The rules of a header, one after the other, each with its verdict. They are those of `docs/LAYOUT.md`.
//!
//! What attaches to a segment asks [`smstream_core::identity`], which stops at the first thing that makes the rest
//! meaningless. Here all is said that can be said; the tests see to it that both agree whether a header is good.

use super::check::{Checks, Part, Verdict};
use super::words::{ByteOrder, HeaderCopy, LEN};
use smstream_core::cursor::{CURSOR, FIN, STOP, is_capacity};
use smstream_core::identity::MAX_ALIGN;
use smstream_core::layout::{BYTE_ORDER, FIELDS, Features, HEADER_LEN, LINE, VERSION, state};

/// Checks the identity of a segment that should be `party`'s. `false` if it is no segment at all, as far as one can see.
pub(crate) fn identity(header: &HeaderCopy, party: usize, checks: &mut Checks) -> bool {
    let part = Part::Segment(party);
    checks.holds(
        header.present() == LEN,
        (part, "header"),
        format!("{} of {LEN} bytes", header.present()),
        "all of the header is there",
        "the file ends inside the header: it was cut off, or never was a segment",
    );
    let plausible = header.order() != ByteOrder::Unknown;
    checks.holds(
        header.is_ours(),
        (part, "magic"),
        format!("\"{}\"", header.magic().escape_ascii()),
        "it is a segment of a stream",
        if plausible {
            "it should be \"\\x89SMS\\r\\n\\x1a\\n\": the start of the segment is damaged"
        } else {
            "it should be \"\\x89SMS\\r\\n\\x1a\\n\": this is something else, or all of its start is damaged"
        },
    );
    if !header.is_ours() && !plausible {
        return false;
    }
    byte_order(header, part, checks);
    version(header, part, checks);
    features(header, part, checks);
    let said = header.party();
    checks.holds(
        said as usize == party,
        (part, "party"),
        said.to_string(),
        if party == 0 { "the listener's segment" } else { "the connector's segment" },
        "the segment belongs to the other party, or the word is damaged",
    );
    geometry(header, part, checks);
    origin(header, part, checks);
    true
}

fn byte_order(header: &HeaderCopy, part: Part, checks: &mut Checks) {
    let found = format!("{:#010x}", header.byte_order());
    match header.order() {
        ByteOrder::Native => checks.push(Verdict::Ok, part, "byte_order", found, "this machine's"),
        ByteOrder::Swapped => checks.push(
            Verdict::Bad,
            part,
            "byte_order",
            found,
            "a machine of the other byte order made it: no process here can attach; its words are shown byte-swapped",
        ),
        ByteOrder::Unknown => {
            let meaning = format!("it should be {BYTE_ORDER:#010x}: the word is damaged");
            checks.push(Verdict::Bad, part, "byte_order", found, meaning);
        }
    }
}

fn version(header: &HeaderCopy, part: Part, checks: &mut Checks) {
    let found = header.version();
    let meaning = match found {
        VERSION => "the version this program knows".into(),
        0 => "not ready: its owner is just setting it up, or died over that".into(),
        _ => format!(
            "another version of the layout; this program knows {VERSION}: let both parties use the same version. \
             What follows is judged by the rules of version {VERSION}"
        ),
    };
    let verdict = if found == VERSION { Verdict::Ok } else { Verdict::Bad };
    checks.push(verdict, part, "version", found.to_string(), meaning);
}

fn features(header: &HeaderCopy, part: Part, checks: &mut Checks) {
    let bits = header.features();
    let unknown = bits & !Features::all().bits();
    let found = format!("{bits:#x}");
    let (verdict, meaning) = if unknown & Features::MUST_KNOW != 0 {
        (
            Verdict::Bad,
            format!("this program must know {:#x} and does not: use a newer one", unknown & Features::MUST_KNOW),
        )
    } else if unknown != 0 {
        (Verdict::Note, format!("{unknown:#x} is not known to this program, and may be ignored"))
    } else if bits & Features::COUNTERS.bits() == 0 {
        (Verdict::Note, "its owner keeps no counters: figures made from them are missing".into())
    } else {
        (Verdict::Ok, "all are known; counters are kept".into())
    };
    checks.push(verdict, part, "features", found, meaning);
}

/// Whether the alignment is one that can be.
pub(crate) fn is_align(align: u32) -> bool {
    align.is_power_of_two() && (LINE as u32..=MAX_ALIGN).contains(&align)
}

/// Whether the lane can begin there.
pub(crate) fn is_lane_offset(offset: u32, align: u32) -> bool {
    let farthest =
        if is_align(align) { HEADER_LEN.next_multiple_of(align) } else { HEADER_LEN.next_multiple_of(MAX_ALIGN) };
    offset.is_multiple_of(LINE as u32) && (HEADER_LEN..=farthest).contains(&offset)
}

fn geometry(header: &HeaderCopy, part: Part, checks: &mut Checks) {
    checks.holds(
        is_align(header.align()),
        (part, "align"),
        header.align().to_string(),
        "segments of one file begin at multiples of it",
        "it must be a power of two from 128 to 64 MiB: the word is damaged",
    );
    checks.holds(
        is_lane_offset(header.lane_offset(), header.align()),
        (part, "lane_offset"),
        header.lane_offset().to_string(),
        "the lane begins behind the header",
        "the lane cannot begin there: the word is damaged",
    );
    let capacities = [("capacity", header.capacity()), ("peer_capacity", header.peer_capacity())];
    for (rule, capacity) in capacities {
        checks.holds(
            is_capacity(capacity),
            (part, rule),
            format!("{capacity} bytes"),
            if rule == "capacity" { "of the lane it sends" } else { "of the lane it receives" },
            "it must be 0 or a power of two up to 2^29: the word is damaged",
        );
    }
    checks.holds(
        header.start() & !CURSOR == 0,
        (part, "start"),
        header.start().to_string(),
        "where the cursors began",
        "cursors have 31 bits: the word is damaged",
    );
}

/// Which process made it, and bytes that no party should have written.
fn origin(header: &HeaderCopy, part: Part, checks: &mut Checks) {
    let found = format!("process {}, {} s after 1970, channel {:#x}", header.pid(), header.made(), header.channel());
    checks.push(Verdict::Note, part, "origin", found, "what its owner says of itself; nothing depends on it");
    let stray = reserved().filter(|&at| header.word(at) != 0).collect::<Vec<_>>();
    match stray.first() {
        None => checks.push(Verdict::Ok, part, "reserved", "all 0", "nothing stands where nothing should"),
        Some(at) => checks.push(
            Verdict::Note,
            part,
            "reserved",
            format!("{} words, the first at {at:#x}", stray.len()),
            "a newer owner wrote there, or something stray; no party of this version looks at them",
        ),
    }
}

/// Whether all bytes are 0 that have no name.
pub(crate) fn reserved_are_zero(header: &HeaderCopy) -> bool {
    reserved().all(|at| header.word(at) == 0)
}

/// The offsets of the words that have no name.
fn reserved() -> impl Iterator<Item = usize> {
    let named = |at: usize| FIELDS.iter().any(|field| (field.offset..field.offset + field.len).contains(&at));
    (0..LEN).step_by(4).filter(move |&at| !named(at))
}

/// Whether one can make sense of what the segment says of itself.
pub(crate) fn is_usable(header: &HeaderCopy, party: usize) -> bool {
    let mut checks = Checks::default();
    identity(header, party, &mut checks) && !checks.any_bad()
}

/// Where the second segment of a region begins, by what the first says: nothing if that cannot be.
pub(crate) fn second_segment(first: &HeaderCopy) -> Option<u64> {
    let (align, end) = (first.align(), u64::from(first.lane_offset()) + u64::from(first.capacity()));
    (is_align(align) && is_lane_offset(first.lane_offset(), align)).then(|| end.next_multiple_of(u64::from(align)))
}

/// Checks a connector's segment that no connector has set up yet: whether there is room for it. `false`: it is not such a one.
pub(crate) fn awaited(first: &HeaderCopy, second: &HeaderCopy, offset: u64, found: u64, checks: &mut Checks) -> bool {
    if !second.is_blank() || !matches!(first.state(), state::NONE | state::ARMED) {
        return false;
    }
    let lane = (LEN as u64).next_multiple_of(u64::from(first.align()).max(1));
    let needed = offset + lane + u64::from(first.peer_capacity());
    checks.holds(
        needed <= found,
        (Part::Segment(1), "memory"),
        format!("all 0; {found} bytes, needed are {needed}"),
        "the connector that comes sets it up, and its lane will lie within the file",
        "the file ends before the connector's lane would: no connector can use it",
    );
    true
}

/// Checks what both segments say together.
pub(crate) fn agreement(headers: &[HeaderCopy; 2], checks: &mut Checks) {
    let [first, second] = headers;
    let part = Part::Channel;
    let both = |a: u32, b: u32| if a == b { a.to_string() } else { format!("{a} and {b}") };
    for (rule, a, b) in [
        ("align", first.align(), second.align()),
        ("start", first.start(), second.start()),
        ("capacity 0", first.capacity(), second.peer_capacity()),
        ("capacity 1", second.capacity(), first.peer_capacity()),
    ] {
        checks.holds(
            a == b,
            (part, rule),
            both(a, b),
            "both segments say the same",
            "the segments differ: one of them is damaged, or they do not belong together",
        );
    }
    if first.channel() != second.channel() {
        let found = format!("{:#x} and {:#x}", first.channel(), second.channel());
        let meaning = "the numbers of the channel differ: perhaps the segments do not belong together";
        checks.push(Verdict::Note, part, "channel", found, meaning);
    }
}

/// Checks what a lane without capacity must say: it is closed initially.
pub(crate) fn closed_lane(headers: &[HeaderCopy; 2], sender: usize, checks: &mut Checks) {
    let (sent, received) = (headers[sender].sent(), headers[1 - sender].received());
    if headers[sender].capacity() == 0 {
        checks.holds(
            sent & FIN != 0 && received & STOP != 0,
            (Part::Lane(sender), "one-way"),
            format!("sent {sent:#010x}, received {received:#010x}"),
            "a lane without capacity is closed initially",
            "a lane without capacity must have FIN and STOP: a word is damaged",
        );
    }
}

/// Checks what the halves of a lane say of their fences.
pub(crate) fn fences(headers: &[HeaderCopy; 2], sender: usize, checks: &mut Checks) {
    let words =
        [("sent_fence", headers[sender].sent_fence()), ("received_fence", headers[1 - sender].received_fence())];
    for (rule, word) in words {
        checks.holds(
            word <= 1,
            (Part::Lane(sender), rule),
            word.to_string(),
            if word == 0 { "its peer issues a barrier when it goes to sleep" } else { "it has a full fence each time" },
            "it must be 0 or 1: the word is damaged",
        );
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
