//! Objects: options, names, lengths, reading and writing.

use super::tools::{Name, helper, role};
use smstream_shm::memory::{Access, SharedMemory};
use smstream_shm::posix::{SharedObject, SharedObjectOptions, is_supported};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

fn all() -> SharedObjectOptions {
    SharedObject::options().read(true).write(true)
}

#[test]
fn there_is_such_a_thing() {
    assert!(is_supported());
}

/// The first of Vicare's tests: O_CREAT | O_EXCL, then open, then close.
#[test]
fn is_created_once_and_opened_often() {
    let name = Name::new();
    assert_eq!(all().open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    let object = all().create_new(true).open(&name).unwrap();
    assert_eq!(object.len().unwrap(), 0);
    assert_eq!(object.name().as_str(), name.as_ref());
    for e in [
        all().create_new(true).open(&name).unwrap_err(),
        all().create_new(true).len(10).open(&name).unwrap_err(),
        SharedObject::create_sized(&name, 10).unwrap_err(),
    ] {
        assert_eq!(e.kind(), ErrorKind::AlreadyExists);
        assert!(e.to_string().contains(name.as_ref()) && e.to_string().contains("unlink"), "{e}");
    }
    all().create(true).open(&name).unwrap();
    assert_eq!(SharedObject::open(&name).unwrap().access(), Access::ReadOnly);
    let e = object.map().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::UnexpectedEof, "{e}");
}

#[test]
fn the_name_goes_at_once_and_the_memory_last() {
    let name = Name::new();
    let first = SharedObject::create_sized(&name, 4096).unwrap();
    let memory = first.map().unwrap();
    memory.copy_in(0, b"first").unwrap();
    SharedObject::unlink(&name).unwrap();
    assert_eq!(SharedObject::unlink(&name).unwrap_err().kind(), ErrorKind::NotFound);
    drop(first);
    let second = all().create(true).len(4096).open(&name).unwrap();
    let mut bytes = [1; 5];
    second.map().unwrap().copy_out(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 5], "another object, of zeros");
    memory.copy_out(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"first");
}

#[test]
fn unlinks_when_dropped_but_only_its_own() {
    let name = Name::new();
    let first = SharedObject::create_sized(&name, 1).unwrap();
    first.unlink_on_drop().keep();
    let guard = first.unlink_on_drop();
    assert!(name.exists());
    drop(guard);
    assert!(!name.exists());
    let second = SharedObject::create_sized(&name, 1).unwrap();
    drop(first.unlink_on_drop());
    assert!(name.exists(), "another object has the name now");
    second.unlink_on_drop().unlink_now().unwrap();
    assert!(!name.exists());
}

