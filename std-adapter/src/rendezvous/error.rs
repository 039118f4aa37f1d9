//! Why two parties did not meet.

use super::socket::Refusal;
use smstream_core::error::ErrorCode;
use smstream_core::findings::Findings;
use smstream_core::identity::{Problem, Whose};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum RendezvousReason {
    /// The path names no file in a directory, or its name is too long.
    BadName,
    /// There is no such name: no process listens there.
    NoListener,
    /// The name is left over: its listener has died.
    ListenerDied,
    /// Another listener has this name already.
    InUse,
    /// There is something else of that name, to which no process can connect: what it is.
    NotARegion(&'static str),
    /// There is something else of that name, which a listener does not replace: what it is.
    Occupied(&'static str),
    /// The listener's own region was written over, so that its name is kept: what it is by now.
    Overwritten(&'static str),
    /// A region that cannot be used: what is wrong with it.
    BadRegion(Box<Findings>),
    /// A region whose segments cannot be mapped apart: what is wrong with the listener's.
    BadSegment(Problem),
    /// The capacities asked for cannot be.
    BadConfig(Problem),
    /// Where the lock file of a socket is due there is something else: what it is.
    ForeignLock(&'static str),
    /// The file belongs to another user: to whom.
    ForeignOwner(u32),
    /// Others than the owner may open the file: its mode.
    OpenToOthers(u32),
    /// Two others have this region: the path is a second name of it.
    NotAlone,
    /// The listener's name was taken away: removed, or replaced by another file.
    NameLost,
    /// The region's file was shortened.
    CutShort,
    /// The path or name of a socket that cannot be one: too long, or empty.
    BadSocketName,
    /// There is no such name in the abstract namespace.
    NoSuchName,
    /// The other party runs as this user, whom we do not allow.
    NotAllowed(u32),
    /// The other party refuses: why.
    Refused(Refusal),
    /// A lane is larger than we accept.
    TooLarge {
        /// What the listener says.
        found: u32,
        /// What we accept.
        most: u32,
    },
    /// The other party does not keep to the rules of the rendezvous: how.
    Protocol(String),
    /// What the other party handed out is no segment of the channel: why.
    Memory(String),
    /// The descriptor is no socket to meet over: why.
    BadDescriptor(String),
    /// The listener closed the connection in the middle of the rendezvous, without a reason.
    HungUp,
    /// The child that was to connect has ended, or has closed its end.
    ChildEnded,
    /// No process can listen at such an address.
    CannotListen,
    /// The deadline passed.
    TimedOut,
    /// The deadline passed, and a connector was turned away for what this process was short of: what the system said.
    Short(String),
    /// The wait was cancelled.
    Cancelled,
    /// The system refused: what was tried, and what it said.
    System(&'static str, io::Error),
}

/// Why two parties did not meet at a path.
#[derive(Debug)]
pub struct RendezvousError {
    path: PathBuf,
    reason: RendezvousReason,
}

impl RendezvousError {
    pub(super) fn new(path: &Path, reason: RendezvousReason) -> Self {
        Self { path: path.to_path_buf(), reason }
    }

    /// The same, as a listener sees it, who would have to replace what is there.
    pub(super) fn for_listener(self) -> Self {
        match self.reason {
            RendezvousReason::NotARegion(what) => Self { reason: RendezvousReason::Occupied(what), ..self },
            _ => self,
        }
    }

    pub(super) fn into_reason(self) -> RendezvousReason {
        self.reason
    }

    /// What went wrong.
    #[must_use]
    pub fn reason(&self) -> &RendezvousReason {
        &self.reason
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind that `std` has for it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.reason {
            RendezvousReason::BadName
            | RendezvousReason::BadSocketName
            | RendezvousReason::BadConfig(_)
            | RendezvousReason::BadDescriptor(_)
            | RendezvousReason::CannotListen
            | RendezvousReason::TooLarge { .. }
            | RendezvousReason::Refused(Refusal::TooLarge) => ErrorKind::InvalidInput,
            RendezvousReason::NoListener | RendezvousReason::NoSuchName => ErrorKind::NotFound,
            RendezvousReason::ListenerDied | RendezvousReason::HungUp | RendezvousReason::ChildEnded => {
                ErrorKind::ConnectionRefused
            }
            RendezvousReason::InUse => ErrorKind::AddrInUse,
            RendezvousReason::Occupied(_) | RendezvousReason::ForeignLock(_) => ErrorKind::AlreadyExists,
            RendezvousReason::NotARegion(_)
            | RendezvousReason::BadRegion(_)
            | RendezvousReason::BadSegment(_)
            | RendezvousReason::CutShort
            | RendezvousReason::Overwritten(_)
            | RendezvousReason::Protocol(_)
            | RendezvousReason::Memory(_)
            | RendezvousReason::Refused(Refusal::Version | Refusal::Memory | Refusal::Protocol) => {
                ErrorKind::InvalidData
            }
            RendezvousReason::ForeignOwner(_)
            | RendezvousReason::OpenToOthers(_)
            | RendezvousReason::NotAllowed(_)
            | RendezvousReason::Refused(Refusal::User | Refusal::UnknownUser) => ErrorKind::PermissionDenied,
            RendezvousReason::Refused(Refusal::Resources | Refusal::Limited) => ErrorKind::ConnectionRefused,
            RendezvousReason::NotAlone => ErrorKind::ResourceBusy,
            RendezvousReason::NameLost => ErrorKind::AddrNotAvailable,
            RendezvousReason::TimedOut | RendezvousReason::Short(_) => ErrorKind::TimedOut,
            RendezvousReason::Cancelled => ErrorKind::ConnectionAborted,
            RendezvousReason::System(_, e) => e.kind(),
        }
    }

    /// Its code in the libraries that this replaces, if they had one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match &self.reason {
            RendezvousReason::NoListener | RendezvousReason::NoSuchName | RendezvousReason::Refused(_) => {
                Some(ErrorCode::ConnectionNotReady)
            }
            RendezvousReason::ListenerDied | RendezvousReason::HungUp | RendezvousReason::ChildEnded => {
                Some(ErrorCode::PartnerNotAlive)
            }
            RendezvousReason::InUse | RendezvousReason::NotAlone => Some(ErrorCode::NotAlone),
            // A connector's findings: the peer is the listener.
            RendezvousReason::BadRegion(findings) => {
                findings.as_slice().iter().find_map(|f| match (f.problem, f.whose) {
                    (Problem::Capacity(_) | Problem::LaneOffset(_) | Problem::TooShort { .. }, Whose::Peer)
                    | (Problem::PeerCapacity(_), Whose::Mine) => Some(ErrorCode::MRing),
                    (Problem::Capacity(_), Whose::Mine) | (Problem::PeerCapacity(_), Whose::Peer) => {
                        Some(ErrorCode::SRing)
                    }
                    _ => None,
                })
            }
            // The listener's segment lies in the file; behind it there is no room for the connector's.
            RendezvousReason::BadSegment(Problem::TooShort { .. }) => Some(ErrorCode::SRing),
            RendezvousReason::BadSegment(Problem::LaneOffset(_)) => Some(ErrorCode::MRing),
            RendezvousReason::BadConfig(Problem::Capacity(_)) => Some(ErrorCode::MRing),
            _ => None,
        }
    }
}

/// What to do about a region that no party can use.
const DAMAGED: &str = "it is damaged: end its listener and start it again, it takes the name over";

/// What to do about an error of the system, if that is known.
fn advice(e: &io::Error) -> &'static str {
    // Perhaps it is an explained one, with the system's own inside.
    let inner = std::error::Error::source(e).and_then(|e| e.downcast_ref::<io::Error>()).unwrap_or(e);
    match (e.kind(), inner.raw_os_error()) {
        (_, Some(libc::EMFILE | libc::ENFILE)) => "; close some files, or raise the limit (`ulimit -n`)",
        (_, Some(libc::EFBIG)) => "; raise the limit on the size of files (RLIMIT_FSIZE, `ulimit -f`)",
        (ErrorKind::NotFound, _) => "; make the directory first",
        (ErrorKind::PermissionDenied, _) => {
            "; it takes a directory that this user may search and write to, and a name that this user may open"
        }
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => "; free some space, or ask for smaller capacities",
        _ => "",
    }
}

impl fmt::Display for RendezvousError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            RendezvousReason::BadName => {
                write!(f, "{path} is no name to meet at: it must end in the name of a file, of at most 251 bytes")
            }
            RendezvousReason::NoListener => {
                write!(f, "no process listens at {path}: there is no such file; start the listener first")
            }
            RendezvousReason::ListenerDied => {
                write!(
                    f,
                    "no process listens at {path} any more: the listener died; start it again, it takes the name over"
                )
            }
            RendezvousReason::InUse => {
                write!(f, "a process listens at {path} already; choose another name, or end that process")
            }
            RendezvousReason::NotARegion(what) => {
                write!(f, "{path} is {what}, and no region of a listener: no process listens there; check the name")
            }
            RendezvousReason::Occupied(what) => {
                write!(
                    f,
                    "{path} exists and is {what}; it is left alone: choose another name, or remove it if no program needs it"
                )
            }
            RendezvousReason::ForeignLock(what) => {
                write!(
                    f,
                    "{path} is {what}, and no lock file of smstream; it is left alone: remove it if no program needs it, or \
                     choose another name"
                )
            }
            RendezvousReason::Overwritten(what) => write!(
                f,
                "the region at {path} was written over, and is {what} by now: it is left alone; remove it if no program \
                 needs it, and listen again"
            ),
            RendezvousReason::BadRegion(findings) if findings.is_foreign() => {
                write!(f, "{path} cannot be used: {findings}; let both programs use the same version of smstream")
            }
            RendezvousReason::BadRegion(findings) => write!(f, "{path} cannot be used: {findings}; {DAMAGED}"),
            RendezvousReason::BadSegment(problem) => {
                write!(f, "{path} cannot be used: the listener's segment {problem}; {DAMAGED}")
            }
            RendezvousReason::BadConfig(problem) => {
                write!(f, "cannot listen at {path} with such a channel: it {problem}")
            }
            RendezvousReason::ForeignOwner(uid) => {
                write!(
                    f,
                    "{path} belongs to user {uid}; both parties must run as the same user there, or use a socket address \
                     (unix:PATH), where `Builder::allow_uid` lets other users in"
                )
            }
            RendezvousReason::OpenToOthers(mode) => write!(
                f,
                "{path} has mode {mode:04o}: others could write into the memory; `chmod 600` it if you trust what is there"
            ),
            RendezvousReason::NotAlone => {
                write!(f, "{path} is a second name of a region that others use; connect by the listener's name")
            }
            RendezvousReason::NameLost => {
                write!(f, "{path} has been removed or replaced, so no process can connect any more; listen again")
            }
            RendezvousReason::CutShort => {
                write!(f, "{path} cannot be used: another process has shortened its file; listen again")
            }
            RendezvousReason::BadSocketName => {
                write!(f, "{path} is no name of a socket: it must not be empty, nor longer than 107 bytes")
            }
            RendezvousReason::NoSuchName => {
                write!(f, "no process listens at {path}: there is no such name; start the listener first")
            }
            RendezvousReason::NotAllowed(uid) => write!(
                f,
                "the other party at {path} runs as user {uid}, which is not allowed; \
                 `Builder::allow_uid({uid})` would allow it"
            ),
            RendezvousReason::Refused(refusal) => write!(f, "the listener at {path} refused: {}", explain(*refusal)),
            RendezvousReason::TooLarge { found, most } => write!(
                f,
                "the listener at {path} has a lane of {found} bytes, and at most {most} are accepted; \
                 raise `Builder::max_peer_capacity` if it may have them"
            ),
            RendezvousReason::Protocol(what) | RendezvousReason::Memory(what) => {
                write!(f, "the other party at {path} does not keep to the rules of the rendezvous: {what}")
            }
            RendezvousReason::BadDescriptor(why) => write!(f, "{path} cannot be used: {why}"),
            RendezvousReason::HungUp => write!(
                f,
                "the listener at {path} hung up before it had accepted: it has ended, or stopped listening; try again"
            ),
            RendezvousReason::ChildEnded => {
                write!(f, "the child that was to connect to {path} has ended, or closed it")
            }
            RendezvousReason::CannotListen => write!(f, "no process can listen at {path}: connect to it instead"),
            RendezvousReason::TimedOut => write!(f, "no process answered at {path} in time"),
            RendezvousReason::Short(what) => write!(
                f,
                "no connection came about at {path} in time: a connector was turned away, because this process could not \
                 serve it: {what}"
            ),
            RendezvousReason::Cancelled => write!(f, "waiting at {path} was cancelled"),
            RendezvousReason::System(what, e) => write!(f, "cannot {what} at {path}: {e}{}", advice(e)),
        }
    }
}

