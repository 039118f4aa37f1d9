//! From bytes to an end: how to set up a segment, and how to attach to two.

use core::marker::PhantomData;

use crate::cursor::{self, FIN, STOP};
use crate::identity::{self, Description, Finding, Problem, Shape, Whose, usual_lane_offset};
use crate::lane::{Consumer, Producer};
use crate::layout::{Features, HEADER_LEN, Header, LINE, Port, VERSION};
use crate::ordering;
use crate::park::Park;
use crate::size::{saturating, to_usize};
use crate::stream::End;
use crate::sync::AtomicU32;
use crate::word::SharedWord;

pub use crate::config::Config;

/// Where findings go, one at a time.
type Report<'r> = &'r mut dyn FnMut(Finding);

/// Whether memory is too short.
fn too_short(needed: usize, found: usize) -> Option<Problem> {
    (found < needed).then(|| Problem::too_short(needed, found))
}

/// What is wrong with memory that is to begin with a header.
fn no_header(segment: *const u8, len: usize) -> Option<Problem> {
    let short = too_short(to_usize(HEADER_LEN), len);
    if short.is_some() {
        return short;
    }
    (!segment.addr().is_multiple_of(LINE)).then_some(Problem::Misaligned)
}

/// Sets up a segment for `party` (0 or 1): all of its header. The lane is left as it is.
///
/// # Errors
/// The first that is wrong with the memory or the configuration; nothing was written then.
///
/// # Safety
/// `len` bytes at `segment` are valid for reads and writes, and during the call no other code of this program accesses
/// the first [`HEADER_LEN`] of them other than by atomics. No party is attached to the segment.
pub unsafe fn init(segment: *mut u8, len: usize, config: &Config, party: usize) -> Result<(), Finding> {
    let mine = |problem| Finding { whose: Whose::Mine, problem };
    config.check().map_err(mine)?;
    if party > 1 {
        return Err(mine(Problem::Party(saturating(party))));
    }
    let description = config.describe(party);
    if len < description.segment_len() {
        return Err(mine(Problem::too_short(description.segment_len(), len)));
    }
    if let Some(problem) = no_header(segment, len) {
        return Err(mine(problem));
    }
    // SAFETY: long enough and aligned (just checked), valid by the caller's promise. A header is nothing but atomics, for
    // which every bit pattern is a value, and other processes may change them under a shared reference.
    let header = unsafe { &*segment.cast::<Header>() };
    ordering::set_up(&header.identity.version, 0);
    // SAFETY: a header is an array of words (`layout` pins its size), and atomics have the layout of their integers.
    let words =
        unsafe { core::slice::from_raw_parts((&raw const *header).cast::<AtomicU32>(), to_usize(HEADER_LEN) / 4) };
    for word in words {
        ordering::set_up(word, 0);
    }
    // A lane without capacity is closed initially: its reader is at the end of the stream, its writer has finished.
    let closed = |capacity, last| if capacity == 0 { config.start | last } else { config.start };
    ordering::set_up(&header.port.sent.word, closed(description.capacity, FIN));
    ordering::set_up(&header.port.received.word, closed(description.peer_capacity, STOP));
    identity::write(&header.identity, &description);
    Ok(())
}

/// Reads what the header of a segment says of it, and checks that the memory is long enough for that.
///
/// # Errors
/// The first that is wrong with it.
///
/// # Safety
/// As for [`inspect_reporting`].
pub unsafe fn inspect(segment: *const u8, len: usize) -> Result<Description, Finding> {
    let mut first = None;
    // SAFETY: the caller's promise.
    match unsafe { inspect_reporting(segment, len, &mut |finding| first = first.or(Some(finding))) } {
        Some(description) => Ok(description),
        None => Err(reported(first)),
    }
}

/// What was reported first, where something must have been.
fn reported(first: Option<Finding>) -> Finding {
    first.unwrap_or(Finding { whose: Whose::Mine, problem: Problem::NotReady })
}

