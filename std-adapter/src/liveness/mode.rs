//! Which half of an end, and how the death of its peer is noticed.

use std::time::Duration;

/// A half of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// The half that reads.
    Reader = 0,
    /// The half that writes.
    Writer = 1,
}

/// How the death of the peer is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WatchMode {
    /// Not at all: the peer is in this process.
    None = 0,
    /// The kernel tells the watcher.
    Watched = 1,
    /// Nothing tells, so that a sleeper wakes every 20 ms and asks. For want of inotify watches or of `/proc`.
    Timed = 2,
}

impl WatchMode {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::None,
            1 => Self::Watched,
            _ => Self::Timed,
        }
    }
}

/// How long sleepers sleep where nothing would wake them.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

/// The pause between two nudges of a half that has not answered yet.
pub(super) const NUDGE: Duration = Duration::from_millis(1);
