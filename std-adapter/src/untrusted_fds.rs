//! Descriptors that came from a party that need not be trusted: how to close these.
//!
//! To close a descriptor can take as long as its sender likes: a TCP socket that lingers until its bytes are read, a file
//! whose file system is a process. What may take long is closed by other threads, and there are at most [`MOST_THREADS`] of
//! them: what they have no time for yet stays open.

use crate::background::BoundedPool;
use crate::per_process::PerProcess;
use rustix::fd::OwnedFd;
use rustix::net::sockopt;
use std::convert::Infallible;

/// Descriptors that came from a party that need not be trusted.
#[derive(Debug, Default)]
pub(crate) struct UntrustedFds(Vec<OwnedFd>);

impl UntrustedFds {
    pub(crate) fn push(&mut self, fd: OwnedFd) {
        self.0.push(fd);
    }

    /// Takes the only one, which the caller must know to be harmless before closing it; `Err`: how many there are.
    pub(crate) fn only(&self) -> Result<&OwnedFd, usize> {
        match &self.0[..] {
            [fd] => Ok(fd),
            all => Err(all.len()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// They have been looked at, and closing them takes no time.
    pub(crate) fn close_inline(mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(crate) fn as_slice(&self) -> &[OwnedFd] {
        &self.0
    }
}

impl From<Vec<OwnedFd>> for UntrustedFds {
    fn from(fds: Vec<OwnedFd>) -> Self {
        UntrustedFds(fds)
    }
}

impl Drop for UntrustedFds {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            let fds = std::mem::take(&mut self.0);
            run_in_background(move || close_all(fds));
        }
    }
}

/// How many threads close things at once.
const MOST_THREADS: usize = 64;

/// The threads of the process. They use it to the end.
static CLOSING: PerProcess<BoundedPool> = PerProcess::new();

/// Does it in another thread, when there can be one. Until then what it is to close stays open: no caller waits for that. Each
/// end of a stream over a socket looks again whether there can be one: see [`resume`].
pub(crate) fn run_in_background(work: impl FnOnce() + Send + 'static) {
    closing().run(work);
}

/// Tries again to close what stayed open because there could be no thread.
pub(crate) fn resume() {
    if let Some(pool) = CLOSING.existing() {
        pool.resume();
    }
}

fn closing() -> &'static BoundedPool {
    let Ok(few) = CLOSING.get_or_make(|| Ok::<_, Infallible>(BoundedPool::new("smstream-close", MOST_THREADS)));
    few
}

fn close_all(fds: Vec<OwnedFd>) {
    for fd in fds {
        // It fails for what is no socket.
        let _ = sockopt::set_socket_linger(&fd, None);
        drop(fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsRawFd;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

    #[test]
    fn foreign_descriptors_are_closed() {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let number = b.as_raw_fd();
        assert_eq!(UntrustedFds::from(vec![]).only().unwrap_err(), 0);
        let foreign = UntrustedFds::from(vec![b]);
        assert_eq!(foreign.only().unwrap().as_raw_fd(), number);
        drop(foreign);
        // It waits until the last one has closed the other end.
        assert_eq!(recv(&a, &mut [0; 1], RecvFlags::empty()).unwrap().1, 0);
    }
}