/// Does what [`inspect`] does, and gives all that is wrong to `report`. `None` if anything is.
///
/// # Safety
/// `len` bytes at `segment` are valid for reads for the duration of the call. They may be mapped read-only. In this
/// program, the first [`HEADER_LEN`] are accessed only through atomics meanwhile.
pub unsafe fn inspect_reporting(segment: *const u8, len: usize, report: Report<'_>) -> Option<Description> {
    let mut wrong = |problem| report(Finding { whose: Whose::Peer, problem });
    if let Some(problem) = no_header(segment, len) {
        wrong(problem);
        return None;
    }
    // SAFETY: long enough and aligned (just checked), valid by the caller's promise. A header is nothing but atomics, for
    // which every bit pattern is a value, and other processes may change them under a shared reference.
    let header = unsafe { &*segment.cast::<Header>() };
    let description = identity::read(&header.identity, &mut wrong)?;
    if len < description.segment_len() {
        wrong(Problem::too_short(description.segment_len(), len));
        return None;
    }
    Some(description)
}

/// Two segments that fit together, seen from the party that owns the first: ready to become an [`End`].
#[derive(Debug)]
pub struct Attachment<'m> {
    mine: *mut u8,
    peer: *const u8,
    peer_lane_offset: u32,
    peer_features: Features,
    shape: Shape,
    lives: PhantomData<&'m Header>,
}

/// Attaches to a channel: checks both segments, and that they fit together. My party is what my segment says.
///
/// What the headers say is read once, here; later changes to them change nothing. It is fine if the peer is already
/// running, and if my end was used before: it goes on where its words say.
///
/// # Errors
/// The first that is wrong. [`attach_reporting`] reports all.
///
/// # Safety
/// For `'m`:
/// * `mine_len` bytes at `mine` are valid for reads and writes, `peer_len` bytes at `peer` for reads; both may be shared
///   with other processes, and `peer` may be mapped read-only.
/// * In this program, the headers are accessed only through atomics, and written only by the ends attached to this channel
///   (and by a [rendezvous](state_word), its own word); the lanes are accessed only by these ends: no references to their
///   bytes exist.
/// * At most one [`End`] for each party is in use at a time, in all processes that are trusted to follow the rules. What
///   a hostile peer writes in *its* segment can give wrong bytes or errors, but nothing worse.
/// * No process shortens the memory (by truncating the file that is mapped).
pub unsafe fn attach<'m>(
    mine: *mut u8,
    mine_len: usize,
    peer: *const u8,
    peer_len: usize,
) -> Result<Attachment<'m>, Finding> {
    let mut survey = Survey { mine, peer, lens: [mine_len, peer_len], shapes: [Shape::UNKNOWN; 2] };
    for step in 0..Survey::STEPS {
        // SAFETY: the caller's promise; the steps before have found nothing.
        if let Some(finding) = unsafe { survey.find(step) } {
            return Err(finding);
        }
    }
    // SAFETY: everything has been checked.
    Ok(unsafe { survey.attachment() })
}

/// Does what [`attach`] does, and gives all that is wrong to `report`. `None` if anything is.
///
/// # Safety
/// As for [`attach`].
pub unsafe fn attach_reporting<'m>(
    mine: *mut u8,
    mine_len: usize,
    peer: *const u8,
    peer_len: usize,
    report: Report<'_>,
) -> Option<Attachment<'m>> {
    let mut survey = Survey { mine, peer, lens: [mine_len, peer_len], shapes: [Shape::UNKNOWN; 2] };
    let mut good = true;
    for segment in [0, Survey::OF_ONE] {
        let mut good_so_far = true;
        for step in 0..Survey::OF_ONE {
            // The length comes last: it is made of the rest.
            if step + 1 == Survey::OF_ONE && !good_so_far {
                break;
            }
            // SAFETY: the caller's promise; if the memory or the beginning of the identity was not good, this was left.
            if let Some(finding) = unsafe { survey.find(segment + step) } {
                report(finding);
                good_so_far = false;
                if step < 2 {
                    break; // Nothing else means anything.
                }
            }
        }
        good &= good_so_far;
    }
    if !good {
        return None;
    }
    for step in 2 * Survey::OF_ONE..Survey::STEPS {
        // SAFETY: the caller's promise; both segments were found good.
        if let Some(finding) = unsafe { survey.find(step) } {
            report(finding);
            good = false;
        }
    }
    // SAFETY: everything has been checked.
    good.then(|| unsafe { survey.attachment() })
}

