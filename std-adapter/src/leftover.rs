//! The one predicate for all that removes or replaces a region: it is ours, dead, and nothing else.

use crate::header::fresh::{self, Extent, OTHER_FILE, Stale};
use crate::lock::{self, Byte};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Stat};
use smstream_shm::posix::identity;
use std::io;

/// Why a file stays.
#[derive(Debug)]
pub(crate) enum Kept {
    /// It is something else: what it is.
    Other(&'static str),
    /// It belongs to another user.
    Foreign(u32),
    /// A process needs it: which.
    InUse(#[cfg_attr(not(feature = "inspect"), expect(dead_code, reason = "for cleaners"))] &'static str),
    /// Another process judges it at this moment, or takes its name over.
    Judged,
    /// A connector has claimed it, and no listener has it: the connector gives it up when it sees that.
    Claimed,
    /// It has no name any more: another process has removed it, or taken the name over.
    Gone,
    /// The system does not say.
    System(io::Error),
}

impl From<Stale> for Kept {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Other(what) => Self::Other(what),
            Stale::System(e) => Self::System(e),
        }
    }
}

/// Judges the file that `fd` is open on, for reading and writing. It is a dead region if
/// - it is a regular file of this user with one name;
/// - all locks of a region are free;
/// - every byte is as a listener has made it, or a connector that was not accepted.
///
/// Returns which file it is; from then on the description of `fd` holds the right to replace the name. No byte of the file is
/// changed.
pub(crate) fn judge(fd: &OwnedFd) -> Result<(u64, u64), Kept> {
    match judge_now(fd) {
        // A listener may have given the name to its next region meanwhile, and this one is in use, or was.
        Err(Kept::Other(_)) if rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_nlink == 0) => Err(Kept::Gone),
        judged => judged,
    }
}

fn judge_now(fd: &OwnedFd) -> Result<(u64, u64), Kept> {
    let stat = rustix::fs::fstat(fd).map_err(|e| Kept::System(e.into()))?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Kept::Other("no regular file"));
    }
    if stat.st_nlink == 0 {
        return Err(Kept::Gone);
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Kept::Foreign(stat.st_uid));
    }
    let held = |byte| lock::is_held(fd, byte).map_err(Kept::System);
    let is_listener = |held: bool| if held { Err(Kept::InUse("a listener has it")) } else { Ok(()) };
    // Before anything is locked: the file of another program is not touched. A region whose listener lives may look like
    // anything, for a connector may have damaged it.
    if let Err(Stale::Other(what)) = fresh::check(fd, Extent::Listener) {
        let is_region = what != OTHER_FILE;
        is_listener(is_region && held(Byte::Party0)?)?;
        return Err(Kept::Other(what));
    }
    if !lock::try_lock(fd, Byte::Name).map_err(Kept::System)? {
        is_listener(held(Byte::Party0)?)?;
        return Err(Kept::Judged);
    }
    let judged = judge_locked(fd, &stat);
    if judged.is_err() {
        lock::unlock(fd, Byte::Name).map_err(Kept::System)?;
    }
    judged
}

/// The rest, when no other process can take the name over.
fn judge_locked(fd: &OwnedFd, stat: &Stat) -> Result<(u64, u64), Kept> {
    let held = |byte| lock::is_held(fd, byte).map_err(Kept::System);
    if held(Byte::Party0)? {
        return Err(Kept::InUse("a party of it lives"));
    }
    if held(Byte::Party1)? {
        return Err(Kept::Claimed);
    }
    // Now that no party changes it.
    fresh::check(fd, Extent::All)?;
    if stat.st_nlink != 1 {
        return Err(Kept::Other("a region that has another name, too"));
    }
    Ok(identity(stat))
}
