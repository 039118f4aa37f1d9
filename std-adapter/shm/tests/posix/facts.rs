//! What docs/MEMORY.md says of the kinds of memory, as far as it can be shown here.

use super::tools::{Name, helper, role};
use smstream_shm::memory::{Access, Mapping, SharedMemory, memfd, seal, unnamed_file};
use smstream_shm::posix::SharedObject;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

const SHRINK: rustix::fs::SealFlags = rustix::fs::SealFlags::SHRINK;

#[test]
fn only_a_memfd_can_be_sealed() {
    let sealed = memfd("facts", 4096).unwrap();
    seal(&sealed, SHRINK).unwrap();
    let name = Name::new();
    let object = SharedObject::create_sized(&name, 4096).unwrap();
    assert_eq!(seal(&object, SHRINK).unwrap_err().kind(), ErrorKind::PermissionDenied);
    let directory = File::open(std::env::temp_dir()).unwrap();
    assert!(seal(unnamed_file(&directory, 4096).unwrap(), SHRINK).is_err());
}

/// Whether touching memory kills with SIGBUS: tried by a child.
fn kills(memory: &Mapping) -> bool {
    // SAFETY: a child that does nothing but touch memory and end.
    match unsafe { libc::fork() } {
        0 => {
            let value = memory.load_u32(0);
            // SAFETY: it ends this process at once.
            unsafe { libc::_exit(value.map_or(1, |_| 0)) };
        }
        child => {
            let mut status = 0;
            // SAFETY: the child was forked above; the status outlives the call.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS
        }
    }
}

fn cut(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(fd, 0)?)
}

#[test]
fn what_can_be_shortened_can_kill() {
    let name = Name::new();
    let object = SharedObject::create_sized(&name, 4096).unwrap();
    let directory = File::open(std::env::temp_dir()).unwrap();
    let file = unnamed_file(&directory, 4096).unwrap();
    for fd in [object.as_fd(), file.as_fd()] {
        let memory = Mapping::new(fd, 0, 4096, Access::ReadOnly).unwrap();
        assert!(!kills(&memory));
        cut(fd).unwrap();
        assert!(kills(&memory));
    }
    let fd = memfd("facts", 4096).unwrap();
    let memory = Mapping::new(&fd, 0, 4096, Access::ReadOnly).unwrap();
    assert!(cut(&fd).is_err());
    assert!(!kills(&memory));
}

/// POSIX names are files and belong to the mount namespace; System V ids belong to the IPC namespace.
#[test]
fn namespaces() {
    let name = Name::new();
    let object = SharedObject::create_sized(&name, 4096).unwrap();
    object.map().unwrap().copy_in(0, b"seen").unwrap();
    // SAFETY: it makes a new segment.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600) };
    assert!(id >= 0, "{}", io::Error::last_os_error());
    let mut command = helper("facts::helper_other_namespace", "other-namespace", &[name.as_ref(), &id.to_string()]);
    let own_ipc = || {
        // SAFETY: it changes the namespaces of this process, which has one thread.
        if unsafe { libc::unshare(libc::CLONE_NEWIPC) } == 0 {
            return Ok(());
        }
        // SAFETY: as above. Who may not do it as himself may do it in a user namespace.
        match unsafe { libc::unshare(libc::CLONE_NEWIPC | libc::CLONE_NEWUSER) } {
            0 => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::EPERM)),
        }
    };
    // SAFETY: between fork and exec it makes system calls only.
    unsafe { command.pre_exec(own_ipc) };
    let status = command.status();
    // SAFETY: IPC_RMID takes no buffer.
    assert_eq!(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }, 0, "it was there all the time");
    match status {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            assert!(std::env::var_os("CI").is_none(), "run as root, where everything is to be shown");
            eprintln!("NOT SHOWN: IPC namespaces, because this user may not make one: {e}");
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn helper_other_namespace() {
    let Some(arguments) = role("other-namespace") else { return };
    let memory = SharedObject::open(&arguments[0]).unwrap().map().unwrap();
    assert_eq!(memory.load_u32(0), Some(u32::from_ne_bytes(*b"seen")));
    let id = arguments[1].parse().unwrap();
    // SAFETY: without an address the kernel chooses one that is not in use.
    let start = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
    assert_eq!(start.addr(), usize::MAX, "the id is one of another namespace");
}

#[test]
fn a_memfd_is_for_the_holders_of_its_descriptor() {
    let mode = File::from(memfd("facts", 4096).unwrap()).metadata().unwrap().mode();
    assert_eq!(mode & 0o666, 0o666);
}
