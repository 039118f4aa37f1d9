//! The segments of a channel whose parties need not trust each other: sealed memory without a name, one for each party.
//!
//! A party makes its own, maps it for writing, and seals it: from then on no process can map it for writing, write to it,
//! punch holes into it, or change its size, even with the descriptor. Then it hands the descriptor out. What it gets
//! from the other party must be sealed in the same way, or it is not mapped at all.

use crate::untrusted_fds::UntrustedFds;
use rustix::fd::OwnedFd;
use rustix::fs::{SealFlags, Stat};
use smstream_core::geometry::{self, Config};
use smstream_core::identity::Finding;
use smstream_core::layout::HEADER_LEN;
use smstream_shm::memory::{self, Access, Mapping, page_size, retry, round_up_to_page};
use std::fmt;
use std::io;

/// The seals that a segment must have. More do no harm.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);
/// The file system that memfds of ordinary pages belong to.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// How much longer than its segment the memory may be: room for a page of any size.
const MOST_UNUSED: u64 = 2 << 20;
/// The memory that is given up in no time, in the units of `st_blocks`: more than a segment has that no party has used.
const LITTLE: u64 = (1 << 20) / 512;

/// My segment: mapped for writing, and sealed.
#[derive(Debug)]
pub(super) struct OwnSegment {
    pub(super) mapping: Mapping,
    /// To hand out, and so that inspectors find it.
    pub(super) fd: OwnedFd,
}

/// What is wrong with the memory that the other party handed out.
#[derive(Debug)]
pub(super) enum SegmentError {
    /// There is none, or more than one.
    Descriptors(usize),
    /// It is no memfd of ordinary pages.
    NotMemory,
    /// These seals are missing.
    NotSealed(SealFlags),
    /// It is shorter than its segment.
    TooShort { needed: u64, found: u64 },
    /// It is much longer than its segment.
    TooLong { needed: u64, found: u64 },
    /// Its header cannot be used.
    Header(Finding),
    /// The system cannot map it.
    System(io::Error),
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SegmentError::Descriptors(n) => write!(f, "{n} descriptors came with its segment and not one"),
            SegmentError::NotMemory => f.write_str("its segment is no memfd of ordinary pages"),
            SegmentError::NotSealed(missing) => write!(f, "its segment lacks the seals {missing:?}"),
            SegmentError::TooShort { needed, found } => write!(f, "its segment has {found} bytes and needs {needed}"),
            SegmentError::TooLong { needed, found } => {
                write!(f, "its segment has {found} bytes, which is far more than the {needed} that it needs")
            }
            SegmentError::Header(finding) => write!(f, "the header of its segment is wrong: {finding}"),
            SegmentError::System(e) => write!(f, "its segment cannot be mapped: {e}"),
        }
    }
}

/// The length of a party's segment in its file.
fn file_len(config: &Config, party: usize) -> usize {
    let len = config.describe(party).segment_len();
    // A segment has at most 2^26 + 2^29 bytes.
    round_up_to_page(len).unwrap_or(len)
}

/// Makes the segment of `party`: set up, mapped for writing, then sealed.
///
/// `config` has been checked; its alignment is at least a page.
pub(super) fn make(config: &Config, party: usize) -> io::Result<OwnSegment> {
    let name = if party == 0 { "smstream:0" } else { "smstream:1" };
    let len = file_len(config, party);
    let fd = memory::memfd(name, len as u64)?;
    let mapping = Mapping::new(&fd, 0, len, Access::ReadWrite)?;
    memory::seal(&fd, SEALS)?;
    let start = mapping.as_mut_ptr().ok_or(io::ErrorKind::PermissionDenied)?;
    // SAFETY: the mapping is valid for reads and writes of its length, it has just been made, and no other code has it.
    unsafe { geometry::init(start, mapping.len(), config, party) }
        .map_err(|finding| io::Error::new(io::ErrorKind::InvalidInput, finding))?;
    Ok(OwnSegment { mapping, fd })
}

