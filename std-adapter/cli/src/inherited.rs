//! A listening socket that this process has inherited, as from a service manager: sd_listen_fds(3).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::net::sockopt;

/// What is wrong with a descriptor.
pub fn wrong(number: RawFd, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {number} {why}"))
}

/// A copy of a descriptor that must be a listening socket.
pub fn listening(number: RawFd) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(wrong(number, "is a standard stream"));
    }
    // SAFETY: F_DUPFD_CLOEXEC takes any number, and touches no memory; where there is no such descriptor it fails.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(wrong(number, "is not open"));
    }
    // SAFETY: the call has just made this descriptor, and nothing else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(copy) };
    match sockopt::socket_acceptconn(&socket) {
        Ok(true) => Ok(socket),
        Ok(false) => Err(wrong(number, "is a socket that does not listen")),
        Err(_) => Err(wrong(number, "is no socket")),
    }
}
