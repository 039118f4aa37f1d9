//! The name of a listening socket, and who has the right to it.
//!
//! A socket file outlives its listener, and nothing about it says whether anybody still listens. So whoever listens at
//! PATH holds a lock on PATH.lock as long as that lasts. Who gets the lock may remove a PATH that nobody listens at, and
//! nobody else. The lock file goes with the listener; if that is killed, both stay, and the next one takes them over.

use crate::rendezvous::{Error, Reason};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use smstream_shm::memory::retry;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What comes behind a path in the name of its lock file.
pub(crate) const LOCK: &str = ".lock";
/// What a lock file says, so that it is not taken for that of another program when it is left over.
pub(crate) const LOCK_MARK: &[u8; 17] = b"lock of smstream\n";

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
    lock: OwnedFd,
    lock_path: PathBuf,
    /// The socket that was bound: device and inode.
    bound: Option<(u64, u64)>,
}

impl SocketName {
    /// `unix:PATH`.
    pub(crate) fn of_path(path: &Path) -> Result<Self, Error> {
        let shown = shown("unix:", path.as_os_str());
        // Later a directory may be the working one that is not now.
        let absolute = std::path::absolute(path);
        let fits = absolute.ok().filter(|p| SocketAddrUnix::new(p).is_ok()).unwrap_or_else(|| path.to_path_buf());
        let address = SocketAddrUnix::new(&fits).map_err(|_| Error::new(&shown, Reason::BadSocketName))?;
        if path.file_name().is_none() {
            return Err(Error::new(&shown, Reason::BadSocketName));
        }
        Ok(SocketName { address, path: Some(fits), shown })
    }

    /// `unix:@NAME`.
    pub(crate) fn of_abstract(name: &OsStr) -> Result<Self, Error> {
        let shown = shown("unix:@", name);
        match SocketAddrUnix::new_abstract_name(name.as_bytes()) {
            Ok(address) if !name.is_empty() => Ok(SocketName { address, path: None, shown }),
            _ => Err(Error::new(&shown, Reason::BadSocketName)),
        }
    }

    /// An error about this name.
    pub(crate) fn error(&self, reason: Reason) -> Error {
        Error::new(&self.shown, reason)
    }

