//! What can go wrong, for people and for programs.

use std::fmt;
use std::io;

use smstream_core::error::ErrorCode;

use crate::addr::ParseAddrError;
use crate::rendezvous::{self, Refusal};

/// What kind of thing went wrong. Each has an [`io::ErrorKind`]; some have one of the seeds' [`ErrorCode`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The peer died without closing. All it had sent has been read.
    PeerGone,
    /// The peer takes no more bytes, or this half was shut down.
    WriteAfterClose,
    /// The peer's words broke the rules of the stream, or its memory was cut short (see
    /// [`Builder::guard_truncation`](crate::Builder::guard_truncation)). It cannot be used any more.
    Corrupt,
    /// A timeout passed.
    TimedOut,
    /// The call would have to wait, and the stream or listener does not block.
    WouldBlock,
    /// Nobody listens there: no such name, or the listener is gone.
    NotReady,
    /// Somebody else listens there.
    AddrInUse,
    /// Another connector has the region already, or it is one left over, kept by a hard link.
    NotAlone,
    /// What the name leads to is no region of this kind.
    NotARegion,
    /// A region of another layout version or byte order.
    Version,
    /// Another owner, or no permission.
    Denied,
    /// A capacity that no lane can have.
    Capacity,
    /// An argument that makes no sense.
    InvalidInput,
    /// Anything else the system says.
    System,
}

/// What was tried, on what, what came of it, and what to do next.
///
/// It turns into an [`io::Error`] of the fitting kind, with itself inside (see [`io::Error::get_ref`]).
#[derive(Debug)]
pub struct Error {
    reason: Reason,
    kind: io::ErrorKind,
    code: Option<ErrorCode>,
    text: String,
    source: Option<io::Error>,
}

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a system call behind it.
    pub(crate) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Error { reason, kind: reason.kind(), code: reason.code(), text: text.into(), source: None }
    }

    /// An error that the system gave. Its text says everything.
    pub(crate) fn system(reason: Reason, source: io::Error) -> Self {
        let kind = if reason == Reason::System { source.kind() } else { reason.kind() };
        Error { reason, kind, code: reason.code(), text: source.to_string(), source: Some(source) }
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The standard library's kind for it.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }

    /// The seeds' code for it, if they had one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.code
    }
}

impl Reason {
    fn code(self) -> Option<ErrorCode> {
        Some(match self {
            Reason::PeerGone => ErrorCode::PartnerNotAlive,
            Reason::WriteAfterClose => ErrorCode::WriteAfterClose,
            Reason::NotAlone | Reason::AddrInUse => ErrorCode::NotAlone,
            Reason::NotReady | Reason::NotARegion | Reason::Version => ErrorCode::ConnectionNotReady,
            Reason::Capacity => ErrorCode::MRing,
            _ => return None,
        })
    }

    fn kind(self) -> io::ErrorKind {
        match self {
            Reason::PeerGone => io::ErrorKind::ConnectionReset,
            Reason::WriteAfterClose => io::ErrorKind::BrokenPipe,
            Reason::Corrupt | Reason::NotARegion | Reason::Version => io::ErrorKind::InvalidData,
            Reason::TimedOut => io::ErrorKind::TimedOut,
            Reason::WouldBlock => io::ErrorKind::WouldBlock,
            Reason::NotReady => io::ErrorKind::ConnectionRefused,
            Reason::AddrInUse => io::ErrorKind::AddrInUse,
            Reason::NotAlone => io::ErrorKind::ResourceBusy,
            Reason::Denied => io::ErrorKind::PermissionDenied,
            Reason::Capacity | Reason::InvalidInput => io::ErrorKind::InvalidInput,
            Reason::System => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().and_then(|e| std::error::Error::source(e))
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> Self {
        match e.reason {
            // The ordinary course of a stream that does not block: no allocation.
            Reason::WouldBlock => e.kind.into(),
            _ => io::Error::new(e.kind, e),
        }
    }
}

impl From<rendezvous::Error> for Error {
    fn from(e: rendezvous::Error) -> Self {
        let reason = match e.reason() {
            rendezvous::Reason::BadName
            | rendezvous::Reason::BadSocketName
            | rendezvous::Reason::BadDescriptor(_)
            | rendezvous::Reason::CannotListen => Reason::InvalidInput,
            rendezvous::Reason::NobodyListens
            | rendezvous::Reason::NoSuchName
            | rendezvous::Reason::ListenerDied
            | rendezvous::Reason::HungUp
            | rendezvous::Reason::ChildEnded
            | rendezvous::Reason::Refused(Refusal::Resources) => Reason::NotReady,
            rendezvous::Reason::InUse => Reason::AddrInUse,
            rendezvous::Reason::NotARegion(_) | rendezvous::Reason::Occupied(_) => Reason::NotARegion,
            rendezvous::Reason::BadRegion(findings) if findings.is_foreign() => Reason::Version,
            rendezvous::Reason::Refused(Refusal::Version) => Reason::Version,
            rendezvous::Reason::BadRegion(_)
            | rendezvous::Reason::Unfit(_)
            | rendezvous::Reason::CutShort
            | rendezvous::Reason::Protocol(_)
            | rendezvous::Reason::Refused(Refusal::Memory | Refusal::Protocol) => Reason::Corrupt,
            rendezvous::Reason::BadConfig(_)
            | rendezvous::Reason::TooLarge { .. }
            | rendezvous::Reason::Refused(Refusal::TooLarge) => Reason::Capacity,
            rendezvous::Reason::ForeignOwner(_)
            | rendezvous::Reason::OpenToOthers(_)
            | rendezvous::Reason::NotAllowed(_)
            | rendezvous::Reason::Refused(Refusal::User) => Reason::Denied,
            rendezvous::Reason::NotAlone => Reason::NotAlone,
            rendezvous::Reason::TimedOut => Reason::TimedOut,
            rendezvous::Reason::System(_, e) if e.kind() == io::ErrorKind::PermissionDenied => Reason::Denied,
            _ => Reason::System,
        };
        let (kind, code, text) = (e.kind(), e.code(), e.to_string());
        Error { reason, kind, code: code.or(reason.code()), text, source: Some(e.into()) }
    }
}

impl From<ParseAddrError> for Error {
    fn from(e: ParseAddrError) -> Self {
        Error::new(Reason::InvalidInput, e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_carries_it() {
        let e: io::Error = Error::new(Reason::PeerGone, "gone").into();
        assert_eq!(e.kind(), io::ErrorKind::ConnectionReset);
        let inner = e.get_ref().and_then(|e| e.downcast_ref::<Error>()).unwrap();
        assert_eq!(inner.code(), Some(ErrorCode::PartnerNotAlive));
    }
}
