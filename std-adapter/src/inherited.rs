//! A socket that this process has inherited to connect over it.
//!
//! A number alone does not say that a descriptor is meant for us: other code of this process may own it. So the parent
//! names the descriptor *and its inode* in the environment, and only what is named there, and is still
//! that very socket, is taken. A grandchild that inherits the environment and not the descriptor finds nothing.

use crate::addr::Addr;
use crate::error::Result;
use crate::rendezvous::socket;
use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The variable that names the descriptors which a process inherits for this purpose: `NUMBER:INODE`, separated by
/// commas.
pub(crate) const VARIABLE: &str = "SMSTREAM_FDS";

/// The inodes that this process has taken. A list that only grows, without a lock: a child that is forked while a thread adds
/// to it must not wait for that thread.
static TAKEN: AtomicPtr<Taken> = AtomicPtr::new(ptr::null_mut());

/// One of them. Never freed: there are as many as the process has inherited.
struct Taken {
    inode: u64,
    next: *mut Taken,
}

/// Whether this process has taken it.
fn is_taken(inode: u64) -> bool {
    let mut at = TAKEN.load(Ordering::Acquire);
    // SAFETY: the pointer is null or comes from `Box::into_raw` in `take_inode`, whose Release store the load above has
    // acquired, or an earlier one of that thread. What was stored is never freed or changed.
    while let Some(taken) = unsafe { at.as_ref() } {
        if taken.inode == inode {
            return true;
        }
        at = taken.next;
    }
    false
}

/// Takes it: `false` if it was taken before.
fn take_inode(inode: u64) -> bool {
    let mut new = Box::new(Taken { inode, next: ptr::null_mut() });
    loop {
        new.next = TAKEN.load(Ordering::Acquire);
        if is_taken(inode) {
            return false;
        }
        let (next, made) = (new.next, Box::into_raw(new));
        match TAKEN.compare_exchange(next, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return true,
            // SAFETY: it comes from `Box::into_raw` just above, and was not stored.
            Err(_) => new = unsafe { Box::from_raw(made) },
        }
    }
}

/// Takes over a socket that this process has inherited for this purpose.
pub(crate) fn take(number: RawFd) -> Result<OwnedFd> {
    let bad = |why: String| socket::bad_descriptor(&Addr::Fd(number).to_string(), why);
    let named = std::env::var(VARIABLE).unwrap_or_default();
    let Some(expected) = entry(&named, number) else {
        return Err(bad(format!(
            "it was not handed to this process; its parent names the descriptor in {VARIABLE}, as \
             `Builder::hand_over` does"
        ))
        .into());
    };
    take_if(number, expected)
}

/// Takes the descriptor if its inode is the expected one.
fn take_if(number: RawFd, expected: u64) -> Result<OwnedFd> {
    let bad = |why: String| socket::bad_descriptor(&Addr::Fd(number).to_string(), why);
    let before = || bad("it was connected before; a socket is good for one stream".into());
    if is_taken(expected) {
        return Err(before().into());
    }
    // SAFETY: the number is only asked about, and the kernel answers EBADF if nothing is open there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    match inode(borrowed) {
        Ok(found) if found == expected => {}
        Ok(_) => return Err(bad(format!("it is not the socket that {VARIABLE} names")).into()),
        Err(e) => return Err(bad(e.to_string()).into()),
    }
    // An inode is one of its file system only. All sockets are in one, so this makes it that socket's. And what is not to
    // be used stays its owner's.
    socket::check_socket_type(borrowed).map_err(|why| bad(why.into()))?;
    if !take_inode(expected) {
        return Err(before().into());
    }
    // SAFETY: the descriptor is open, and is the very socket that our parent made for us: it is a socket, and its inode is
    // no other socket's while this one is open. By the agreement that the variable stands for, no other code in this process
    // owns it, and it has not been taken before.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let flags = fcntl_getfd(&socket).and_then(|flags| fcntl_setfd(&socket, flags | FdFlags::CLOEXEC));
    flags.map_err(|e| bad(io::Error::from(e).to_string()))?;
    Ok(socket)
}

/// The inode that the variable names for a descriptor.
pub fn entry(named: &str, number: RawFd) -> Option<u64> {
    named.split(',').rev().find_map(|entry| {
        let (fd, inode) = entry.split_once(':')?;
        (fd.trim().parse() == Ok(number)).then(|| inode.trim().parse().ok())?
    })
}

#[allow(clippy::useless_conversion, reason = "the field has another type on other machines")]
pub(crate) fn inode(fd: impl rustix::fd::AsFd) -> io::Result<u64> {
    Ok(u64::from(rustix::fs::fstat(fd)?.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::stream::Stream;
    use rustix::fd::AsRawFd;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn what_the_variable_names() {
        assert_eq!(entry("3:55", 3), Some(55));
        assert_eq!(entry("3:55,4:66, 5:77", 5), Some(77));
        // What was added last counts: the number was used again.
        assert_eq!(entry("3:55,3:66", 3), Some(66));
        for junk in ["", "3", "3:", ":55", "x:y", "33:55", "3:-1"] {
            assert_eq!(entry(junk, 3), None, "{junk}");
        }
    }

    #[test]
    fn what_was_not_handed_over_is_not_taken() {
        let (a, _b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let e = Stream::connect(Addr::Fd(a.as_raw_fd())).unwrap_err();
        assert_eq!(e.reason(), Reason::InvalidInput);
        assert!(e.to_string().contains("SMSTREAM_FDS"), "{e}");
        assert!(rustix::fs::fstat(&a).is_ok());
    }

    /// An inode is one of its file system, so a file may have that of a socket.
    #[test]
    fn what_is_no_socket_to_meet_over_stays_open() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let (stream, _other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        for (fd, why) in [(OwnedFd::from(file), "no socket"), (stream, "not SOCK_SEQPACKET")] {
            let number = fd.as_raw_fd();
            let e = take_if(number, inode(&fd).unwrap()).unwrap_err();
            assert!(e.to_string().contains(why), "{e}");
            // It was not closed, and it was not marked as taken.
            assert!(rustix::fs::fstat(&fd).is_ok());
            assert!(!is_taken(inode(&fd).unwrap()));
        }
    }
}
