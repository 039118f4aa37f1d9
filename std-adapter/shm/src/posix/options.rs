//! How to open or create a shared memory object.

use super::advice::{failed, room};
use super::name::{DIRECTORY, ShmName};
use super::object::SharedObject;
use crate::explain::explain;
use crate::limit::check_file_size_limit;
use crate::memory::{Access, Mapping, allocate};
use crate::retry::retry;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::shm;
use std::io;

/// The permissions that a new object may have.
const PERMISSIONS: u32 = 0o777;

/// How to open or create a shared memory object, as [`std::fs::OpenOptions`] is for files.
///
/// ```
/// use smstream_shm::posix::SharedObject;
/// # let name = format!("/smstream-doc-options-{}", std::process::id());
///
/// // The first process makes it; it has its length before another can map it.
/// let object = SharedObject::options().read(true).write(true).create(true).len(4096).open(&name)?;
/// assert_eq!(object.len()?, 4096);
/// SharedObject::unlink(&name)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
/// [shm_open(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html)
#[derive(Clone, Debug)]
pub struct SharedObjectOptions {
    read: bool,
    write: bool,
    create: bool,
    create_new: bool,
    truncate: bool,
    mode: u32,
    len: Option<u64>,
}

impl Default for SharedObjectOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SharedObjectOptions {
    /// Nothing allowed and nothing created yet; mode 0600.
    #[must_use]
    pub fn new() -> Self {
        let [read, write, create, create_new, truncate] = [false; 5];
        Self { read, write, create, create_new, truncate, mode: 0o600, len: None }
    }

    /// Whether it can be read. It always must be: there is no shared memory for writing only.
    #[must_use]
    pub fn read(mut self, yes: bool) -> Self {
        self.read = yes;
        self
    }

    /// Whether it can be written, too.
    #[must_use]
    pub fn write(mut self, yes: bool) -> Self {
        self.write = yes;
        self
    }

    /// Whether to make the object if there is none.
    #[must_use]
    pub fn create(mut self, yes: bool) -> Self {
        self.create = yes;
        self
    }

    /// Whether to make the object, and fail if there is one. [`create`](Self::create) and [`truncate`](Self::truncate)
    /// do not matter then.
    #[must_use]
    pub fn create_new(mut self, yes: bool) -> Self {
        self.create_new = yes;
        self
    }

    /// Whether to cut an object that exists to length 0. A process that has mapped it dies of a SIGBUS when it touches it.
    #[must_use]
    pub fn truncate(mut self, yes: bool) -> Self {
        self.truncate = yes;
        self
    }

    /// The permissions of a new object, at most `0o777`; the process's umask is taken away from them. 0600 if nothing
    /// is said: no other user.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The length of a new object. It gets its length, all its memory, and only then its name, so that no process
    /// ever finds it empty. An object that exists keeps its own length.
    #[must_use]
    pub fn len(mut self, len: u64) -> Self {
        self.len = Some(len);
        self
    }

    /// Opens or creates the object. Symbolic links are not followed, and a program that is executed does not get the
    /// descriptor. It does not wait for other processes.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name and for options that contradict each other, `NotFound`, `AlreadyExists`,
    /// `PermissionDenied`, `StorageFull` and `FileTooLarge` (`RLIMIT_FSIZE`) when there is no room for the length,
    /// `InvalidData` when there is something under that name that is no shared memory, or what else the system says.
    pub fn open(&self, name: impl AsRef<str>) -> io::Result<SharedObject> {
        self.open_with(name, |_| Ok(()))
    }

    /// Like [`open`](Self::open), and fills a new object of a given [`len`](Self::len) before it has its name: so
    /// no process ever sees it without its contents. `fill` is not called for an object that exists, and may be called for
    /// one that is then thrown away, because another process was quicker.
    ///
    /// ```
    /// use smstream_shm::posix::{Semaphore, SharedObject};
    /// # let name = format!("/smstream-doc-fill-{}", std::process::id());
    ///
    /// let options = SharedObject::options().read(true).write(true).create_new(true).len(4096);
    /// let object = options.open_with(&name, |memory| Semaphore::init(memory, 0, 5).map(drop))?;
    /// assert_eq!(Semaphore::at(&object.map()?, 0)?.value(), 5);
    /// SharedObject::unlink(&name)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`open`](Self::open), and what `fill` returns.
    pub fn open_with(
        &self,
        name: impl AsRef<str>,
        fill: impl Fn(&Mapping) -> io::Result<()>,
    ) -> io::Result<SharedObject> {
        let name = ShmName::new(name)?;
        self.check()?;
        let access = if self.write { Access::ReadWrite } else { Access::ReadOnly };
        loop {
            if !self.create_new {
                // Without O_CREAT even if it may be created: with it, the kernel may refuse objects of other users in a
                // directory like /dev/shm (fs.protected_regular), although they could be opened.
                match open_existing(&name, self.flags()) {
                    Err(Errno::NOENT) if self.create => {}
                    Ok(fd) => return SharedObject::adopt(fd, name, access),
                    Err(e) => return Err(explain(e, failed("open", &name, e))),
                }
            }
            let made = match self.len {
                Some(len) => self.make_sized(&name, len, &fill)?,
                None => self.make_empty(&name)?,
            };
            match made {
                Some(fd) => return SharedObject::adopt(fd, name, access),
                None if self.create_new => {
                    let text = failed("create", &name, Errno::EXIST);
                    return Err(explain(Errno::EXIST, text));
                }
                // Another process has made it meanwhile.
                None => {}
            }
        }
    }

