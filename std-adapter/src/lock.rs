//! The lock bytes of a region file: which party lives, and who may replace the name.
//!
//! They are locks of the open file description (`F_OFD_SETLK`). Such a lock belongs to the description, not to a
//! process: it lasts until the last process that holds the description has closed it, however that process ended. That
//! makes it the authority on death. Forked children hold it too, as they would a socket.

use rustix::fd::{AsFd, AsRawFd};
use std::io;

/// A byte of the region file that is locked to say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Byte {
    /// Held while party 0, the listener's side, lives.
    Party0 = 0,
    /// Held while party 1, the connector's side, lives: the claim on the region.
    Party1 = 1,
    /// Held by the process that may replace the name of the region.
    Name = 2,
}

/// Takes the lock on `byte` for the description of `fd`, or returns `false` when another description holds it.
///
/// `fd` must have been opened for writing. Taking a lock that this description holds already succeeds.
///
/// # Errors
/// What `fcntl` says, for example that the file system has no locks or that `fd` is read-only.
pub fn try_lock(fd: impl AsFd, byte: Byte) -> io::Result<bool> {
    match set(fd, byte, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        // Either may be used for a lock that is held: fcntl(2).
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Gives up the lock on `byte` that the description of `fd` holds. Without one this does nothing.
///
/// # Errors
/// What `fcntl` says.
pub fn unlock(fd: impl AsFd, byte: Byte) -> io::Result<()> {
    set(fd, byte, libc::F_UNLCK)
}

/// Whether a description *other* than that of `fd` holds the lock on `byte`. It asks and takes nothing, so two who ask
/// at the same time never take each other for the holder.
///
/// # Errors
/// What `fcntl` says.
pub fn is_held(fd: impl AsFd, byte: Byte) -> io::Result<bool> {
    let found = control(fd, libc::F_OFD_GETLK, byte, libc::F_WRLCK)?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn set(fd: impl AsFd, byte: Byte, kind: i32) -> io::Result<()> {
    control(fd, libc::F_OFD_SETLK, byte, kind).map(drop)
}

/// One lock call on one byte, begun again after a signal.
fn control(fd: impl AsFd, command: i32, byte: Byte, kind: i32) -> io::Result<libc::flock> {
    let fd = fd.as_fd();
    loop {
        let mut lock = request(byte, kind);
        // SAFETY: `fd` is borrowed for the whole call, so it is open. All commands used here take a pointer to a
        // `struct flock`; `lock` is one, initialized, exclusively borrowed, and outlives the call.
        let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) };
        if result != -1 {
            return Ok(lock);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The description of one byte for `fcntl`. The process id must be 0 for these commands.
#[allow(clippy::cast_possible_truncation, reason = "the constants are small; the field is narrower than their type")]
fn request(byte: Byte, kind: i32) -> libc::flock {
    // SAFETY: `flock` is a C struct of integers, for which all zeros is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte as libc::off_t;
    lock.l_len = 1;
    lock
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustix::fd::OwnedFd;
    use rustix::fs::{Mode, OFlags, open};

    /// A second description of the file that `fd` is open on.
    pub(crate) fn reopen(fd: &OwnedFd, flags: OFlags) -> OwnedFd {
        open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn bytes_are_apart_and_belong_to_descriptions() {
        let a = smstream_shm::memory::memfd("lock-test", 4096).unwrap();
        let b = reopen(&a, OFlags::RDWR);
        for byte in [Byte::Party0, Byte::Party1, Byte::Name] {
            assert!(!is_held(&b, byte).unwrap());
            assert!(try_lock(&a, byte).unwrap());
            assert!(try_lock(&a, byte).unwrap(), "one's own lock can be taken again");
            assert!(is_held(&b, byte).unwrap());
            assert!(!is_held(&a, byte).unwrap(), "one's own lock is not another's");
            assert!(!try_lock(&b, byte).unwrap());
        }
        unlock(&a, Byte::Party1).unwrap();
        assert!(!is_held(&b, Byte::Party1).unwrap());
        assert!(is_held(&b, Byte::Party0).unwrap());
        let c = a.try_clone().unwrap();
        drop(a);
        assert!(is_held(&b, Byte::Party0).unwrap(), "a duplicate is the same description");
        drop(c);
        assert!(!is_held(&b, Byte::Party0).unwrap());
        assert!(!is_held(&b, Byte::Name).unwrap());
    }

    #[test]
    fn asking_needs_no_right_to_write_but_locking_does() {
        let a = smstream_shm::memory::memfd("lock-test", 4096).unwrap();
        let b = reopen(&a, OFlags::RDONLY);
        assert!(try_lock(&a, Byte::Party0).unwrap());
        assert!(is_held(&b, Byte::Party0).unwrap());
        assert_eq!(try_lock(&b, Byte::Party1).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
