//! Whether a file is a region as a listener makes it, byte for byte.
//!
//! A region that has a name was never used: its lanes are empty, and so all of its bytes follow from a few words. That is
//! what tells a leftover from a file that merely begins like one, from a copy, and from what has been written into since.

use super::check::Checks;
use super::rules::{self, second_segment};
use super::words::{ByteOrder, HeaderCopy, LEN};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, SeekFrom};
use rustix::io::Errno;
use smstream_core::counter::Counts;
use smstream_core::cursor::{FIN, STOP};
use smstream_core::layout::{Features, HEADER_LEN, VERSION, state};
use smstream_shm::memory::{page_size, retry};
use std::io;

/// How much of the file to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What makes it this file and no other: the magic, the version and the number of the file. A party may have damaged the
    /// rest.
    Identity,
    /// The header of the listener, of a region that this process has made itself with this shape: another process may have cut
    /// the file short, and one that is empty holds nothing.
    Own(Shape),
    /// The length, and the header of the listener: what its connector cannot have changed.
    Listener,
    /// Every byte.
    All,
}

/// What the listener of a region has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) capacities: [u32; 2],
    pub(crate) align: u32,
    pub(crate) lane_offset: u32,
    pub(crate) start: u32,
}

impl Shape {
    fn of(first: &HeaderCopy) -> Self {
        Self {
            capacities: [first.capacity(), first.peer_capacity()],
            align: first.align(),
            lane_offset: first.lane_offset(),
            start: first.start(),
        }
    }
}

/// Why a file is no region as a listener makes it.
#[derive(Debug)]
pub(crate) enum Stale {
    /// What it is.
    Other(&'static str),
    /// It cannot be read.
    System(io::Error),
}

impl From<Errno> for Stale {
    fn from(e: Errno) -> Self {
        Self::System(e.into())
    }
}

/// No segment begins so.
pub(crate) const OTHER_FILE: &str = "some other file";
const OTHER_VERSION: &str = "a region of another version of the layout, or of another kind of machine";
const DAMAGED: &str = "a region whose header was damaged or written by another program";
const COPY: &str = "a copy of a region, and not the region itself";
const OTHER_LENGTH: &str = "a region that was cut off or extended";
const USED: &str = "a region into which bytes were written";

/// Checks that the file holds a region that waits, or waited, for its first connector. What a connector that was not
/// accepted writes into its own segment is allowed for; it may have been killed in the middle of that.
pub(crate) fn check(file: impl AsFd, extent: Extent) -> Result<(), Stale> {
    let fd = file.as_fd();
    let stat = rustix::fs::fstat(fd)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Stale::Other("no regular file"));
    }
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    if matches!(extent, Extent::Own(_)) && len == 0 {
        return Ok(());
    }
    let first = header(fd, 0)?;
    if first.present() < LEN || !first.is_ours() {
        return Err(Stale::Other(OTHER_FILE));
    }
    if first.order() != ByteOrder::Native || first.version() != VERSION {
        return Err(Stale::Other(OTHER_VERSION));
    }
    if first.channel() != inode(&stat) {
        return Err(Stale::Other(COPY));
    }
    if extent == Extent::Identity {
        return Ok(());
    }
    let is_sound = rules::is_usable(&first, 0)
        && (first.align() as usize).is_multiple_of(page_size())
        && is_as_set_up(&first, &first, 0)
        && first.state() == state::ARMED;
    let Some(second_at) = second_segment(&first).filter(|_| is_sound) else {
        return Err(Stale::Other(DAMAGED));
    };
    if let Extent::Own(shape) = extent {
        return if shape == Shape::of(&first) { Ok(()) } else { Err(Stale::Other(DAMAGED)) };
    }
    let second = header(fd, second_at)?;
    let end = |lane_offset: u32| second_at + u64::from(lane_offset) + u64::from(first.peer_capacity());
    let usual = end(HEADER_LEN.next_multiple_of(first.align()));
    let fits = len == usual
        || (rules::is_lane_offset(second.lane_offset(), first.align()) && len == end(second.lane_offset()));
    if !fits {
        return Err(Stale::Other(OTHER_LENGTH));
    }
    if extent == Extent::Listener {
        return Ok(());
    }
    if !is_second(&first, &second) || (second.version() != 0 && !is_agreed(&first, &second)) {
        return Err(Stale::Other(DAMAGED));
    }
    let header_len = u64::from(HEADER_LEN);
    if is_zero(fd, header_len, second_at)? && is_zero(fd, second_at + header_len, len)? {
        return Ok(());
    }
    Err(Stale::Other(USED))
}

