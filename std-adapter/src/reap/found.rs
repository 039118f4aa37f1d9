//! What was found, and what became of it.

use std::fmt;
use std::path::PathBuf;

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A file, in `/dev/shm` a shared memory object.
    File(PathBuf),
    /// A System V shared memory segment, by its id.
    SysvShm(i32),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftoverKind {
    /// The region of a listener.
    Region,
    /// A memory with a mark.
    Marked,
    /// The socket of a listener, and its lock file; or that alone.
    Socket,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReapOutcome {
    /// It was left over, and is gone.
    Removed,
    /// It is left over; a dry run removes nothing.
    WouldRemove,
    /// It is in use, so it was left.
    InUse(&'static str),
    /// It is not certain that no process needs it, so it was left.
    Doubt(String),
}

/// One thing that was found, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftover {
    /// Where.
    pub location: Location,
    /// What.
    pub kind: LeftoverKind,
    /// What became of it.
    pub outcome: ReapOutcome,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::SysvShm(id) => write!(f, "System V segment {id}"),
        }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.location)?;
        match &self.outcome {
            ReapOutcome::Removed => f.write_str("removed"),
            ReapOutcome::WouldRemove => f.write_str("would be removed"),
            ReapOutcome::InUse(why) => write!(f, "left: {why}"),
            ReapOutcome::Doubt(why) => write!(f, "left, because it is not certain: {why}"),
        }
    }
}
