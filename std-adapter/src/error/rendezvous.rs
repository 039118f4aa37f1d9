//! What an error of the rendezvous means to a user.

use super::{Error, Reason, names};
use crate::rendezvous::{Refusal, RendezvousError, RendezvousReason as Why};
use std::io;
use std::sync::Arc;

impl From<RendezvousError> for Error {
    fn from(e: RendezvousError) -> Self {
        let reason = match e.reason() {
            Why::BadName | Why::BadSocketName | Why::BadDescriptor(_) | Why::CannotListen => Reason::InvalidInput,
            Why::NoListener
            | Why::NoSuchName
            | Why::ListenerDied
            | Why::HungUp
            | Why::ChildEnded
            | Why::Refused(Refusal::Resources | Refusal::Limited) => Reason::NotReady,
            Why::InUse => Reason::AddrInUse,
            Why::NotARegion(_) | Why::Occupied(_) | Why::ForeignLock(_) => Reason::NotARegion,
            Why::BadRegion(findings) if findings.is_foreign() => Reason::Version,
            Why::Refused(Refusal::Version) => Reason::Version,
            Why::BadRegion(_)
            | Why::BadSegment(_)
            | Why::CutShort
            | Why::Protocol(_)
            | Why::Memory(_)
            | Why::Refused(Refusal::Memory | Refusal::Protocol) => Reason::Corrupt,
            Why::BadConfig(_) | Why::TooLarge { .. } | Why::Refused(Refusal::TooLarge) => Reason::Capacity,
            Why::ForeignOwner(_)
            | Why::OpenToOthers(_)
            | Why::NotAllowed(_)
            | Why::Refused(Refusal::User | Refusal::UnknownUser) => Reason::Denied,
            Why::NotAlone => Reason::Claimed,
            Why::TimedOut | Why::Short(_) => Reason::TimedOut,
            Why::System(_, e) if e.kind() == io::ErrorKind::PermissionDenied => Reason::Denied,
            _ => Reason::System,
        };
        let (kind, code, text) = (e.kind(), e.code(), e.to_string());
        Error {
            reason,
            name: names::of_handshake(e.reason()),
            kind,
            code: code.or(reason.code()),
            text,
            written: None,
            read: None,
            source: Some(Arc::new(e.into())),
        }
    }
}
