//! A file to look into: opened for reading, and only ever read.

use crate::lock::{self, Byte};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use smstream_shm::explain::explain;
use smstream_shm::memory::retry;
use smstream_shm::posix::identity;
use std::io::{self, ErrorKind};
use std::path::Path;

/// A file that holds a region or a segment.
///
/// It is never mapped: a file that another process shortens would kill the process that looks. It is read with `pread`, which
/// copies; a word that changes meanwhile may be seen half old and half new, so a look that finds something odd is repeated.
///
/// It keeps the file's memory alive until it is dropped. Its owners may notice that: a watcher of theirs is woken when
/// it is closed, asks for the locks, and sleeps again.
#[derive(Debug)]
pub struct Source {
    fd: OwnedFd,
    what: String,
    id: (u64, u64),
}

impl Source {
    /// Opens the file at `path`: a regular one, no symbolic link.
    ///
    /// # Errors
    /// `InvalidInput` if it is something else, or what the system says.
    pub fn path(path: &Path) -> io::Result<Self> {
        Self::open(path, OFlags::NOFOLLOW, path.display().to_string())
    }

    /// Opens what the descriptor `fd` of the process `pid` is open on, whether it has a name or not. It is a description
    /// of its own: no lock of the process is touched.
    ///
    /// # Errors
    /// `InvalidInput` if it is no regular file, or what the system says.
    ///
    /// # References
    /// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html)
    pub fn descriptor(pid: u32, fd: u32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/fd/{fd}");
        Self::open(Path::new(&path), OFlags::empty(), format!("descriptor {fd} of process {pid}"))
    }

    fn open(path: &Path, more: OFlags, what: String) -> io::Result<Self> {
        let say = |e: Errno| explain(e, format!("cannot look at {what}"));
        let stat = |nofollow: bool| {
            if nofollow { rustix::fs::lstat(path) } else { rustix::fs::stat(path) }
        };
        // A fifo, a device or a socket may mind being opened.
        let before = retry(|| stat(more.contains(OFlags::NOFOLLOW))).map_err(say)?;
        let kind = FileType::from_raw_mode(before.st_mode);
        if !kind.is_file() {
            let found = if kind.is_symlink() {
                "a symbolic link: give the file itself"
            } else if kind.is_dir() {
                "a directory"
            } else if kind.is_socket() {
                "a socket: bytes in memory are found through the processes that use it, see `smstream ls`"
            } else {
                "no regular file"
            };
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("cannot look at {what}: it is {found}")));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
        let open = |flags| retry(|| rustix::fs::open(path, flags, Mode::empty()));
        // Not even the time of the last look changes, where that is ours to decide.
        let fd = match open(flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open(flags),
            other => other,
        };
        let fd = fd.map_err(say)?;
        let after = rustix::fs::fstat(&fd).map_err(say)?;
        if identity(&after) != identity(&before) {
            let text = format!("cannot look at {what}: it became another file meanwhile; try again");
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(Self { fd, what, id: identity(&after) })
    }

    /// What it is, for people.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Which file it is: device and inode.
    #[must_use]
    pub fn id(&self) -> (u64, u64) {
        self.id
    }

    /// What the system says of the file now.
    ///
    /// # Errors
    /// What the system says.
    pub fn stat(&self) -> io::Result<Stat> {
        rustix::fs::fstat(&self.fd).map_err(|e| explain(e, format!("cannot look at {}", self.what)))
    }

    /// How long it is now.
    ///
    /// # Errors
    /// What the system says.
    #[allow(clippy::len_without_is_empty, reason = "it is a question to the system, not a field")]
    pub fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.stat()?.st_size).unwrap_or(0))
    }

    /// Copies what lies at `offset`; fewer bytes only where the file ends.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let Some(at) = offset.checked_add(done as u64) else { break };
            let read = retry(|| rustix::io::pread(&self.fd, &mut bytes[done..], at));
            match read.map_err(|e| explain(e, format!("cannot read {}", self.what)))? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Whether a process holds the lock on a byte of it. It asks, and takes nothing.
    ///
    /// # Errors
    /// What the system says: some file systems have no locks.
    pub fn is_held(&self, byte: Byte) -> io::Result<bool> {
        lock::is_held(self, byte).map_err(|e| explain(e, format!("cannot ask for the locks of {}", self.what)))
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
