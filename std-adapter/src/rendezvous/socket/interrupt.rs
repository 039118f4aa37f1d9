//! To end the waits of a listener.

use rustix::fd::OwnedFd;
use smstream_shm::memory::retry;

/// Ends the waits of a listener, from any thread.
#[derive(Debug)]
pub(crate) struct Interrupt(OwnedFd);

impl Interrupt {
    /// Of an eventfd that the listener watches.
    pub(super) fn new(eventfd: OwnedFd) -> Self {
        Interrupt(eventfd)
    }

    /// Ends all waits, now and later.
    pub(crate) fn raise(&self) {
        // No thread reads it, so it stays readable. It can only fail when it is.
        let _ = retry(|| rustix::io::write(&self.0, &1u64.to_ne_bytes()));
    }
}