/// Two segments that are being checked, step by step: so that there is room for one finding on the stack.
struct Survey {
    mine: *mut u8,
    peer: *const u8,
    lens: [usize; 2],
    shapes: [Shape; 2],
}

impl Survey {
    /// Steps for one segment: the memory, its identity, its length.
    const OF_ONE: u32 = 1 + identity::CHECKS + 1;
    /// Steps for both, and whether they fit together.
    const STEPS: u32 = 2 * Self::OF_ONE + 7;

    /// What this step finds wrong.
    ///
    /// # Safety
    /// As for [`attach`]. Of the same segment, the first step has found nothing; and none has for either, if this step
    /// compares the two.
    #[inline(never)]
    unsafe fn find(&mut self, step: u32) -> Option<Finding> {
        if step >= 2 * Self::OF_ONE {
            // SAFETY: both are long enough and aligned, as was found; the caller promises the rest.
            let (mine, peer) = unsafe { ports(self.mine, self.peer) };
            return misfit(&self.shapes, mine, peer, step - 2 * Self::OF_ONE);
        }
        let [mine_len, peer_len] = self.lens;
        let [my, their] = &mut self.shapes;
        let (whose, segment, len, shape, step) = if step < Self::OF_ONE {
            (Whose::Mine, self.mine.cast_const(), mine_len, my, step)
        } else {
            (Whose::Peer, self.peer, peer_len, their, step - Self::OF_ONE)
        };
        let problem = if step == 0 {
            no_header(segment, len)
        } else if step <= identity::CHECKS {
            // SAFETY: long enough and aligned, as step 0 has found; valid by the caller's promise. A header is nothing but
            // atomics, for which every bit pattern is a value, and other processes may change them under a shared
            // reference.
            let header = unsafe { &*segment.cast::<Header>() };
            identity::problem(&header.identity, shape, step - 1)
        } else {
            too_short(shape.segment_len(), len)
        };
        problem.map(|problem| Finding { whose, problem })
    }

    /// Ready to become an end.
    ///
    /// # Safety
    /// No step has found anything; otherwise as for [`attach`].
    unsafe fn attachment<'m>(&self) -> Attachment<'m> {
        let [my, their] = &self.shapes;
        let (peer_lane_offset, peer_features) = (their.lane_offset, their.features);
        Attachment { mine: self.mine, peer: self.peer, peer_lane_offset, peer_features, shape: *my, lives: PhantomData }
    }
}

/// What comparison number `n` of two segments finds wrong.
#[inline(never)]
fn misfit(shapes: &[Shape; 2], mine: &Port, peer: &Port, n: u32) -> Option<Finding> {
    let [my, their] = shapes;
    let (good, whose, problem) = match n {
        0 => (my.party != their.party, Whose::Peer, Problem::Party(their.party)),
        1 => (my.align == their.align, Whose::Peer, Problem::Align(their.align)),
        2 => (my.start == their.start, Whose::Peer, Problem::Start(their.start)),
        3 => (my.peer_capacity == their.capacity, Whose::Mine, Problem::PeerCapacity(my.peer_capacity)),
        4 => (their.peer_capacity == my.capacity, Whose::Peer, Problem::PeerCapacity(their.peer_capacity)),
        5 => {
            let (sent, good) = sent_so_far(mine, peer, my.capacity);
            (good, Whose::Mine, Problem::Sent(sent))
        }
        _ => {
            let (sent, good) = sent_so_far(peer, mine, their.capacity);
            (good, Whose::Peer, Problem::Sent(sent))
        }
    };
    if good { None } else { Some(Finding { whose, problem }) }
}

/// My port and the peer's.
///
/// # Safety
/// Both segments are long enough for a header, aligned to a line, and valid as for [`attach`].
unsafe fn ports<'m>(mine: *const u8, peer: *const u8) -> (&'m Port, &'m Port) {
    // SAFETY: the caller's promise. A header is nothing but atomics, for which every bit pattern is a value, and other
    // processes may change them under a shared reference.
    let mine = unsafe { &*mine.cast::<Header>() };
    // SAFETY: likewise.
    let peer = unsafe { &*peer.cast::<Header>() };
    (&mine.port, &peer.port)
}

