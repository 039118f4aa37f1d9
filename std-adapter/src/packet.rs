//! Sending and receiving one packet on a Unix socket, with descriptors and with what the kernel says of the sender.
//!
//! The libc calls are used here and not rustix's, because its credentials cannot hold the process id 0, and that is what
//! the kernel gives for a sender in a PID namespace that this process does not see.

mod sending;

pub(crate) use sending::send;

use crate::untrusted_fds::UntrustedFds;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ptr;

/// The most descriptors that a packet can have (SCM_MAX_FD in unix(7)), and there is room for all: those for which there is
/// none the kernel closes in the thread that receives, and that can take as long as the sender likes.
const MOST_FDS: usize = 253;
/// The type of a control message with a pidfd of the sender (`SCM_PIDFD`, Linux 6.5; libc has no name for it yet).
const SCM_PIDFD: i32 = 0x04;
/// The socket option that asks for it.
const SO_PASSPIDFD: i32 = 76;

/// Bytes of control messages: descriptors, credentials, a pidfd. Aligned as `cmsghdr` must be.
#[repr(C, align(8))]
pub(crate) struct Control([MaybeUninit<u8>; 1280]);

impl Control {
    /// To receive into: the kernel says how much of it it has written.
    pub(crate) const UNINIT: Control = Control([MaybeUninit::uninit(); 1280]);

    /// To fill in.
    fn zeroed() -> Self {
        Control([MaybeUninit::zeroed(); 1280])
    }

    /// Makes room in a header for all that can come with a packet.
    pub(crate) fn offer_to(&mut self, header: &mut libc::msghdr) {
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = size_of::<Control>() as _;
    }
}

/// What came, beside the bytes.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The bytes of the packet that are in the buffer; 0 also when the peer has closed.
    pub(crate) len: usize,
    /// Descriptors: all of them, unless this process has no numbers left.
    pub(crate) fds: UntrustedFds,
    /// Whether more came beside the bytes than could be received: for want of descriptors, if there are none here.
    pub(crate) cut: bool,
    /// Who sent it.
    pub(crate) sender: Option<Sender>,
    /// A pidfd of the sender, if [`ask_for_pidfd`] was called and the kernel knows them.
    pub(crate) pidfd: Option<OwnedFd>,
}

/// Who sent a packet, as the kernel attests: the sender may choose among its own ids, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// 0 for a process that this one's PID namespace does not see.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Asks the kernel to attest who sends, on this socket and on those that it accepts.
pub(crate) fn ask_for_credentials(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_passcred(socket, true)?)
}

/// Asks the kernel for a pidfd of who sends. `false`: it has none to give (before Linux 6.5).
pub(crate) fn ask_for_pidfd(socket: impl AsFd) -> bool {
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    // SAFETY: `socket` is borrowed, so it is open; the option's value is an int that lives during the call.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, SO_PASSPIDFD, (&raw const on).cast(), len)
    };
    result == 0
}

/// The room that one control message of `len` bytes takes.
const fn space(len: usize) -> usize {
    // SAFETY: CMSG_SPACE is arithmetic on its argument.
    (unsafe { libc::CMSG_SPACE(len as u32) }) as usize
}

const _: () = assert!(
    space(MOST_FDS * size_of::<RawFd>()) + space(size_of::<libc::ucred>()) + space(size_of::<RawFd>())
        <= size_of::<Control>()
);

/// Receives one packet, or what there is of it. Never waits: `WouldBlock` if there is none. At the end of the connection
/// there are no bytes and no sender; an empty packet has a sender, if [`ask_for_credentials`] was called.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let socket = socket.as_fd();
    let came = match receive_once(socket, buffer) {
        // The peer has hung up without reading everything. The kernel reports that once and first. What the peer said
        // before is still there.
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => receive_once(socket, buffer)?,
        other => other?,
    };
    if came.len == 0 && came.sender.is_none() {
        // Of a socket that does not block the kernel looks at the queue first and at the hang-up second. A last packet
        // that came in between is still there, and no other one can follow.
        return receive_once(socket, buffer);
    }
    Ok(came)
}

/// Receives one packet and gives up what came with it. `false`: there is none.
pub(crate) fn discard(socket: &OwnedFd) -> bool {
    match receive(socket, &mut [0; 1]) {
        Ok(came) => came.len > 0 || came.sender.is_some() || came.cut || !came.fds.is_empty(),
        // An error is reported once, and says nothing about the queue.
        Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
    }
}

