//! The identity of a segment: written once by its owner, read and checked once by the peer.

use core::fmt;

use crate::cursor::{CURSOR, is_capacity};
use crate::layout::{BYTE_ORDER, Features, HEADER_LEN, Identity, LINE, MAGIC, VERSION};
use crate::mutant::mutant;
use crate::ordering;
use crate::size::{halves, saturating, to_usize};

/// The largest alignment of segments in one block: 64 MiB.
pub const MAX_ALIGN: u32 = 1 << 26;

/// Whether segments can be aligned so.
pub(crate) const fn is_align(align: u32) -> bool {
    align.is_power_of_two() && align >= saturating(LINE) && align <= MAX_ALIGN
}

/// Where a lane begins at the latest in a segment that is aligned so, which is where we let it begin: `HEADER_LEN`, rounded
/// up. `align` is a power of two of at most [`MAX_ALIGN`].
pub(crate) const fn usual_lane_offset(align: u32) -> u32 {
    let mask = align.wrapping_sub(1);
    HEADER_LEN.wrapping_add(mask) & !mask
}

/// What a header says of its segment. Values that were loaded once and checked; the memory is not looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// What the owner does beyond the base protocol.
    pub features: Features,
    /// 0 for the listener, 1 for the connector.
    pub party: u32,
    /// The alignment of segments in one block, in bytes.
    pub align: u32,
    /// Where the lane begins, in bytes from the start of the segment.
    pub lane_offset: u32,
    /// The bytes of the owner's lane.
    pub capacity: u32,
    /// The bytes of the other lane.
    pub peer_capacity: u32,
    /// Where all cursors begin.
    pub start: u32,
    /// The process that made it; for display only.
    pub pid: u32,
    /// When it was made, in seconds since 1970; for display only.
    pub made: u64,
    /// Which channel it belongs to: both segments say the same number, if it was given one. For display only.
    pub channel: u64,
}

impl Description {
    /// The bytes of the segment, up to the end of its lane.
    pub const fn segment_len(&self) -> usize {
        segment_len(self.lane_offset, self.capacity)
    }

    /// Where the segment after this one begins in a block.
    pub const fn next_segment(&self) -> usize {
        let mask = to_usize(self.align).wrapping_sub(1);
        self.segment_len().wrapping_add(mask) & !mask
    }
}

const fn segment_len(lane_offset: u32, capacity: u32) -> usize {
    // At most 2^26 + 2^29 once checked, so this does not overflow even where usize has 32 bits.
    to_usize(lane_offset).wrapping_add(to_usize(capacity))
}

/// The part of a [`Description`] that decides how to use the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shape {
    /// What the owner does beyond the base protocol.
    pub features: Features,
    /// 0 for the listener, 1 for the connector.
    pub party: u32,
    /// The alignment of segments in one block, in bytes.
    pub align: u32,
    /// Where the lane begins, in bytes from the start of the segment.
    pub lane_offset: u32,
    /// The bytes of the owner's lane.
    pub capacity: u32,
    /// The bytes of the other lane.
    pub peer_capacity: u32,
    /// Where all cursors begin.
    pub start: u32,
}

impl Shape {
    /// Nothing known yet.
    pub(crate) const UNKNOWN: Shape = Shape {
        features: Features::empty(),
        party: 0,
        align: 0,
        lane_offset: 0,
        capacity: 0,
        peer_capacity: 0,
        start: 0,
    };
}

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The memory ends before the segment does.
    TooShort {
        /// Bytes that are needed.
        needed: u32,
        /// Bytes that are there; at least that many if it is 2³² - 1.
        found: u32,
    },
    /// The segment does not begin at a multiple of 128 bytes.
    Misaligned,
    /// The version is 0: its owner has not finished setting it up.
    NotReady,
    /// It does not begin with [`MAGIC`]: it is something else.
    Magic([u8; 8]),
    /// It was written on a machine of the other byte order, or is damaged. The word as found.
    ByteOrder(u32),
    /// Another version of the layout.
    Version(u32),
    /// Features that must be known and are not: the unknown bits.
    UnknownFeatures(u32),
    /// Not 0 or 1, or both segments say the same.
    Party(u32),
    /// Not a power of two from 128 to 64 MiB, or the segments differ.
    Align(u32),
    /// Not a multiple of 128, inside the header, or farther out than an alignment would put it.
    LaneOffset(u32),
    /// Not 0 or a power of two up to 2²⁹.
    Capacity(u32),
    /// The other lane's capacity is not what its owner says.
    PeerCapacity(u32),
    /// Bit 31 is set, or the segments differ.
    Start(u32),
    /// `sent` is not within the lane's capacity of what the other party has received, or FIN is missing on a lane
    /// without capacity. The word as found.
    Sent(u32),
}