/// Maps the segment of `party`, which the other side handed out, for reading, if nothing can be done to it any more.
pub(super) fn map_peers(fds: UntrustedFds, config: &Config, party: usize) -> Result<Mapping, SegmentError> {
    let (fd, stat) = sealed(&fds)?;
    // Sealed, so this is its size for ever.
    let found = u64::try_from(stat.st_size).unwrap_or(0);
    // Where its lane begins the segment says itself, at most where this party's would.
    let needed = u64::from(HEADER_LEN) + u64::from(config.capacities[party]);
    if found < needed {
        return Err(SegmentError::TooShort { needed, found });
    }
    let most = file_len(config, party);
    // Who has it last, frees it, and that takes time.
    if found.saturating_sub(most as u64) > MOST_UNUSED {
        return Err(SegmentError::TooLong { needed: most as u64, found });
    }
    // What its header says is checked against this length.
    let len = usize::try_from(found).unwrap_or(most).min(most);
    let mapping = Mapping::new(fd, 0, len, Access::ReadOnly).map_err(SegmentError::System)?;
    // A memfd, and mapped.
    fds.close_inline();
    Ok(mapping)
}

/// Checks the headers of both segments, as attaching does: what the other party's says, and that the two fit together.
pub(super) fn check(own: &OwnSegment, peer: &Mapping) -> Result<(), SegmentError> {
    let start = own.mapping.as_mut_ptr().ok_or_else(|| SegmentError::System(io::ErrorKind::PermissionDenied.into()))?;
    // SAFETY: both mappings are valid for their lengths while they are borrowed: sealed memory is never shortened. Headers are
    // accessed through atomics only, and what is attached here becomes no end.
    let attached = unsafe { geometry::attach(start, own.mapping.len(), peer.as_ptr(), peer.len()) };
    attached.map(drop).map_err(SegmentError::Header)
}

/// Gives up what came with a message and is not wanted: here, if it is memory that has been used little. A segment that was
/// proposed in vain needs no other thread. (Its sender can make that take longer, by locks or attributes of the file, but not
/// for less than that costs him; and the same goes for a segment that is used.)
pub(super) fn give_up(fds: UntrustedFds) {
    let is_little = |stat: Stat| u64::try_from(stat.st_blocks).is_ok_and(|blocks| blocks <= LITTLE);
    if sealed(&fds).is_ok_and(|(_, stat)| is_little(stat)) {
        fds.close_inline();
    }
}

/// The one descriptor that came, if it is a memfd of ordinary pages that is sealed as a segment must be.
fn sealed(fds: &UntrustedFds) -> Result<(&OwnedFd, Stat), SegmentError> {
    let fd = fds.only().map_err(SegmentError::Descriptors)?;
    let system = |e: rustix::io::Errno| SegmentError::System(e.into());
    // Files on a tmpfs that a user has mounted have seals, too, but cannot get these. Other kinds of memfds that can (huge
    // pages) can run out of memory when they are read, which is a SIGBUS.
    let seals = rustix::fs::fcntl_get_seals(fd).map_err(|_| SegmentError::NotMemory)?;
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "the type differs between machines")]
    let kind = retry(|| rustix::fs::fstatfs(fd)).map_err(system)?.f_type as u64;
    if kind != TMPFS_MAGIC {
        return Err(SegmentError::NotMemory);
    }
    let missing = SEALS.difference(seals);
    if !missing.is_empty() {
        return Err(SegmentError::NotSealed(missing));
    }
    Ok((fd, rustix::fs::fstat(fd).map_err(system)?))
}

