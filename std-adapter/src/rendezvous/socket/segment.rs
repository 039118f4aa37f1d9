//! The segments of a channel whose parties need not trust each other: sealed memory without a name, one for each party.
//!
//! A party makes its own, maps it for writing, and seals it: from then on nobody can map it for writing, write to it,
//! punch holes into it, or change its size, whoever has the descriptor. Then it hands the descriptor out. What it gets
//! from the other party must be sealed in the same way, or it is not mapped at all.

use crate::foreign::Foreign;
use rustix::fd::OwnedFd;
use rustix::fs::{SealFlags, Stat};
use smstream_core::geometry::{self, Config};
use smstream_shm::memory::{self, Access, Mapping, page_size, round_up_to_page};
use std::fmt;
use std::io;

/// The seals that a segment must have. More do no harm.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);
/// The file system that memfds of ordinary pages belong to.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// How much longer than its segment the memory may be: room for a page of any size.
const MOST_UNUSED: u64 = 2 << 20;
/// The memory that is given up in no time, in the units of `st_blocks`: more than a segment has that nobody has used.
const LITTLE: u64 = (1 << 20) / 512;

/// My segment: mapped for writing, and sealed.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) mapping: Mapping,
    /// To hand out, and so that inspectors find it.
    pub(super) fd: OwnedFd,
}

/// What is wrong with the memory that the other party handed out.
#[derive(Debug)]
pub(super) enum Unfit {
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
    /// The system cannot map it.
    System(io::Error),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Descriptors(n) => write!(f, "{n} descriptors came with its segment and not one"),
            Unfit::NotMemory => f.write_str("its segment is no memfd of ordinary pages"),
            Unfit::NotSealed(missing) => write!(f, "its segment lacks the seals {missing:?}"),
            Unfit::TooShort { needed, found } => write!(f, "its segment has {found} bytes and needs {needed}"),
            Unfit::TooLong { needed, found } => {
                write!(f, "its segment has {found} bytes, which is far more than the {needed} that it needs")
            }
            Unfit::System(e) => write!(f, "its segment cannot be mapped: {e}"),
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
pub(super) fn make(config: &Config, party: usize) -> io::Result<Own> {
    let name = if party == 0 { "smstream:0" } else { "smstream:1" };
    let len = file_len(config, party);
    let fd = memory::memfd(name, len as u64)?;
    let mapping = Mapping::new(&fd, 0, len, Access::ReadWrite)?;
    memory::seal(&fd, SEALS)?;
    let start = mapping.as_mut_ptr().ok_or(io::ErrorKind::PermissionDenied)?;
    // SAFETY: the mapping is valid for reads and writes of its length, it has just been made, and nobody else has it.
    unsafe { geometry::init(start, mapping.len(), config, party) }
        .map_err(|finding| io::Error::new(io::ErrorKind::InvalidInput, finding))?;
    Ok(Own { mapping, fd })
}

/// Maps the segment of `party`, which the other side handed out, for reading, if nothing can be done to it any more.
pub(super) fn map_peers(fds: Foreign, config: &Config, party: usize) -> Result<Mapping, Unfit> {
    let (fd, stat) = sealed(&fds)?;
    // Sealed, so this is its size for ever.
    let found = u64::try_from(stat.st_size).unwrap_or(0);
    let needed = file_len(config, party);
    if found < needed as u64 {
        return Err(Unfit::TooShort { needed: needed as u64, found });
    }
    // Who has it last, frees it, and that takes time.
    if found - needed as u64 > MOST_UNUSED {
        return Err(Unfit::TooLong { needed: needed as u64, found });
    }
    let mapping = Mapping::new(fd, 0, needed, Access::ReadOnly).map_err(Unfit::System)?;
    // A memfd, and mapped.
    fds.are_harmless();
    Ok(mapping)
}

/// Gives up what came with a message and is not wanted: here, if it is memory that nobody has used much. A segment that was
/// proposed in vain needs no other thread. (Its sender can make that take longer, by locks or attributes of the file, but not
/// for less than that costs him; and the same goes for a segment that is used.)
pub(super) fn give_up(fds: Foreign) {
    let is_little = |stat: Stat| u64::try_from(stat.st_blocks).is_ok_and(|blocks| blocks <= LITTLE);
    if sealed(&fds).is_ok_and(|(_, stat)| is_little(stat)) {
        fds.are_harmless();
    }
}

/// The one descriptor that came, if it is a memfd of ordinary pages that is sealed as a segment must be.
fn sealed(fds: &Foreign) -> Result<(&OwnedFd, Stat), Unfit> {
    let fd = fds.only().map_err(Unfit::Descriptors)?;
    let system = |e: rustix::io::Errno| Unfit::System(e.into());
    // Files on a tmpfs that somebody has mounted have seals, too, but cannot get these. Other kinds of memfds that can (huge
    // pages) can run out of memory when they are read, which is a SIGBUS.
    let seals = rustix::fs::fcntl_get_seals(fd).map_err(|_| Unfit::NotMemory)?;
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "the type differs between machines")]
    let kind = rustix::fs::fstatfs(fd).map_err(system)?.f_type as u64;
    if kind != TMPFS_MAGIC {
        return Err(Unfit::NotMemory);
    }
    let missing = SEALS.difference(seals);
    if !missing.is_empty() {
        return Err(Unfit::NotSealed(missing));
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

    fn clone(own: &Own) -> Foreign {
        vec![own.fd.as_fd().try_clone_to_owned().unwrap()].into()
    }

    /// A segment that is much larger than that of `config()`.
    fn many_pages() -> Own {
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

    #[test]
    fn what_can_still_be_changed_is_refused() {
        let len = file_len(&config(), 0) as u64;
        // memfd() seals the size only.
        let fd = memory::memfd("segment-test", len).unwrap();
        assert!(matches!(map_peers(vec![fd].into(), &config(), 0), Err(Unfit::NotSealed(_))));
        for missing in SEALS.iter() {
            let fd = rustix::fs::memfd_create("segment-test", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::fs::ftruncate(&fd, len).unwrap();
            memory::seal(&fd, SEALS - missing).unwrap();
            let refused = map_peers(vec![fd].into(), &config(), 0);
            assert!(matches!(refused, Err(Unfit::NotSealed(m)) if m == missing), "{refused:?}");
        }
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(matches!(map_peers(vec![file.into()].into(), &config(), 0), Err(Unfit::NotMemory)));
        assert!(matches!(map_peers(vec![].into(), &config(), 0), Err(Unfit::Descriptors(0))));
        let small = make(&Config { align: page_size() as u32, ..Config::new([1, 1]) }, 0).unwrap();
        let large = Config { align: page_size() as u32, ..Config::new([1 << 20, 1]) };
        assert!(matches!(map_peers(clone(&small), &large, 0), Err(Unfit::TooShort { .. })));
        assert!(matches!(map_peers(clone(&many_pages()), &config(), 0), Err(Unfit::TooLong { .. })));
        let two: Vec<_> = (0..2).map(|_| small.fd.as_fd().try_clone_to_owned().unwrap()).collect();
        assert!(matches!(map_peers(two.into(), &large, 0), Err(Unfit::Descriptors(2))));
    }
}
