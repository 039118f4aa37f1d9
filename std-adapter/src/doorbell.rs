//! The doorbell: a byte on the socket over which two parties met. It wakes a half that a thread waits for with `poll` or
//! `epoll` instead of sleeping on the word itself.
//!
//! Which half it is for, and what has come, stand in shared memory; the byte says nothing. A socket that is full has been
//! rung often enough. The thread that takes what has come looks at both halves of the end.

use crate::liveness::PeerMonitor;
use crate::packet::{self, Control};
use crate::peer_socket::PeerSocket;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::net::{SendFlags, send};
use std::io;
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The packets that one system call takes.
const AT_ONCE: usize = 8;
/// The system calls in which they are taken. An honest peer sends one packet for each time a half says that it sleeps,
/// so that one call takes all.
const MOST_CALLS: usize = 8;

/// The doorbell of one end, and the way to ring at the other one.
#[derive(Debug)]
pub(crate) struct Doorbell {
    socket: Arc<PeerSocket>,
    /// Whether this end wants to be woken by it.
    polled: AtomicBool,
}

/// What is left after taking what had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remaining {
    /// Nothing: when more comes, the socket becomes readable.
    Nothing,
    /// More than an honest peer sends. The socket is still readable.
    More,
    /// The peer has hung up, of which both halves have been alerted.
    HangUp,
}

impl Doorbell {
    pub(crate) fn new(socket: Arc<PeerSocket>) -> Arc<Self> {
        Arc::new(Doorbell { socket, polled: AtomicBool::new(false) })
    }

    /// Whether the halves of this end are to be woken by it, from the next time on that they announce themselves.
    pub(crate) fn set_polled(&self, on: bool) {
        // The caller has both halves of the end, or has passed them on by now.
        self.polled.store(on, Ordering::Relaxed);
    }

    pub(crate) fn is_polled(&self) -> bool {
        self.polled.load(Ordering::Relaxed)
    }

    /// The socket: readable when the peer has rung, or hung up.
    pub(crate) fn socket(&self) -> &Arc<PeerSocket> {
        &self.socket
    }

