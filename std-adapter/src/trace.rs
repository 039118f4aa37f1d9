//! Events for `tracing`, behind the feature of that name. Without it every function here is empty.
//!
//! All are about connections, their ends and waiting; none is on the way of bytes that need not wait.

#[cfg(feature = "tracing")]
pub(crate) use events::*;
#[cfg(not(feature = "tracing"))]
pub(crate) use silent::*;

#[cfg(feature = "tracing")]
mod events {
    use std::fmt::Display;

    use tracing::{debug, error, trace, warn};

    use crate::addr::Addr;
    use crate::error::{Error, Reason};
    use crate::history::Operation;
    use crate::liveness::Half;

    /// A listener has been made.
    pub(crate) fn listening(addr: &Addr, capacities: [usize; 2]) {
        debug!(target: "smstream", %addr, ?capacities, "listening");
    }

    /// A listener or a connector got nowhere.
    pub(crate) fn refused(what: &'static str, addr: &Addr, error: &Error) {
        debug!(target: "smstream", %addr, reason = ?error.reason(), %error, "{what}");
    }

    /// A listener has turned a connector away, or it has gone.
    pub(crate) fn turned_away(addr: &dyn Display, why: &dyn Display) {
        warn!(target: "smstream", %addr, %why, "turned away");
    }

    /// A listener that was dropped could not remove its name. `Listener::close` returns that as an error.
    pub(crate) fn name_left(error: &dyn Display) {
        warn!(target: "smstream", %error, "the name is left");
    }

    /// A stream has been made.
    pub(crate) fn open(how: &'static str, peer: &str, pid: u32, capacities: [usize; 2]) {
        debug!(target: "smstream", peer, pid, ?capacities, "{how}");
    }

    /// One direction was closed at this end.
    pub(crate) fn closed(peer: &str, half: Half) {
        debug!(target: "smstream", peer, ?half, "closed");
    }

    /// A half has to wait: it looks for a while, then sleeps.
    pub(crate) fn waits(peer: &str, half: Half, bytes: usize) {
        trace!(target: "smstream", peer, ?half, bytes, "waits");
    }

    /// Something went wrong for the first time.
    pub(crate) fn incident(peer: &str, during: Operation, error: &Error, reported: bool) {
        let (reason, written) = (error.reason(), error.written());
        match reason {
            Reason::Corrupt => {
                error!(target: "smstream", peer, %during, ?reason, reported, written, %error, "the peer broke the rules")
            }
            Reason::PeerGone => {
                warn!(target: "smstream", peer, %during, ?reason, reported, written, %error, "the peer died")
            }
            _ => warn!(target: "smstream", peer, %during, ?reason, reported, written, %error, "the stream failed"),
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod silent {
    use std::fmt::Display;

    use crate::addr::Addr;
    use crate::error::Error;
    use crate::history::Operation;
    use crate::liveness::Half;

    #[inline(always)]
    pub(crate) fn listening(_: &Addr, _: [usize; 2]) {}
    #[inline(always)]
    pub(crate) fn refused(_: &'static str, _: &Addr, _: &Error) {}
    #[inline(always)]
    pub(crate) fn turned_away(_: &dyn Display, _: &dyn Display) {}
    #[inline(always)]
    pub(crate) fn name_left(_: &dyn Display) {}
    #[inline(always)]
    pub(crate) fn open(_: &'static str, _: &str, _: u32, _: [usize; 2]) {}
    #[inline(always)]
    pub(crate) fn closed(_: &str, _: Half) {}
    #[inline(always)]
    pub(crate) fn waits(_: &str, _: Half, _: usize) {}
    #[inline(always)]
    pub(crate) fn incident(_: &str, _: Operation, _: &Error, _: bool) {}
}
