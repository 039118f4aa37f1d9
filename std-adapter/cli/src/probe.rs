//! Whether there is a listener at an address, without its noticing.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use smstream::inspect::{Channel, Source, State};

use crate::transport::{Addr, shown};

/// Looks for a listener.
///
/// # Errors
/// There is none ([`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`]), or it cannot be seen.
pub fn listener(addr: &Addr) -> io::Result<()> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), "there is no such name"),
        io::ErrorKind::ConnectionRefused => {
            io::Error::new(error.kind(), "the name was left by a listener that has ended")
        }
        _ => error,
    };
    match addr {
        Addr::Unix(path) => dial(&SocketAddrUnix::new(path.as_path())?).map_err(explain),
        Addr::Abstract(name) => {
            dial(&SocketAddrUnix::new_abstract_name(name.as_encoded_bytes())?).map_err(|error| match error.kind() {
                // Where there is no name, there is no listener that left it.
                io::ErrorKind::ConnectionRefused => io::Error::new(io::ErrorKind::NotFound, "there is no such name"),
                _ => error,
            })
        }
        Addr::File(path) => region(Source::path(path)).map_err(explain),
        Addr::Shm(name) => region(Source::path(&std::path::Path::new("/dev/shm").join(name))).map_err(explain),
        other => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} has no name to look for", shown(other)))),
    }
}

/// Connects, and hangs up at once: to a listener that is no connection yet.
fn dial(address: &SocketAddrUnix) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match connect(&socket, address) {
        // So many wait to be accepted that there is no room for one more: there is a listener.
        Ok(()) | Err(rustix::io::Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Looks at a region and asks for its locks.
fn region(source: io::Result<Source>) -> io::Result<()> {
    let channel = Channel::of_region(Arc::new(source?))?;
    let look = smstream::inspect::InspectedStream::unknown(channel).look()?;
    match look.state() {
        State::Listening | State::Connecting => Ok(()),
        _ => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}
