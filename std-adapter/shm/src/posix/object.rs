//! The objects.

use super::advice::{failed, room};
use super::name::{DIRECTORY, ShmName};
use crate::explain::explain;
use crate::limit::{Limited, check_file_size_limit, soft_limit};
use crate::memory::{Access, Mapping, allocate};
use crate::retry::retry;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{AtFlags, CWD, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Whether this system has shared memory objects that this process can create: whether there is a `/dev/shm` that it
/// may write. CHICKEN's `posix-shm?`.
///
/// ```
/// assert!(smstream_shm::posix::is_supported());
/// ```
///
/// # References
/// [shm_overview(7)](https://man7.org/linux/man-pages/man7/shm_overview.7.html)
#[must_use]
pub fn is_supported() -> bool {
    use rustix::fs::Access;
    rustix::fs::accessat(CWD, DIRECTORY, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// A shared memory object: memory with a name.
///
/// It can be [mapped](Self::map), and read and written like a file: it is `Read + Write + Seek`, with one position.
/// Closing it, or dropping it, removes neither the name nor what is mapped.
///
/// A process that may write an object may also shorten it. Then touching what was cut off kills with SIGBUS. These parties
/// have to trust each other; streams over sealed memory do not.
///
/// ```
/// use smstream_shm::posix::SharedObject;
/// use std::io::{Read, Seek, SeekFrom, Write};
/// # let name = format!("/smstream-doc-object-{}", std::process::id());
///
/// let mut object = SharedObject::options().read(true).write(true).create_new(true).open(&name)?;
/// let gone_in_the_end = object.unlink_on_drop();
/// object.write_all(b"Hello, world!")?;
/// object.seek(SeekFrom::Start(0))?;
/// let mut text = String::new();
/// object.read_to_string(&mut text)?;
/// assert_eq!(text, "Hello, world!");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
/// [shm_open(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html)
#[derive(Debug)]
pub struct SharedObject {
    file: File,
    name: ShmName,
    access: Access,
    id: (u64, u64),
}

impl SharedObject {
    /// Removes a name. The memory stays until the last one who has it open or mapped is gone; the name can be used for
    /// another object at once.
    ///
    /// ```
    /// use smstream_shm::posix::SharedObject;
    ///
    /// let e = SharedObject::unlink("/smstream-doc-nothing").unwrap_err();
    /// assert_eq!(e.kind(), std::io::ErrorKind::NotFound);
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, `NotFound`, `PermissionDenied`, or what the system says.
    pub fn unlink(name: impl AsRef<str>) -> io::Result<()> {
        let name = ShmName::new(name)?;
        rustix::shm::unlink(name.as_str()).map_err(|e| explain(e, failed("unlink", &name, e)))
    }

    /// Takes a descriptor that was opened under that name.
    pub(super) fn adopt(fd: OwnedFd, name: ShmName, access: Access) -> io::Result<Self> {
        let stat = rustix::fs::fstat(&fd).map_err(|e| explain(e, failed("look at", &name, e)))?;
        Ok(Self { file: fd.into(), name, access, id: identity(&stat) })
    }

    /// The name it was opened under. Something else may have it by now, or nothing.
    #[must_use]
    pub fn name(&self) -> &ShmName {
        &self.name
    }

    /// What it was opened for.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Its length now.
    ///
    /// # Errors
    /// What the system says.
    #[allow(clippy::len_without_is_empty, reason = "that is one comparison")]
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Makes it longer, by zero bytes, or shorter. It has all its memory then, so that touching a mapping of it cannot
    /// fail for want of room: a full `/dev/shm` is an error here, and not a SIGBUS later. A process that has
    /// mapped what is cut off dies when it touches it.
    ///
    /// # Errors
    /// `StorageFull`, `FileTooLarge` when `RLIMIT_FSIZE` forbids the length, `PermissionDenied` when it was opened for
    /// reading only, or what else the system says. If the request cannot be met it is refused before anything is done;
    /// should others take the room meanwhile, the object may have become longer in part.
    ///
    /// # References
    /// [ftruncate(2)](https://man7.org/linux/man-pages/man2/ftruncate.2.html),
    /// [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html)
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        let what = || format!("cannot make the shared memory object {} {len} bytes long", self.name);
        if self.access == Access::ReadOnly {
            let e = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(explain(e, format!("{}; it was opened for reading only", what())));
        }
        check_file_size_limit(len).map_err(|e| explain(e, what()))?;
        if len < self.len()? {
            return retry(|| rustix::fs::ftruncate(&self.file, len)).map_err(|e| explain(e, what()));
        }
        allocate(&self.file, len).map_err(|e| {
            let advice = if e.kind() == io::ErrorKind::StorageFull { room() } else { "" };
            explain(e, format!("{}{advice}", what()))
        })
    }

    /// Maps all of it, for what it was opened for.
    ///
    /// # Errors
    /// `UnexpectedEof` when it is empty: its creator has not given it its length yet. Or as for [`Mapping::new`].
    ///
    /// # References
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html)
    pub fn map(&self) -> io::Result<Mapping> {
        let len = usize::try_from(self.len()?).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        if len == 0 {
            let text =
                format!("cannot map the shared memory object {}: it is empty; its maker has not sized it", self.name);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Mapping::new(&self.file, 0, len, self.access)
    }

    /// A guard that removes the name when it is dropped, if it is this object's then.
    #[must_use = "it unlinks when it is dropped"]
    pub fn unlink_on_drop(&self) -> UnlinkOnDrop {
        UnlinkOnDrop { name: self.name.clone(), id: self.id, pid: std::process::id() }
    }
}

impl AsFd for SharedObject {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for SharedObject {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl From<SharedObject> for OwnedFd {
    fn from(object: SharedObject) -> Self {
        object.file.into()
    }
}

impl Read for &SharedObject {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(retry(|| rustix::io::read(&self.file, &mut *buf))?)
    }
}

impl Write for &SharedObject {
    /// Writes at the position, beyond the end as well: then the object becomes longer.
    fn write(&mut self, mut buf: &[u8]) -> io::Result<usize> {
        if let Some(limit) = soft_limit(Limited::FileSize) {
            // At the limit the kernel would kill with SIGXFSZ.
            let position = (&self.file).stream_position()?;
            let room = usize::try_from(limit.saturating_sub(position)).unwrap_or(usize::MAX);
            if room == 0 && !buf.is_empty() {
                check_file_size_limit(position.saturating_add(1))?;
            }
            buf = &buf[..buf.len().min(room)];
        }
        Ok(retry(|| rustix::io::write(&self.file, buf))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &SharedObject {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&self.file).seek(to)
    }
}

impl Read for SharedObject {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for SharedObject {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SharedObject {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

/// Removes the name of a shared memory object when it is dropped.
///
/// It does so only in the process that made the guard, not in a forked child, and only while the name leads to the same
/// object. What ends a process without dropping its values is the business of [`cleanup`](crate::cleanup).
#[derive(Debug)]
pub struct UnlinkOnDrop {
    name: ShmName,
    id: (u64, u64),
    pid: u32,
}

impl UnlinkOnDrop {
    /// Removes the name now, for example because all users have opened the object: from then on nothing can be left
    /// over. It does nothing if the name leads somewhere else by now.
    ///
    /// # Errors
    /// What the system says.
    pub fn unlink_now(mut self) -> io::Result<()> {
        self.remove()
    }

    /// Leaves the name where it is.
    pub fn keep(mut self) {
        self.pid = 0;
    }

    fn remove(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.pid) != std::process::id() {
            return Ok(());
        }
        let found = rustix::fs::statat(CWD, self.name.path(), AtFlags::SYMLINK_NOFOLLOW);
        match found {
            Ok(stat) if identity(&stat) == self.id => match SharedObject::unlink(&self.name) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(explain(e, failed("unlink", &self.name, e))),
        }
    }
}

impl Drop for UnlinkOnDrop {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

/// Which file it is, whatever its name.
#[allow(clippy::useless_conversion, reason = "the fields have other types on other machines")]
#[doc(hidden)]
pub fn identity(stat: &Stat) -> (u64, u64) {
    (u64::from(stat.st_dev), u64::from(stat.st_ino))
}
