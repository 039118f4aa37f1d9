use super::*;
use crate::testing::reopen;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, Ordering};

fn dir() -> OwnedFd {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::open(std::env::temp_dir(), flags, Mode::empty()).unwrap()
}

fn word(m: &Mapping) -> &AtomicU32 {
    // SAFETY: a mapping begins on a page, so the word is aligned, and has at least a page in these tests. It is only
    // accessed atomically.
    unsafe { &*m.as_ptr().cast::<AtomicU32>() }
}

#[test]
fn two_mappings_share_bytes_at_their_offsets() {
    let page = page_size();
    let fd = memfd("memory-test", 2 * page as u64).unwrap();
    let write = Mapping::new(&fd, page as u64, page, Access::ReadWrite).unwrap();
    let read = Mapping::new(&fd, page as u64, page, Access::ReadOnly).unwrap();
    let first = Mapping::new(&fd, 0, page, Access::ReadOnly).unwrap();
    assert!(write.as_mut_ptr().is_some());
    assert!(read.as_mut_ptr().is_none());
    word(&write).store(7, Ordering::Relaxed);
    assert_eq!(word(&read).load(Ordering::Relaxed), 7);
    assert_eq!(word(&first).load(Ordering::Relaxed), 0);
    drop(fd);
    assert_eq!(word(&read).load(Ordering::Relaxed), 7, "a mapping outlives its descriptor");
    assert_eq!((read.len(), read.access()), (page, Access::ReadOnly));
}

#[test]
fn bad_ranges_are_errors() {
    let page = page_size();
    let fd = memfd("memory-test", page as u64).unwrap();
    let kind = |offset, len| Mapping::new(&fd, offset, len, Access::ReadOnly).unwrap_err().kind();
    assert_eq!(kind(0, 0), io::ErrorKind::InvalidInput);
    assert_eq!(kind(1, 10), io::ErrorKind::InvalidInput);
    assert_eq!(kind(0, page + 1), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(page as u64, 1), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(!(page as u64 - 1), page), io::ErrorKind::UnexpectedEof);
    assert!(Mapping::new(&fd, 0, 1, Access::ReadOnly).is_ok());
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

#[test]
fn rounding() {
    let page = page_size();
    assert_eq!(round_up_to_page(0), Some(0));
    assert_eq!(round_up_to_page(1), Some(page));
    assert_eq!(round_up_to_page(page), Some(page));
    assert_eq!(round_up_to_page(usize::MAX), None);
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
    let status = crate::testing::helper("memory::tests::helper_file_size_limit", "file-size-limit").status().unwrap();
    assert!(status.success(), "{status}");
}

/// Side by side in either order, and apart: nothing is left of two mappings, and what is between them stays.
#[test]
fn two_mappings_are_given_up_together() {
    let name = "smstream-both-test";
    let page = page_size();
    let fd = memfd(name, 3 * page as u64).unwrap();
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|l| l.contains(name)).count();
    let reservation = rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::NORESERVE;
    // SAFETY: the kernel chooses the place.
    let space =
        unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4 * page, ProtFlags::empty(), reservation) }.unwrap();
    let at = |place: usize| {
        let offset = place * page;
        let there = NonNull::new(space.cast::<u8>().wrapping_add(offset));
        // SAFETY: the place is in the range that was reserved here, and this mapping alone has it.
        let start = unsafe { map(there, fd.as_fd(), offset as u64, page, Access::ReadOnly) }.unwrap();
        Mapping { start, len: page, access: Access::ReadOnly, guard: None }
    };
    for places in [[0, 1], [1, 0], [0, 2], [2, 0]] {
        let mappings = places.map(at);
        let between = (!places.contains(&1)).then(|| at(1));
        assert!(mapped() >= 1);
        drop(Both::new(mappings));
        assert_eq!(mapped(), usize::from(between.is_some()), "{places:?}");
    }
}
