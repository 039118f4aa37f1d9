//! The locked bytes of a region: F2, F7.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A byte of the file, and what it means if it is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Byte {
    /// Party 0 lives.
    Listener = 0,
    /// Party 1 lives, or has claimed the region.
    Connector = 1,
    /// The right to replace the name.
    Name = 2,
}

/// Takes the lock of a byte. `false`: another description has it.
pub fn take(fd: BorrowedFd<'_>, byte: Byte) -> io::Result<bool> {
    match call(fd, libc::F_OFD_SETLK, byte, libc::F_WRLCK) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets the lock of a byte go.
pub fn release(fd: BorrowedFd<'_>, byte: Byte) -> io::Result<()> {
    call(fd, libc::F_OFD_SETLK, byte, libc::F_UNLCK).map(drop)
}

/// Whether another description holds a byte: F7.
pub fn is_held(fd: BorrowedFd<'_>, byte: Byte) -> io::Result<bool> {
    let lock = call(fd, libc::F_OFD_GETLK, byte, libc::F_WRLCK)?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn call(fd: BorrowedFd<'_>, command: i32, byte: Byte, kind: i32) -> io::Result<libc::flock> {
    // SAFETY: all of its fields are numbers, of which 0 is one.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte as libc::off_t;
    lock.l_len = 1;
    loop {
        // SAFETY: the descriptor is open, and the lock lives until the call returns.
        if unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) } == 0 {
            return Ok(lock);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
