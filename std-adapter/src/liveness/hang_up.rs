//! Has a socket hung up?

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::time::Timespec;
use smstream_shm::memory::retry;

/// How often to ask about a socket where the system does not answer.
const ATTEMPTS: u32 = 16;

/// Whether the other end of a socket has been closed by all who had it. A peer that says that nothing more will come has
/// hung up, too: an honest peer does not say so.
pub(super) fn has_hung_up(socket: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&socket, PollFlags::RDHUP)];
    // A question that the system cannot answer now (ENOMEM) is asked again: epoll reports a hang-up once only.
    (0..ATTEMPTS).find_map(|_| retry(|| poll(&mut fds, Some(&Timespec::default()))).ok()).is_some_and(|n| n > 0)
}
