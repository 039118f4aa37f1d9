use super::*;
use crate::memory::memfd;
use std::fs;

/// How `/proc/self/maps` describes the page at an address: its protection and what is mapped there.
fn page_at(address: usize) -> Option<(String, String)> {
    fs::read_to_string("/proc/self/maps").unwrap().lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
        let protection = words.next()?.to_owned();
        range.contains(&address).then(|| (protection, words.nth(3).unwrap_or_default().to_owned()))
    })
}

const NOTHING: (&str, &str) = ("---p", "");

fn check(address: usize, expected: (&str, &str)) {
    let (protection, what) = page_at(address).expect("mapped");
    assert!(protection == expected.0 && what.contains(expected.1), "{protection} {what}, not {expected:?}");
}

#[test]
fn what_is_given_back_stays_reserved() {
    let page = page_size();
    let range = AddressRange::new(4 * page).unwrap();
    let start = range.as_ptr().addr();
    check(start, NOTHING);
    let file = memfd("address-range-test", 2 * page as u64).unwrap();
    let placed = range.map(page, &file, page as u64, page, Access::ReadWrite).unwrap();
    placed.copy_in(0, b"second page").unwrap();
    assert_eq!(placed.as_ptr().addr(), start + page);
    check(start, NOTHING);
    check(start + page, ("rw-s", "address-range-test"));
    check(start + 2 * page, NOTHING);
    let other = range.map(2 * page, &file, page as u64, 10, Access::ReadOnly).unwrap();
    check(start + 2 * page, ("r--s", "address-range-test"));
    let mut bytes = [0; 10];
    other.copy_out(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"second pag");
    assert!(other.copy_out(1, &mut bytes).is_err(), "only what was asked for");
    assert!(other.as_mut_ptr().is_none() && placed.as_mut_ptr().is_some());
    placed.give_back().unwrap();
    check(start + page, NOTHING);
    drop(other);
    check(start + 2 * page, NOTHING);
    drop(range.map(page, &file, 0, 2 * page, Access::ReadOnly).unwrap());
}

