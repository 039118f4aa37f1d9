//! Mapped memory, and the files that hold it.
//!
//! Another process writes a part of this memory, so it is only ever a raw pointer here: a `&[u8]` would promise that
//! nobody changes the bytes.

#[doc(hidden)]
pub mod guard;
mod shared;

use crate::explain::explain;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};
use std::ffi::c_void;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::sync::Arc;

pub use shared::SharedMemory;

/// What a mapping allows. The MMU enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads only: for the segment of the peer.
    ReadOnly,
    /// Loads and stores: for one's own segment.
    ReadWrite,
}

/// A range of a file in memory, shared with everyone else who maps it, until this is dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    access: Access,
    /// Given up before the range is unmapped.
    guard: Option<guard::Guard>,
}

// SAFETY: a `Mapping` owns an address range of the process. Nothing about it belongs to a thread: any thread may use
// and unmap it (mmap(2), munmap(2)).
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` gives out the address and the length, which never change. It accesses no byte; whoever does so
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
    pub fn guarded(
        fd: impl AsFd,
        offset: u64,
        len: usize,
        access: Access,
        cut: Option<&Arc<guard::Cut>>,
    ) -> io::Result<Self> {
        let mut mapping = Self::new(fd, offset, len, access)?;
        let start = mapping.start.addr().get();
        let writable = access == Access::ReadWrite;
        mapping.guard = cut.map(|cut| guard::Guard::new(start..start + len, writable, cut));
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
/// `start` is the start of a page. The whole pages from there that hold `len` bytes are the caller's, and nobody uses
/// what is mapped there.
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
        // second of which `Both` has taken from a value that is no more. Whoever took a pointer from it agreed not to use
        // it after this moment (`as_ptr`), and no reference into it was ever made here.
        let result = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.len) };
        debug_assert!(result.is_ok(), "munmap of one's own mapping: {result:?}");
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

/// The size of a page of memory.
#[must_use]
pub fn page_size() -> usize {
    rustix::param::page_size()
}

/// The smallest multiple of the page size that is at least `len`: `None` if there is none.
#[must_use]
pub fn round_up_to_page(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(page_size())
}

/// Makes memory without a file system: an unnamed `memfd` of `len` zero bytes. Pages are taken when they are touched.
///
/// Its size can never change again, so no holder of the descriptor can make another one die of a SIGBUS. Further seals
/// can still be added with [`seal`]; the owner ends that with [`SealFlags::SEAL`].
///
/// # Errors
/// `FileTooLarge` when `RLIMIT_FSIZE` forbids the size, or what the system says.
pub fn memfd(name: &str, len: u64) -> io::Result<OwnedFd> {
    let what = || format!("cannot make {len} bytes of anonymous shared memory");
    check_file_size_limit(len).map_err(|e| explain(e, what()))?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create(name, flags).map_err(|e| explain(e, what()))?;
    retry(|| rustix::fs::ftruncate(&fd, len)).map_err(|e| explain(e, what()))?;
    seal(&fd, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(fd)
}

/// Adds seals to a `memfd`.
///
/// # Errors
/// What the system says: the object may allow no more seals.
pub fn seal(fd: impl AsFd, seals: SealFlags) -> io::Result<()> {
    rustix::fs::fcntl_add_seals(fd, seals).map_err(|e| explain(e, format!("cannot seal shared memory with {seals:?}")))
}

/// Makes an unnamed file of `len` zero bytes in the directory `dir`, readable and writable by its owner alone, with all
/// its blocks allocated: a full file system is an error here, and not a SIGBUS when the memory is touched.
///
/// # Errors
/// `StorageFull` when the file system is full, `FileTooLarge` when `RLIMIT_FSIZE` forbids the size, `Unsupported` when
/// the file system cannot hold unnamed files, or what the system says.
pub fn unnamed_file(dir: impl AsFd, len: u64) -> io::Result<OwnedFd> {
    let what = || format!("cannot make an unnamed file of {len} bytes");
    check_file_size_limit(len).map_err(|e| explain(e, what()))?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let fd = retry(|| rustix::fs::openat(&dir, c".", flags, mode)).map_err(|e| match e {
        Errno::ISDIR | Errno::OPNOTSUPP => {
            explain(Errno::OPNOTSUPP, format!("{}: the file system has none; use another directory", what()))
        }
        e => explain(e, what()),
    })?;
    allocate(&fd, len).map_err(|e| explain(e, what()))?;
    Ok(fd)
}

/// Gives the first `len` bytes of a file their blocks, all or nothing as far as that can be known beforehand: a request
/// that cannot be met must not fill the file system first, at the cost of everyone else on it. The bytes that the file
/// has stay as they are.
#[doc(hidden)]
pub fn allocate(fd: impl AsFd, len: u64) -> io::Result<()> {
    const STEP: u64 = 8 << 20;
    let fd = fd.as_fd();
    let system = rustix::fs::fstatvfs(fd)?;
    let stat = rustix::fs::fstat(fd)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    // st_blocks counts in units of 512 bytes, whatever the file system's own.
    let wanted = len.saturating_sub(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
    let free = if rustix::process::geteuid().is_root() { system.f_bfree } else { system.f_bavail };
    // A tmpfs without a limit says that it has no blocks at all.
    if system.f_blocks != 0 && wanted / system.f_frsize.max(1) > free {
        return Err(Errno::NOSPC.into());
    }
    let mut done = 0;
    let mut step = len;
    while done < len {
        match rustix::fs::fallocate(fd, FallocateFlags::empty(), done, step.min(len - done)) {
            Ok(()) => done += step.min(len - done),
            // tmpfs gives back all of a call that a signal interrupts. In smaller steps it gets done, however many
            // signals come.
            Err(Errno::INTR) => step = STEP,
            Err(Errno::OPNOTSUPP) => return fill(fd, done.max(size), len),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Writes zeros from `from` to `len`, where the file system cannot allocate.
fn fill(fd: impl AsFd, from: u64, len: u64) -> io::Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let fd = fd.as_fd();
    let mut done = from;
    while done < len {
        let step = usize::try_from(len - done).unwrap_or(usize::MAX).min(ZEROS.len());
        match retry(|| rustix::io::pwrite(fd, &ZEROS[..step], done))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => done += n as u64,
        }
    }
    Ok(())
}

/// Refuses a size that `RLIMIT_FSIZE` forbids: the kernel would not return an error, it would kill with SIGXFSZ.
#[doc(hidden)]
pub fn check_file_size_limit(len: u64) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if len > limit => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the limit on file sizes (RLIMIT_FSIZE, `ulimit -f`) is {limit} bytes; raise it or ask for less"),
        )),
        _ => Ok(()),
    }
}

/// Calls again after a signal.
#[doc(hidden)]
pub fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
