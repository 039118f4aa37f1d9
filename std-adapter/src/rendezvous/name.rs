//! The name of a region in its directory.
//!
//! The directory is held open, so that all steps are about the same one, even if it is renamed meanwhile.

use super::error::{Error, Reason};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::Errno;
use smstream_shm::memory::retry;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// What comes behind the name of a region that is about to get it.
const NEW: &str = ".new";
/// The longest name that file systems have.
const LONGEST: usize = 255;

/// Which file it is, whatever its names. Only as good as long as the file is open or has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    #[allow(clippy::useless_conversion, reason = "the fields have other types on other machines")]
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: u64::from(stat.st_dev), inode: u64::from(stat.st_ino) }
    }
}

/// What a name led to.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
    pub(super) id: FileId,
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Name {
    directory: OwnedFd,
    base: OsString,
    new: OsString,
    path: PathBuf,
}

impl Name {
    /// The name that `path` says. Its directory must exist.
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let (Some(base), Some(parent)) = (path.file_name(), path.parent()) else {
            return Err(Error::new(path, Reason::BadName));
        };
        let mut new = base.to_os_string();
        new.push(NEW);
        if new.len() > LONGEST {
            return Err(Error::new(path, Reason::BadName));
        }
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = retry(|| rustix::fs::open(parent, flags, Mode::empty()))
            .map_err(|e| Error::new(path, Reason::System("open the directory", e.into())))?;
        Ok(Self { directory, base: base.to_os_string(), new, path: path.to_path_buf() })
    }

    /// The directory.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// An error about this name.
    pub(super) fn error(&self, reason: Reason) -> Error {
        Error::new(&self.path, reason)
    }

    /// An error of the system: what was tried, and what it said.
    pub(super) fn system(&self, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |e| self.error(Reason::System(what, e))
    }

    /// Opens what has the name, if it can be a region: `None` if nothing has it.
    fn open_as(&self, base: &OsStr) -> Result<Option<(OwnedFd, Stat)>, Error> {
        // Without waiting for the other side of a fifo, without following a link that somebody else may have put there.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match retry(|| rustix::fs::openat(&self.directory, base, flags, Mode::empty())) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => {
                return Err(self.error(match e {
                    Errno::LOOP => Reason::NotARegion("a symbolic link"),
                    Errno::ISDIR => Reason::NotARegion("a directory"),
                    Errno::NXIO => Reason::NotARegion("a socket"),
                    Errno::TXTBSY => Reason::NotARegion("a program"),
                    e => match self.stat(base) {
                        Ok(stat) if stat.st_uid != euid() => Reason::ForeignOwner(stat.st_uid),
                        _ => Reason::System("open the file", e.into()),
                    },
                }));
            }
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| self.system("look at the file")(e.into()))?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(self.error(Reason::NotARegion("no regular file")));
        }
        if stat.st_uid != euid() {
            return Err(self.error(Reason::ForeignOwner(stat.st_uid)));
        }
        Ok(Some((fd, stat)))
    }

    /// Opens what has the name, if it is a region, of whatever version.
    pub(super) fn open_region(&self) -> Result<Option<Found>, Error> {
        self.open_region_as(&self.base)
    }

    fn open_region_as(&self, base: &OsStr) -> Result<Option<Found>, Error> {
        let Some((fd, stat)) = self.open_as(base)? else { return Ok(None) };
        let mut found = [0; 8];
        let magic = smstream_core::layout::MAGIC;
        let read = retry(|| rustix::io::pread(&fd, &mut found, 0));
        if read != Ok(magic.len()) || found != magic {
            return Err(self.error(Reason::NotARegion("some other file")));
        }
        Ok(Some(Found { fd, id: FileId::of(&stat), stat }))
    }

    fn stat(&self, base: &OsStr) -> rustix::io::Result<Stat> {
        rustix::fs::statat(&self.directory, base, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Whether this file has the name now.
    pub(super) fn is(&self, id: FileId) -> Result<bool, Error> {
        match self.stat(&self.base) {
            Ok(stat) => Ok(FileId::of(&stat) == id),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(self.system("look at the file")(e.into())),
        }
    }

    /// Gives the name to a file without one: `false` if something has it already.
    pub(super) fn link(&self, fd: impl AsFd) -> Result<bool, Error> {
        self.link_as(fd, &self.base)
    }

    fn link_as(&self, fd: impl AsFd, base: &OsStr) -> Result<bool, Error> {
        let fd = fd.as_fd();
        let number = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut result = retry(|| rustix::fs::linkat(CWD, &number, &self.directory, base, AtFlags::SYMLINK_FOLLOW));
        if result == Err(Errno::NOENT) {
            // Without /proc. Newer kernels allow this to whoever opened the file.
            let other = retry(|| rustix::fs::linkat(fd, c"", &self.directory, base, AtFlags::EMPTY_PATH));
            result = other.map_err(|e| if e == Errno::EXIST { e } else { Errno::NOENT });
        }
        match result {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(self.system("give the region its name")(e.into())),
        }
    }

    /// Gives the name to a file without one, and takes it from whatever has it. The caller holds the right to do so:
    /// the lock on the name byte of the region that has it.
    pub(super) fn replace(&self, fd: impl AsFd) -> Result<(), Error> {
        let fd = fd.as_fd();
        while !self.link_as(fd, &self.new)? {
            self.remove_stale_new()?;
        }
        retry(|| rustix::fs::renameat(&self.directory, &self.new, &self.directory, &self.base)).map_err(|e| {
            // It is ours, made just now. If this fails as well, the next one who replaces the name removes it.
            let _ = rustix::fs::unlinkat(&self.directory, &self.new, AtFlags::empty());
            self.system("give the new region the name")(e.into())
        })
    }

    /// Removes what somebody left behind who died while replacing the name; nothing but a region.
    fn remove_stale_new(&self) -> Result<(), Error> {
        let in_the_way = |e: Error| Error::new(&self.path.with_file_name(&self.new), e.into_reason());
        if self.open_region_as(&self.new).map_err(in_the_way)?.is_none() {
            return Ok(());
        }
        match rustix::fs::unlinkat(&self.directory, &self.new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(in_the_way(self.system("remove the leftover")(e.into()))),
        }
    }

    /// Removes the name, if this file has it.
    pub(super) fn remove(&self, id: FileId) -> Result<(), Error> {
        if !self.is(id)? {
            return Ok(());
        }
        match rustix::fs::unlinkat(&self.directory, &self.base, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.system("remove the name")(e.into())),
        }
    }
}

/// The user whose files this process makes.
fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}
