//! The name of a region in its directory.
//!
//! The directory is held open, so that all steps are about the same one, even if it is renamed meanwhile.

use super::error::{RendezvousError, RendezvousReason};
use crate::chance;
use crate::header::fresh::{self, Extent, OTHER_FILE, Shape, Stale};
use crate::leftover::{self, Kept};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::Errno;
use smstream_shm::memory::retry;
use smstream_shm::posix::identity;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What comes behind the name of a region that is about to get it.
const NEW: &str = ".new";
/// The longest name that file systems have.
const LONGEST: usize = 255;

/// How often to try again to open a file on which a process has a lease, and the pause between. A lease ends by itself after
/// `/proc/sys/fs/lease-break-time` seconds at most; those of this library last for microseconds.
const LEASE_ATTEMPTS: u32 = 1000;
const LEASE_PAUSE: Duration = Duration::from_millis(1);

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
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct RegionName {
    directory: OwnedFd,
    base: OsString,
    new: OsString,
    path: PathBuf,
}

impl RegionName {
    /// The name that `path` says. Its directory must exist.
    pub(super) fn of(path: &Path) -> Result<Self, RendezvousError> {
        let (Some(base), Some(parent)) = (path.file_name(), path.parent()) else {
            return Err(RendezvousError::new(path, RendezvousReason::BadName));
        };
        let mut new = base.to_os_string();
        new.push(NEW);
        if new.len() > LONGEST {
            return Err(RendezvousError::new(path, RendezvousReason::BadName));
        }
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = retry(|| rustix::fs::open(parent, flags, Mode::empty()))
            .map_err(|e| RendezvousError::new(path, RendezvousReason::System("open the directory", e.into())))?;
        Ok(Self { directory, base: base.to_os_string(), new, path: path.to_path_buf() })
    }

    /// The path, as it was given.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// An error about this name.
    pub(super) fn error(&self, reason: RendezvousReason) -> RendezvousError {
        RendezvousError::new(&self.path, reason)
    }

    /// An error of the system: what was tried, and what it said.
    pub(super) fn system(&self, what: &'static str) -> impl FnOnce(io::Error) -> RendezvousError {
        move |e| self.error(RendezvousReason::System(what, e))
    }

