//! The two segments of a channel, word by word: this side's, which it may fill with anything, and the peer's, which it only looks at.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use rustix::fs::SealFlags;
use smstream::memory::{self, Access, Mapping, SharedMemory, page_size};
use smstream::smstream_core::geometry::{self, Config};
use smstream::smstream_core::layout;

use super::words::Speaks;

/// The seals that a segment of a socket must have: S6.
pub const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// Where a word of a segment is.
pub fn at(name: &str) -> usize {
    let field = layout::FIELDS.iter().find(|field| field.name == name);
    field.map_or_else(|| unreachable!("the layout has no field {name}"), |field| field.offset)
}

/// The bytes of a segment of `party`, rounded up to whole pages.
pub fn whole(config: &Config, party: usize) -> usize {
    config.describe(party).segment_len().next_multiple_of(page_size())
}

/// A segment that is mapped.
#[derive(Debug)]
pub struct Segment {
    mapping: Mapping,
    lane_offset: usize,
    capacity: u32,
}

impl Segment {
    /// This side's segment in a sealed memfd of its own, set up: S6.
    pub fn sealed(config: &Config, party: usize) -> io::Result<(OwnedFd, Self)> {
        let fd = memory::memfd(&format!("smstream:{party}"), whole(config, party) as u64)?;
        let segment = Self::new(&fd, 0, whole(config, party), Access::ReadWrite)?;
        segment.set_up(config, party)?;
        memory::seal(&fd, SEALS)?;
        Ok((fd, segment))
    }

    /// A part of a file. What its header says of its lane is not looked at before [`lane`](Self::set_lane).
    pub fn new(fd: impl AsFd, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::new(fd, offset, len, access)?, lane_offset: 0, capacity: 0 })
    }

    /// Where the lane is, which has been checked to lie within the segment.
    pub fn set_lane(&mut self, offset: usize, capacity: u32) {
        (self.lane_offset, self.capacity) = (offset, capacity);
    }

    /// Fills in the header of this side's segment.
    pub fn set_up(&self, config: &Config, party: usize) -> io::Result<()> {
        let start = self.mapping.as_mut_ptr().ok_or(io::ErrorKind::PermissionDenied)?;
        // SAFETY: the mapping is valid for reads and writes of its length; this process has no other access to it now.
        unsafe { geometry::init(start, self.mapping.len(), config, party) }.map_err(io::Error::other)
    }

    /// Says by bit 17 of `features` that this side sends and reads records, if it does. No peer has attached yet.
    pub fn say_what_it_carries(&self, speaks: Speaks) {
        if speaks == Speaks::Records {
            self.store(at("features"), self.load(at("features")) | 1 << 17);
        }
    }

    /// The length of the mapping.
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Where it begins in memory.
    pub fn start(&self) -> *const u8 {
        self.mapping.as_ptr()
    }

    /// A word, loaded once (acquire). What is behind the end is 0.
    pub fn load(&self, offset: usize) -> u32 {
        self.mapping.load_u32(offset).unwrap_or(0)
    }

    /// Stores a word of this side's segment (release).
    pub fn store(&self, offset: usize, value: u32) {
        if let Some(word) = self.mapping.atomic_u32(offset) {
            word.store(value, Ordering::Release);
        }
    }

    /// Copies bytes of the lane from a cursor on.
    pub fn copy_out(&self, cursor: u32, out: &mut [u8]) {
        let first = self.run(cursor).min(out.len());
        let (here, rest) = out.split_at_mut(first);
        let copied = self.mapping.copy_out(self.place(cursor), here).and(self.mapping.copy_out(self.lane_offset, rest));
        debug_assert!(copied.is_ok(), "the lane lies within the segment: {copied:?}");
    }

    /// Copies bytes into the lane from a cursor on.
    pub fn copy_in(&self, cursor: u32, bytes: &[u8]) {
        let (here, rest) = bytes.split_at(self.run(cursor).min(bytes.len()));
        let copied = self.mapping.copy_in(self.place(cursor), here).and(self.mapping.copy_in(self.lane_offset, rest));
        debug_assert!(copied.is_ok(), "the lane lies within the segment: {copied:?}");
    }

    /// The bytes of the header from `from` to `to` that are not 0.
    pub fn first_that_is_not_0(&self, from: usize, to: usize) -> Option<usize> {
        (from..to).step_by(4).find(|offset| self.load(*offset) != 0)
    }

    fn place(&self, cursor: u32) -> usize {
        self.lane_offset + (cursor & self.capacity.saturating_sub(1)) as usize
    }

    fn run(&self, cursor: u32) -> usize {
        (self.capacity - (cursor & self.capacity.saturating_sub(1))) as usize
    }

    /// Wakes all that sleep on a word: K7.
    pub fn wake(&self, offset: usize) {
        let word = self.mapping.as_ptr().wrapping_add(offset);
        // SAFETY: the call gets the address of a word of the mapping, which the kernel checks, and changes no memory.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word,
                libc::FUTEX_WAKE,
                i32::MAX,
                std::ptr::null::<u8>(),
                std::ptr::null::<u8>(),
                0,
            )
        };
    }
}

/// W3 and K: a full fence.
pub fn full_fence() {
    fence(Ordering::SeqCst);
}
