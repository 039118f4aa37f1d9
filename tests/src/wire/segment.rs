//! Segments to hand out, and the channel that they are for.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use rustix::fs::SealFlags;
use smstream::memory::{self, Access, Mapping, page_size};
use smstream_core::geometry::{self, Config};

/// The seals that a segment must have.
pub const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// An ordinary channel with lanes of this size.
#[must_use]
pub fn config(capacity: u32) -> Config {
    Config { align: page_size() as u32, start: crate::flow::NEAR_WRAP, ..Config::new([capacity; 2]) }
}

/// A sealed segment of `party`, and its mapping for writing.
pub fn segment(config: &Config, party: usize) -> io::Result<(OwnedFd, Mapping)> {
    let len = config.describe(party).segment_len().next_multiple_of(page_size());
    let fd = memory::memfd("smstream-wire", len as u64)?;
    let mapping = Mapping::new(&fd, 0, len, Access::ReadWrite)?;
    memory::seal(&fd, SEALS)?;
    let start = mapping.as_mut_ptr().ok_or(ErrorKind::PermissionDenied)?;
    // SAFETY: the mapping is valid for reads and writes of its length, and no other code has it yet.
    unsafe { geometry::init(start, len, config, party) }.map_err(io::Error::other)?;
    Ok((fd, mapping))
}
