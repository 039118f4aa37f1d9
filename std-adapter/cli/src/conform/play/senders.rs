//! Who sent a message, as the kernel says, or does not: S4, S5.

use std::fs::read_dir;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::net::{AddressFamily, SocketType, getpeername, getsockname, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::messages::hangs_up;
use crate::conform::packet::{Came, Message, Wire, kind};
use crate::conform::plan::{Over, Play};
use crate::conform::scene::{Role, Scene, usual};
use crate::conform::segment::Segment;
use crate::conform::socket::MOST;
use crate::conform::trouble::{Trouble, broke, need, unreached};
use crate::conform::words::Speaks;

const SOCKET: Play =
    Play { name: "", about: &[], level: 1, over: Over::Socket, role: None, speaks: Speaks::Bytes, run: |_| Ok(()) };

pub const PLAYS: &[Play] = &[
    Play {
        name: "HELLO without the kernel's word on its sender",
        about: &["S4"],
        role: Some(Role::Connector),
        run: nameless_hello,
        ..SOCKET
    },
    Play {
        name: "WELCOME without the kernel's word on its sender",
        about: &["S4"],
        role: Some(Role::Listener),
        run: nameless_welcome,
        ..SOCKET
    },
    Play { name: "HELLO of another user", about: &["S5"], role: Some(Role::Connector), run: foreign_hello, ..SOCKET },
    Play {
        name: "WELCOME of another user",
        about: &["S5"],
        role: Some(Role::Listener),
        run: foreign_welcome,
        ..SOCKET
    },
];

/// A user that this command is not: the play is reached only where the kernel lets this command send as any user.
const ANOTHER: u32 = 65_533;

/// Copies of the sockets of a process that have to do with one of this side: those on which it listens, and the other end. That knows this end by its
/// name, which the kernel gives to each that asks for senders and connects.
fn sockets_of(pid: Pid, wire: &Wire) -> io::Result<Vec<OwnedFd>> {
    let own = getsockname(wire.as_fd())?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut found = Vec::new();
    for entry in read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|text| text.parse().ok()) else { continue };
        // A descriptor that was closed meanwhile is none of them.
        let socket = match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
            Ok(copy) => copy,
            Err(rustix::io::Errno::BADF) => continue,
            Err(error) => return Err(error.into()),
        };
        let packets = sockopt::socket_type(&socket).is_ok_and(|kind| kind == SocketType::SEQPACKET)
            && sockopt::socket_domain(&socket).is_ok_and(|domain| domain == AddressFamily::UNIX);
        let ours = || getpeername(&socket).is_ok_and(|peer| peer.as_ref() == Some(&own));
        if packets && (sockopt::socket_acceptconn(&socket)? || ours()) {
            found.push(socket);
        }
    }
    Ok(found)
}

/// Makes the peer's end one that does not ask for the kernel's word, which it must have asked for; and this end one that does not give it unasked.
fn make_nameless(scene: &Scene, wire: &Wire) -> Result<(), Trouble> {
    let peer = sockopt::socket_peercred(wire.as_fd()).map_err(io::Error::from)?;
    let end = Instant::now() + scene.patience;
    loop {
        let sockets = sockets_of(peer.pid, wire).map_err(|error| {
            unreached(format!("this command may not look at the sockets of process {:?}: {error}", peer.pid))
        })?;
        let mut connected = 0;
        for socket in sockets {
            let asks = sockopt::socket_passcred(&socket).map_err(io::Error::from)?;
            let listens = sockopt::socket_acceptconn(&socket).map_err(io::Error::from)?;
            need(asks, &["S4"], || {
                let which = if listens { "on which it listens" } else { "over which the two meet" };
                format!("the socket {which} has no SO_PASSCRED")
            })?;
            if !listens {
                sockopt::set_socket_passcred(&socket, false).map_err(io::Error::from)?;
                connected += 1;
            }
        }
        if connected != 0 {
            break;
        }
        if Instant::now() >= end {
            return Err(unreached(format!(
                "process {:?} has no socket that leads here, for {:?}",
                peer.pid, scene.patience
            )));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    sockopt::set_socket_passcred(wire.as_fd(), false).map_err(io::Error::from)?;
    Ok(())
}

fn nameless_hello(scene: &mut Scene) -> Result<(), Trouble> {
    let wire = Wire::connect(&scene.addr, scene.patience)?;
    make_nameless(scene, &wire)?;
    wire.say(&Message::hello(MOST), &[])?;
    is_refused(&wire, &["S4"], "HELLO without the kernel's word on its sender", None)
}

/// REFUSED, for this reason if there is one.
fn is_refused(wire: &Wire, clauses: &[&'static str], what: &str, reason: Option<u32>) -> Result<(), Trouble> {
    match wire.hear()? {
        Came::Message(message, _)
            if message.0[3] == kind::REFUSED && reason.is_none_or(|reason| message.0[14] == reason) =>
        {
            Ok(())
        }
        Came::Message(message, _) => Err(broke(clauses, format!("{what} was answered by {}", message.name()))),
        Came::Bytes(len) => Err(broke(clauses, format!("{what} was answered by a packet of {len} bytes"))),
        Came::End => Err(broke(clauses, format!("after {what} it hung up and did not say REFUSED"))),
        Came::Nothing => Err(broke(clauses, format!("{what} was not answered"))),
    }
}

fn nameless_welcome(scene: &mut Scene) -> Result<(), Trouble> {
    scene.start_connector()?;
    let (wire, _, _) = scene.door()?.hello()?;
    make_nameless(scene, &wire)?;
    let (fd, _) = Segment::sealed(&usual(), 0)?;
    wire.say(&Message::welcome(&usual()), &[fd.as_fd()])?;
    hangs_up(&wire, &["S4"], "WELCOME without the kernel's word on its sender")
}

fn not_as_another(error: io::Error) -> Trouble {
    unreached(format!("only a process that may change its user can send as another one: {error}"))
}

fn foreign_hello(scene: &mut Scene) -> Result<(), Trouble> {
    let wire = Wire::connect(&scene.addr, scene.patience)?;
    wire.say_as(ANOTHER, &Message::hello(MOST), &[]).map_err(not_as_another)?;
    is_refused(&wire, &["S5"], &format!("HELLO of user {ANOTHER}"), Some(2))
}

fn foreign_welcome(scene: &mut Scene) -> Result<(), Trouble> {
    scene.start_connector()?;
    let (wire, _, _) = scene.door()?.hello()?;
    let (fd, _) = Segment::sealed(&usual(), 0)?;
    wire.say_as(ANOTHER, &Message::welcome(&usual()), &[fd.as_fd()]).map_err(not_as_another)?;
    hangs_up(&wire, &["S5"], &format!("WELCOME of user {ANOTHER}"))
}
