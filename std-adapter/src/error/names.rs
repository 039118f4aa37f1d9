//! The names of errors, which are the same in every language.

use super::Reason;
use crate::rendezvous::RendezvousReason as Why;

impl Reason {
    /// The name of an error that is nothing but its reason.
    pub(super) fn name(self) -> &'static str {
        match self {
            Reason::PeerGone => "PeerGone",
            Reason::WriteAfterClose => "Closed",
            Reason::Corrupt => "Corrupt",
            Reason::Deadlock => "Deadlock",
            Reason::Aborted => "Cancelled",
            Reason::UnexpectedEnd => "End",
            Reason::TimedOut => "TimedOut",
            Reason::WouldBlock => "Again",
            Reason::NotReady => "NoListener",
            Reason::AddrInUse | Reason::Claimed => "InUse",
            Reason::NotARegion => "NotARegion",
            Reason::Version => "Version",
            Reason::Denied => "NotAllowed",
            Reason::Capacity => "Capacity",
            Reason::InvalidInput => "Invalid",
            Reason::Unsupported => "NoDescriptor",
            Reason::System => "System",
        }
    }
}

/// The name of a rendezvous that came to nothing.
pub(super) fn of_handshake(why: &Why) -> &'static str {
    match why {
        Why::BadName | Why::BadSocketName | Why::BadDescriptor(_) | Why::CannotListen => "Address",
        Why::NoListener | Why::NoSuchName => "NoListener",
        Why::ListenerDied => "ListenerDied",
        Why::InUse | Why::Occupied(_) | Why::ForeignLock(_) | Why::NotAlone => "InUse",
        Why::NotARegion(_) | Why::ForeignOwner(_) | Why::OpenToOthers(_) => "NotARegion",
        Why::NameLost | Why::Overwritten(_) => "NameLost",
        // The first that is wrong, in the order of the layout: A15.
        Why::BadRegion(findings) => findings.as_slice().first().map_or("NotARegion", |finding| finding.problem.name()),
        Why::BadSegment(problem) | Why::BadConfig(problem) => problem.name(),
        Why::CutShort => "TooShort",
        Why::NotAllowed(_) => "NotAllowed",
        Why::Refused(_) => "Refused",
        Why::TooLarge { .. } => "TooLarge",
        Why::Protocol(_) => "Protocol",
        Why::Memory(_) => "Memory",
        Why::HungUp | Why::ChildEnded => "HungUp",
        Why::TimedOut | Why::Short(_) => "TimedOut",
        Why::Cancelled => "Cancelled",
        Why::System(..) => "System",
    }
}