#[test]
fn the_end_unmaps_all() {
    let page = page_size();
    // Larger than what is likely to be mapped there by another thread in between.
    let range = AddressRange::new(1 << 30).unwrap();
    let middle = range.as_ptr().addr() + (1 << 29);
    let file = memfd("address-range-test", page as u64).unwrap();
    // Its guard is gone, but the memory is there.
    std::mem::forget(range.map(1 << 29, &file, 0, page, Access::ReadOnly).unwrap());
    check(middle, ("r--s", "address-range-test"));
    assert_eq!(range.map(1 << 29, &file, 0, page, Access::ReadOnly).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(range);
    assert_eq!(page_at(middle), None);
}

#[test]
fn places_that_do_not_fit_are_errors() {
    let page = page_size();
    let range = AddressRange::new(3 * page - 1).unwrap();
    assert_eq!(range.len(), 3 * page);
    let file = memfd("address-range-test", 2 * page as u64).unwrap();
    let kind = |at, offset, len| range.map(at, &file, offset, len, Access::ReadOnly).unwrap_err().kind();
    assert_eq!(kind(1, 0, page), io::ErrorKind::InvalidInput);
    assert_eq!(kind(0, 0, 0), io::ErrorKind::InvalidInput);
    assert_eq!(kind(2 * page, 0, page + 1), io::ErrorKind::InvalidInput);
    assert_eq!(kind(3 * page, 0, 1), io::ErrorKind::InvalidInput);
    assert_eq!(kind(usize::MAX - page + 1, 0, page), io::ErrorKind::InvalidInput);
    assert_eq!(kind(0, 0, usize::MAX), io::ErrorKind::InvalidInput);
    assert_eq!(kind(0, 1, 1), io::ErrorKind::InvalidInput);
    assert_eq!(kind(0, 0, 2 * page + 1), io::ErrorKind::UnexpectedEof);
    let first = range.map(page, &file, 0, 1, Access::ReadOnly).unwrap();
    assert_eq!(kind(0, 0, page + 1), io::ErrorKind::AddrInUse);
    assert_eq!(kind(page, 0, 1), io::ErrorKind::AddrInUse);
    // What failed has taken nothing.
    range.map(2 * page, &file, 0, 1, Access::ReadOnly).unwrap().give_back().unwrap();
    range.map(0, &file, 0, page, Access::ReadOnly).unwrap().give_back().unwrap();
    drop(first);
    assert_eq!(AddressRange::new(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(AddressRange::new(usize::MAX).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    assert_eq!(AddressRange::new(usize::MAX - 16 * page).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
}

#[test]
fn a_way_of_placing_that_fails_leaves_nothing() {
    let page = page_size();
    let range = AddressRange::new(page).unwrap();
    let file = memfd("address-range-test", page as u64).unwrap();
    let map_and_fail = |start| {
        // SAFETY: the page is one that `place` has taken for this call.
        unsafe { memory::map_at(start, &file, 0, page, Access::ReadOnly) }?;
        Err(io::Error::other("on purpose"))
    };
    // SAFETY: it maps the page that it is given, and then fails.
    let result = unsafe { range.place(0, page, Access::ReadOnly, map_and_fail) };
    assert_eq!(result.unwrap_err().to_string(), "on purpose");
    check(range.as_ptr().addr(), NOTHING);
    assert!(range.map(0, &file, 0, page, Access::ReadOnly).is_ok());
}

#[test]
fn threads_place_side_by_side() {
    let page = page_size();
    let range = AddressRange::new(8 * page).unwrap();
    let file = memfd("address-range-test", 8 * page as u64).unwrap();
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (range, file) = (&range, &file);
            scope.spawn(move || {
                for i in 0..50u32 {
                    let placed = range.map(2 * at * page, file, 0, 2 * page, Access::ReadWrite).unwrap();
                    placed.copy_in(page + 8 * at, &i.to_ne_bytes()).unwrap();
                    assert_eq!(placed.load_u32(page + 8 * at), Some(i));
                }
            });
        }
    });
}

#[cfg(feature = "sysv")]
#[test]
fn a_segment_is_attached_and_detached() {
    use crate::sysv::{Key, Shm};
    let page = page_size();
    let range = AddressRange::new(3 * page).unwrap();
    let start = range.as_ptr().addr();
    let segment = Shm::create(Key::PRIVATE, page + 1).unwrap();
    // Children that other tests fork have it attached as well, for a moment: the lowest number counts.
    let attached = || {
        let counts = (0..100).map(|_| {
            std::thread::sleep(std::time::Duration::from_micros(200));
            segment.stat().unwrap().attached
        });
        counts.min().unwrap()
    };
    let placed = range.attach(page, &segment, Access::ReadWrite);
    let other = range.attach(0, &segment, Access::ReadOnly);
    let elsewhere = segment.attach();
    let counts = (attached(), range.attach(page + 1, &segment, Access::ReadOnly).unwrap_err().kind(), attached());
    // From here on nothing of it is left, whatever fails.
    segment.remove().unwrap();
    assert_eq!(counts, (2, io::ErrorKind::InvalidInput, 2));
    assert_eq!(other.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    let (placed, elsewhere) = (placed.unwrap(), elsewhere.unwrap());
    assert_eq!(SharedMemory::len(&placed), page + 1);
    placed.copy_in(page - 2, b"abc").unwrap();
    let mut bytes = [0; 3];
    SharedMemory::copy_out(&elsewhere, page - 2, &mut bytes).unwrap();
    assert_eq!(&bytes, b"abc");
    check(start + 2 * page, ("rw-s", "SYSV"));
    placed.give_back().unwrap();
    assert_eq!(attached(), 1);
    check(start, NOTHING);
    check(start + page, NOTHING);
    check(start + 2 * page, NOTHING);
    let read = range.attach(page, &segment, Access::ReadOnly).unwrap();
    check(start + page, ("r--s", "SYSV"));
    assert!(read.copy_in(0, &[1]).is_err());
    drop(read);
    drop(range);
    assert_eq!(attached(), 1);
}
