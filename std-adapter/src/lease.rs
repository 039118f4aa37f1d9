//! Leases: the kernel's word that a file is open nowhere else.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::io;

/// Chooses the signal that tells of a lease (fcntl(2)). libc has it for some systems only.
const F_SETSIG: i32 = 10;

/// Takes a lease on a file: the kernel grants it only if no other description of the file is open and no other mapping of
/// it exists, in whatever namespace; `AGAIN` says that there is one. A process that opens the file from now on waits, or
/// gets `EWOULDBLOCK`, until the descriptor is closed, which should be soon.
///
/// # References
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), "Leases"
pub(crate) fn take(fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    // The kernel signals the holder of a lease when another process wants to open the file, by default with SIGIO, which
    // kills. This signal is ignored, unless the program has a use for it.
    control(fd, F_SETSIG, libc::SIGURG)?;
    control(fd, libc::F_SETLEASE, libc::F_WRLCK).map(drop)
}

/// Whether the lease is still there, and no process waits for its end.
pub(crate) fn is_held(fd: BorrowedFd<'_>) -> bool {
    control(fd, libc::F_GETLEASE, 0) == Ok(libc::F_WRLCK)
}

fn control(fd: BorrowedFd<'_>, command: i32, argument: i32) -> rustix::io::Result<i32> {
    // SAFETY: the descriptor is open for the whole call; the commands used here take an integer or nothing.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if result != -1 {
        return Ok(result);
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}
