//! Removing one object: by system calls alone, so that a signal handler may do it.

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use std::ffi::{CStr, CString};

/// What is to be removed.
#[derive(Debug)]
pub(super) enum Target {
    File { path: CString, id: (u64, u64) },
    SysvShm(i32),
    SysvSem(i32),
    SysvMsg(i32),
}

/// The same, with a path that lies somewhere else.
#[derive(Clone, Copy, Debug)]
pub(super) enum TargetRef<'a> {
    File { path: &'a CStr, id: (u64, u64) },
    SysvShm(i32),
    SysvSem(i32),
    SysvMsg(i32),
}

impl Target {
    pub(super) fn as_ref(&self) -> TargetRef<'_> {
        match self {
            Self::File { path, id } => TargetRef::File { path, id: *id },
            Self::SysvShm(id) => TargetRef::SysvShm(*id),
            Self::SysvSem(id) => TargetRef::SysvSem(*id),
            Self::SysvMsg(id) => TargetRef::SysvMsg(*id),
        }
    }
}

impl TargetRef<'_> {
    /// Removes it. That it is gone already is no error; what has its name by now stays.
    ///
    /// It makes system calls, and neither takes memory nor a lock.
    pub(super) fn remove(self) -> rustix::io::Result<()> {
        let result = match self {
            Self::File { path, id } => match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if crate::posix::identity(&stat) == id => rustix::fs::unlink(path),
                Ok(_) => Ok(()),
                Err(e) => Err(e),
            },
            Self::SysvShm(id) => shm(id),
            Self::SysvSem(id) => sem(id),
            Self::SysvMsg(id) => msg(id),
        };
        match result {
            Err(Errno::NOENT | Errno::IDRM) => Ok(()),
            // For an id: there is none such.
            Err(Errno::INVAL) if !matches!(self, Self::File { .. }) => Ok(()),
            other => other,
        }
    }
}

/// The result of a call to libc.
fn outcome(result: libc::c_int) -> rustix::io::Result<()> {
    if result != -1 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

fn shm(id: i32) -> rustix::io::Result<()> {
    // SAFETY: IPC_RMID takes no buffer. Processes that have attached the segment keep it.
    outcome(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) })
}

fn sem(id: i32) -> rustix::io::Result<()> {
    // SAFETY: IPC_RMID takes no fourth argument.
    outcome(unsafe { libc::semctl(id, 0, libc::IPC_RMID) })
}

fn msg(id: i32) -> rustix::io::Result<()> {
    // SAFETY: IPC_RMID takes no buffer.
    outcome(unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) })
}
