//! On what terms a party deals with one that it need not trust.

use crate::packet::Sender;
use smstream_core::geometry::Config;
use smstream_core::layout::Features;
use smstream_shm::Deadline;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fs, io};

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
        self.allows_where(uid, unknown_user())
    }

    /// The same where `unknown` stands for every user that has no id here.
    fn allows_where(&self, uid: u32, unknown: Option<u32>) -> bool {
        match self {
            Allow::Any => true,
            _ if Some(uid) == unknown => false,
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
    /// The most bytes that a lane may hold which the peer decides about.
    pub(crate) max_peer_capacity: u32,
    /// How long a connector may take for its part of the rendezvous.
    pub(crate) handshake_timeout: Duration,
    /// How long to look for an answer before sleeping.
    pub(crate) spin: Duration,
    /// The signal that this party wants beside each wake.
    pub(crate) wake_signal: Option<i32>,
    /// What the own lane carries.
    pub(crate) features: Features,
    /// The channel that a connector proposes.
    pub(crate) proposal: Option<Config>,
}

impl Terms {
    /// Those of a user who proposes nothing, is patient and does not spin.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Terms {
            allow: Allow::SameUser,
            max_peer_capacity: 1 << 20,
            handshake_timeout: Duration::from_secs(3600),
            spin: Duration::ZERO,
            wake_signal: None,
            features: Features::empty(),
            proposal: None,
        }
    }

    /// When a connector that comes now has been silent for too long.
    pub(super) fn due(&self) -> Deadline {
        Deadline::after(self.handshake_timeout)
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

/// The id that the kernel gives for all users who have none in this process's user namespace (user_namespaces(7)). `None`:
/// all have one. It is found out once.
fn unknown_user() -> Option<u32> {
    // No lock: a thread that is just finding it out must not hold up a child that is forked now. Two may both find it out.
    const NOT_YET: u64 = u64::MAX;
    const ALL_KNOWN: u64 = u64::MAX - 1;
    static UNKNOWN: AtomicU64 = AtomicU64::new(NOT_YET);
    match UNKNOWN.load(Ordering::Relaxed) {
        NOT_YET => {
            let found = find_unknown_user();
            UNKNOWN.store(found.map_or(ALL_KNOWN, u64::from), Ordering::Relaxed);
            found
        }
        known => u32::try_from(known).ok(),
    }
}

/// Whether this is the id of all users who have none here.
pub(super) fn is_unknown(uid: u32) -> bool {
    unknown_user() == Some(uid)
}

fn find_unknown_user() -> Option<u32> {
    let overflow = fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap_or_default();
    unknown_by(fs::read_to_string("/proc/self/uid_map"), Path::new("/proc/self/stat").exists(), &overflow)
}

/// The same, from the map, if it can be read, and whether there is a `/proc` for it to be in. What is not known counts as unknown.
fn unknown_by(map: io::Result<String>, has_proc: bool, overflow: &str) -> Option<u32> {
    match map {
        // A kernel without user namespaces.
        Err(e) if e.kind() == io::ErrorKind::NotFound && has_proc => None,
        map => unknown_with(&map.unwrap_or_default(), overflow),
    }
}

/// The same, from what the two files say: each line of the map has the first id here, the first one outside, and how many.
fn unknown_with(map: &str, overflow: &str) -> Option<u32> {
    let all = map.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("0") && words.nth(1).and_then(|n| n.parse().ok()) == Some(u32::MAX)
    });
    // What it is unless an administrator has changed it.
    (!all).then(|| overflow.trim().parse().unwrap_or(65534))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{role, run_without_ids};

    #[test]
    fn who_may() {
        let other = me() + 1;
        assert!(Allow::SameUser.allows(me()) && !Allow::SameUser.allows(other));
        let named = Allow::Users(vec![other]);
        assert!(named.allows(me()) && named.allows(other) && !named.allows(other + 1));
        assert!(Allow::Any.allows(other) && Allow::Any.others() && !Allow::SameUser.others());
    }

    #[test]
    fn no_user_is_known_by_the_id_of_all_unknown() {
        let (me, other) = (me(), me() + 1);
        assert!(!Allow::SameUser.allows_where(me, Some(me)) && Allow::SameUser.allows_where(me, Some(other)));
        let named = Allow::Users(vec![other]);
        assert!(!named.allows_where(other, Some(other)) && named.allows_where(other, None));
        assert!(!named.allows_where(me, Some(me)) && Allow::Any.allows_where(me, Some(me)));
    }

    #[test]
    fn where_all_users_have_ids() {
        assert_eq!(unknown_with("         0          0 4294967295\n", "65534\n"), None);
        assert_eq!(unknown_with("0 1000 4294967295\n", "65534\n"), None);
        for map in ["", "0 0 1", "0 100000 65536\n", "0 1000 1\n1 100000 65536\n", "1 1 4294967295"] {
            assert_eq!(unknown_with(map, "65533\n"), Some(65533), "{map}");
        }
        assert_eq!(unknown_with("0 1000 1", ""), Some(65534));
    }

    #[test]
    fn without_a_map_all_users_have_ids_only_if_there_could_be_one() {
        let no_map = |kind: io::ErrorKind, has_proc| unknown_by(Err(kind.into()), has_proc, "65533");
        assert_eq!(no_map(io::ErrorKind::NotFound, true), None);
        assert_eq!(no_map(io::ErrorKind::NotFound, false), Some(65533));
        assert_eq!(no_map(io::ErrorKind::PermissionDenied, true), Some(65533));
        assert_eq!(no_map(io::ErrorKind::PermissionDenied, false), Some(65533));
        assert_eq!(unknown_by(Ok("0 0 4294967295\n".into()), true, "65533"), None);
    }

    /// Where the kernel gives one id for all users, this process's own user is no known one either. Asked twice: found out, and
    /// remembered.
    #[test]
    fn in_a_namespace_without_ids_no_user_is_known() {
        if role().as_deref() == Some("without-ids") {
            for _ in 0..2 {
                assert!(is_unknown(me()) && !is_unknown(me() - 1));
                assert!(!Allow::SameUser.allows(me()) && Allow::Any.allows(me()));
            }
            return;
        }
        assert!(!is_unknown(me()) && !is_unknown(me()));
        run_without_ids("rendezvous::socket::terms::tests::in_a_namespace_without_ids_no_user_is_known");
    }

    #[test]
    fn a_process_out_of_sight_has_no_number() {
        assert_eq!(Credentials::from(Sender { pid: 0, uid: 1, gid: 2 }).pid, None);
        assert_eq!(Credentials::from(Sender { pid: 7, uid: 1, gid: 2 }).pid, Some(7));
    }
}
