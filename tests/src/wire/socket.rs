//! One end of the socket, and the packets that go through it.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
    socket_with, sockopt,
};
use smstream::Addr;

use super::message::{LEN, Message, kind, word};
use crate::watchdog::PATIENCE;

/// One end of the socket.
#[derive(Debug)]
pub struct Wire(pub OwnedFd);

fn address(addr: &str) -> io::Result<SocketAddrUnix> {
    let parsed: Addr = addr.parse().map_err(io::Error::other)?;
    Ok(match parsed {
        Addr::Unix(path) => SocketAddrUnix::new(path)?,
        Addr::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_encoded_bytes())?,
        _ => return Err(ErrorKind::InvalidInput.into()),
    })
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Listens at an address, by hand.
pub fn door(addr: &str) -> io::Result<OwnedFd> {
    door_for(addr, 64)
}

/// Listens at an address, by hand, with a queue for so many.
pub fn door_for(addr: &str, queue: i32) -> io::Result<OwnedFd> {
    let socket = socket()?;
    bind(&socket, &address(addr)?)?;
    // The kernel takes one more.
    listen(&socket, queue - 1)?;
    Ok(socket)
}

impl Wire {
    /// Connects and says nothing.
    pub fn connect(addr: &str) -> io::Result<Self> {
        let socket = socket()?;
        connect(&socket, &address(addr)?)?;
        Self::patient(socket)
    }

    /// Lets a connector in and says nothing.
    pub fn accept(door: &OwnedFd) -> io::Result<Self> {
        Self::patient(accept_with(door, SocketFlags::CLOEXEC)?)
    }

    /// No test waits for ever.
    fn patient(socket: OwnedFd) -> io::Result<Self> {
        for direction in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&socket, direction, Some(PATIENCE))?;
        }
        Ok(Wire(socket))
    }

    /// Sends a packet.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)), "more descriptors than a packet may have");
        }
        sendmsg(&self.0, &[io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Sends a message.
    pub fn say(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send(&message.bytes(), fds)
    }

    /// The next message, and the descriptors that came with it. `None`: the other side has hung up.
    ///
    /// # Errors
    /// A packet that is no message, nothing for a long time, or what the system says.
    pub fn hear(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut bytes = [0; LEN + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [io::IoSliceMut::new(&mut bytes)];
        let len = match recvmsg(&self.0, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(came) => came.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(e) => return Err(e.into()),
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if len == 0 {
            return Ok(None);
        }
        let message = Message::read(&bytes[..len]).ok_or_else(|| io::Error::other(format!("{len} bytes came")))?;
        Ok(Some((message, fds)))
    }

    /// The next message, which is of this kind.
    ///
    /// # Errors
    /// If it is not, and as for [`hear`](Self::hear).
    pub fn expect(&self, kind: u32) -> io::Result<(Message, Vec<OwnedFd>)> {
        match self.hear()? {
            Some((message, fds)) if message.kind() == kind => Ok((message, fds)),
            other => Err(io::Error::other(format!("{other:?} came and not a message of kind {kind}"))),
        }
    }

    /// The reason of a refusal, which is the next message; then the other side has hung up.
    ///
    /// # Errors
    /// If it is not, and as for [`hear`](Self::hear).
    pub fn refusal(&self) -> io::Result<u32> {
        let (message, _) = self.expect(kind::REFUSED)?;
        match self.hear()? {
            None => Ok(message.0[word::REFUSAL]),
            Some(other) => Err(io::Error::other(format!("{other:?} came after a refusal"))),
        }
    }
}
