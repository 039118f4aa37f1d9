//! No room: errors, and no signals.

use super::tools::{Name, helper, role};
use smstream_shm::memory::{Access, Mapping, SharedMemory};
use smstream_shm::posix::{SharedObject, SharedObjectOptions};
use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

fn all() -> SharedObjectOptions {
    SharedObject::options().read(true).write(true)
}

#[test]
fn more_than_the_file_system_has_is_refused_at_once() {
    let name = Name::new();
    for e in [
        SharedObject::create_sized(&name, 1 << 60).unwrap_err(),
        all().create(true).open(&name).unwrap().set_len(1 << 60).unwrap_err(),
    ] {
        // A tmpfs without a limit lets the kernel say it.
        assert!(matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge), "{e}");
    }
    assert_eq!(all().open(&name).unwrap().len().unwrap(), 0);
}

/// Runs a helper that has a `/dev/shm` of its own, in a mount namespace.
fn with_own_dev_shm(test: &str, name: &str, kind: &'static CStr, data: &'static CStr) {
    let mut command = helper(test, name, &[]);
    // SAFETY: it takes nothing and cannot fail.
    let user = format!("0 {} 1", unsafe { libc::geteuid() });
    // SAFETY: as above.
    let group = format!("0 {} 1", unsafe { libc::getegid() });
    let settings = [("uid_map", user), ("setgroups", "deny".into()), ("gid_map", group)];
    let settings = settings.map(|(name, text)| (format!("/proc/self/{name}"), text));
    // SAFETY: between fork and exec it makes system calls only, from strings that exist beforehand.
    unsafe { command.pre_exec(move || dev_shm(kind, data, &settings)) };
    match command.status() {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            assert!(std::env::var_os("CI").is_none(), "run as root, where everything is to be shown");
            eprintln!("NOT SHOWN: {name}, because this user may not make a mount namespace: {e}");
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn a_full_dev_shm_is_an_error() {
    with_own_dev_shm("limits::helper_full", "full", c"tmpfs", c"size=64k,mode=1777");
}

/// In a ramfs nothing can be allocated, so zeros are written instead: not over what is there.
#[test]
fn what_cannot_be_allocated_is_written() {
    with_own_dev_shm("limits::helper_ramfs", "ramfs", c"ramfs", c"mode=1777");
}

#[test]
fn helper_ramfs() {
    if role("ramfs").is_none() {
        return;
    }
    let object = SharedObject::create_sized("/object", 5000).unwrap();
    object.map().unwrap().copy_in(0, &[7; 5000]).unwrap();
    object.set_len(100_000).unwrap();
    let mut bytes = vec![1; 100_000];
    object.map().unwrap().copy_out(0, &mut bytes).unwrap();
    assert!(bytes[..5000].iter().all(|&byte| byte == 7), "what was there has been overwritten");
    assert!(bytes[5000..].iter().all(|&byte| byte == 0));
    let blocks = std::fs::metadata("/dev/shm/object").unwrap().blocks();
    assert!(blocks == 0 || blocks * 512 >= 100_000, "a ramfs may count no blocks at all");
}

/// Mounts a `/dev/shm` that this process alone sees. If that takes a user namespace, the settings of it say who makes
/// files there.
fn dev_shm(kind: &CStr, data: &CStr, settings: &[(String, String)]) -> io::Result<()> {
    fn call(result: libc::c_int) -> io::Result<()> {
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
    fn mount(kind: &CStr, place: &CStr, flags: libc::c_ulong, data: &CStr) -> io::Result<()> {
        // SAFETY: the strings outlive the call; what is mounted is seen in this process's own namespace only.
        call(unsafe { libc::mount(c"none".as_ptr(), place.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) })
    }
    // SAFETY: it changes the namespaces of this process, which has one thread.
    if call(unsafe { libc::unshare(libc::CLONE_NEWNS) }).is_err() {
        // SAFETY: as above. Who may not do it as himself may do it in a user namespace.
        call(unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUSER) })
            .map_err(|_| io::Error::from_raw_os_error(libc::EPERM))?;
        for (path, text) in settings {
            OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())?;
        }
    }
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE, c"")?;
    mount(kind, c"/dev/shm", 0, data)
}

#[test]
fn helper_full() {
    if role("full").is_none() {
        return;
    }
    let e = SharedObject::create_sized("/large", 65 << 10).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::StorageFull, "{e}");
    assert!(e.to_string().contains("df /dev/shm"), "{e}");
    let mut object = SharedObject::create_sized("/half", 32 << 10).unwrap();
    let e = object.set_len(68 << 10).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::StorageFull, "{e}");
    assert_eq!(object.len().unwrap(), 32 << 10);
    object.set_len(64 << 10).unwrap();
    object.map().unwrap().copy_in(0, &[1; 64 << 10]).unwrap();
    let other = all().create(true).open("/other").unwrap();
    assert_eq!(other.set_len(1).unwrap_err().kind(), ErrorKind::StorageFull);
    object.write_all(&[2; 64 << 10]).unwrap();
    assert_eq!(object.write(&[3]).unwrap_err().kind(), ErrorKind::StorageFull);
    // What the libraries that this replaces did, and what it costs: long without memory, until it is touched.
    OpenOptions::new().write(true).open("/dev/shm/other").unwrap().set_len(4096).unwrap();
    let sparse = Mapping::new(&other, 0, 4096, Access::ReadWrite).unwrap();
    // SAFETY: a child that does nothing but touch memory and end.
    match unsafe { libc::fork() } {
        0 => {
            let _ = sparse.copy_in(0, &[1; 4]);
            // SAFETY: it ends this process at once.
            unsafe { libc::_exit(0) };
        }
        child => {
            let mut status = 0;
            // SAFETY: the child was forked above; the status outlives the call.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS, "{status}");
        }
    }
}

#[test]
fn the_limit_on_file_sizes_is_an_error_and_no_signal() {
    let name = Name::new();
    let status = helper("limits::helper_file_size", "file-size", &[name.as_ref()]).status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn helper_file_size() {
    let Some(arguments) = role("file-size") else { return };
    let name = &arguments[0];
    let limit = libc::rlimit { rlim_cur: 10_000, rlim_max: 10_000 };
    // SAFETY: the struct outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    let mut object = all().create_new(true).open(name).unwrap();
    for e in [object.set_len(10_001).unwrap_err(), SharedObject::create_sized("/x", 10_001).unwrap_err()] {
        assert_eq!(e.kind(), ErrorKind::FileTooLarge, "{e}");
        assert!(e.to_string().contains("RLIMIT_FSIZE"), "{e}");
    }
    object.set_len(10_000).unwrap();
    let e = object.write_all(&[1; 10_001]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::FileTooLarge, "{e}");
    assert_eq!(object.len().unwrap(), 10_000);
}
