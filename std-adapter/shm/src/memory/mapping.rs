//! Files in memory.

use super::guard::{self, Cut};
use super::page::page_size;
use crate::explain::explain;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::c_void;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// What a mapping allows. The MMU enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads only: for the segment of the peer.
    ReadOnly,
    /// Loads and stores: for one's own segment.
    ReadWrite,
}

/// A range of a file in memory, shared with all other mappings of it, until this is dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    access: Access,
    /// Given up before the range is unmapped.
    guard: Option<guard::RangeGuard>,
}

// SAFETY: a `Mapping` owns an address range of the process. Nothing about it belongs to a thread: any thread may use
// and unmap it (mmap(2), munmap(2)).
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` gives out the address and the length, which never change. It accesses no byte; code that does so
// through the pointers has to answer for it.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` from `offset`, which must be a multiple of the page size.
    ///
    /// A file that is too short is refused, because touching what lies beyond its end kills the process. A file that
    /// another process can shorten afterwards is still a danger; seals or trust must rule that out.
    ///
    /// # Errors
    /// `InvalidInput` for an empty or unaligned range, `UnexpectedEof` for a file that is too short, or what the system
    /// says.
    pub fn new(fd: impl AsFd, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        // SAFETY: without an address the kernel chooses a range that is not in use, and no other mapping changes.
        let start = unsafe { map(None, fd.as_fd(), offset, len, access) }?;
        Ok(Self { start, len, access, guard: None })
    }

    /// The same; and if there is a `Cut`, the file may be shortened: then that is set, and no SIGBUS kills. What is read
    /// where the file has ended is 0.
    #[doc(hidden)]
    pub fn guarded(fd: impl AsFd, offset: u64, len: usize, access: Access, cut: Option<&Arc<Cut>>) -> io::Result<Self> {
        let mut mapping = Self::new(fd, offset, len, access)?;
        let start = mapping.start.addr().get();
        let writable = access == Access::ReadWrite;
        mapping.guard = cut.map(|cut| guard::RangeGuard::new(start..start + len, writable, cut));
        Ok(mapping)
    }

    /// Where it begins. It stays valid until the mapping is dropped.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Where it begins, for writing: `None` if it may only be read.
    #[must_use]
    pub fn as_mut_ptr(&self) -> Option<*mut u8> {
        match self.access {
            Access::ReadWrite => Some(self.start.as_ptr()),
            Access::ReadOnly => None,
        }
    }

    /// How many bytes were asked for.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What it allows.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }
}

/// Maps `len` bytes of `fd`, from `offset` on, at an address instead of what is mapped there.
///
/// # Errors
/// As for [`Mapping::new`].
///
/// # Safety
/// `start` is the start of a page. The whole pages from there that hold `len` bytes are the caller's, and no thread
/// uses what is mapped there.
pub(crate) unsafe fn map_at(
    start: NonNull<u8>,
    fd: impl AsFd,
    offset: u64,
    len: usize,
    access: Access,
) -> io::Result<()> {
    // SAFETY: the caller's promise.
    unsafe { map(Some(start), fd.as_fd(), offset, len, access) }.map(drop)
}

/// Maps, after looking whether that can work.
///
/// # Safety
/// If there is an address, then as for [`map_at`].
unsafe fn map(
    at: Option<NonNull<u8>>,
    fd: BorrowedFd<'_>,
    offset: u64,
    len: usize,
    access: Access,
) -> io::Result<NonNull<u8>> {
    let what = || format!("cannot map {len} bytes of shared memory at offset {offset}");
    if len == 0 || !offset.is_multiple_of(page_size() as u64) {
        let text = format!("{}: the range must begin on a page and must not be empty", what());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let size = rustix::fs::fstat(fd).map_err(|e| explain(e, what()))?.st_size;
    let size = u64::try_from(size).unwrap_or(0);
    if offset.checked_add(len as u64).is_none_or(|end| end > size) {
        let text = format!("{}: the file has only {size} bytes", what());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    let protection = match access {
        Access::ReadOnly => ProtFlags::READ,
        Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
    };
    let (hint, flags) = match at {
        Some(at) => (at.as_ptr().cast(), MapFlags::SHARED | MapFlags::FIXED),
        None => (ptr::null_mut(), MapFlags::SHARED),
    };
    // SAFETY: without MAP_FIXED the kernel chooses a range that is not in use and no other mapping changes. With it,
    // the caller owns the range. No reference is made to the new range.
    let start =
        unsafe { rustix::mm::mmap(hint, len, protection, flags, fd, offset) }.map_err(|e| explain(e, what()))?;
    NonNull::new(start.cast()).ok_or_else(|| explain(Errno::NOMEM, what()))
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.guard = None;
        // SAFETY: `start` and `len` are a range that `mmap` gave to this value alone, or two such ranges side by side, the
        // second of which `Both` has taken from a value that is no more. A caller that took a pointer from it agreed not to use
        // it after this moment (`as_ptr`), and no reference into it was ever made here.
        let result = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.len) };
        // Only where the process has as many mappings as it may: giving up a part of what the kernel has joined to one needs a
        // new one. Then the range stays, and nothing else is lost.
        debug_assert!(matches!(result, Ok(()) | Err(Errno::NOMEM)), "munmap of one's own mapping: {result:?}");
    }
}

/// Two mappings that are given up together: in one system call if one begins where the other ends, as they do when they
/// were made one after the other.
#[derive(Debug)]
#[doc(hidden)]
pub struct Both(ManuallyDrop<[Mapping; 2]>);

impl Both {
    #[doc(hidden)]
    pub fn new(mappings: [Mapping; 2]) -> Self {
        Both(ManuallyDrop::new(mappings))
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        // SAFETY: this is the last use of the field.
        let [a, b] = unsafe { ManuallyDrop::take(&mut self.0) };
        let (mut low, high) = if a.start < b.start { (a, b) } else { (b, a) };
        if low.guard.is_none() && high.guard.is_none() && low.start.addr().get() + low.len == high.start.addr().get() {
            // `low` now stands for both ranges, which are one.
            low.len += high.len;
            mem::forget(high);
        }
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