/// Whether a channel of this geometry can be mapped here, in segments of their own.
pub(super) fn fits(config: &Config) -> bool {
    config.check().is_ok() && (config.align as usize).is_multiple_of(page_size()) && config.capacities != [0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    fn config() -> Config {
        Config { align: page_size() as u32, ..Config::new([8192, 0]) }
    }

    fn clone(own: &OwnSegment) -> UntrustedFds {
        vec![own.fd.as_fd().try_clone_to_owned().unwrap()].into()
    }

    /// A segment that is much larger than that of `config()`.
    fn many_pages() -> OwnSegment {
        make(&Config { align: page_size() as u32, ..Config::new([4 << 20, 0]) }, 0).unwrap()
    }

    #[test]
    fn what_one_makes_the_other_maps() {
        for party in 0..2 {
            let own = make(&config(), party).unwrap();
            let mapping = map_peers(clone(&own), &config(), party).unwrap();
            assert_eq!(mapping.access(), Access::ReadOnly);
            // SAFETY: the mapping is valid for reads of its length, and its header is accessed by atomics only.
            let described = unsafe { geometry::inspect(mapping.as_ptr(), mapping.len()) }.unwrap();
            assert_eq!(described, config().describe(party));
        }
    }

    /// A peer may begin its lane anywhere behind its header: it needs no more memory than that.
    #[test]
    fn a_segment_needs_no_more_than_its_lane() {
        let config = config();
        let own = make(&config, 1).unwrap();
        let fd = rustix::fs::memfd_create("segment-test", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        let len = 768 + 8192;
        rustix::fs::ftruncate(&fd, len).unwrap();
        let mapping = Mapping::new(&fd, 0, len as usize, Access::ReadWrite).unwrap();
        let small = Config { align: 128, ..config };
        // SAFETY: the mapping is valid for its length, has just been made, and no other code has it.
        unsafe { geometry::init(mapping.as_mut_ptr().unwrap(), mapping.len(), &small, 0) }.unwrap();
        let align = mapping.as_mut_ptr().unwrap().wrapping_add(0x18).cast::<u32>();
        // SAFETY: an aligned word of the mapping, of which there is no reference.
        unsafe { align.write(config.align) };
        memory::seal(&fd, SEALS).unwrap();
        let peer = map_peers(vec![fd].into(), &config, 0).unwrap();
        check(&own, &peer).unwrap();
        let short = rustix::fs::memfd_create("segment-test", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&short, len - 1).unwrap();
        memory::seal(&short, SEALS).unwrap();
        assert!(matches!(map_peers(vec![short].into(), &config, 0), Err(SegmentError::TooShort { .. })));
    }

    #[test]
    fn what_can_still_be_changed_is_refused() {
        let len = file_len(&config(), 0) as u64;
        // memfd() seals the size only.
        let fd = memory::memfd("segment-test", len).unwrap();
        assert!(matches!(map_peers(vec![fd].into(), &config(), 0), Err(SegmentError::NotSealed(_))));
        for missing in SEALS.iter() {
            let fd = rustix::fs::memfd_create("segment-test", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::fs::ftruncate(&fd, len).unwrap();
            memory::seal(&fd, SEALS - missing).unwrap();
            let refused = map_peers(vec![fd].into(), &config(), 0);
            assert!(matches!(refused, Err(SegmentError::NotSealed(m)) if m == missing), "{refused:?}");
        }
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(matches!(map_peers(vec![file.into()].into(), &config(), 0), Err(SegmentError::NotMemory)));
        assert!(matches!(map_peers(vec![].into(), &config(), 0), Err(SegmentError::Descriptors(0))));
        let small = make(&Config { align: page_size() as u32, ..Config::new([1, 1]) }, 0).unwrap();
        let large = Config { align: page_size() as u32, ..Config::new([1 << 20, 1]) };
        assert!(matches!(map_peers(clone(&small), &large, 0), Err(SegmentError::TooShort { .. })));
        assert!(matches!(map_peers(clone(&many_pages()), &config(), 0), Err(SegmentError::TooLong { .. })));
        let two: Vec<_> = (0..2).map(|_| small.fd.as_fd().try_clone_to_owned().unwrap()).collect();
        assert!(matches!(map_peers(two.into(), &large, 0), Err(SegmentError::Descriptors(2))));
    }
}