    /// Opens what has the name, if it can be a region: `None` if nothing has it.
    fn open_as(&self, base: &OsStr) -> Result<Option<(OwnedFd, Stat)>, RendezvousError> {
        // Without waiting for the other side of a fifo, without following a link that another process may have put there.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut attempts = 0;
        let open = || {
            attempts += 1;
            match retry(|| rustix::fs::openat(&self.directory, base, flags, Mode::empty())) {
                // A process has a lease on the file, and is about to remove it: see `Reaper`.
                Err(Errno::AGAIN) if attempts < LEASE_ATTEMPTS => {
                    std::thread::sleep(LEASE_PAUSE);
                    Err(Errno::INTR)
                }
                other => other,
            }
        };
        let fd = match retry(open) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => {
                return Err(self.error(match e {
                    Errno::LOOP => RendezvousReason::NotARegion("a symbolic link"),
                    Errno::ISDIR => RendezvousReason::NotARegion("a directory"),
                    Errno::NXIO => RendezvousReason::NotARegion("a socket"),
                    Errno::TXTBSY => RendezvousReason::NotARegion("a program"),
                    e => match self.stat(base) {
                        Ok(stat) if stat.st_uid != euid() => RendezvousReason::ForeignOwner(stat.st_uid),
                        _ => RendezvousReason::System("open the file", e.into()),
                    },
                }));
            }
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| self.system("look at the file")(e.into()))?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(self.error(RendezvousReason::NotARegion("no regular file")));
        }
        if stat.st_uid != euid() {
            return Err(self.error(RendezvousReason::ForeignOwner(stat.st_uid)));
        }
        Ok(Some((fd, stat)))
    }

    /// Opens what has the name, if it is a region, of whatever version.
    pub(super) fn open_region(&self) -> Result<Option<Found>, RendezvousError> {
        let Some((fd, stat)) = self.open_as(&self.base)? else { return Ok(None) };
        let mut found = [0; 8];
        let read =
            retry(|| rustix::io::pread(&fd, &mut found, 0)).map_err(|e| self.system("read the file")(e.into()))?;
        if read != found.len() || found != smstream_core::layout::MAGIC {
            return Err(self.error(RendezvousReason::NotARegion(OTHER_FILE)));
        }
        Ok(Some(Found { fd, stat }))
    }

    /// Opens what has the name, if it is a dead region that may be replaced: `None` if nothing has the name. As long as the
    /// result lives, no other listener takes the name over.
    pub(super) fn open_dead(&self) -> Result<Option<OwnedFd>, RendezvousError> {
        self.open_dead_as(&self.base)
    }

    fn open_dead_as(&self, base: &OsStr) -> Result<Option<OwnedFd>, RendezvousError> {
        let Some((fd, _)) = self.open_as(base).map_err(RendezvousError::for_listener)? else { return Ok(None) };
        let mut attempts = 0;
        let judged = loop {
            attempts += 1;
            match leftover::judge(&fd) {
                Err(Kept::Gone) => return Ok(None),
                // Another process is judging it at this moment: it removes the name, or takes it over. Or a connector, one of
                // many that try perhaps, is about to see that its listener is dead.
                Err(Kept::Judged | Kept::Claimed) if attempts < LEASE_ATTEMPTS => std::thread::sleep(LEASE_PAUSE),
                other => break other,
            }
        };
        let id = judged.map_err(|kept| {
            self.error(match kept {
                Kept::Other(what) => RendezvousReason::Occupied(what),
                Kept::Foreign(uid) => RendezvousReason::ForeignOwner(uid),
                Kept::InUse(_) | Kept::Judged | Kept::Claimed | Kept::Gone => RendezvousReason::InUse,
                Kept::System(e) => RendezvousReason::System("find out whether a listener lives", e),
            })
        })?;
        // Between opening and judging it another listener may have taken the name over.
        match self.stat(base) {
            Ok(stat) if identity(&stat) == id => Ok(Some(fd)),
            Ok(_) => Err(self.error(RendezvousReason::InUse)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.system("look at the file")(e.into())),
        }
    }

    /// Checks that the region of this listener, which has the name, is what this listener made: what another program has
    /// written over it is neither replaced nor removed.
    pub(super) fn check_own(&self, fd: impl AsFd, extent: Extent) -> Result<(), RendezvousError> {
        fresh::check(fd, extent).map_err(|stale| match stale {
            Stale::Other(what) => self.error(RendezvousReason::Overwritten(what)),
            Stale::System(e) => self.error(RendezvousReason::System("look at the region", e)),
        })
    }

    fn stat(&self, base: &OsStr) -> rustix::io::Result<Stat> {
        rustix::fs::statat(&self.directory, base, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Whether this file has the name now.
    pub(super) fn is(&self, id: FileId) -> Result<bool, RendezvousError> {
        match self.stat(&self.base) {
            Ok(stat) => Ok(FileId::of(&stat) == id),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(self.system("look at the file")(e.into())),
        }
    }

    /// Gives the name to a file without one: `false` if something has it already.
    pub(super) fn link(&self, fd: impl AsFd) -> Result<bool, RendezvousError> {
        self.link_as(fd, &self.base)
    }

    fn link_as(&self, fd: impl AsFd, base: &OsStr) -> Result<bool, RendezvousError> {
        let fd = fd.as_fd();
        let number = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut result = retry(|| rustix::fs::linkat(CWD, &number, &self.directory, base, AtFlags::SYMLINK_FOLLOW));
        if result == Err(Errno::NOENT) {
            // Without /proc. Newer kernels allow this to the process that opened the file.
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
    pub(super) fn replace(&self, fd: impl AsFd) -> Result<(), RendezvousError> {
        let fd = fd.as_fd();
        let mut new = self.new.clone();
        while !self.link_as(fd, &new)? {
            if self.remove_stale_new()? == New::Lives {
                // NAME.new is the name of another listener: this region gets there by way of a name that no other has.
                new = unique();
            }
        }
        retry(|| rustix::fs::renameat(&self.directory, &new, &self.directory, &self.base)).map_err(|e| {
            // It was made just now by this call. If this fails as well, the next listener at this name removes it.
            let _ = rustix::fs::unlinkat(&self.directory, &new, AtFlags::empty());
            self.system("give the new region the name")(e.into())
        })
    }

    /// Removes what a listener left that died while it replaced the name: a dead region and nothing else.
    fn remove_stale_new(&self) -> Result<New, RendezvousError> {
        let in_the_way =
            |e: RendezvousError| RendezvousError::new(&self.path.with_file_name(&self.new), e.into_reason());
        let dead = match self.open_dead_as(&self.new) {
            Ok(Some(dead)) => dead,
            Ok(None) => return Ok(New::Gone),
            Err(e) if matches!(e.reason(), RendezvousReason::InUse) => return Ok(New::Lives),
            Err(e) => return Err(in_the_way(e)),
        };
        let result = match rustix::fs::unlinkat(&self.directory, &self.new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(New::Gone),
            Err(e) => Err(in_the_way(self.system("remove the leftover")(e.into()))),
        };
        drop(dead);
        result
    }

    /// Removes the name, if this file has it, and still is the region that its listener made. What has been written over
    /// it is kept.
    pub(super) fn remove(&self, id: FileId, fd: impl AsFd, shape: Shape) -> Result<(), RendezvousError> {
        if !self.is(id)? {
            return Ok(());
        }
        self.check_own(fd, Extent::Own(shape))?;
        match rustix::fs::unlinkat(&self.directory, &self.base, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.system("remove the name")(e.into())),
        }
    }
}

/// What became of NAME.new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum New {
    /// Nothing has the name.
    Gone,
    /// A listener has it.
    Lives,
}

/// A name in a directory that no other has, for the moment until the region gets the right one.
fn unique() -> OsString {
    format!(".smstream-{:016x}{NEW}", chance::number()).into()
}

/// The user whose files this process makes.
fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}
