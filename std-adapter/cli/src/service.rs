//! What a server says of itself: to the one who started it, and for each connection.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::failure::say;
use crate::transport::Stream;

/// Says to the service manager that this server is ready, if it asks for that: sd_notify(3).
pub fn ready() {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&socket),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = sent {
        say(format_args!("could not tell the service manager at {} that it is ready: {error}", socket.display()));
    }
}

/// Says who connected.
pub fn log_accepted(place: &dyn std::fmt::Display, stream: &Stream) {
    say(format_args!("{} connected at {place}", peer(stream)));
}

/// Who is on the other side.
pub fn peer(stream: &Stream) -> String {
    let peer = stream.peer();
    match peer.credentials {
        Some(it) => format!("process {} of user {}", it.pid.unwrap_or(peer.pid), it.uid),
        None => format!("process {}", peer.pid),
    }
}
