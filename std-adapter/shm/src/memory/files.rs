//! Files to map that have no name: memfds and unnamed files.

use crate::explain::explain;
use crate::limit::check_file_size_limit;
use crate::retry::retry;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use std::io;

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
/// that cannot be met must not fill the file system first, at the cost of its other users. The bytes that the file
/// has stay as they are.
#[doc(hidden)]
pub fn allocate(fd: impl AsFd, len: u64) -> io::Result<()> {
    const STEP: u64 = 8 << 20;
    let fd = fd.as_fd();
    let system = retry(|| rustix::fs::fstatvfs(fd))?;
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

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