#[test]
fn mode_umask_and_descriptor_flags() {
    let mode = |options: SharedObjectOptions| {
        let name = Name::new();
        let object = options.create_new(true).open(&name).unwrap();
        // SAFETY: it asks for the flags of an open descriptor.
        let flags = unsafe { libc::fcntl(object.as_raw_fd(), libc::F_GETFD) };
        assert_ne!(flags & libc::FD_CLOEXEC, 0);
        name.path().metadata().unwrap().mode() & 0o7777
    };
    assert_eq!(mode(all()), 0o600);
    assert_eq!(mode(all().len(100)), 0o600);
    assert_eq!(mode(all().mode(0o400).len(100)), 0o400);
    // The umask is the process's, and tests run side by side: it takes away the same from a file.
    let umask = {
        let file = std::env::temp_dir().join(format!("smstream-umask-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let mode = file.metadata().unwrap().mode() & 0o666;
        std::fs::remove_file(&file).unwrap();
        0o666 & !mode
    };
    assert_eq!(mode(all().mode(0o666)), 0o666 & !umask);
    assert_eq!(mode(all().mode(0o666).len(1)), 0o666 & !umask);
}

#[test]
fn truncates() {
    let name = Name::new();
    let mut object = SharedObject::create_sized(&name, 100).unwrap();
    object.write_all(b"old").unwrap();
    let again = all().truncate(true).open(&name).unwrap();
    assert_eq!((again.len().unwrap(), object.len().unwrap()), (0, 0));
}

#[test]
fn contradictions_are_errors() {
    let name = Name::new();
    let options = SharedObject::options;
    let cases = [
        (options(), "read(true)"),
        (options().write(true), "writing only"),
        (options().read(true).truncate(true), "needs write"),
        (all().len(10), "create(true)"),
        (options().read(true).create(true).len(10), "needs write"),
        (all().create(true).len(10).truncate(true), "contradict"),
        (all().create(true).len(0), "0 bytes"),
        (all().create(true).mode(0o1777), "0o777"),
    ];
    for (options, why) in cases {
        let e = options.open(&name).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
        assert!(e.to_string().contains(why), "{e}");
    }
    assert!(!name.exists());
    for wrong in ["no-slash", "/", "/a/b", "/.."] {
        assert_eq!(all().create(true).open(wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(SharedObject::unlink(wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn what_is_no_memory_is_not_opened() {
    let link = Name::new();
    let target = Name::new();
    SharedObject::create_sized(&target, 1).unwrap();
    symlink(target.path(), link.path()).unwrap();
    let e = SharedObject::open(&link).unwrap_err();
    assert!(e.to_string().contains("symbolic link"), "{e}");
    assert_eq!(all().create_new(true).open(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let fifo = Name::new();
    let path = std::ffi::CString::new(fifo.path().to_str().unwrap()).unwrap();
    // SAFETY: the path is a string that outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    for options in [all(), SharedObject::options().read(true)] {
        let e = options.open(&fifo).unwrap_err();
        assert!(e.to_string().contains("no shared memory"), "{e}");
    }
    assert_eq!(all().create_new(true).len(9).open(&fifo).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let directory = Name::new();
    std::fs::create_dir(directory.path()).unwrap();
    let e = all().open(&directory).unwrap_err();
    std::fs::remove_dir(directory.path()).unwrap();
    assert!(e.to_string().contains("no shared memory"), "{e}");
}

/// CHICKEN's example: a text is written, and read back eight bytes at a time, until there is no more.
#[test]
fn hello_world_in_eight_byte_reads() {
    let name = Name::new();
    let mut write = all().create_new(true).open(&name).unwrap();
    write.set_len(13).unwrap();
    write.write_all(b"Hello, world!").unwrap();
    let mut read = SharedObject::open(&name).unwrap();
    let mut parts = Vec::new();
    loop {
        let mut part = [0; 8];
        match read.read(&mut part).unwrap() {
            0 => break,
            n => parts.push(part[..n].to_vec()),
        }
    }
    assert_eq!(parts, [b"Hello, w".to_vec(), b"orld!".to_vec()]);
    drop(write);
    SharedObject::unlink(&name).unwrap();
}

#[test]
fn has_a_position_like_a_file() {
    let name = Name::new();
    let mut object = all().create_new(true).open(&name).unwrap();
    object.seek(SeekFrom::Start(5)).unwrap();
    object.write_all(b"five").unwrap();
    object.flush().unwrap();
    assert_eq!(object.len().unwrap(), 9);
    object.seek(SeekFrom::End(-2)).unwrap();
    let mut rest = Vec::new();
    (&object).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"ve");
    object.rewind().unwrap();
    let mut all = Vec::new();
    object.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"\0\0\0\0\0five");
    let mut only = SharedObject::open(&name).unwrap();
    assert_eq!(only.write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
}

#[test]
fn a_length_has_its_memory() {
    let name = Name::new();
    let mut object = all().create_new(true).open(&name).unwrap();
    object.set_len(1 << 20).unwrap();
    let meta = || name.path().metadata().unwrap();
    assert!(meta().blocks() * 512 >= 1 << 20);
    object.write_all(b"kept").unwrap();
    object.set_len(2 << 20).unwrap();
    assert!(meta().blocks() * 512 >= 2 << 20);
    let memory = object.map().unwrap();
    assert_eq!(memory.len(), 2 << 20);
    assert_eq!(memory.load_u32(0), Some(u32::from_ne_bytes(*b"kept")));
    drop(memory);
    object.set_len(2).unwrap();
    object.set_len(4).unwrap();
    let memory = object.map().unwrap();
    assert_eq!(memory.load_u32(0), Some(u32::from_ne_bytes(*b"ke\0\0")));
    // Also where a file was made long without memory.
    std::fs::File::options().write(true).open(name.path()).unwrap().set_len(1 << 20).unwrap();
    object.set_len(1 << 20).unwrap();
    assert!(meta().blocks() * 512 >= 1 << 20);
    let e = SharedObject::open(&name).unwrap().set_len(1).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{e}");
}

/// A process that finds the object finds it whole: with its length and its contents.
#[test]
fn it_is_never_seen_unfinished() {
    let name = Name::new();
    let made = AtomicU32::new(0);
    let barrier = Barrier::new(3);
    let fill = |memory: &smstream_shm::memory::Mapping| memory.copy_in(4096, b"full");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    barrier.wait();
                    let filling = |memory: &_| {
                        made.fetch_add(1, Ordering::Relaxed);
                        fill(memory)
                    };
                    let object = all().create(true).len(8192).open_with(&name, filling).unwrap();
                    assert_eq!(object.len().unwrap(), 8192);
                    let memory = object.map().unwrap();
                    assert_eq!(memory.load_u32(4096), Some(u32::from_ne_bytes(*b"full")));
                    if barrier.wait().is_leader() {
                        SharedObject::unlink(&name).unwrap();
                    }
                }
            });
        }
    });
    assert!(made.load(Ordering::Relaxed) >= 200);
    let e = all().create(true).len(1).open_with(&name, |_| Err(std::io::Error::other("on purpose"))).unwrap_err();
    assert_eq!(e.to_string(), "on purpose");
    assert!(!name.exists());
}

#[test]
fn without_permission_nothing_is_opened() {
    let name = Name::new();
    drop(SharedObject::create_sized(&name, 1).unwrap());
    std::fs::set_permissions(name.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
    let status = helper("objects::helper_no_permission", "no-permission", &[name.as_ref()]).status().unwrap();
    assert!(status.success(), "{status}");
}

/// As another user, if this one is the superuser.
#[test]
fn helper_no_permission() {
    let Some(arguments) = role("no-permission") else { return };
    // SAFETY: it changes the user of this process, which has only this to do.
    let _ = unsafe { libc::setuid(65_534) };
    let e = SharedObject::open(&arguments[0]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{e}");
    assert!(e.to_string().contains("ls -l /dev/shm"), "{e}");
}