/// The `sent` word of a lane, and whether it is possible after what the other party has received.
fn sent_so_far(sender: &Port, receiver: &Port, capacity: u32) -> (u32, bool) {
    // `received` first: `sent` may move on meanwhile, but an honest one never by more than the lane's capacity past
    // a `received` that is no older.
    let received = ordering::peer_received(&receiver.received.word);
    let sent = ordering::peer_sent(&sender.sent.word);
    let again = ordering::peer_received(&receiver.received.word);
    let fits = cursor::accepts_first(sent, again, capacity) || cursor::accepts_first(sent, received, capacity);
    (sent, fits && (capacity != 0 || sent & FIN != 0))
}

impl<'m> Attachment<'m> {
    /// What my own segment says of itself. The peer's lane has its `peer_capacity`.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The end. The writing half and the reading half each park in their own way.
    #[inline]
    pub fn into_end<W: Park, R: Park>(self, write_park: W, read_park: R) -> End<'m, W, R> {
        // SAFETY: `attach` has found the memory long enough and aligned, and its caller promised the rest.
        let (mine, peer) = unsafe { ports(self.mine, self.peer) };
        let features = [self.shape.features, self.peer_features];
        let Shape { party, lane_offset, capacity, peer_capacity, .. } = self.shape;
        let my_lane = self.mine.wrapping_add(to_usize(lane_offset));
        let peer_lane = self.peer.wrapping_add(to_usize(self.peer_lane_offset));
        let party = to_usize(party);
        End {
            // SAFETY: `attach` checked the length of my segment, so the lane is valid for `capacity` bytes, and the
            // capacity itself; its caller promised that this party has no other end, so no other writing half.
            producer: unsafe { Producer::from_parts(party, features, mine, peer, my_lane, capacity, write_park) },
            // SAFETY: likewise for the peer's lane and my reading half; `attach` checked that the peer's capacity is what
            // my segment says.
            consumer: unsafe { Consumer::from_parts(party, features, mine, peer, peer_lane, peer_capacity, read_park) },
        }
    }
}

/// The end of `party` in memory that has just been set up by [`init`], for both parties, with this `config` and these `features`:
/// there is nothing to check.
///
/// # Safety
/// It is so; otherwise as for [`attach`].
#[inline(never)]
pub(crate) unsafe fn fresh_end<'m, P: Park>(
    my_base: *mut u8,
    peer_base: *const u8,
    config: &Config,
    features: Features,
    party: usize,
    parks: (P, P),
) -> End<'m, P> {
    // SAFETY: the caller's promise.
    let (mine, peer) = unsafe { ports(my_base, peer_base) };
    let offset = to_usize(usual_lane_offset(config.align));
    let (my_lane, peer_lane) = (my_base.wrapping_add(offset), peer_base.wrapping_add(offset));
    let [first, second] = config.capacities;
    let features = [features; 2];
    let (capacity, peer_capacity) = if party == 0 { (first, second) } else { (second, first) };
    End {
        // SAFETY: the caller's promise.
        producer: unsafe { Producer::from_parts(party, features, mine, peer, my_lane, capacity, parks.0) },
        // SAFETY: the caller's promise.
        consumer: unsafe { Consumer::from_parts(party, features, mine, peer, peer_lane, peer_capacity, parks.1) },
    }
}

/// The rendezvous word of my segment, for [`ordering::publish_state`].
///
/// # Safety
/// `segment` points at a segment whose header is valid for reads and writes for `'m` and accessed only through atomics in
/// this program. The word is this party's to write.
pub unsafe fn state_word<'m>(segment: *const u8) -> &'m AtomicU32 {
    // SAFETY: the caller's promise; a segment is aligned to a line.
    let header = unsafe { &*segment.cast::<Header>() };
    &header.port.park.state
}

/// The rendezvous word of the peer's segment, which may be mapped read-only.
///
/// # Safety
/// `segment` points at a segment whose header is valid for reads for `'m` and accessed only through atomics in this
/// program.
pub unsafe fn peer_state_word<'m>(segment: *const u8) -> SharedWord<'m> {
    // SAFETY: the caller's promise; a segment is aligned to a line.
    let header = unsafe { &*segment.cast::<Header>() };
    SharedWord::new(&header.port.park.state)
}

// The version is part of what `identity::read` compares; a new one needs new rules here as well.
static_assertions::const_assert_eq!(VERSION, 1);
