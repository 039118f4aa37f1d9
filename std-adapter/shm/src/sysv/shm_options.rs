//! How a segment is found or made.

use super::call::check;
use super::error::{Result, SysvError, SysvKind, SysvObject, SysvReason};
use super::key::Key;
use super::limits::{self, limit};
use super::options::{Making, SysvOptions};

/// How to find or make a segment, in the manner of [`std::fs::OpenOptions`].
///
/// ```
/// use smstream_shm::sysv::{Key, RemoveOnDrop, Shm};
///
/// let shm = Shm::options().size(100).create_new(true).mode(0o640).open(Key::PRIVATE)?;
/// let shm = RemoveOnDrop::new(shm);
/// assert_eq!(shm.stat()?.perm.mode, 0o640);
/// # Ok::<(), smstream_shm::sysv::SysvError>(())
/// ```
///
/// # References
/// shmget(2); Free Pascal `shmget`, `IPC_CREAT`, `IPC_EXCL`; Cedar `ShmGet`, `ipcCREAT`, `ipcEXCL`.
pub type ShmOptions = SysvOptions<ShmSettings>;

/// What [`ShmOptions`] have beside the mode.
#[derive(Clone, Copy, Debug)]
pub struct ShmSettings {
    pub(super) size: usize,
}

impl ShmOptions {
    /// The bytes of a new segment, at least 1. An existing one must have as many or more.
    #[must_use]
    pub const fn size(mut self, bytes: usize) -> Self {
        self.settings.size = bytes;
        self
    }
}

impl ShmSettings {
    /// The id of the segment.
    pub(super) fn find(self, making: Making, key: Key) -> Result<libc::c_int> {
        let object = SysvObject { kind: SysvKind::Shm, key: Some(key), id: None };
        let flags = making.flags(key, object)?;
        // SAFETY: shmget takes numbers only.
        check(unsafe { libc::shmget(key.raw(), self.size, flags) })
            .map_err(|errno| self.explain(errno, making, key, object))
    }

    fn explain(self, errno: i32, making: Making, key: Key, object: SysvObject) -> SysvError {
        let error = SysvError::system(errno, object, making.tried(key));
        match errno {
            libc::EINVAL if self.size == 0 => error.because(SysvReason::Size, "a new segment has at least one byte"),
            libc::EINVAL => {
                let max = limit("SHMMAX", "kernel.shmmax", |limits| limits.shm_max_bytes);
                if making.creates(key) && max.value().is_some_and(|max| self.size as u64 > max) {
                    return error.limited(max);
                }
                error.because(SysvReason::Size, format!("the existing segment has fewer than {} bytes", self.size))
            }
            libc::ENOSPC => error.limited(limits::shm_limit()),
            _ => error,
        }
    }
}