fn receive_once(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control::UNINIT;
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is a C struct of integers and pointers, for which all zeros is a valid value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    control.offer_to(&mut header);
    let len = loop {
        // SAFETY: the socket is open. The header points at one iovec over `buffer`, which is exclusively borrowed, and
        // at `control`: memory that recvmsg(2) may write, and that lives during the call.
        let n = unsafe {
            libc::recvmsg(
                socket.as_raw_fd(),
                &raw mut header,
                libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | libc::MSG_NOSIGNAL,
            )
        };
        match usize::try_from(n) {
            Ok(n) => break n,
            Err(_) => {
                let e = io::Error::last_os_error();
                if e.kind() != io::ErrorKind::Interrupted {
                    return Err(e);
                }
            }
        }
    };
    // SAFETY: recvmsg has just filled in the header, and what it names has not been taken.
    Ok(unsafe { came(&header, len) })
}

/// What came with a packet of `len` bytes.
///
/// # Safety
/// `header` is what a call to receive has just filled in, and its descriptors have not been taken before.
pub(crate) unsafe fn came(header: &libc::msghdr, len: usize) -> Received {
    let mut came = Received { len, cut: header.msg_flags & libc::MSG_CTRUNC != 0, ..Received::default() };
    // SAFETY: the header names the control messages that the kernel wrote, and their length.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: `at` is not null, so it is a whole message within what the kernel wrote.
        unsafe { take(at, &mut came) };
        // SAFETY: `at` is a message of `header`.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    came
}