    fn system(&self, what: &'static str) -> impl Fn(Errno) -> Error + '_ {
        move |e| self.error(Reason::System(what, e.into()))
    }

    /// Connects a socket to it.
    pub(super) fn connect(&self, socket: &OwnedFd) -> rustix::io::Result<()> {
        rustix::net::connect(socket, &self.address)
    }

    /// Why connecting failed.
    pub(super) fn not_connected(&self, e: Errno) -> Error {
        self.error(match (e, &self.path) {
            (Errno::NOENT, _) => Reason::NobodyListens,
            (Errno::CONNREFUSED, None) => Reason::NoSuchName,
            (Errno::CONNREFUSED, Some(path)) => match kind_of(path) {
                Ok(FileType::Socket) | Err(_) => Reason::ListenerDied,
                Ok(other) => Reason::NotARegion(describe(other)),
            },
            (Errno::PROTOTYPE, _) => Reason::NotARegion("a socket of another type than SOCK_SEQPACKET"),
            (e, _) => Reason::System("connect", e.into()),
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
    ) -> Result<Option<Right>, Error> {
        let Some(path) = &self.path else {
            retry(|| rustix::net::bind(socket, &self.address)).map_err(|e| self.not_bound(e))?;
            retry(|| rustix::net::listen(socket, backlog)).map_err(self.system("listen"))?;
            return Ok(None);
        };
        let mut right = self.lock(path)?;
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
    ) -> Result<(), Error> {
        // The file gets the mode of the socket, less the umask: nobody but this user may connect, for now.
        retry(|| rustix::fs::fchmod(socket, Mode::RUSR | Mode::WUSR)).map_err(self.system("set the mode"))?;
        loop {
            match retry(|| rustix::net::bind(socket, &self.address)) {
                Ok(()) => break,
                Err(Errno::ADDRINUSE) if take_over => self.remove_stale(path)?,
                Err(e) => return Err(self.not_bound(e)),
            }
        }
        let bound = id(&rustix::fs::lstat(path).map_err(self.system("look at the socket"))?);
        right.bound = Some(bound);
        if others {
            self.open_to_others(path, bound)?;
        }
        retry(|| rustix::net::listen(socket, backlog)).map_err(self.system("listen"))
    }

    fn not_bound(&self, e: Errno) -> Error {
        match e {
            Errno::ADDRINUSE => self.error(Reason::InUse),
            e => self.error(Reason::System("give the socket its name", e.into())),
        }
    }

    /// Takes the lock that stands for the right to the path.
    fn lock(&self, path: &Path) -> Result<Right, Error> {
        let mut name = path.as_os_str().to_os_string();
        name.push(LOCK);
        let lock_path = PathBuf::from(name);
        let not_ours = |what| Error::new(&lock_path, Reason::ForeignLock(what));
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let lock = retry(|| rustix::fs::open(&lock_path, flags, Mode::RUSR | Mode::WUSR)).map_err(|e| {
                match rustix::fs::lstat(&lock_path) {
                    Ok(stat) if stat.st_uid != euid() => self.error(Reason::ForeignOwner(stat.st_uid)),
                    Ok(stat) if !is_regular(&stat) => not_ours(describe(FileType::from_raw_mode(stat.st_mode))),
                    _ => self.system("open its lock file")(e),
                }
            })?;
            let found = rustix::fs::fstat(&lock).map_err(self.system("look at its lock file"))?;
            if found.st_uid != euid() {
                return Err(self.error(Reason::ForeignOwner(found.st_uid)));
            }
            if !is_regular(&found) {
                return Err(not_ours(describe(FileType::from_raw_mode(found.st_mode))));
            }
            if !is_marked(&lock).map_err(self.system("read its lock file"))? {
                return Err(not_ours("a file of another program"));
            }
            match retry(|| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(self.error(Reason::InUse)),
                Err(e) => return Err(self.system("lock its lock file")(e)),
            }
            // Its last holder removes the file before giving the lock up. Then this is the lock of nothing.
            if rustix::fs::lstat(&lock_path).is_ok_and(|now| id(&now) == id(&found)) {
                // Without the mark it is a lock all the same; it is only not cleaned up by others, as an empty one is not.
                if found.st_size == 0 {
                    let _ = retry(|| rustix::io::pwrite(&lock, LOCK_MARK, 0));
                }
                return Ok(Right { lock, lock_path, bound: None });
            }
        }
    }

    /// Removes a socket that nobody listens at. The caller holds the lock.
    fn remove_stale(&self, path: &Path) -> Result<(), Error> {
        let found = match rustix::fs::lstat(path) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(self.system("look at what has the name")(e)),
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::Socket {
            return Err(self.error(Reason::Occupied(describe(kind))));
        }
        if found.st_uid != euid() {
            return Err(self.error(Reason::ForeignOwner(found.st_uid)));
        }
        // A program that knows nothing of the lock may listen there.
        if !is_deserted(&self.address) {
            return Err(self.error(Reason::InUse));
        }
        match rustix::fs::lstat(path) {
            Ok(now) if id(&now) == id(&found) => {}
            _ => return Ok(()),
        }
        match retry(|| rustix::fs::unlink(path)) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.system("remove the socket that was left")(e)),
        }
    }

    /// Lets all users connect: the permission to write to the file is what connecting needs. Nobody listens yet.
    fn open_to_others(&self, path: &Path, bound: (u64, u64)) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry(|| rustix::fs::open(path, flags, Mode::empty())).map_err(self.system("look at the socket"))?;
        let found = rustix::fs::fstat(&file).map_err(self.system("look at the socket"))?;
        if id(&found) != bound {
            return Err(self.error(Reason::NameLost));
        }
        // Through the descriptor: whatever the name leads to by now, this is the socket.
        let number = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mode = Mode::from_raw_mode(0o666);
        retry(|| rustix::fs::chmodat(CWD, &number, mode, AtFlags::empty()))
            .map_err(self.system("let other users connect"))
    }

    /// Removes the socket's file, if it still is the one that was bound, and then the lock.
    pub(super) fn remove(&self, right: &Right) -> Result<(), Error> {
        let result = match (&self.path, right.bound) {
            (Some(path), Some(bound)) if rustix::fs::lstat(path).is_ok_and(|now| id(&now) == bound) => {
                match retry(|| rustix::fs::unlink(path)) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(e) => Err(self.system("remove the name")(e)),
                }
            }
            _ => Ok(()),
        };
        right.release();
        result
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.display().fmt(f)
    }
}

impl Right {
    /// Removes the lock file, while the lock is held. It is given up when this is dropped.
    fn release(&self) {
        let ours = rustix::fs::fstat(&self.lock).map(|stat| id(&stat));
        // Somebody may have put another file there.
        if ours.is_ok() && ours == rustix::fs::lstat(&self.lock_path).map(|stat| id(&stat)) {
            let _ = retry(|| rustix::fs::unlink(&self.lock_path));
        }
    }
}