/// Why a listener refuses, and what to do.
fn explain(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Version => "it knows no layout version that this program knows; use the same version of smstream",
        Refusal::User => "this user is not allowed; let it call `Builder::allow_uid`, or run as its user",
        Refusal::TooLarge => {
            "its lanes are larger than this program accepts; raise `Builder::max_peer_capacity` if it may have them"
        }
        Refusal::Memory => "it does not accept this program's memory",
        Refusal::Protocol => "it took this program's messages for wrong or late",
        Refusal::Limited => {
            "a limit of its process forbids memory of the size that the lanes need (RLIMIT_FSIZE, `ulimit -f`, or RLIMIT_AS, \
             `ulimit -v`); raise that limit for the listener, or use smaller lanes"
        }
        Refusal::UnknownUser => {
            "this user has no id in the listener's user namespace, so it cannot be allowed by its number; let the listener call \
             `Builder::allow_any`, or map the user there"
        }
        Refusal::Resources => "it has too much to do, or no memory or descriptors left; try again later",
    }
}

impl std::error::Error for RendezvousError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            RendezvousReason::System(_, e) => Some(e),
            _ => None,
        }
    }
}

impl From<RendezvousError> for io::Error {
    fn from(e: RendezvousError) -> Self {
        io::Error::new(e.kind(), e)
    }
}
