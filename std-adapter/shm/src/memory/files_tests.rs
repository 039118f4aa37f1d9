use super::*;
use crate::testing::reopen;
use rustix::process::Resource;
use std::os::unix::fs::MetadataExt;

fn dir() -> OwnedFd {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::open(std::env::temp_dir(), flags, Mode::empty()).unwrap()
}

#[test]
fn a_memfd_is_sparse_and_keeps_its_size() {
    let fd = memfd("memory-test", 1 << 40).unwrap();
    let stat = rustix::fs::fstat(&fd).unwrap();
    assert_eq!((stat.st_size, stat.st_blocks), (1 << 40, 0));
    assert_eq!(rustix::fs::ftruncate(&fd, 0).unwrap_err(), Errno::PERM);
    assert_eq!(rustix::fs::ftruncate(&fd, 1 << 41).unwrap_err(), Errno::PERM);
    seal(&fd, SealFlags::FUTURE_WRITE | SealFlags::SEAL).unwrap();
    assert!(seal(&fd, SealFlags::WRITE).is_err());
}

#[test]
fn an_unnamed_file_is_private_and_allocated() {
    let fd = unnamed_file(dir(), 20 << 20).unwrap();
    let meta = std::fs::File::from(fd.try_clone().unwrap()).metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.len()), (0o600, 0, 20 << 20));
    assert!(meta.blocks() * 512 >= 20 << 20, "{} blocks", meta.blocks());
}

#[test]
fn zeros_are_written_where_nothing_can_be_allocated() {
    let fd = rustix::fs::memfd_create(c"memory-test", MemfdFlags::CLOEXEC).unwrap();
    fill(&fd, 0, 100_000).unwrap();
    assert_eq!(rustix::fs::fstat(&fd).unwrap().st_size, 100_000);
    assert!(fill(reopen(&fd, OFlags::RDONLY), 0, 1).is_err());
}

#[test]
fn more_than_the_file_system_holds_is_an_error() {
    // It is refused before anything is allocated.
    let e = unnamed_file(dir(), 1 << 62).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::StorageFull, "{e}");
    assert!(e.to_string().starts_with("cannot make an unnamed file of "), "{e}");
}

/// The part of the next test that runs in a process of its own.
#[test]
fn helper_file_size_limit() {
    if crate::testing::role() != Some("file-size-limit".into()) {
        return;
    }
    let limit = rustix::process::Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
    rustix::process::setrlimit(Resource::Fsize, limit).unwrap();
    for e in [memfd("memory-test", (1 << 20) + 1).unwrap_err(), unnamed_file(dir(), (1 << 20) + 1).unwrap_err()] {
        assert_eq!(e.kind(), io::ErrorKind::FileTooLarge, "{e}");
        assert!(e.to_string().contains("RLIMIT_FSIZE"), "{e}");
    }
    memfd("memory-test", 1 << 20).unwrap();
    unnamed_file(dir(), 1 << 20).unwrap();
}

#[test]
fn the_file_size_limit_is_an_error_and_no_signal() {
    let status =
        crate::testing::helper("memory::files::tests::helper_file_size_limit", "file-size-limit").status().unwrap();
    assert!(status.success(), "{status}");
}
