//! From bytes to an end: how long a segment is, how to set one up, how to attach to two.

use crate::cursor::{self, FIN, STOP, is_capacity};
use crate::identity::{self, Description, Findings, MAX_ALIGN, Problem, Whose};
use crate::lane::{Consumer, Producer};
use crate::layout::{Features, HEADER_LEN, Header, LINE, Port, VERSION};
use crate::ordering;
use crate::park::Park;
use crate::stream::End;
use crate::sync::AtomicU32;

/// What a channel is to look like: the same for both of its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The bytes of each party's lane: 0 (that party only reads) or a power of two of at most 2²⁹.
    pub capacities: [u32; 2],
    /// The alignment of segments in one block: a page where they are mapped apart, [`LINE`] in plain memory.
    pub align: u32,
    /// Where all cursors begin, below 2³¹. Any value will do; tests take one near the end, so that it wraps.
    pub start: u32,
    /// What this party does beyond the base protocol.
    pub features: Features,
    /// The process that makes the segment; for display only.
    pub pid: u32,
    /// Seconds since 1970; for display only.
    pub made: u64,
    /// A number for the channel, the same in both segments, so that an inspector finds what belongs together; 0: none.
    /// For display only.
    pub channel: u64,
}

impl Config {
    /// A channel with these capacities in plain memory, its cursors at 0.
    pub const fn new(capacities: [u32; 2]) -> Self {
        Config { capacities, align: LINE as u32, start: 0, features: Features::COUNTERS, pid: 0, made: 0, channel: 0 }
    }

    /// Whether such a channel can be: what is wrong with it otherwise.
    ///
    /// # Errors
    /// The first [`Problem`] found.
    pub const fn check(&self) -> Result<(), Problem> {
        if !is_capacity(self.capacities[0]) {
            return Err(Problem::Capacity(self.capacities[0]));
        }
        if !is_capacity(self.capacities[1]) {
            return Err(Problem::Capacity(self.capacities[1]));
        }
        if !self.align.is_power_of_two() || self.align < LINE as u32 || self.align > MAX_ALIGN {
            return Err(Problem::Align(self.align));
        }
        if self.start & !cursor::CURSOR != 0 {
            return Err(Problem::Start(self.start));
        }
        Ok(())
    }

    /// What the header of `party`'s segment is to say. `self` has passed [`check`](Config::check); `party` is 0 or 1.
    pub const fn describe(&self, party: usize) -> Description {
        Description {
            features: self.features,
            party: party as u32,
            align: self.align,
            lane_offset: HEADER_LEN.next_multiple_of(self.align),
            capacity: self.capacities[party],
            peer_capacity: self.capacities[1 - party],
            start: self.start,
            pid: self.pid,
            made: self.made,
            channel: self.channel,
        }
    }

    /// Where each segment begins in one block, and the length of the block. `self` has passed [`check`](Config::check).
    pub const fn block(&self) -> ([usize; 2], usize) {
        let second = self.describe(0).next_segment();
        ([0, second], second + self.describe(1).segment_len())
    }
}

/// Casts a pointer to the start of a segment.
///
/// # Safety
/// `len` bytes at `segment` are valid for reads, for `'m`, and the first [`HEADER_LEN`] of them are accessed only through
/// atomics in this program while the reference lives.
unsafe fn header<'m>(segment: *const u8, len: usize, whose: Whose, findings: &mut Findings) -> Option<&'m Header> {
    if len < HEADER_LEN as usize {
        findings.push(whose, Problem::too_short(HEADER_LEN as usize, len));
        return None;
    }
    if !segment.addr().is_multiple_of(LINE) {
        findings.push(whose, Problem::Misaligned);
        return None;
    }
    // SAFETY: long enough and aligned (just checked), valid by the caller's promise. A header is nothing but atomics, for
    // which every bit pattern is a value, and other processes may change them under a shared reference.
    Some(unsafe { &*segment.cast::<Header>() })
}