/// Whether a socket file has no listener: connecting is refused. Whoever listens sees, at most, somebody who hangs up.
pub(crate) fn is_deserted(address: &SocketAddrUnix) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // A refusal comes before the types are compared, so one type will do for all.
    let Ok(probe) = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None) else { return false };
    retry(|| rustix::net::connect(&probe, address)) == Err(Errno::CONNREFUSED)
}

fn shown(kind: &str, rest: &OsStr) -> PathBuf {
    let mut text = std::ffi::OsString::from(kind);
    text.push(rest);
    PathBuf::from(text)
}

#[allow(clippy::useless_conversion, reason = "the fields have other types on other machines")]
fn id(stat: &Stat) -> (u64, u64) {
    (u64::from(stat.st_dev), u64::from(stat.st_ino))
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Whether a regular file is a lock of ours: it has the mark and nothing else, or nothing yet.
fn is_marked(lock: &OwnedFd) -> rustix::io::Result<bool> {
    let mut content = [0; LOCK_MARK.len() + 1];
    let len = retry(|| rustix::io::pread(lock, &mut content[..], 0))?;
    Ok(len == 0 || content[..len] == *LOCK_MARK)
}

fn kind_of(path: &Path) -> rustix::io::Result<FileType> {
    rustix::fs::stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a fifo",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}

fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mknodat};
    use std::fs;

    /// A directory that goes when it is dropped, and a name in it.
    struct Dir(PathBuf);

    impl Dir {
        fn new(what: &str) -> (Self, PathBuf, PathBuf) {
            let dir = std::env::temp_dir().join(format!("smstream-test-name-{what}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir(&dir).unwrap();
            let [path, lock] = ["name", "name.lock"].map(|name| dir.join(name));
            (Dir(dir), path, lock)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn listen(path: &Path) -> Result<(OwnedFd, Right), Error> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let right = SocketName::of_path(path)?.listen(&socket, 1, false, true)?;
        Ok((socket, right.unwrap()))
    }

    #[test]
    fn the_lock_file_of_somebody_else_is_left_alone() {
        let (_dir, path, lock) = Dir::new("foreign");
        for content in [&b"4711\n"[..], b"lock of smstream", b"lock of smstream\n and more"] {
            fs::write(&lock, content).unwrap();
            let e = listen(&path).unwrap_err();
            assert_eq!(e.kind(), std::io::ErrorKind::AlreadyExists, "{e}");
            assert!(e.to_string().contains("name.lock"), "{e}");
            assert_eq!(fs::read(&lock).unwrap(), content);
            assert!(!path.exists());
        }
        fs::remove_file(&lock).unwrap();
        mknodat(CWD, &lock, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let e = listen(&path).unwrap_err();
        assert!(e.to_string().contains("fifo"), "{e}");
        fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink("nowhere", &lock).unwrap();
        let e = listen(&path).unwrap_err();
        assert!(e.to_string().contains("symbolic link"), "{e}");
        fs::remove_file(&lock).unwrap();
        fs::create_dir(&lock).unwrap();
        let e = listen(&path).unwrap_err();
        assert!(e.to_string().contains("directory"), "{e}");
    }

    #[test]
    fn what_was_left_is_taken_over() {
        let (_dir, path, lock) = Dir::new("left");
        for content in [&b""[..], LOCK_MARK] {
            fs::write(&lock, content).unwrap();
            let (_socket, right) = listen(&path).unwrap();
            assert_eq!(fs::read(&lock).unwrap(), LOCK_MARK);
            SocketName::of_path(&path).unwrap().remove(&right).unwrap();
            assert!(!lock.exists() && !path.exists());
        }
    }

    #[test]
    fn who_cannot_listen_leaves_no_lock() {
        let (_dir, path, lock) = Dir::new("no-lock");
        fs::write(&path, "something else").unwrap();
        let e = listen(&path).unwrap_err();
        assert!(matches!(e.reason(), Reason::Occupied(_)), "{e}");
        assert!(path.exists() && !lock.exists());
    }

    /// Somebody may have replaced it.
    #[test]
    fn another_lock_is_not_removed() {
        let (_dir, path, lock) = Dir::new("replaced");
        let (_socket, right) = listen(&path).unwrap();
        fs::remove_file(&lock).unwrap();
        fs::write(&lock, "another").unwrap();
        SocketName::of_path(&path).unwrap().remove(&right).unwrap();
        assert_eq!(fs::read(&lock).unwrap(), b"another");
    }
}
