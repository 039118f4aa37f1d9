//! Sending a packet, and who says who has sent it.

use super::{Control, space};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::io;
use std::mem;

/// Sends one packet with this process's credentials (its effective user) and perhaps a descriptor. Never waits.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    match send_as(socket.as_fd(), bytes, fd, true) {
        // In its user namespace the user of this process has no number, so it cannot name itself. A receiver that asks who the
        // sender is learns it from the kernel all the same.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => send_as(socket.as_fd(), bytes, fd, false),
        sent => sent,
    }
}

/// The same; unless it is `named`, the kernel names the real user.
fn send_as(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>, named: bool) -> io::Result<()> {
    let mut control = Control::zeroed();
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let fds = if fd.is_some() { space(size_of::<RawFd>()) } else { 0 };
    let len = fds + if named { space(size_of::<libc::ucred>()) } else { 0 };
    // SAFETY: `msghdr` is a C struct of integers and pointers, for which all zeros is a valid value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    if len > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = len as _;
    }
    let me = libc::ucred {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    // SAFETY: the header is valid. The result is null if it names no control messages, and then it is not used.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    if let Some(fd) = fd {
        // SAFETY: `at` is not null and has room for this value: `len` counts it.
        unsafe { fill(at, libc::SCM_RIGHTS, fd.as_raw_fd()) };
        // SAFETY: `at` is a message of `header` that has just been filled in. What is behind it is zeros, whose length some libcs
        // look at.
        at = unsafe { libc::CMSG_NXTHDR(&raw const header, at) };
    }
    if named {
        // SAFETY: `len` counts this value behind the descriptor, if there is one; so `at` is not null and has room for it.
        unsafe { fill(at, libc::SCM_CREDENTIALS, me) };
    }
    loop {
        // SAFETY: the socket is open, as it is borrowed. The header points at one iovec and at control messages, all of
        // which live during the call; sendmsg(2) reads them only.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
        if sent >= 0 {
            return Ok(());
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

/// Fills in one control message.
///
/// # Safety
/// `at` points at a control message with room for a `T`.
unsafe fn fill<T>(at: *mut libc::cmsghdr, kind: i32, value: T) {
    // SAFETY: CMSG_LEN is arithmetic.
    let len = unsafe { libc::CMSG_LEN(size_of::<T>() as u32) };
    // SAFETY: `cmsghdr` is a C struct of integers, for which all zeros is a valid value. musl's has one more than glibc's.
    let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
    header.cmsg_len = len as _;
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = kind;
    // SAFETY: the caller's promise; the place is aligned, being one of CMSG_FIRSTHDR's or CMSG_NXTHDR's.
    unsafe { at.write(header) };
    // SAFETY: the message at `at` is valid (just written).
    let data = unsafe { libc::CMSG_DATA(at) };
    // SAFETY: the caller's promise: there is room for a `T` behind the header; it may be unaligned.
    unsafe { data.cast::<T>().write_unaligned(value) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{ask_for_credentials, receive};
    use crate::testing::{role, run_without_ids};
    use rustix::fd::OwnedFd;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    /// The socket itself would block. After an error nothing was sent.
    #[test]
    fn a_full_socket_is_not_waited_for() {
        let (a, b) = pair();
        let refused = |n: u32| send(&a, &n.to_ne_bytes(), None).err().map(|e| (n, e));
        let (sent, full) = (0..1 << 20).find_map(refused).expect("no socket holds so many packets");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let mut bytes = [0; 4];
        for n in 0..sent {
            assert_eq!(receive(&b, &mut bytes).unwrap().len, 4);
            assert_eq!(u32::from_ne_bytes(bytes), n);
        }
        assert_eq!(receive(&b, &mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(b);
        assert_eq!(send(&a, b"x", None).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    /// Where its user has no id a process cannot name itself, and the kernel does.
    #[test]
    fn who_has_no_id_sends_all_the_same() {
        if role().as_deref() == Some("without-ids") {
            let (a, b) = pair();
            ask_for_credentials(&b).unwrap();
            send(&a, b"hello", Some(a.as_fd())).unwrap();
            let came = receive(&b, &mut [0; 8]).unwrap();
            assert_eq!((came.len, came.fds.as_slice().len()), (5, 1));
            assert_eq!(came.sender.unwrap().uid, rustix::process::geteuid().as_raw());
            return;
        }
        run_without_ids("packet::sending::tests::who_has_no_id_sends_all_the_same");
    }
}