/// Sets up a segment for `party` (0 or 1): all of its header. The lane is left as it is.
///
/// # Errors
/// What is wrong with the memory or the configuration; nothing was written then.
///
/// # Safety
/// `len` bytes at `segment` are valid for reads and writes, and during the call no one else in this program accesses
/// the first [`HEADER_LEN`] of them other than by atomics. No party is attached to the segment.
pub unsafe fn init(segment: *mut u8, len: usize, config: &Config, party: usize) -> Result<(), Findings> {
    let mut findings = Findings::default();
    if let Err(problem) = config.check() {
        findings.push(Whose::Mine, problem);
        return Err(findings);
    }
    if party > 1 {
        findings.push(Whose::Mine, Problem::Party(u32::try_from(party).unwrap_or(u32::MAX)));
        return Err(findings);
    }
    let description = config.describe(party);
    if len < description.segment_len() {
        findings.push(Whose::Mine, Problem::too_short(description.segment_len(), len));
    }
    // SAFETY: the caller's promise.
    let header = unsafe { header(segment, len, Whose::Mine, &mut findings) };
    let Some(header) = header.filter(|_| findings.as_slice().is_empty()) else {
        return Err(findings);
    };
    ordering::set_up(&header.identity.version, 0);
    // SAFETY: a header is an array of words (`layout` pins its size), and atomics have the layout of their integers.
    let words =
        unsafe { core::slice::from_raw_parts((&raw const *header).cast::<AtomicU32>(), HEADER_LEN as usize / 4) };
    for word in words {
        ordering::set_up(word, 0);
    }
    // A lane without capacity is closed from birth: its reader is at the end of the stream, its writer has finished.
    let closed = |capacity, last| if capacity == 0 { config.start | last } else { config.start };
    ordering::set_up(&header.port.sent.word, closed(description.capacity, FIN));
    ordering::set_up(&header.port.received.word, closed(description.peer_capacity, STOP));
    identity::write(&header.identity, &description);
    Ok(())
}

/// Reads what the header of a segment says of it, and checks that the memory is long enough for that.
///
/// # Errors
/// All that is wrong with it.
///
/// # Safety
/// `len` bytes at `segment` are valid for reads for the duration of the call. They may be mapped read-only. In this
/// program, the first [`HEADER_LEN`] are accessed only through atomics meanwhile.
pub unsafe fn inspect(segment: *const u8, len: usize) -> Result<Description, Findings> {
    let mut findings = Findings::default();
    // SAFETY: the caller's promise.
    let description = unsafe { describe(segment, len, Whose::Peer, &mut findings) };
    match description {
        Some((_, description)) => findings.or(description),
        None => Err(findings),
    }
}

/// The header and what it says, with the memory's length checked.
///
/// # Safety
/// As for [`header`].
unsafe fn describe<'m>(
    segment: *const u8,
    len: usize,
    whose: Whose,
    findings: &mut Findings,
) -> Option<(&'m Header, Description)> {
    // SAFETY: the caller's promise.
    let header = unsafe { header(segment, len, whose, findings) }?;
    let description = identity::read(&header.identity, whose, findings)?;
    if len < description.segment_len() {
        findings.push(whose, Problem::too_short(description.segment_len(), len));
        return None;
    }
    Some((header, description))
}

/// Two segments that fit together, seen from the party that owns the first: ready to become an [`End`].
#[derive(Debug)]
pub struct Attachment<'m> {
    mine: &'m Port,
    peer: &'m Port,
    my_lane: *mut u8,
    peer_lane: *const u8,
    description: Description,
}

