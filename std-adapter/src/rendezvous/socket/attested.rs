//! A pidfd of the other party that cannot be another process's.
//!
//! A number read from shared memory, or one that was true a moment ago, may by now be another process's. So either the
//! kernel hands the pidfd out together with a message (`SO_PASSPIDFD`, Linux 6.5), or a pidfd is opened for the sender of
//! one message, and the sender of a *later* message has the same number while that pidfd's process still lives: then the
//! number has belonged to that process all the time, for no two have it at once.

use crate::packet::{self, Sender};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::Timespec;

/// What is known after the first of two messages.
#[derive(Debug)]
pub(super) struct Attested {
    first: Sender,
    how: How,
}

#[derive(Debug)]
enum How {
    /// The other party wants no signals, so no pidfd is needed. Or there can be none.
    None,
    /// The kernel will send one with the next message.
    Asked,
    /// Opened by number, to be confirmed.
    Opened(OwnedFd),
}

impl Attested {
    /// After the first message, from `first`.
    pub(super) fn begin(socket: &OwnedFd, first: Sender, wanted: bool) -> Self {
        let how = match Pid::from_raw(first.pid).filter(|_| wanted) {
            None => How::None,
            Some(_) if packet::ask_for_pidfd(socket) => How::Asked,
            Some(pid) => pidfd_open(pid, PidfdFlags::empty()).map_or(How::None, How::Opened),
        };
        Attested { first, how }
    }

    /// After a later message, from `sender`. `None`: it is another one. `Some(None)`: no pidfd was wanted, or there is
    /// none.
    pub(super) fn finish(self, sender: Sender, pidfd: Option<OwnedFd>) -> Option<Option<OwnedFd>> {
        if sender != self.first {
            return None;
        }
        Some(match self.how {
            How::None => None,
            How::Asked => pidfd,
            How::Opened(pidfd) => lives(&pidfd).then_some(pidfd),
        })
    }
}

/// Whether the process of a pidfd lives: it becomes readable when that ends.
fn lives(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())) == Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsRawFd;
    use rustix::process::getpid;

    fn me() -> Sender {
        Sender { pid: getpid().as_raw_nonzero().get(), uid: 1, gid: 1 }
    }

    #[test]
    fn a_number_is_confirmed_by_the_next_message() {
        let open = || How::Opened(pidfd_open(getpid(), PidfdFlags::empty()).unwrap());
        let attested = Attested { first: me(), how: open() };
        assert!(attested.finish(me(), None).unwrap().unwrap().as_raw_fd() >= 0);
        let attested = Attested { first: me(), how: open() };
        assert!(attested.finish(Sender { pid: 1, ..me() }, None).is_none());
    }

    #[test]
    fn the_dead_are_not_attested() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        let dead = Sender { pid, ..me() };
        let attested = Attested { first: dead, how: How::Opened(pidfd) };
        assert!(matches!(attested.finish(dead, None), Some(None)));
    }
}
