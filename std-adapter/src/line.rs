//! Sockets to parties that need not be trusted, and what comes through them: how to close these.
//!
//! To close a descriptor can take as long as its sender likes: a TCP socket that lingers until its bytes are read, a file
//! whose file system is a process. To close a socket closes what lies unread in its queue, and so can take as long. None
//! of this may hold up a listener, or the end of a stream. What may take long is closed by other threads, and there are at
//! most [`MOST_THREADS`] of them: what they have no time for yet stays open.

use crate::background::Few;
use crate::rendezvous::socket::discard;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, Shutdown, recvmsg, shutdown, sockopt};
use std::io::IoSliceMut;
use std::ops::Deref;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// A connected socket. When it is dropped the other side hears of it at once, whatever it has sent before.
///
/// A forked child has a copy. As long as the rendezvous lasts, that is the parent's, and the child only closes its own: to
/// hang up would be felt by all who have the socket. Once there is a stream, who drops that, hangs up.
#[derive(Debug)]
pub(crate) struct Line {
    socket: Option<OwnedFd>,
    /// The process whose rendezvous goes over it; 0: it is over.
    pid: AtomicU32,
}

impl Line {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Line { socket: Some(socket), pid: AtomicU32::new(process::id()) }
    }

    /// The rendezvous is over, and this is a stream's.
    pub(crate) fn is_a_streams(&self) {
        self.pid.store(0, Ordering::Relaxed);
    }

    fn is_ours(&self) -> bool {
        let pid = self.pid.load(Ordering::Relaxed);
        pid == 0 || pid == process::id()
    }
}

impl Deref for Line {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        // It is taken out when this is dropped, and at no other time.
        self.socket.as_ref().unwrap_or_else(|| unreachable!())
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl AsRawFd for Line {
    fn as_raw_fd(&self) -> RawFd {
        (**self).as_raw_fd()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        if !self.is_ours() {
            return;
        }
        // From now on nothing is added to the queue. It fails if the socket is not connected; then nobody sends.
        let _ = shutdown(&socket, Shutdown::Both);
        if has_unread(&socket) {
            elsewhere(move || {
                // To a peer whose packets were not read the kernel reports an error, and it might not look for what
                // was said to it before. What comes with a packet is received, to be closed without lingering.
                while discard(&socket) {}
                drop(socket);
            });
        }
    }
}

/// Descriptors that came from a party that need not be trusted.
#[derive(Debug, Default)]
pub(crate) struct Foreign(Vec<OwnedFd>);

impl Foreign {
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
    pub(crate) fn are_harmless(mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(crate) fn as_slice(&self) -> &[OwnedFd] {
        &self.0
    }
}

impl From<Vec<OwnedFd>> for Foreign {
    fn from(fds: Vec<OwnedFd>) -> Self {
        Foreign(fds)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            let fds = std::mem::take(&mut self.0);
            elsewhere(move || close_all(fds));
        }
    }
}

/// How many threads close things at once.
const MOST_THREADS: usize = 64;

/// The threads of the process, or of the parent after a fork. Never freed: they use it to the end.
static CLOSING: AtomicPtr<Few> = AtomicPtr::new(ptr::null_mut());

/// Does it in another thread, when there can be one. Until then what it is to close stays open: nobody waits for that.
fn elsewhere(work: impl FnOnce() + Send + 'static) {
    closing().run(work);
}

fn closing() -> &'static Few {
    loop {
        let seen = CLOSING.load(Ordering::Acquire);
        // SAFETY: the pointer is null or comes from `Box::into_raw` below, whose Release store this load acquired. What
        // was stored is never freed.
        if let Some(few) = unsafe { seen.as_ref() }
            && few.pid == process::id()
        {
            return few;
        }
        let made = Box::into_raw(Box::new(Few::new("smstream-close", MOST_THREADS)));
        // What was there is null, or the copy of a parent's: it is left alone, for its mutex may be locked for ever.
        if CLOSING.compare_exchange(seen, made, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: it comes from `Box::into_raw` just above, and was not stored, so nobody else has it.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

fn close_all(fds: Vec<OwnedFd>) {
    for fd in fds {
        // It fails for what is no socket.
        let _ = sockopt::set_socket_linger(&fd, None);
        drop(fd);
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
            let line = Line::new(b);
            send(&*line, b"last words", SendFlags::empty()).unwrap();
            drop(line);
            let mut bytes = [0; 10];
            assert_eq!(recv(&a, &mut bytes, RecvFlags::empty()).unwrap().1, 10);
            assert_eq!(recv(&a, &mut bytes, RecvFlags::empty()).unwrap().1, 0);
        }
    }

    #[test]
    fn foreign_descriptors_are_closed() {
        let (a, b) = pair();
        let number = b.as_raw_fd();
        assert_eq!(Foreign::from(vec![]).only().unwrap_err(), 0);
        let foreign = Foreign::from(vec![b]);
        assert_eq!(foreign.only().unwrap().as_raw_fd(), number);
        drop(foreign);
        // It waits until the last one has closed the other end.
        assert_eq!(recv(&a, &mut [0; 1], RecvFlags::empty()).unwrap().1, 0);
    }
}
