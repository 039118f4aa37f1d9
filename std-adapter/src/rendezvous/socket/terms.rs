//! On what terms a party deals with one that it need not trust.

use super::packet::Sender;
use crate::deadline::Deadline;
use std::time::Duration;

/// Who may be the other party.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Allow {
    /// Processes with the same effective user as this one.
    #[default]
    SameUser,
    /// These as well.
    Users(Vec<u32>),
    /// Everybody who can reach the socket.
    Any,
}

impl Allow {
    /// Whether `uid` may.
    pub(crate) fn allows(&self, uid: u32) -> bool {
        match self {
            Allow::Any => true,
            Allow::SameUser => uid == me(),
            Allow::Users(users) => uid == me() || users.contains(&uid),
        }
    }

    /// Whether others than the same user may.
    pub(crate) fn others(&self) -> bool {
        *self != Allow::SameUser
    }
}

/// What one party asks of the other.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Who it may be.
    pub(crate) allow: Allow,
    /// The most bytes that a lane may hold which somebody else decides about.
    pub(crate) most: u32,
    /// How long a connector may take for its part of the rendezvous.
    pub(crate) patience: Duration,
    /// How long to look for an answer before sleeping.
    pub(crate) spin: Duration,
    /// The signal that this party wants beside each wake.
    pub(crate) wake_signal: Option<i32>,
}

impl Terms {
    /// When a connector that comes now has been silent for too long.
    pub(super) fn due(&self) -> Deadline {
        Deadline::after(self.patience)
    }
}

/// Who is on the other side, as the kernel attested when the two met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The process that took part in the rendezvous, in this process's PID namespace; `None` if it is not to be seen from
    /// there. It may have handed its end to another one since, or be gone.
    pub pid: Option<u32>,
    /// Its effective user, or another id that it had the right to name.
    pub uid: u32,
    /// Its effective group, likewise.
    pub gid: u32,
}

impl From<Sender> for Credentials {
    fn from(sender: Sender) -> Self {
        let pid = u32::try_from(sender.pid).ok().filter(|&pid| pid != 0);
        Credentials { pid, uid: sender.uid, gid: sender.gid }
    }
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may() {
        let other = me() + 1;
        assert!(Allow::SameUser.allows(me()) && !Allow::SameUser.allows(other));
        let named = Allow::Users(vec![other]);
        assert!(named.allows(me()) && named.allows(other) && !named.allows(other + 1));
        assert!(Allow::Any.allows(other) && Allow::Any.others() && !Allow::SameUser.others());
    }

    #[test]
    fn a_process_out_of_sight_has_no_number() {
        assert_eq!(Credentials::from(Sender { pid: 0, uid: 1, gid: 2 }).pid, None);
        assert_eq!(Credentials::from(Sender { pid: 7, uid: 1, gid: 2 }).pid, Some(7));
    }
}