/// Attaches to a channel: checks both segments, and that they fit together. My party is what my segment says.
///
/// What the headers say is read once, here; later changes to them change nothing. It is fine if the peer is already
/// running, and if my end was used before: it goes on where its words say.
///
/// # Errors
/// All that is wrong.
///
/// # Safety
/// For `'m`:
/// * `mine_len` bytes at `mine` are valid for reads and writes, `peer_len` bytes at `peer` for reads; both may be shared
///   with other processes, and `peer` may be mapped read-only.
/// * In this program, the headers are accessed only through atomics, and the lanes only by the ends attached to this
///   channel: no references to their bytes exist.
/// * At most one [`End`] for each party is in use at a time, in all processes that are trusted to follow the rules. What
///   a hostile peer writes in *its* segment can give wrong bytes or errors, but nothing worse.
/// * Nobody shortens the memory (by truncating the file that is mapped).
pub unsafe fn attach<'m>(
    mine: *mut u8,
    mine_len: usize,
    peer: *const u8,
    peer_len: usize,
) -> Result<Attachment<'m>, Findings> {
    let mut findings = Findings::default();
    // SAFETY: the caller's promise.
    let mine_found = unsafe { describe(mine, mine_len, Whose::Mine, &mut findings) };
    // SAFETY: the caller's promise.
    let peer_found = unsafe { describe(peer, peer_len, Whose::Peer, &mut findings) };
    let (Some((my_header, my)), Some((peer_header, their))) = (mine_found, peer_found) else {
        return Err(findings);
    };
    if my.party == their.party {
        findings.push(Whose::Peer, Problem::Party(their.party));
    }
    if my.align != their.align {
        findings.push(Whose::Peer, Problem::Align(their.align));
    }
    if my.start != their.start {
        findings.push(Whose::Peer, Problem::Start(their.start));
    }
    if my.peer_capacity != their.capacity {
        findings.push(Whose::Mine, Problem::PeerCapacity(my.peer_capacity));
    }
    if their.peer_capacity != my.capacity {
        findings.push(Whose::Peer, Problem::PeerCapacity(their.peer_capacity));
    }
    let (mine_port, peer_port) = (&my_header.port, &peer_header.port);
    for (whose, sender, receiver, capacity) in
        [(Whose::Mine, mine_port, peer_port, my.capacity), (Whose::Peer, peer_port, mine_port, their.capacity)]
    {
        // `received` first: `sent` may move on meanwhile, but an honest one never by more than the lane's capacity past
        // a `received` that is no older.
        let received = ordering::peer_received(&receiver.received.word);
        let sent = ordering::peer_sent(&sender.sent.word);
        let again = ordering::peer_received(&receiver.received.word);
        let possible = cursor::diff(sent, again) <= capacity || cursor::diff(sent, received) <= capacity;
        if !possible || (capacity == 0 && sent & FIN == 0) {
            findings.push(whose, Problem::Sent(sent));
        }
    }
    let my_lane = mine.wrapping_add(my.lane_offset as usize);
    let peer_lane = peer.wrapping_add(their.lane_offset as usize);
    findings.or(Attachment { mine: mine_port, peer: peer_port, my_lane, peer_lane, description: my })
}

impl<'m> Attachment<'m> {
    /// What my own segment says of itself. The peer's lane has its `peer_capacity`.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The end. The writing half and the reading half each park in their own way.
    pub fn into_end<P: Park>(self, write_park: P, read_park: P) -> End<'m, P> {
        let Attachment { mine, peer, my_lane, peer_lane, description } = self;
        let party = description.party as usize;
        End {
            // SAFETY: `attach` checked the length of my segment, so the lane is valid for `capacity` bytes, and the
            // capacity itself; its caller promised that this party has no other end, so no other writing half.
            producer: unsafe { Producer::from_parts(party, mine, peer, my_lane, description.capacity, write_park) },
            // SAFETY: likewise for the peer's lane and my reading half; `attach` checked that the peer's capacity is what
            // my segment says.
            consumer: unsafe {
                Consumer::from_parts(party, mine, peer, peer_lane, description.peer_capacity, read_park)
            },
        }
    }
}

/// The rendezvous word of a segment, for [`ordering::publish_state`] (mine) and [`ordering::peer_state`] (the peer's).
///
/// # Safety
/// `segment` points at a segment whose header is valid for reads for `'m` (for reads and writes if the word is mine) and
/// accessed only through atomics in this program.
pub unsafe fn state_word<'m>(segment: *const u8) -> &'m AtomicU32 {
    // SAFETY: the caller's promise; a segment is aligned to a line.
    let header = unsafe { &*segment.cast::<Header>() };
    &header.port.park.state
}

// The version is part of what `identity::read` compares; a new one needs new rules here as well.
static_assertions::const_assert_eq!(VERSION, 1);
