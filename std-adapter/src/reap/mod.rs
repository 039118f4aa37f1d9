//! What is left over, and whether it may go.

mod found;
mod opening;
mod segments;
mod sockets;

use crate::lease;
use crate::leftover::{self, Kept};
use crate::lock::{self, Byte};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use smstream_core::layout::MAGIC;
use smstream_shm::cleanup::{Known, MARK_LEN, decode, is_mark};
use smstream_shm::memory::retry;
use smstream_shm::posix::identity;
use sockets::{StaleSocket, identity_at};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use found::{Leftover, LeftoverKind, Location, ReapOutcome};

/// Removes what processes have left that were killed before they could.
///
/// It looks at the files of some directories, `/dev/shm` to begin with, and, if asked, at System V segments. It removes
/// only what
/// - is a region that a listener left, byte for byte (`docs/LAYOUT.md` has the rules; a copy of one is none), the lock file
///   of a listener at a socket and the socket that it names, or has a whole [mark](smstream_shm::cleanup::mark);
/// - belongs to this user, and has no second name;
/// - no process uses: the locks of a region are free; no process listens at a socket, and its lock file is
///   not locked; the file is neither open nor mapped anywhere, which the kernel
///   says by granting a lease on it; a segment is not attached;
/// - and whose creator is proven gone, by its locks or by its mark.
///
/// When in doubt it leaves it, and says why: a file system without leases, for example, is a doubt. Files that do not begin as
/// one of these does are not mentioned.
///
/// It makes system calls for each file, and waits for no other process. Others may notice the moment in which it looks: a
/// process that opens a file just when it is removed has it open without a name, or gets `EWOULDBLOCK` if it does not
/// want to wait.
///
/// ```
/// use smstream::reap::{ReapOutcome, Reaper};
///
/// for leftover in Reaper::new().dry_run(true).run()? {
///     println!("{leftover}"); // "/dev/shm/numbers: would be removed" …
///     assert_ne!(leftover.outcome, ReapOutcome::Removed);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), "Leases" and "Open file description locks"
#[derive(Clone, Debug)]
pub struct Reaper {
    dry_run: bool,
    directories: Vec<PathBuf>,
    segments: bool,
}

impl Default for Reaper {
    fn default() -> Self {
        Self::new()
    }
}

impl Reaper {
    /// For the shared memory objects in `/dev/shm`.
    #[must_use]
    pub fn new() -> Self {
        Self { dry_run: false, directories: vec![smstream_shm::posix::DIRECTORY.into()], segments: false }
    }

    /// For the files of one directory, and no others.
    #[must_use]
    pub fn of(directory: impl Into<PathBuf>) -> Self {
        Self { dry_run: false, directories: vec![directory.into()], segments: false }
    }

    /// For no directory yet.
    #[must_use]
    pub fn empty() -> Self {
        Self { dry_run: false, directories: Vec::new(), segments: false }
    }

    /// Whether only to say what would be done.
    #[must_use]
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// Looks at the files of this directory as well, not at those of directories in it.
    #[must_use]
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directories.push(path.into());
        self
    }

    /// Whether to look at System V segments as well. To see whether one is marked it has to be attached for a moment,
    /// for reading. That shows in its times, and some programs mind: so only those are looked at that no process has
    /// attached, whose creator is gone, and that belong to this user.
    #[must_use]
    pub fn sysv(mut self, yes: bool) -> Self {
        self.segments = yes;
        self
    }

    /// Looks, and removes what may be removed. Returns what it has found of ours, in the order of the names.
    ///
    /// # Errors
    /// A directory cannot be read. What goes wrong with a single object is said in its [`Leftover`].
    pub fn run(&self) -> io::Result<Vec<Leftover>> {
        let mut found = Vec::new();
        for directory in &self.directories {
            let say =
                |e| smstream_shm::explain::explain(e, format!("cannot look for leftovers in {}", directory.display()));
            let mut paths = Vec::new();
            for entry in std::fs::read_dir(directory).map_err(say)? {
                paths.push(entry.map_err(say)?.path());
            }
            paths.sort();
            for path in paths {
                found.extend(self.look(path));
            }
        }
        if self.segments {
            segments::look(self.dry_run, &mut found)?;
        }
        Ok(found)
    }

    /// Looks at one file.
    fn look(&self, path: PathBuf) -> Option<Leftover> {
        let doubt = |e: io::Error| ReapOutcome::Doubt(format!("it cannot be looked at: {e}"));
        let file = match Candidate::open(&path) {
            Ok(Some(file)) => file,
            Ok(None) => {
                let (location, outcome) = match StaleSocket::of(&path) {
                    Ok(socket) => socket.map(|socket| (socket.path.clone(), socket.judge(self.dry_run)))?,
                    Err(e) => (path, doubt(e)),
                };
                return Some(Leftover { location: Location::File(location), kind: LeftoverKind::Socket, outcome });
            }
            Err(e) => {
                return Some(Leftover {
                    location: Location::File(path),
                    kind: LeftoverKind::Region,
                    outcome: doubt(e),
                });
            }
        };
        let kind = file.kind;
        let result = match kind {
            LeftoverKind::Region => file.judge_region(),
            _ => file.judge_marked().map(|()| None),
        };
        let outcome = match &result {
            Ok(_) if self.dry_run => ReapOutcome::WouldRemove,
            Ok(_) => file.remove(),
            Err(outcome) => outcome.clone(),
        };
        // What was locked for the judgement is let go after the deed.
        drop((result, file));
        Some(Leftover { location: Location::File(path), kind, outcome })
    }
}