/// Whose segment a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The segment that this party writes.
    Mine,
    /// The segment that the peer writes.
    Peer,
}

/// One thing that is wrong with a segment, or with a pair of them.
///
/// Functions that look for them return the first. Those whose names end in `_reporting` give each to a function of the
/// caller's, one at a time, because there is no place to keep them here: `Findings` keeps all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub whose: Whose,
    /// What.
    pub problem: Problem,
}

impl Problem {
    /// The name that peers in every language have for it: A of the layout.
    pub const fn name(self) -> &'static str {
        match self {
            Problem::TooShort { .. } => "TooShort",
            Problem::Misaligned => "Misaligned",
            Problem::NotReady => "NotReady",
            Problem::Magic(_) => "Magic",
            Problem::ByteOrder(_) => "ByteOrder",
            Problem::Version(_) => "Version",
            Problem::UnknownFeatures(_) => "UnknownFeatures",
            Problem::Party(_) => "Party",
            Problem::Align(_) => "Align",
            Problem::LaneOffset(_) => "LaneOffset",
            Problem::Capacity(_) => "Capacity",
            Problem::PeerCapacity(_) => "PeerCapacity",
            Problem::Start(_) => "Start",
            Problem::Sent(_) => "Sent",
        }
    }
}

#[cfg(not(loom))]
impl Problem {
    pub(crate) fn too_short(needed: usize, found: usize) -> Problem {
        Problem::TooShort { needed: saturating(needed), found: saturating(found) }
    }
}

/// Writes an identity. The version is stored last, so a reader that sees it sees the rest, and what was stored before the call.
///
/// No end may be attached to the segment. The caller's word that this is so is all there is; a peer that is attached
/// would find its copy unchanged and go on.
pub fn write(identity: &Identity, d: &Description) {
    if mutant!("version_stored_first") {
        ordering::publish_version(&identity.version, VERSION);
    }
    ordering::set_up(&identity.magic[0], MAGIC_WORDS[0]);
    ordering::set_up(&identity.magic[1], MAGIC_WORDS[1]);
    ordering::set_up(&identity.byte_order, BYTE_ORDER);
    ordering::set_up(&identity.features, d.features.bits());
    ordering::set_up(&identity.party, d.party);
    ordering::set_up(&identity.align, d.align);
    ordering::set_up(&identity.lane_offset, d.lane_offset);
    ordering::set_up(&identity.capacity, d.capacity);
    ordering::set_up(&identity.peer_capacity, d.peer_capacity);
    ordering::set_up(&identity.start, d.start);
    ordering::set_up(&identity.pid, d.pid);
    let (low, high) = halves(d.made);
    ordering::set_up(&identity.made_low, low);
    ordering::set_up(&identity.made_high, high);
    let (low, high) = halves(d.channel);
    ordering::set_up(&identity.channel_low, low);
    ordering::set_up(&identity.channel_high, high);
    ordering::publish_version(&identity.version, VERSION);
}

/// Loads each word of an identity once and checks it alone: all that is wrong goes to `report`, and nothing is returned
/// then. What it says of memory is not checked here.
pub fn read(identity: &Identity, report: &mut dyn FnMut(Problem)) -> Option<Description> {
    let mut shape = Shape::UNKNOWN;
    let mut good = true;
    for n in 0..CHECKS {
        if let Some(problem) = problem(identity, &mut shape, n) {
            report(problem);
            good = false;
            if n == 0 {
                break;
            }
        }
    }
    if !good {
        return None;
    }
    let load = ordering::peer_identity;
    let Shape { features, party, align, lane_offset, capacity, peer_capacity, start } = shape;
    Some(Description {
        features,
        party,
        align,
        lane_offset,
        capacity,
        peer_capacity,
        start,
        pid: load(&identity.pid),
        made: u64::from(load(&identity.made_high)) << 32 | u64::from(load(&identity.made_low)),
        channel: u64::from(load(&identity.channel_high)) << 32 | u64::from(load(&identity.channel_low)),
    })
}

/// How many checks of an identity there are.
pub(crate) const CHECKS: u32 = 7;

/// What check number `n` of an identity finds wrong. They go in order, one at a time, because attaching is to need little
/// stack. The first says whether the rest means anything, and loads `shape`; what is for display only is left out.
#[inline(never)]
pub(crate) fn problem(identity: &Identity, shape: &mut Shape, n: u32) -> Option<Problem> {
    if n != 0 {
        return shape.problem(n);
    }
    if mutant!("version_loaded_last") {
        shape.load(identity);
    }
    let problem = unreadable(identity);
    // What means nothing is not looked at.
    if problem.is_none() && !mutant!("version_loaded_last") {
        shape.load(identity);
    }
    problem
}

