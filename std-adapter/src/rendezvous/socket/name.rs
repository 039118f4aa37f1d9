//! The name of a listening socket: how a listener gets it, and gives it back. See [`lock_file`](super::lock_file).

use super::lock_file::{self, LockFile, LockRecord, NoLock, describe};
use crate::addr::Addr;
use crate::rendezvous::{RendezvousError, RendezvousReason};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use smstream_shm::memory::retry;
use smstream_shm::posix::identity;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name of a socket.
#[derive(Clone, Debug)]
pub(crate) struct SocketName {
    address: SocketAddrUnix,
    /// The file, unless the name is abstract.
    path: Option<PathBuf>,
    /// As people write it.
    shown: PathBuf,
}

/// The right to a path, and what stands there.
#[derive(Debug)]
pub(super) struct Right {
    lock: LockFile,
    /// The socket that was bound: device and inode.
    bound: Option<(u64, u64)>,
}

impl SocketName {
    /// `unix:PATH`.
    pub(crate) fn of_path(path: &Path) -> Result<Self, RendezvousError> {
        Self::of_path_called("unix:", path)
    }

    /// The same, for messages that write something else before the path.
    pub(super) fn of_path_called(kind: &str, path: &Path) -> Result<Self, RendezvousError> {
        let shown = shown(kind, path.as_os_str());
        // Later a directory may be the working one that is not now.
        let absolute = std::path::absolute(path);
        let fits = absolute.ok().filter(|p| SocketAddrUnix::new(p).is_ok()).unwrap_or_else(|| path.to_path_buf());
        let address =
            SocketAddrUnix::new(&fits).map_err(|_| RendezvousError::new(&shown, RendezvousReason::BadSocketName))?;
        if path.file_name().is_none() {
            return Err(RendezvousError::new(&shown, RendezvousReason::BadSocketName));
        }
        Ok(SocketName { address, path: Some(fits), shown })
    }

    /// `unix:@NAME`.
    pub(crate) fn of_abstract(name: &OsStr) -> Result<Self, RendezvousError> {
        let shown = shown("unix:@", name);
        match SocketAddrUnix::new_abstract_name(name.as_bytes()) {
            Ok(address) if !name.is_empty() => Ok(SocketName { address, path: None, shown }),
            _ => Err(RendezvousError::new(&shown, RendezvousReason::BadSocketName)),
        }
    }

    /// The name that a socket has: `None` if it has none.
    pub(super) fn of_socket(socket: &OwnedFd) -> Option<Self> {
        let address = SocketAddrUnix::try_from(rustix::net::getsockname(socket).ok()?).ok()?;
        match (address.path_bytes(), address.abstract_name()) {
            (Some(path), _) => Self::of_path(Path::new(OsStr::from_bytes(path))).ok(),
            (None, Some(name)) => Self::of_abstract(OsStr::from_bytes(name)).ok(),
            (None, None) => None,
        }
    }

    /// The address that connectors use.
    pub(crate) fn addr(&self) -> Addr {
        match (&self.path, self.address.abstract_name()) {
            (Some(path), _) => Addr::Unix(path.clone()),
            (None, name) => Addr::Abstract(OsStr::from_bytes(name.unwrap_or_default()).to_owned()),
        }
    }

    /// An error about this name.
    pub(crate) fn error(&self, reason: RendezvousReason) -> RendezvousError {
        RendezvousError::new(&self.shown, reason)
    }

