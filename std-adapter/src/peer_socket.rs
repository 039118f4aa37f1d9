//! Sockets to parties that need not be trusted: how to close these.
//!
//! To close a socket closes what lies unread in its queue, and that can take as long as its sender likes. It may not hold up
//! a listener, or the end of a stream.

use crate::packet;
use crate::untrusted_fds::{resume, run_in_background};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, Shutdown, recvmsg, shutdown};
use std::io::IoSliceMut;
use std::ops::Deref;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// A connected socket. When it is dropped the other side hears of it at once, whatever it has sent before.
///
/// A forked child has a copy. As long as the rendezvous lasts, that is the parent's, and the child only closes its own: to
/// hang up would be felt by all who have the socket. Once there is a stream, who drops that, hangs up.
#[derive(Debug)]
pub(crate) struct PeerSocket {
    socket: Option<OwnedFd>,
    /// The process whose rendezvous goes over it; 0: it is over.
    pid: AtomicU32,
}

/// No process has this number.
const ANOTHER: u32 = u32::MAX;

impl PeerSocket {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        PeerSocket { socket: Some(socket), pid: AtomicU32::new(process::id()) }
    }

    /// The rendezvous is over, and this is a stream's.
    pub(crate) fn mark_established(&self) {
        self.pid.store(0, Ordering::Relaxed);
    }

    /// Another process goes on using the stream: when this is dropped it is only closed.
    pub(crate) fn relinquish(&self) {
        self.pid.store(ANOTHER, Ordering::Relaxed);
    }

    fn is_ours(&self) -> bool {
        let pid = self.pid.load(Ordering::Relaxed);
        pid == 0 || pid == process::id()
    }
}

impl Deref for PeerSocket {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        // It is taken out when this is dropped, and at no other time.
        self.socket.as_ref().unwrap_or_else(|| unreachable!())
    }
}

impl AsFd for PeerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl AsRawFd for PeerSocket {
    fn as_raw_fd(&self) -> RawFd {
        (**self).as_raw_fd()
    }
}

impl Drop for PeerSocket {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        if !self.is_ours() {
            return;
        }
        // From now on nothing is added to the queue. It fails if the socket is not connected; then no peer sends.
        let _ = shutdown(&socket, Shutdown::Both);
        if has_unread(&socket) {
            run_in_background(move || {
                // To a peer whose packets were not read the kernel reports an error, and it might not look for what
                // was said to it before. What comes with a packet is received, to be closed without lingering.
                while packet::discard(&socket) {}
                drop(socket);
            });
        } else {
            resume();
        }
    }
}

/// Whether anything lies in the queue, be it a packet without bytes.
fn has_unread(socket: &OwnedFd) -> bool {
    receives(socket, RecvFlags::DONTWAIT | RecvFlags::PEEK)
}

/// Whether there is a packet. What comes beside its bytes is not received, for want of room, and the kernel says so.
fn receives(socket: &OwnedFd, flags: RecvFlags) -> bool {
    let mut byte = [0];
    match recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut RecvAncillaryBuffer::default(), flags) {
        Ok(came) => came.bytes > 0 || came.flags.contains(ReturnFlags::CTRUNC),
        // An error is reported once, and says nothing about the queue.
        Err(e) => e == Errno::CONNRESET || e == Errno::INTR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv,
        send, sendmsg, socketpair,
    };
    use std::mem::MaybeUninit;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_packet_without_bytes_is_one_too() {
        let (a, b) = pair();
        assert!(!has_unread(&b));
        let (held, _) = pair();
        let fds = [held.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&a, &[std::io::IoSlice::new(b"")], &mut control, SendFlags::empty()).unwrap();
        assert!(has_unread(&b) && has_unread(&b));
        assert!(receives(&b, RecvFlags::DONTWAIT));
        assert!(!has_unread(&b));
        drop(a);
        assert!(!has_unread(&b));
    }

    /// What was said last is heard, even by one whose own words were not listened to.
    #[test]
    fn the_last_words_are_heard() {
        for _ in 0..1000 {
            let (a, b) = pair();
            send(&a, b"not listened to", SendFlags::empty()).unwrap();
            let line = PeerSocket::new(b);
            send(&*line, b"last words", SendFlags::empty()).unwrap();
            drop(line);
            let mut bytes = [0; 10];
            assert_eq!(recv(&a, &mut bytes, RecvFlags::empty()).unwrap().1, 10);
            assert_eq!(recv(&a, &mut bytes, RecvFlags::empty()).unwrap().1, 0);
        }
    }
}
