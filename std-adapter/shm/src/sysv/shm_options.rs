//! How a segment is found or made.

use super::error::Object;
use super::limits::{self, limit};
use super::{Error, Key, Kind, Making, Reason, Result, Shm, check};

/// How to find or make a segment, in the manner of [`std::fs::OpenOptions`].
///
/// ```
/// use smstream_shm::sysv::{Key, RemoveOnDrop, Shm};
///
/// let shm = Shm::options().size(100).create_new(true).mode(0o640).open(Key::PRIVATE)?;
/// let shm = RemoveOnDrop::new(shm);
/// assert_eq!(shm.stat()?.perm.mode, 0o640);
/// # Ok::<(), smstream_shm::sysv::Error>(())
/// ```
///
/// # References
/// shmget(2); Free Pascal `shmget`, `IPC_CREAT`, `IPC_EXCL`; Cedar `ShmGet`, `ipcCREAT`, `ipcEXCL`.
#[derive(Clone, Copy, Debug)]
pub struct ShmOptions {
    size: usize,
    making: Making,
}

impl Default for ShmOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ShmOptions {
    /// Opens what exists, of any size.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, making: Making::new() }
    }

    /// The bytes of a new segment, at least 1. An existing one must have as many or more.
    #[must_use]
    pub const fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// Makes a segment if there is none with this key.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.making.create = create;
        self
    }

    /// Makes a segment, and fails if there is one with this key.
    #[must_use]
    pub const fn create_new(mut self, create_new: bool) -> Self {
        self.making.create_new = create_new;
        self
    }

    /// Who may use a new segment: [`DEFAULT_MODE`](super::DEFAULT_MODE) if nothing is said. No umask applies.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.making.mode = mode;
        self
    }

    /// Finds or makes the segment. With [`Key::PRIVATE`] it is always a new one. Its bytes are 0. Does not block.
    ///
    /// # Errors
    /// [`Reason::Exists`], [`Reason::NotFound`]; [`Reason::Size`] for a new segment of no bytes, or an existing one that
    /// is smaller; [`Reason::Limit`] for SHMMAX, SHMMNI, SHMALL; [`Reason::NoMemory`]; [`Reason::Denied`].
    pub fn open(&self, key: Key) -> Result<Shm> {
        let object = Object { kind: Kind::Shm, key: Some(key), id: None };
        let flags = self.making.flags(key, object)?;
        // SAFETY: shmget takes numbers only.
        match check(unsafe { libc::shmget(key.raw(), self.size, flags) }) {
            Ok(id) => Ok(Shm::new(id, Some(key))),
            Err(errno) => Err(self.explain(errno, key, object)),
        }
    }

    fn explain(&self, errno: i32, key: Key, object: Object) -> Error {
        let error = Error::system(errno, object, self.making.tried(key));
        match errno {
            libc::EINVAL if self.size == 0 => error.because(Reason::Size, "a new segment has at least one byte"),
            libc::EINVAL => {
                let max = limit("SHMMAX", "kernel.shmmax", |limits| limits.shm_max_bytes);
                if self.making.creates(key) && max.value().is_some_and(|max| self.size as u64 > max) {
                    return error.limited(max);
                }
                error.because(Reason::Size, format!("the existing segment has fewer than {} bytes", self.size))
            }
            libc::ENOSPC => error.limited(limits::shm_limit()),
            _ => error,
        }
    }
}