/// The number that the listener of a region stores as `channel`: a copy has another one.
#[allow(clippy::useless_conversion, reason = "the field has another type on other machines")]
pub(crate) fn inode(stat: &rustix::fs::Stat) -> u64 {
    u64::from(stat.st_ino)
}

/// The segment of a connector that was not accepted: nothing yet, or set up, or something in between.
fn is_second(first: &HeaderCopy, second: &HeaderCopy) -> bool {
    let begun = second.version() == 0;
    let magic = second.magic();
    let is_begun_magic =
        (0..8).step_by(4).all(|at| magic[at..at + 4] == first.magic()[at..at + 4] || magic[at..at + 4] == [0; 4]);
    let is_good = if begun {
        // `byte_order` is not there yet, or it is this machine's.
        is_begun_magic && matches!(second.byte_order(), 0) | (second.order() == ByteOrder::Native)
    } else {
        second.order() == ByteOrder::Native && rules::is_usable(second, 1)
    };
    let offset_is_good =
        rules::is_lane_offset(second.lane_offset(), first.align()) || (begun && second.lane_offset() == 0);
    is_good
        && offset_is_good
        && is_as_set_up(first, second, 1)
        && matches!(second.state(), state::NONE | state::HELLO)
        && matches!(second.channel(), channel if channel == first.channel() || is_part(channel, first.channel()))
}

/// Whether two headers that are complete fit together.
fn is_agreed(first: &HeaderCopy, second: &HeaderCopy) -> bool {
    let mut checks = Checks::default();
    let headers = [first.clone(), second.clone()];
    rules::agreement(&headers, &mut checks);
    for sender in 0..2 {
        rules::closed_lane(&headers, sender, &mut checks);
    }
    !checks.any_bad()
}

/// Whether each half of a number is there or still 0.
fn is_part(found: u64, wanted: u64) -> bool {
    let is = |found: u64, wanted: u64| found == 0 || found == wanted;
    is(found >> 32, wanted >> 32) && is(found & u64::from(u32::MAX), wanted & u64::from(u32::MAX))
}

/// Whether the words of a segment are those of a party that has set it up and done nothing since. `first` says what the
/// channel is. While the version is 0, words may still be 0.
fn is_as_set_up(first: &HeaderCopy, segment: &HeaderCopy, party: u32) -> bool {
    let begun = segment.version() == 0;
    let is = |found: u32, wanted: u32| found == wanted || (begun && found == 0);
    let capacities = [first.capacity(), first.peer_capacity()];
    let (mine, theirs) = if party == 0 { (capacities[0], capacities[1]) } else { (capacities[1], capacities[0]) };
    let cursor = |capacity: u32, closed: u32| if capacity == 0 { first.start() | closed } else { first.start() };
    let no_counts = Some(Counts::default());
    is(segment.party(), party)
        && is(segment.align(), first.align())
        && is(segment.capacity(), mine)
        && is(segment.peer_capacity(), theirs)
        && is(segment.start(), first.start())
        && is(segment.sent(), cursor(mine, FIN))
        && is(segment.received(), cursor(theirs, STOP))
        && segment.features() & !Features::all().bits() == 0
        && [segment.read_park(), segment.write_park(), segment.read_wake_method(), segment.write_wake_method()]
            == [0; 4]
        && [segment.sent_fence(), segment.received_fence()] == [0; 2]
        && segment.writes() == no_counts
        && segment.reads() == no_counts
        && rules::reserved_are_zero(segment)
}

fn header(fd: BorrowedFd<'_>, at: u64) -> Result<HeaderCopy, Errno> {
    let mut bytes = [0; LEN];
    let there = read_at(fd, at, &mut bytes)?;
    Ok(HeaderCopy::of(&bytes[..there]))
}

fn read_at(fd: BorrowedFd<'_>, at: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < bytes.len() {
        match retry(|| rustix::io::pread(fd, &mut bytes[done..], at + done as u64))? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Whether all bytes of the range are there, and 0. Holes are not read.
fn is_zero(fd: BorrowedFd<'_>, from: u64, to: u64) -> Result<bool, Errno> {
    let mut bytes = vec![0; 1 << 16];
    let mut at = from;
    while at < to {
        match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(data) => at = data,
            // The rest is a hole.
            Err(Errno::NXIO) => return Ok(true),
            // A file system that does not know of holes.
            Err(Errno::INVAL) => {}
            Err(e) => return Err(e),
        }
        if at >= to {
            break;
        }
        let step = usize::try_from(to - at).unwrap_or(usize::MAX).min(bytes.len());
        let there = read_at(fd, at, &mut bytes[..step])?;
        if there == 0 || bytes[..there].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += there as u64;
    }
    Ok(true)
}
