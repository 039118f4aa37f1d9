//! How a wait for a descriptor is called off.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

/// Says, once and for all, that something is over, and wakes the threads that wait beside it.
#[derive(Debug)]
pub struct CancelToken {
    flag: AtomicBool,
    event: OwnedFd,
}

impl CancelToken {
    /// Not over yet.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { flag: AtomicBool::new(false), event })
    }

    /// Says that it is over.
    pub fn set(&self) {
        self.flag.store(true, Ordering::Release);
        // The counter can only fail to grow when it is full, and then it is set anyway.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Whether it is over.
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Waits until a descriptor is ready, or it is over, which is an error.
    pub fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
        self.wait_or(self, fd, events)
    }

    /// Waits until a descriptor is ready or another thing is over, or this is over, which is an error.
    pub fn wait_or(&self, other: &CancelToken, fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
        self.poll(&mut [self.fd(), other.fd(), PollFd::from_borrowed_fd(fd, events)])
    }

    /// Waits until another thing is over, or this is, which is an error.
    pub fn wait_for(&self, other: &CancelToken) -> io::Result<()> {
        self.poll(&mut [self.fd(), other.fd()])
    }

    fn fd(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.event.as_fd(), PollFlags::IN)
    }

    /// Waits until one of them is ready; the first one is this.
    fn poll(&self, fds: &mut [PollFd<'_>]) -> io::Result<()> {
        loop {
            match poll(fds, None) {
                Ok(_) if self.is_set() => return Err(io::ErrorKind::ConnectionAborted.into()),
                Ok(_) if fds.iter().any(|fd| !fd.revents().is_empty()) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tries something on a descriptor that does not block, again and again, until it need not wait.
    pub fn retry<T>(
        &self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        mut attempt: impl FnMut() -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(fd, events)?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
