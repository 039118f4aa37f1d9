//! The file beside a socket's name that says who has the right to it.
//!
//! A socket file outlives its listener, and nothing about it says whether a process still listens. So a listener at PATH holds
//! a lock on PATH.lock as long as it lives. The file says which socket that is: a dead socket that it does not name belongs to
//! another program, and stays. The lock file appears complete and locked, so that a file without the mark is never taken for
//! one, and goes with the listener; if that is killed, socket and lock file stay, and the next listener takes them over.

use crate::chance;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use smstream_shm::memory::{check_file_size_limit, retry};
use smstream_shm::posix::identity;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// What comes behind a path in the name of its lock file.
pub(crate) const SUFFIX: &str = ".lock";
/// How a lock file begins. As with a segment, no text does.
const MAGIC: [u8; 8] = *b"\x89SML\r\n\x1a\n";
/// All bytes of a lock file: the magic, and the device and the inode of the socket, 0 until it is bound.
const LEN: usize = 24;
/// How often, and after which pause, to try again to open a file on which a cleaner has a lease for a moment.
const LEASE_ATTEMPTS: u32 = 1000;
const LEASE_PAUSE: Duration = Duration::from_millis(1);
/// How often a lock that another process holds is asked for again, and the pause before each.
const HELD_LOOKS: u32 = 10;
const HELD_PAUSE: Duration = Duration::from_millis(1);

/// What a lock file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockRecord {
    /// The socket that was bound: device and inode. `None`: not yet.
    pub(crate) bound: Option<(u64, u64)>,
}

/// The lock, held, and its file.
#[derive(Debug)]
pub(super) struct LockFile {
    lock: OwnedFd,
    path: PathBuf,
    /// What a listener left that was killed. `None`: this one has made the file.
    left: Option<StaleLock>,
}

/// What was left of a lock file.
#[derive(Clone, Copy, Debug)]
pub(super) struct StaleLock {
    record: LockRecord,
    stat: Stat,
}