/// Takes what one control message says, and owns the descriptors in it.
///
/// # Safety
/// `at` is a control message that recvmsg has just written, and it has not been taken before.
unsafe fn take(at: *const libc::cmsghdr, came: &mut Received) {
    // SAFETY: the caller's promise.
    let header = unsafe { at.read() };
    // SAFETY: CMSG_LEN is arithmetic.
    let before = unsafe { libc::CMSG_LEN(0) } as usize;
    #[allow(clippy::unnecessary_cast, reason = "the type differs between libcs")]
    let len = (header.cmsg_len as usize).saturating_sub(before);
    // SAFETY: the data of a message begin behind its header.
    let data: *const u8 = unsafe { libc::CMSG_DATA(at) };
    match (header.cmsg_level, header.cmsg_type) {
        (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
            for n in 0..len / size_of::<RawFd>() {
                // SAFETY: there are `len` bytes of data.
                let place = unsafe { data.add(n * size_of::<RawFd>()) };
                // SAFETY: the place holds a whole descriptor, perhaps unaligned.
                let fd = unsafe { ptr::read_unaligned(place.cast::<RawFd>()) };
                // SAFETY: the kernel has just made this descriptor for us (unix(7)), and no other code knows of it.
                came.fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        (libc::SOL_SOCKET, SCM_PIDFD) if len >= size_of::<RawFd>() => {
            // SAFETY: the data hold a whole descriptor, perhaps unaligned.
            let fd = unsafe { ptr::read_unaligned(data.cast::<RawFd>()) };
            if fd >= 0 {
                // SAFETY: as above. The kernel makes it close-on-exec.
                came.pidfd = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if len >= size_of::<libc::ucred>() => {
            // SAFETY: the data hold whole credentials, perhaps unaligned; any bits are a value of three integers.
            let ucred = unsafe { ptr::read_unaligned(data.cast::<libc::ucred>()) };
            came.sender = Some(Sender { pid: ucred.pid, uid: ucred.uid, gid: ucred.gid });
        }
        _ => {}
    }
}

/// Who made the other end of a connected socket (for a connector: who called listen), as the kernel attests.
pub(crate) fn peer_of(socket: impl AsFd) -> io::Result<Sender> {
    let mut ucred = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the socket is open; the value is a `ucred`, and its length says so; both may be written.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut ucred).cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Sender { pid: ucred.pid, uid: ucred.uid, gid: ucred.gid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn bytes_descriptors_and_the_sender_arrive() {
        let (a, b) = pair();
        ask_for_credentials(&b).unwrap();
        let file = smstream_shm::memory::memfd("packet-test", 4096).unwrap();
        send(&a, b"hello", Some(file.as_fd())).unwrap();
        let mut buffer = [0; 64];
        let came = receive(&b, &mut buffer).unwrap();
        assert_eq!(came.len, 5);
        assert_eq!(&buffer[..5], b"hello");
        let sender = came.sender.unwrap();
        assert_eq!(sender.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(sender.uid, rustix::process::geteuid().as_raw());
        assert_eq!(sender, peer_of(&a).unwrap());
        let [fd] = came.fds.as_slice() else { panic!("{came:?}") };
        let same = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).unwrap().st_ino;
        assert_eq!(same(fd.as_fd()), same(file.as_fd()));
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    /// None is left to the kernel, which would close it in this thread.
    #[test]
    fn as_many_descriptors_as_a_packet_can_have() {
        let (a, b) = pair();
        ask_for_credentials(&b).unwrap();
        ask_for_pidfd(&b);
        let file = smstream_shm::memory::memfd("packet-test", 4096).unwrap();
        let fds = [file.as_fd(); 253];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds)));
        let flags = rustix::net::SendFlags::empty();
        rustix::net::sendmsg(&a, &[io::IoSlice::new(b"x")], &mut control, flags).unwrap();
        let came = receive(&b, &mut [0; 8]).unwrap();
        assert_eq!(came.fds.as_slice().len(), 253);
        assert!(!came.cut && came.sender.is_some() && came.pidfd.is_some());
    }

    #[test]
    fn a_long_packet_is_cut() {
        let (a, b) = pair();
        send(&a, &[7; 100], None).unwrap();
        let came = receive(&b, &mut [0; 64]).unwrap();
        assert_eq!(came.len, 64);
        assert_eq!(receive(&b, &mut [0; 64]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert_eq!(receive(&b, &mut [0; 64]).unwrap().len, 0);
    }

    /// Each sign of a packet is enough. Without credentials an empty packet looks like the end, so only the second one counts.
    #[test]
    fn what_is_given_up_was_a_packet() {
        let (a, b) = pair();
        assert!(!discard(&b), "nothing was sent");
        send(&a, b"x", None).unwrap();
        assert!(discard(&b) && !discard(&b));
        let file = smstream_shm::memory::memfd("packet-test", 4096).unwrap();
        for _ in 0..2 {
            send(&a, b"", Some(file.as_fd())).unwrap();
        }
        assert!(discard(&b) && !discard(&b));
        ask_for_credentials(&b).unwrap();
        send(&a, b"", None).unwrap();
        assert!(discard(&b) && !discard(&b));
        drop(a);
        assert!(!discard(&b), "a hang-up is no packet");
    }

    /// Nor does a hang-up by a peer that has not read everything, which the kernel reports as an error.
    #[test]
    fn a_reset_hides_no_packet() {
        let (a, b) = pair();
        ask_for_credentials(&b).unwrap();
        send(&b, b"not listened to", None).unwrap();
        send(&a, b"last words", None).unwrap();
        drop(a);
        assert_eq!(receive(&b, &mut [0; 64]).unwrap().len, 10);
        assert_eq!(receive(&b, &mut [0; 64]).unwrap().len, 0);
    }

    /// A packet that is sent and followed by a hang-up at once is received, and then comes the end.
    #[test]
    fn a_hang_up_hides_no_packet() {
        let (to_sender, sockets) = std::sync::mpsc::sync_channel::<OwnedFd>(0);
        let sender = std::thread::spawn(move || {
            for socket in sockets {
                send(&socket, b"last words", None).unwrap();
            }
        });
        for round in 0..20_000 {
            let (a, b) = pair();
            ask_for_credentials(&b).unwrap();
            to_sender.send(a).unwrap();
            let len = loop {
                match receive(&b, &mut [0; 64]) {
                    Ok(came) => break came.len,
                    Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
                }
            };
            assert_eq!(len, 10, "round {round}");
        }
        drop(to_sender);
        sender.join().unwrap();
    }

    #[test]
    fn the_pidfd_is_the_senders() {
        let (a, b) = pair();
        ask_for_credentials(&b).unwrap();
        assert!(ask_for_pidfd(&b), "this kernel gives no pidfd with a packet: Linux 6.5 does");
        send(&a, b"x", None).unwrap();
        let pidfd = receive(&b, &mut [0; 8]).unwrap().pidfd.unwrap();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        let pid = info.lines().find_map(|l| l.strip_prefix("Pid:")).unwrap().trim().parse::<u32>();
        assert_eq!(pid, Ok(std::process::id()));
    }
}