/// Why the rest of an identity means nothing, if it does not.
fn unreadable(identity: &Identity) -> Option<Problem> {
    let load = ordering::peer_identity;
    let version = ordering::peer_version(&identity.version);
    let [first, second] = &identity.magic;
    let magic = [load(first), load(second)];
    // While the version is 0 the owner may be storing the rest, and nothing orders what is seen of it.
    let begun = (magic[0] == 0 || magic[0] == MAGIC_WORDS[0]) && (magic[1] == 0 || magic[1] == MAGIC_WORDS[1]);
    if version == 0 && begun {
        return Some(Problem::NotReady);
    }
    if magic != MAGIC_WORDS {
        let ([a, b, c, d], [e, f, g, h]) = (magic[0].to_ne_bytes(), magic[1].to_ne_bytes());
        return Some(Problem::Magic([a, b, c, d, e, f, g, h]));
    }
    let byte_order = load(&identity.byte_order);
    if byte_order != BYTE_ORDER {
        return Some(Problem::ByteOrder(byte_order));
    }
    (version != VERSION).then_some(Problem::Version(version))
}

/// [`MAGIC`] as the two words of the header.
const MAGIC_WORDS: [u32; 2] = {
    let [a, b, c, d, e, f, g, h] = MAGIC;
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
};

impl Shape {
    /// Loads each word once.
    fn load(&mut self, identity: &Identity) {
        let load = ordering::peer_identity;
        self.features = Features::from_bits_retain(load(&identity.features));
        self.party = load(&identity.party);
        self.align = load(&identity.align);
        self.lane_offset = load(&identity.lane_offset);
        self.capacity = load(&identity.capacity);
        self.peer_capacity = load(&identity.peer_capacity);
        self.start = load(&identity.start);
    }

    /// What check number `n` of the values finds wrong.
    fn problem(&self, n: u32) -> Option<Problem> {
        let d = self;
        let (good, problem) = match n {
            1 => {
                let unknown = d.features.bits() & Features::MUST_KNOW & !Features::all().bits();
                (unknown == 0, Problem::UnknownFeatures(unknown))
            }
            2 => (d.party <= 1, Problem::Party(d.party)),
            3 if !is_align(d.align) => (false, Problem::Align(d.align)),
            3 => {
                let whole_lines = d.lane_offset.is_multiple_of(saturating(LINE));
                let range = HEADER_LEN..=usual_lane_offset(d.align);
                (whole_lines && range.contains(&d.lane_offset), Problem::LaneOffset(d.lane_offset))
            }
            4 => (is_capacity(d.capacity), Problem::Capacity(d.capacity)),
            5 => (is_capacity(d.peer_capacity), Problem::PeerCapacity(d.peer_capacity)),
            _ => (d.start & !CURSOR == 0, Problem::Start(d.start)),
        };
        if good { None } else { Some(problem) }
    }

    /// The bytes of the segment, up to the end of its lane.
    #[cfg(not(loom))]
    pub(crate) fn segment_len(&self) -> usize {
        segment_len(self.lane_offset, self.capacity)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Problem::TooShort { needed, found } => write!(f, "has {found} bytes and needs {needed}"),
            Problem::Misaligned => f.write_str("does not begin at a multiple of 128 bytes"),
            Problem::NotReady => f.write_str("is not set up yet (version 0)"),
            Problem::Magic(_) => f.write_str("does not begin as a segment does: it is something else"),
            Problem::ByteOrder(word) => write!(f, "has the other byte order, or is damaged (byte_order {word:#010x})"),
            Problem::Version(v) => write!(f, "has layout version {v}; this program knows {VERSION}"),
            Problem::UnknownFeatures(bits) => write!(f, "needs features this program does not know ({bits:#x})"),
            Problem::Party(p) => write!(f, "says it is party {p}, which does not fit"),
            Problem::Align(a) => write!(f, "has alignment {a}, which is no power of two from 128 to 64 MiB or differs"),
            Problem::LaneOffset(o) => write!(f, "has its lane at {o}, which cannot be"),
            Problem::Capacity(c) => write!(f, "has capacity {c}, which is not 0 or a power of two up to 2^29"),
            Problem::PeerCapacity(c) => write!(f, "says the other lane has capacity {c}, which is not so"),
            Problem::Start(s) => write!(f, "has cursors that start at {s:#x}, which cannot be or differs"),
            Problem::Sent(word) => {
                write!(f, "has sent {word:#x}, which is impossible after what the other party received")
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.whose {
            Whose::Mine => "own segment",
            Whose::Peer => "peer's segment",
        };
        write!(f, "{whose} {}", self.problem)
    }
}

impl core::error::Error for Finding {}
