//! What a server says of itself: to the one who started it, and for each connection.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use crate::failure::say;
use crate::signals;
use crate::transport::{Listener, Stream, in_options};

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

/// Stops listening, when no other thread uses the listener any more. If its name cannot be removed that is said, and no more:
/// what was served was served.
pub fn stop_listening(listener: Arc<Listener>) {
    close(signals::sole(listener));
}

/// The same, of a listener that no other thread has.
pub fn close(listener: Listener) {
    if let Err(error) = listener.close() {
        say(format_args!("{}; the next listener takes the name over", in_options(&error.into())));
    }
}