    /// Refuses what makes no sense.
    fn check(&self) -> io::Result<()> {
        let wrong = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let creates = self.create || self.create_new;
        match () {
            () if !self.read && self.write => {
                wrong("shared memory cannot be opened for writing only: say read(true) as well")
            }
            () if !self.read => wrong("say read(true), and write(true) if it is to be written"),
            () if self.truncate && !self.write => wrong("truncate(true) needs write(true)"),
            () if self.len.is_some() && !creates => {
                wrong("len() is for objects that are created: say create(true) or create_new(true), or use set_len")
            }
            () if self.len.is_some() && !self.write => wrong("len() needs write(true)"),
            () if self.len.is_some() && self.truncate && !self.create_new => {
                wrong("len() and truncate(true) contradict each other: an object that exists would become empty")
            }
            () if self.len == Some(0) => wrong("an object of 0 bytes cannot be mapped: leave len() out"),
            () if self.mode & !PERMISSIONS != 0 => wrong("the mode has bits beyond 0o777"),
            () => Ok(()),
        }
    }

    fn flags(&self) -> shm::OFlags {
        let mut flags = if self.write { shm::OFlags::RDWR } else { shm::OFlags::RDONLY };
        if self.truncate && !self.create_new {
            flags |= shm::OFlags::TRUNC;
        }
        flags
    }

    fn permissions(&self) -> Mode {
        Mode::from_raw_mode(self.mode)
    }

    /// Makes an object of length 0: `None` if there is one.
    fn make_empty(&self, name: &ShmName) -> io::Result<Option<OwnedFd>> {
        let flags = self.flags() | shm::OFlags::CREATE | shm::OFlags::EXCL | no_link();
        match retry(|| shm::open(name.as_str(), flags, self.permissions())) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::EXIST) => Ok(None),
            Err(e) => Err(explain(e, failed("create", name, e))),
        }
    }

    /// Makes an object without a name, gives it its length and contents, and then its name: `None` if something has it.
    fn make_sized(
        &self,
        name: &ShmName,
        len: u64,
        fill: impl Fn(&Mapping) -> io::Result<()>,
    ) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let what = || format!("cannot create the shared memory object {name} with {len} bytes");
        check_file_size_limit(len).map_err(|e| explain(e, what()))?;
        let fd = retry(|| rustix::fs::open(DIRECTORY, flags, self.permissions()))
            .map_err(|e| explain(e, failed("create", name, e)))?;
        allocate(&fd, len).map_err(|e| explain(e, format!("{}{}", what(), room())))?;
        let whole = usize::try_from(len).map_err(|_| explain(Errno::NOMEM, what()))?;
        fill(&Mapping::new(&fd, 0, whole, Access::ReadWrite)?)?;
        match link(&fd, name) {
            Ok(()) => Ok(Some(fd)),
            Err(Errno::EXIST) => Ok(None),
            Err(e) => Err(explain(e, failed("give a name to", name, e))),
        }
    }
}

impl SharedObject {
    /// How to open or create one.
    #[must_use]
    pub fn options() -> SharedObjectOptions {
        SharedObjectOptions::new()
    }

    /// Opens an object that exists, for reading. See [`SharedObjectOptions::open`], also for the errors.
    ///
    /// # Errors
    /// As for [`SharedObjectOptions::open`].
    pub fn open(name: impl AsRef<str>) -> io::Result<Self> {
        Self::options().read(true).open(name)
    }

    /// Creates an object of `len` zero bytes with mode 0600, for reading and writing, that no process can find before it
    /// has its length and its memory.
    ///
    /// C's way, to create it and then to size it, lets others map it in between, and die of it. Here the file is made
    /// without a name, and linked when it is whole.
    ///
    /// # Errors
    /// As for [`SharedObjectOptions::open`]; `AlreadyExists` if there is one.
    pub fn create_sized(name: impl AsRef<str>, len: u64) -> io::Result<Self> {
        Self::options().read(true).write(true).create_new(true).len(len).open(name)
    }
}

/// Opens what has the name. Without waiting, if it is a fifo.
fn open_existing(name: &ShmName, flags: shm::OFlags) -> rustix::io::Result<OwnedFd> {
    let fd = retry(|| shm::open(name.as_str(), flags | no_link(), Mode::empty()))?;
    let stat = rustix::fs::fstat(&fd)?;
    // Only a regular file can be mapped, sized and allocated.
    if FileType::from_raw_mode(stat.st_mode).is_file() { Ok(fd) } else { Err(Errno::NODEV) }
}

/// A symbolic link is not followed: another user may have put it into the directory, which all users can write.
fn no_link() -> shm::OFlags {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    shm::OFlags::from_bits_retain(flags.bits())
}

/// Gives the name to a file without one.
fn link(fd: &OwnedFd, name: &ShmName) -> rustix::io::Result<()> {
    let path = name.path();
    let number = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match retry(|| rustix::fs::linkat(CWD, &number, CWD, &path, AtFlags::SYMLINK_FOLLOW)) {
        // Without /proc. Newer kernels allow this to the process that opened the file.
        Err(Errno::NOENT) => retry(|| rustix::fs::linkat(fd, c"", CWD, &path, AtFlags::EMPTY_PATH)),
        other => other,
    }
}