    fn system(&self, what: &'static str) -> impl Fn(Errno) -> RendezvousError + '_ {
        move |e| self.error(RendezvousReason::System(what, e.into()))
    }

    /// Connects a socket to it.
    pub(super) fn connect(&self, socket: &OwnedFd) -> rustix::io::Result<()> {
        rustix::net::connect(socket, &self.address)
    }

    /// Why connecting failed.
    pub(super) fn not_connected(&self, e: Errno) -> RendezvousError {
        self.error(match (e, &self.path) {
            (Errno::NOENT, _) => RendezvousReason::NoListener,
            (Errno::CONNREFUSED, None) => RendezvousReason::NoSuchName,
            (Errno::CONNREFUSED, Some(path)) => match kind_of(path) {
                Ok(FileType::Socket) | Err(_) => RendezvousReason::ListenerDied,
                Ok(other) => RendezvousReason::NotARegion(describe(other)),
            },
            (Errno::PROTOTYPE, _) => RendezvousReason::NotARegion(
                "a Unix socket that is not SOCK_SEQPACKET, which `smstream proxy` reaches by uds:PATH",
            ),
            (e, _) => RendezvousReason::System("connect", e.into()),
        })
    }

    /// Gives a socket the name and lets it listen. A name whose listener died is taken over if `take_over` says so.
    ///
    /// `others`: not only this user may connect.
    pub(super) fn listen(
        &self,
        socket: &OwnedFd,
        backlog: i32,
        others: bool,
        take_over: bool,
    ) -> Result<Option<Right>, RendezvousError> {
        let Some(path) = &self.path else {
            retry(|| rustix::net::bind(socket, &self.address)).map_err(|e| self.not_bound(e))?;
            retry(|| rustix::net::listen(socket, backlog)).map_err(self.system("listen"))?;
            return Ok(None);
        };
        let mut right = Right { lock: LockFile::take(path).map_err(|e| self.no_lock(e, path))?, bound: None };
        match self.take_path(path, socket, backlog, others, take_over, &mut right) {
            Ok(()) => Ok(Some(right)),
            Err(e) => {
                let _ = self.remove(&right);
                Err(e)
            }
        }
    }

    /// The rest of it, with the lock: `right` says then what there is to be removed.
    fn take_path(
        &self,
        path: &Path,
        socket: &OwnedFd,
        backlog: i32,
        others: bool,
        take_over: bool,
        right: &mut Right,
    ) -> Result<(), RendezvousError> {
        // The file gets the mode of the socket, less the umask: only this user may connect, for now.
        retry(|| rustix::fs::fchmod(socket, Mode::RUSR | Mode::WUSR)).map_err(self.system("set the mode"))?;
        loop {
            match retry(|| rustix::net::bind(socket, &self.address)) {
                Ok(()) => break,
                Err(Errno::ADDRINUSE) if take_over => self.remove_stale(path, &right.lock)?,
                Err(e) => return Err(self.not_bound(e)),
            }
        }
        let bound = match rustix::fs::lstat(path) {
            Ok(stat) => identity(&stat),
            Err(e) => {
                // This call has just made it, with the right to the name.
                let _ = retry(|| rustix::fs::unlink(path));
                return Err(self.system("look at the socket")(e));
            }
        };
        right.bound = Some(bound);
        right.lock.note(LockRecord { bound: Some(bound) }).map_err(self.system("write its lock file"))?;
        if others {
            self.open_to_others(right)?;
        }
        retry(|| rustix::net::listen(socket, backlog)).map_err(self.system("listen"))
    }

    fn not_bound(&self, e: Errno) -> RendezvousError {
        match e {
            Errno::ADDRINUSE => self.error(RendezvousReason::InUse),
            e => self.error(RendezvousReason::System("give the socket its name", e.into())),
        }
    }

    fn no_lock(&self, e: NoLock, path: &Path) -> RendezvousError {
        match e {
            NoLock::Held => self.error(RendezvousReason::InUse),
            NoLock::Foreign(uid) => self.error(RendezvousReason::ForeignOwner(uid)),
            NoLock::System(what, e) => self.system(what)(e),
            NoLock::Other(what) => {
                let mut name = path.as_os_str().to_os_string();
                name.push(lock_file::SUFFIX);
                RendezvousError::new(Path::new(&name), RendezvousReason::ForeignLock(what))
            }
        }
    }

    /// Removes the socket of a listener that died. The caller holds the lock. What the lock file does not name stays.
    fn remove_stale(&self, path: &Path, lock: &LockFile) -> Result<(), RendezvousError> {
        let found = match rustix::fs::lstat(path) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(self.system("look at what has the name")(e)),
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::Socket {
            return Err(self.error(RendezvousReason::Occupied(describe(kind))));
        }
        if found.st_uid != euid() {
            return Err(self.error(RendezvousReason::ForeignOwner(found.st_uid)));
        }
        // A program that knows nothing of the lock may listen there.
        if !is_stale(&self.address).map_err(self.system("find out whether a process listens there"))? {
            return Err(self.error(RendezvousReason::InUse));
        }
        if !lock.left().is_some_and(|left| left.names(&found)) {
            return Err(self.error(RendezvousReason::Occupied("a socket that another program left")));
        }
        match rustix::fs::lstat(path) {
            Ok(now) if identity(&now) == identity(&found) => {}
            _ => return Ok(()),
        }
        match retry(|| rustix::fs::unlink(path)) {
            Ok(()) | Err(Errno::NOENT) => {
                // The number may be that of another socket soon.
                lock.note(LockRecord { bound: None }).map_err(self.system("write its lock file"))
            }
            Err(e) => Err(self.system("remove the socket that was left")(e)),
        }
    }

    /// Lets all users connect: the permission to write to the file is what connecting needs. No process listens yet.
    fn open_to_others(&self, right: &Right) -> Result<(), RendezvousError> {
        let file = self.open(right)?;
        // Through the descriptor: whatever the name leads to by now, this is the socket.
        let number = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mode = Mode::from_raw_mode(0o666);
        retry(|| rustix::fs::chmodat(CWD, &number, mode, AtFlags::empty()))
            .map_err(self.system("let other users connect"))
    }

    /// Whether the name leads to the socket that was bound.
    pub(super) fn leads_to(&self, right: &Right) -> Result<bool, RendezvousError> {
        let (Some(path), Some(bound)) = (&self.path, right.bound) else { return Ok(true) };
        match rustix::fs::lstat(path) {
            Ok(now) => Ok(identity(&now) == bound),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(self.system("look at the socket")(e)),
        }
    }

    /// Opens the file of the socket that was bound, for its name only.
    pub(super) fn open(&self, right: &Right) -> Result<OwnedFd, RendezvousError> {
        let (Some(path), Some(bound)) = (&self.path, right.bound) else {
            return Err(self.error(RendezvousReason::NameLost));
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let system = self.system("look at the socket");
        let file = retry(|| rustix::fs::open(path, flags, Mode::empty())).map_err(&system)?;
        let found = rustix::fs::fstat(&file).map_err(&system)?;
        if identity(&found) != bound {
            return Err(self.error(RendezvousReason::NameLost));
        }
        Ok(file)
    }

    /// Removes the socket's file, if it still is the one that was bound, and then the lock file.
    pub(super) fn remove(&self, right: &Right) -> Result<(), RendezvousError> {
        if let (Some(path), Some(bound)) = (&self.path, right.bound) {
            match rustix::fs::lstat(path) {
                Ok(now) if identity(&now) == bound => match retry(|| rustix::fs::unlink(path)) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(self.system("remove the name")(e)),
                },
                Ok(_) | Err(Errno::NOENT) => {}
                Err(e) => return Err(self.system("look at the socket")(e)),
            }
        }
        right.lock.remove().map_err(self.system("remove its lock file"))
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.display().fmt(f)
    }
}

/// Whether a socket file has no listener: connecting is refused. A listener sees, at most, a connector that hangs up.
///
/// # Errors
/// The system does not say.
pub(crate) fn is_stale(address: &SocketAddrUnix) -> rustix::io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // A refusal comes before the types are compared, so one type will do for all.
    let probe = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match retry(|| rustix::net::connect(&probe, address)) {
        Err(Errno::CONNREFUSED) => Ok(true),
        // A listener is there: it lets this one in, or its queue is full, or its socket is of another type.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Ok(false),
        Err(e) => Err(e),
    }
}

fn shown(kind: &str, rest: &OsStr) -> PathBuf {
    let mut text = std::ffi::OsString::from(kind);
    text.push(rest);
    PathBuf::from(text)
}

fn kind_of(path: &Path) -> rustix::io::Result<FileType> {
    rustix::fs::stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
