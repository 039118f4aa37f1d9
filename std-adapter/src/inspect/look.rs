//! A stream of running processes: which, and how it does.

use super::sample::{Channel, Phase, Sample};
use crate::lock::Byte;
use rustix::io::Errno;
use smstream_shm::posix::identity;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A process that has an end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its descriptor.
    pub fd: u32,
    /// Its command line, escaped for terminals.
    pub command: String,
    /// Which party it is, if that is known.
    pub party: Option<usize>,
    /// When it began, so that no other process is taken for it.
    pub(super) began: u64,
}

/// A listener that waits, or a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InspectedStream {
    /// Where its lanes are.
    pub channel: Channel,
    /// The address at which the parties met, escaped for terminals, if it is known.
    pub addr: Option<String>,
    /// The same byte for byte, as [`Addr::from_os_str`](crate::Addr::from_os_str) reads it.
    pub written: Option<OsString>,
    /// The path of that address, if it has one. It may lead to something else by now.
    pub path: Option<PathBuf>,
    /// The processes that have an end of it.
    pub holders: Vec<Holder>,
}

/// How a stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A listener waits for a connector.
    Listening,
    /// The listener died; its name is left over.
    Orphaned,
    /// A connector waits to be accepted.
    Connecting,
    /// Both parties live, and both lanes are open.
    Connected,
    /// One lane is closed by a party, the other is open.
    HalfClosed,
    /// Both lanes are closed.
    Closed,
    /// A party died without closing.
    PeerDead,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Orphaned => "orphaned",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::HalfClosed => "half-closed",
            Self::Closed => "closed",
            Self::PeerDead => "peer dead",
        }
    }
}

/// A stream at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Look {
    /// Its words.
    pub sample: Sample,
    /// Whether each party lives, if that is known.
    pub alive: [Option<bool>; 2],
}

impl InspectedStream {
    /// A stream whose users are not known.
    #[must_use]
    pub fn unknown(channel: Channel) -> Self {
        Self { channel, addr: None, written: None, path: None, holders: Vec::new() }
    }

    /// Looks at it.
    ///
    /// # Errors
    /// What the system says.
    pub fn look(&self) -> io::Result<Look> {
        let alive = [self.is_alive(0), self.is_alive(1)];
        // What a dead party published is final, so the words come after the question.
        Ok(Look { sample: self.channel.sample()?, alive })
    }

    /// Whether a party lives: its lock says so, or else that a process still has its descriptor.
    fn is_alive(&self, party: usize) -> Option<bool> {
        if self.channel.is_region() {
            let byte = if party == 0 { Byte::Party0 } else { Byte::Party1 };
            return self.channel.segment(0).0.is_held(byte).ok();
        }
        // One that has it is enough; none has it only if that is known of each.
        let known: Vec<Option<bool>> = self.of_party(party).map(|holder| self.still_has(holder)).collect();
        if known.contains(&Some(true)) {
            return Some(true);
        }
        (!known.is_empty() && !known.contains(&None)).then_some(false)
    }

    /// Whether the process has it still: `None` if the system does not say.
    fn still_has(&self, holder: &Holder) -> Option<bool> {
        let ids = [0, 1].map(|party| self.channel.segment(party).0.id());
        match rustix::fs::stat(format!("/proc/{}/fd/{}", holder.pid, holder.fd)) {
            Ok(stat) if ids.contains(&identity(&stat)) => {
                Some(smstream_shm::cleanup::began(holder.pid).ok()? == Some(holder.began))
            }
            Ok(_) | Err(Errno::NOENT | Errno::SRCH) => Some(false),
            Err(_) => None,
        }
    }

    /// The processes that are a party.
    pub fn of_party(&self, party: usize) -> impl Iterator<Item = &Holder> {
        self.holders.iter().filter(move |holder| holder.party == Some(party))
    }
}

impl Look {
    /// How it does.
    #[must_use]
    pub fn state(&self) -> State {
        let dead = |party: usize| self.alive[party] == Some(false);
        match self.sample.phase() {
            Phase::Waiting | Phase::Connecting if dead(0) => State::Orphaned,
            Phase::Waiting => State::Listening,
            Phase::Connecting => State::Connecting,
            Phase::Connected => {
                let closed = self.sample.lanes.each_ref().map(|lane| lane.finished || lane.stopped);
                match closed {
                    [true, true] => State::Closed,
                    _ if dead(0) || dead(1) => State::PeerDead,
                    [false, false] => State::Connected,
                    _ if self.sample.lanes.iter().any(|lane| lane.capacity == 0) => State::Connected,
                    _ => State::HalfClosed,
                }
            }
        }
    }

    /// How long ago it was made, by its own word and the clock of this machine.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let made = UNIX_EPOCH.checked_add(Duration::from_secs(self.sample.headers[0].made()))?;
        SystemTime::now().duration_since(made).ok().filter(|_| self.sample.headers[0].made() != 0)
    }
}
