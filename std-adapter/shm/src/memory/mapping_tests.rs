use super::*;
use crate::memory::memfd;
use std::sync::atomic::{AtomicU32, Ordering};

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

/// Side by side in either order, and apart: nothing is left of two mappings, and what is between them stays.
#[test]
fn two_mappings_are_given_up_together() {
    let name = "smstream-both-test";
    let page = page_size();
    let fd = memfd(name, 3 * page as u64).unwrap();
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|l| l.contains(name)).count();
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    for places in [[0, 1], [1, 0], [0, 2], [2, 0]] {
        // Anew each time: where two were given up, other threads may have mapped something since.
        // SAFETY: the kernel chooses the range.
        let space =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), 4 * page, ProtFlags::empty(), flags) }.unwrap();
        let at = |place: usize| {
            let offset = place * page;
            let there = NonNull::new(space.cast::<u8>().wrapping_add(offset));
            // SAFETY: the place is in the range that was reserved here, and this mapping alone has it.
            let start = unsafe { map(there, fd.as_fd(), offset as u64, page, Access::ReadOnly) }.unwrap();
            Mapping { start, len: page, access: Access::ReadOnly, guard: None }
        };
        let mappings = places.map(at);
        let between = (!places.contains(&1)).then(|| at(1));
        assert!(mapped() >= 1);
        drop(Both::new(mappings));
        assert_eq!(mapped(), usize::from(between.is_some()), "{places:?}");
    }
}