/// A file of ours. What holds it for the time of the judgement goes with the descriptor.
struct Candidate<'a> {
    path: &'a Path,
    fd: OwnedFd,
    id: (u64, u64),
    kind: LeftoverKind,
    /// It has no other name.
    is_alone: bool,
    head: [u8; MARK_LEN],
}

impl<'a> Candidate<'a> {
    /// Opens a file, if it is one of ours. Others are left alone: not even opened, if that can be helped.
    ///
    /// # Errors
    /// It cannot be looked at, and so may be one.
    fn open(path: &'a Path) -> io::Result<Option<Self>> {
        let before = match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(before) => before,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let regular = FileType::from_raw_mode(before.st_mode).is_file();
        if !regular || before.st_uid != rustix::process::geteuid().as_raw() || before.st_size < 8 {
            return Ok(None);
        }
        // For reading first: a process that watches a file that is not ours shall get no event that it may have been written.
        let mut head = [0; MARK_LEN];
        let Some(source) = opening::open(path)? else { return Ok(None) };
        source.read_at(0, &mut head)?;
        let id = source.id();
        drop(source);
        if !head.starts_with(&MAGIC) && !is_mark(&head) {
            return Ok(None);
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match retry(|| rustix::fs::open(path, flags, Mode::empty())) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let stat = rustix::fs::fstat(&fd)?;
        if id != identity(&before) || id != identity(&stat) {
            return Ok(None);
        }
        let mut head = [0; MARK_LEN];
        retry(|| rustix::io::pread(&fd, &mut head, 0))?;
        let kind = match () {
            () if head.starts_with(&MAGIC) => LeftoverKind::Region,
            () if is_mark(&head) => LeftoverKind::Marked,
            () => return Ok(None),
        };
        Ok(Some(Self { path, fd, id, kind, is_alone: stat.st_nlink == 1, head }))
    }

    /// A region is left over if all of it says so: see [`leftover::judge`]. The right to its name is taken then, which keeps
    /// new listeners away.
    ///
    /// What else was locked for that is returned: it stays locked until it is dropped.
    fn judge_region(&self) -> Result<Option<OwnedFd>, ReapOutcome> {
        leftover::judge(&self.fd).map_err(|kept| match kept {
            Kept::Other(what) => ReapOutcome::Doubt(format!("it is {what}")),
            Kept::Foreign(uid) => ReapOutcome::Doubt(format!("it belongs to user {uid}")),
            Kept::InUse(why) => ReapOutcome::InUse(why),
            Kept::Claimed => ReapOutcome::InUse("a party of it lives"),
            Kept::Judged | Kept::Gone => ReapOutcome::InUse("a listener takes its name over"),
            Kept::System(e) => ReapOutcome::Doubt(format!("it cannot be found out whether it is in use: {e}")),
        })?;
        self.take_lease()?;
        self.hold_name()
    }

    /// NAME.new is a region that was about to get the name. Who may replace the name may also make another NAME.new in
    /// its place, at any moment: so that right is taken.
    fn hold_name(&self) -> Result<Option<OwnedFd>, ReapOutcome> {
        let bytes = self.path.as_os_str().as_bytes();
        let Some(base) = bytes.strip_suffix(b".new") else { return Ok(None) };
        let path = Path::new(OsStr::from_bytes(base));
        let doubt =
            |e: io::Error| ReapOutcome::Doubt(format!("the locks of {} cannot be asked for: {e}", path.display()));
        let named = Candidate::open(path).map_err(doubt)?.filter(|named| named.kind == LeftoverKind::Region);
        let Some(named) = named else { return Ok(None) };
        if !lock::try_lock(&named.fd, Byte::Name).map_err(doubt)? {
            return Err(ReapOutcome::InUse("the listener that has the name lives, and removes it when it needs to"));
        }
        match identity_at(path) {
            Ok(Some(id)) if id == named.id => Ok(Some(named.fd)),
            Ok(_) => Err(ReapOutcome::InUse("a listener just replaces the name")),
            Err(e) => Err(doubt(e.into())),
        }
    }

    fn judge_marked(&self) -> Result<(), ReapOutcome> {
        let Some(creator) = decode(&self.head) else {
            return Err(ReapOutcome::Doubt("its mark is of another version or byte order".into()));
        };
        match creator.known() {
            Known::Gone => {}
            Known::Lives => return Err(ReapOutcome::InUse("its creator lives")),
            Known::Unknown(why) => return Err(ReapOutcome::Doubt(why.into())),
        }
        if !self.is_alone {
            return Err(ReapOutcome::Doubt("it has another name, too".into()));
        }
        self.take_lease()
    }

    /// Makes sure that no other process has the file open or mapped.
    fn take_lease(&self) -> Result<(), ReapOutcome> {
        match lease::take(self.fd.as_fd()) {
            Ok(()) => Ok(()),
            Err(Errno::AGAIN) => Err(ReapOutcome::InUse("a process has it open or mapped")),
            Err(e) => Err(ReapOutcome::Doubt(format!("it cannot be found out whether it is in use: {e}"))),
        }
    }

    /// Removes the name, if it leads to this file still.
    fn remove(&self) -> ReapOutcome {
        if !lease::is_held(self.fd.as_fd()) {
            return ReapOutcome::InUse("a process has just opened it");
        }
        match identity_at(self.path) {
            Ok(Some(id)) if id == self.id => match rustix::fs::unlink(self.path) {
                Ok(()) => ReapOutcome::Removed,
                Err(e) => ReapOutcome::Doubt(format!("it cannot be removed: {e}")),
            },
            Ok(_) => ReapOutcome::Doubt("something else has its name by now".into()),
            Err(e) => ReapOutcome::Doubt(format!("it cannot be found out whether it has its name still: {e}")),
        }
    }
}
