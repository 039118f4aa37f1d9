//! Sockets of `unix:` addresses whose listener was killed, found by their lock files.

use super::found::ReapOutcome;
use super::opening;
use crate::lease;
use crate::rendezvous::socket::{is_stale, lock_file};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use smstream_shm::memory::retry;
use smstream_shm::posix::identity;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A lock file of a listener, and the socket that it is about.
pub(super) struct StaleSocket {
    lock_path: PathBuf,
    /// What is said to be found: the socket, or the lock file if that is all.
    pub(super) path: PathBuf,
    id: (u64, u64),
}

impl StaleSocket {
    /// Whether `lock_path` is the lock file of a listener, byte for byte. Other programs have lock files as well.
    ///
    /// # Errors
    /// It cannot be looked at. One that has gone, or that others may not read, is none of a listener's.
    pub(super) fn of(lock_path: &Path) -> io::Result<Option<Self>> {
        let Some(name) = lock_path.as_os_str().as_bytes().strip_suffix(lock_file::SUFFIX.as_bytes()) else {
            return Ok(None);
        };
        let Some(source) = opening::open(lock_path)? else { return Ok(None) };
        if lock_file::read(&source)?.is_none() || source.stat()?.st_uid != rustix::process::geteuid().as_raw() {
            return Ok(None);
        }
        let path = PathBuf::from(OsStr::from_bytes(name));
        let path = match rustix::fs::lstat(&path) {
            Ok(_) => path,
            Err(Errno::NOENT) => lock_path.to_path_buf(),
            // If there is a socket, the lock file is not to go without it.
            Err(e) => return Err(e.into()),
        };
        Ok(Some(Self { lock_path: lock_path.to_path_buf(), path, id: source.id() }))
    }

    /// Removes both if no process listens, or only says so.
    pub(super) fn judge(&self, dry_run: bool) -> ReapOutcome {
        match self.try_judge(dry_run) {
            Ok(outcome) => outcome,
            Err(e) => ReapOutcome::Doubt(format!("it cannot be found out whether a process listens there: {e}")),
        }
    }

    fn try_judge(&self, dry_run: bool) -> rustix::io::Result<ReapOutcome> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let lock: OwnedFd = retry(|| rustix::fs::open(&self.lock_path, flags, Mode::empty()))?;
        match retry(|| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(ReapOutcome::InUse("a listener has it")),
            Err(e) => return Err(e),
        }
        // Its last holder may have removed it before giving it up, and the next one has another.
        if identity_at(&self.lock_path)? != Some(self.id) {
            return Ok(ReapOutcome::InUse("a listener has just changed it"));
        }
        let lock_stat = rustix::fs::fstat(&lock)?;
        let Some(record) = lock_file::read(&lock)? else {
            return Ok(ReapOutcome::InUse("a process has just changed its lock file"));
        };
        if lock_stat.st_nlink != 1 {
            return Ok(ReapOutcome::Doubt("its lock file has another name, too".into()));
        }
        match lease::take(lock.as_fd()) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Ok(ReapOutcome::InUse("a process has its lock file open or mapped")),
            Err(e) => return Err(e),
        }
        if self.path != self.lock_path {
            let found = rustix::fs::lstat(&self.path)?;
            let kept = || {
                Ok(ReapOutcome::Doubt("what has the name is no socket that a listener with this lock file left".into()))
            };
            if found.st_uid != lock_stat.st_uid || !rustix::fs::FileType::from_raw_mode(found.st_mode).is_socket() {
                return kept();
            }
            let Ok(address) = SocketAddrUnix::new(&self.path) else {
                return Ok(ReapOutcome::Doubt("its path is too long to ask whether a process listens there".into()));
            };
            // A program that knows nothing of the lock may listen there.
            if !is_stale(&address)? {
                return Ok(ReapOutcome::InUse("a process listens there"));
            }
            if !record.is_of(&lock_stat, &found) {
                return kept();
            }
            if dry_run {
                return Ok(ReapOutcome::WouldRemove);
            }
            if identity_at(&self.path)? != Some(identity(&found)) {
                return Ok(ReapOutcome::InUse("something else has its name by now"));
            }
            retry(|| rustix::fs::unlink(&self.path))?;
        }
        if dry_run {
            return Ok(ReapOutcome::WouldRemove);
        }
        // While the lock is held, as its last holder does.
        retry(|| rustix::fs::unlink(&self.lock_path))?;
        Ok(ReapOutcome::Removed)
    }
}

/// What a name leads to: `None` if it leads to nothing.
pub(super) fn identity_at(path: &Path) -> rustix::io::Result<Option<(u64, u64)>> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some(identity(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}