impl StaleLock {
    /// Whether that listener bound this socket.
    pub(super) fn names(&self, socket: &Stat) -> bool {
        self.record.is_of(&self.stat, socket)
    }
}

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum NoLock {
    /// A living listener has it.
    Held,
    /// Something else has its name: what it is.
    Other(&'static str),
    /// It is another user's.
    Foreign(u32),
    /// The system refuses: what was tried, and what it said.
    System(&'static str, Errno),
}

/// What a lock file says; `None` if it is no lock file of a listener, byte for byte.
pub(crate) fn read(lock: impl AsFd) -> rustix::io::Result<Option<LockRecord>> {
    let mut content = [0; LEN + 1];
    let mut len = 0;
    while len < content.len() {
        match retry(|| rustix::io::pread(&lock, &mut content[len..], len as u64))? {
            0 => break,
            n => len += n,
        }
    }
    let (magic, rest) = content.split_at(MAGIC.len());
    if len != LEN || magic != MAGIC {
        return Ok(None);
    }
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&rest[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    Ok(Some(LockRecord { bound: Some((number(0), number(8))).filter(|&id| id != (0, 0)) }))
}

fn bytes(record: LockRecord) -> [u8; LEN] {
    let (device, inode) = record.bound.unwrap_or_default();
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&device.to_ne_bytes());
    bytes[16..].copy_from_slice(&inode.to_ne_bytes());
    bytes
}

impl LockRecord {
    /// Whether this is the socket that the listener with this lock file bound. `lock` is what the system says of the lock file.
    ///
    /// A listener that was killed between binding the socket and writing that down left one that is younger than what it had
    /// written before.
    pub(crate) fn is_of(self, lock: &Stat, socket: &Stat) -> bool {
        let is_socket = FileType::from_raw_mode(socket.st_mode).is_socket() && socket.st_uid == lock.st_uid;
        let is_younger =
            || (socket.st_ctime, i128::from(socket.st_ctime_nsec)) >= (lock.st_mtime, i128::from(lock.st_mtime_nsec));
        is_socket && self.bound.map_or_else(is_younger, |bound| bound == identity(socket))
    }
}

impl LockFile {
    /// Takes the lock that stands for the right to `path`.
    pub(super) fn take(path: &Path) -> Result<Self, NoLock> {
        let mut name = path.as_os_str().to_os_string();
        name.push(SUFFIX);
        let path = PathBuf::from(name);
        loop {
            let taken = match Self::open(&path)? {
                Some(lock) => Self::hold(&lock, &path)?.map(|left| (lock, Some(left))),
                None => Self::create(&path)?.map(|lock| (lock, None)),
            };
            if let Some((lock, left)) = taken {
                return Ok(Self { lock, path, left });
            }
        }
    }

    /// Opens the file that is there.
    fn open(path: &Path) -> Result<Option<OwnedFd>, NoLock> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut attempts = 0;
        loop {
            match retry(|| rustix::fs::open(path, flags, Mode::empty())) {
                Ok(lock) => return Ok(Some(lock)),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::AGAIN) if attempts < LEASE_ATTEMPTS => {
                    attempts += 1;
                    thread::sleep(LEASE_PAUSE);
                }
                Err(e) => {
                    return Err(match rustix::fs::lstat(path) {
                        Ok(stat) if stat.st_uid != euid() => NoLock::Foreign(stat.st_uid),
                        Ok(stat) if !is_regular(&stat) => {
                            NoLock::Other(describe(FileType::from_raw_mode(stat.st_mode)))
                        }
                        _ => NoLock::System("open its lock file", e),
                    });
                }
            }
        }
    }

    /// Locks the file that is there, if it is one of a listener: `None` if it has gone meanwhile.
    fn hold(lock: &OwnedFd, path: &Path) -> Result<Option<StaleLock>, NoLock> {
        let found = rustix::fs::fstat(lock).map_err(|e| NoLock::System("look at its lock file", e))?;
        if found.st_uid != euid() {
            return Err(NoLock::Foreign(found.st_uid));
        }
        if !is_regular(&found) {
            return Err(NoLock::Other(describe(FileType::from_raw_mode(found.st_mode))));
        }
        let record = || read(lock).map_err(|e| NoLock::System("read its lock file", e));
        if record()?.is_none() {
            return Err(NoLock::Other("a file of another program"));
        }
        let mut looks = 0;
        loop {
            match retry(|| rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) => break,
                // A cleaner that looks at it lets it go at once; a listener does not.
                Err(Errno::WOULDBLOCK) if looks < HELD_LOOKS => {
                    looks += 1;
                    thread::sleep(HELD_PAUSE);
                }
                Err(Errno::WOULDBLOCK) => return Err(NoLock::Held),
                Err(e) => return Err(NoLock::System("lock its lock file", e)),
            }
        }
        // Its last holder removes the file before giving the lock up. Then this is the lock of nothing.
        match rustix::fs::lstat(path) {
            Ok(now) if identity(&now) == identity(&found) => {
                Ok(record()?.map(|record| StaleLock { record, stat: now }))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(NoLock::System("look at its lock file", e)),
        }
    }

    /// Makes the file, which gets its name when it is complete and locked: `None` if another has the name by now. Before that it
    /// has no name, so that a process that is killed here leaves nothing.
    fn create(path: &Path) -> Result<Option<OwnedFd>, NoLock> {
        let system = |e| NoLock::System("make its lock file", e);
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let lock = match retry(|| rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)) {
            Ok(lock) => lock,
            // A file system that has no unnamed files.
            Err(Errno::ISDIR | Errno::OPNOTSUPP | Errno::INVAL) => return Self::create_named(path),
            Err(e) => return Err(system(e)),
        };
        complete(&lock).map_err(system)?;
        match link(&lock, path) {
            Ok(()) => Ok(Some(lock)),
            Err(Errno::EXIST) => Ok(None),
            // Without /proc, on a kernel that lets this user not link it otherwise.
            Err(Errno::NOENT) => Self::create_named(path),
            Err(e) => Err(system(e)),
        }
    }

    /// The same where a file must have a name. A process that is killed here leaves a file with a name of chance; if it is
    /// complete, a cleaner knows it for a lock file of no socket.
    fn create_named(path: &Path) -> Result<Option<OwnedFd>, NoLock> {
        let system = |e| NoLock::System("make its lock file", e);
        let first = path.with_file_name(unique());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let lock = retry(|| rustix::fs::open(&first, flags, Mode::RUSR | Mode::WUSR)).map_err(system)?;
        let made = (|| {
            complete(&lock)?;
            match rustix::fs::renameat_with(CWD, &first, CWD, path, RenameFlags::NOREPLACE) {
                // A file system that cannot do both at once.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    rustix::fs::link(&first, path)?;
                    // With a second name nothing would know it for a lock file.
                    rustix::fs::unlink(&first).inspect_err(|_| {
                        let _ = rustix::fs::unlink(path);
                    })
                }
                other => other,
            }
        })();
        match made {
            Ok(()) => Ok(Some(lock)),
            Err(e) => {
                let _ = retry(|| rustix::fs::unlink(&first));
                if e == Errno::EXIST { Ok(None) } else { Err(system(e)) }
            }
        }
    }

    /// What a listener left that was killed, if the file was there already.
    pub(super) fn left(&self) -> Option<&StaleLock> {
        self.left.as_ref()
    }

    /// Writes down which socket this listener has bound.
    pub(super) fn note(&self, record: LockRecord) -> rustix::io::Result<()> {
        note(&self.lock, record)
    }

    /// Removes the file, while the lock is held. The lock is given up when this is dropped.
    pub(super) fn remove(&self) -> rustix::io::Result<()> {
        let own = rustix::fs::fstat(&self.lock)?;
        match rustix::fs::lstat(&self.path) {
            // Another program may have put another file there.
            Ok(there) if identity(&own) == identity(&there) && read(&self.lock)?.is_some() => {
                retry(|| rustix::fs::unlink(&self.path))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Locks a file that no other process knows, and writes what a lock file of no socket yet says.
fn complete(lock: &OwnedFd) -> rustix::io::Result<()> {
    retry(|| rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive))?;
    note(lock, LockRecord { bound: None })
}

/// Gives a file without a name this one, if nothing has it.
fn link(lock: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    let number = format!("/proc/self/fd/{}", lock.as_raw_fd());
    match retry(|| rustix::fs::linkat(CWD, &number, CWD, path, AtFlags::SYMLINK_FOLLOW)) {
        // Without /proc. Newer kernels allow this to the process that opened the file.
        Err(Errno::NOENT) => retry(|| rustix::fs::linkat(lock, c"", CWD, path, AtFlags::EMPTY_PATH)),
        other => other,
    }
}

fn note(lock: &OwnedFd, record: LockRecord) -> rustix::io::Result<()> {
    // Beyond the limit the kernel would not only refuse: it would send SIGXFSZ, which ends the process.
    check_file_size_limit(LEN as u64).map_err(|_| Errno::FBIG)?;
    let bytes = bytes(record);
    match retry(|| rustix::io::pwrite(lock, &bytes, 0))? {
        LEN => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}

/// A name of a lock file that no other has.
fn unique() -> String {
    format!(".smstream-{:016x}{SUFFIX}", chance::number())
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// What a file is, for people.
pub(super) fn describe(kind: FileType) -> &'static str {
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