    /// Rings at the other end. Never waits.
    #[cold]
    pub(crate) fn ring(&self) {
        // A full socket has been rung. A peer that has gone needs no ring.
        let _ = send(&self.socket, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Takes what has come, so that the socket is readable only when the peer rings again. Descriptors that were sent
    /// along are closed elsewhere. Never waits.
    pub(crate) fn take(&self, monitor: &PeerMonitor) -> Remaining {
        for _ in 0..MOST_CALLS {
            match take_some(self.socket.as_fd()) {
                Ok(Some(AT_ONCE)) => {}
                Ok(Some(_)) => return Remaining::Nothing,
                // Nothing came: an empty packet, or the end of the connection.
                Ok(None) if monitor.probe() => return Remaining::HangUp,
                Ok(None) => {}
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock => return Remaining::Nothing,
                    io::ErrorKind::Interrupted => {}
                    _ if monitor.probe() => return Remaining::HangUp,
                    _ => return Remaining::Nothing,
                },
            }
        }
        Remaining::More
    }
}

/// Takes up to [`AT_ONCE`] packets and says how many. `None`: one of them was empty.
fn take_some(socket: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    // All go to the same place: it is not looked at. What is beyond the one byte is cut off.
    let mut byte = [0u8; 1];
    let mut place = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // There is room for all that can come with a packet: what is left to the kernel it would close in this thread, and that
    // can take as long as its sender likes.
    let mut controls = [const { Control::UNINIT }; AT_ONCE];
    // SAFETY: `mmsghdr` is a C struct of integers and pointers, for which all zeros is a valid value.
    let mut packets: [libc::mmsghdr; AT_ONCE] = unsafe { mem::zeroed() };
    for (packet, control) in packets.iter_mut().zip(&mut controls) {
        packet.msg_hdr.msg_iov = &raw mut place;
        packet.msg_hdr.msg_iovlen = 1;
        control.offer_to(&mut packet.msg_hdr);
    }
    // SAFETY: the socket is open, as it is borrowed. There are `AT_ONCE` headers, each of which points at one place for one
    // byte and at control messages of its own; all live during the call. recvmmsg(2) writes there and to the headers.
    // There is no time to wait.
    let n = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            packets.as_mut_ptr(),
            AT_ONCE as _,
            // The flags are an unsigned number in musl.
            (libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) as _,
            ptr::null_mut(),
        )
    };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    let came = &packets[..n.min(AT_ONCE)];
    for packet in came {
        // SAFETY: recvmmsg has filled in this header, and what it names has not been taken.
        drop(unsafe { packet::came(&packet.msg_hdr, packet.msg_len as usize) });
    }
    let empty = came.iter().any(|packet| packet.msg_len == 0);
    Ok((!empty).then_some(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::OwnedFd;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (Arc<Doorbell>, Arc<PeerMonitor>, OwnedFd) {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let a = Arc::new(PeerSocket::new(a));
        (Doorbell::new(Arc::clone(&a)), PeerMonitor::of_socket(a), b)
    }

    #[test]
    fn what_was_rung_is_taken_at_once() {
        let (here, monitor, there) = pair();
        assert_eq!(here.take(&monitor), Remaining::Nothing);
        let there = Doorbell::new(Arc::new(PeerSocket::new(there)));
        for _ in 0..3 {
            there.ring();
        }
        assert_eq!(here.take(&monitor), Remaining::Nothing);
        assert_eq!(take_some(here.socket().as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// The peer never takes what is rung.
    #[test]
    fn a_full_socket_does_not_stop_the_ringer() {
        let (here, monitor, there) = pair();
        let there = Doorbell::new(Arc::new(PeerSocket::new(there)));
        for _ in 0..10_000 {
            there.ring();
        }
        // More than is taken at once, but not without end.
        assert_eq!(here.take(&monitor), Remaining::More);
        let calls = (0..1000).position(|_| here.take(&monitor) == Remaining::Nothing);
        assert!(calls.is_some(), "the flood has an end");
    }

    #[test]
    fn an_empty_packet_is_no_hang_up() {
        let (here, monitor, there) = pair();
        send(&there, &[], SendFlags::DONTWAIT).unwrap();
        assert_eq!(here.take(&monitor), Remaining::Nothing);
        assert!(!monitor.is_gone());
    }

    #[test]
    fn a_hang_up_is_reported_after_what_was_rung() {
        let (here, monitor, there) = pair();
        send(&there, &[0], SendFlags::DONTWAIT).unwrap();
        drop(there);
        assert_eq!(here.take(&monitor), Remaining::HangUp);
        assert!(monitor.is_gone());
    }

    /// It says that it sends no more, and does not hang up: else the socket would be readable for ever.
    #[test]
    fn half_a_hang_up_is_one() {
        let (here, monitor, there) = pair();
        rustix::net::shutdown(&there, rustix::net::Shutdown::Write).unwrap();
        assert_eq!(here.take(&monitor), Remaining::HangUp);
        assert!(monitor.is_gone());
    }

    #[test]
    fn descriptors_that_come_along_are_closed() {
        let (here, monitor, there) = pair();
        let (mut reader, writer) = io::pipe().unwrap();
        let fds = [writer.as_fd()];
        let mut space = [mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds)));
        rustix::net::sendmsg(&there, &[io::IoSlice::new(&[0])], &mut control, SendFlags::DONTWAIT).unwrap();
        drop(writer);
        assert_eq!(here.take(&monitor), Remaining::Nothing);
        // The end comes when the last copy of the other end is closed.
        assert_eq!(io::Read::read(&mut reader, &mut [0; 1]).unwrap(), 0);
    }
}
