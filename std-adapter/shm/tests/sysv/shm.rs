//! Segments of shared memory.

use std::ptr;
use std::time::SystemTime;

use rustix::mm::{MapFlags, ProtFlags};
use smstream_shm::memory::{Access, page_size};
use smstream_shm::sysv::{AttachFlags, Key, Perm, RemoveOnDrop, Shm, ShmStat, SysvReason};

use crate::roles::{Second, fresh_key, role};

fn private(size: usize) -> RemoveOnDrop<Shm> {
    RemoveOnDrop::new(Shm::create(Key::PRIVATE, size).unwrap())
}

fn byte(at: *const u8) -> u8 {
    // SAFETY: the tests ask only for bytes that are attached.
    unsafe { at.read_volatile() }
}

#[test]
fn create_open_and_find_by_id() {
    let key = fresh_key();
    let made = RemoveOnDrop::new(Shm::create(key, 100).unwrap());
    let found = Shm::open(key).unwrap();
    assert_eq!((found.id(), found.key()), (made.id(), Some(key)));
    assert_eq!(Shm::from_id(made.id()).unwrap().key(), Some(key));
    // Creating is content with what exists, if it is large enough.
    assert_eq!(Shm::options().create(true).size(100).open(key).unwrap().id(), made.id());
    assert_eq!(Shm::options().size(1).open(key).unwrap().id(), made.id());
    let other = private(1);
    assert_ne!(other.id(), private(1).id());
}

#[test]
fn the_memory_is_zero_and_usable_to_the_end_of_the_page() {
    let shm = private(100);
    let a = shm.attach().unwrap();
    assert_eq!((a.len(), a.access()), (100, Access::ReadWrite));
    for i in 0..page_size() {
        assert_eq!(byte(a.as_ptr().wrapping_add(i)), 0);
    }
    let b = shm.attach_read_only().unwrap();
    assert_ne!(a.as_ptr(), b.as_ptr());
    assert!(b.as_mut_ptr().is_none());
    let last = page_size() - 1;
    // SAFETY: the last byte of the page, which is there.
    unsafe { a.as_mut_ptr().unwrap().wrapping_add(last).write_volatile(7) };
    assert_eq!(byte(b.as_ptr().wrapping_add(last)), 7);
}

#[test]
fn a_child_writes_123_and_the_parent_reads_it() {
    let shm = private(100);
    let mut child = Second::start(&mut role("writer", &[shm.id()]));
    child.says("written");
    let a = shm.attach_read_only().unwrap();
    let stat = shm.stat().unwrap();
    assert_eq!((stat.attached, stat.creator), (2, std::process::id().cast_signed()));
    assert_eq!([0, 1, 2].map(|i| byte(a.as_ptr().wrapping_add(i))), *b"123");
    child.ends_well();
    assert_eq!(shm.stat().unwrap().last, child.id());
    assert_eq!(shm.stat().unwrap().attached, 1, "it detaches when it ends");
}

#[test]
fn removed_early_it_goes_with_the_last_process_even_a_killed_one() {
    let key = fresh_key();
    let shm = RemoveOnDrop::new(Shm::create(key, 100).unwrap());
    let mut child = Second::start(&mut role("writer", &[shm.id()]));
    child.says("written");
    shm.remove().unwrap();
    let stat = shm.stat().unwrap();
    assert!(stat.removed && stat.perm.key.is_private(), "{stat:?}");
    // The key is free, and the id can still be attached.
    let again = RemoveOnDrop::new(Shm::create(key, 10).unwrap());
    assert_ne!(again.id(), shm.id());
    assert_eq!(byte(shm.attach().unwrap().as_ptr()), b'1');
    child.kill();
    assert_eq!(shm.stat().unwrap_err().reason(), SysvReason::Removed);
    assert_eq!(shm.attach().unwrap_err().reason(), SysvReason::Removed);
    assert_eq!(Shm::from_id(shm.id()).unwrap_err().reason(), SysvReason::NotFound);
}

#[test]
fn detaching_retains_the_contents() {
    let shm = private(8);
    let a = shm.attach().unwrap();
    // SAFETY: attached for writing.
    unsafe { a.as_mut_ptr().unwrap().write_volatile(9) };
    a.detach().unwrap();
    let ShmStat { attached, detached_at, attached_at, changed_at, size, .. } = shm.stat().unwrap();
    assert_eq!((attached, size), (0, 8));
    for time in [detached_at, attached_at, changed_at] {
        assert!(SystemTime::now().duration_since(time.unwrap()).unwrap().as_secs() < 60);
    }
    assert_eq!(byte(shm.attach().unwrap().as_ptr()), 9);
}

#[test]
fn owner_and_mode() {
    let shm = private(8);
    let Perm { mode, uid, creator_uid, .. } = shm.stat().unwrap().perm;
    let me = rustix::process::geteuid().as_raw();
    assert_eq!((mode, uid, creator_uid), (0o600, me, me));
    shm.set_mode(0o640).unwrap();
    assert_eq!(shm.stat().unwrap().perm.mode, 0o640);
    let mut perm = shm.stat().unwrap().perm;
    // Only the low nine bits count.
    perm.mode = 0o7_604;
    shm.set_perm(&perm).unwrap();
    assert_eq!(shm.stat().unwrap().perm.mode, 0o604);
    perm.uid = u32::MAX;
    assert_eq!(shm.set_perm(&perm).unwrap_err().reason(), SysvReason::InvalidInput);
}

#[test]
fn lock_and_unlock() {
    let shm = private(8);
    assert!(!shm.stat().unwrap().locked);
    shm.lock().unwrap();
    assert!(shm.stat().unwrap().locked);
    shm.unlock().unwrap();
    assert!(!shm.stat().unwrap().locked);
}

/// A range of pages that nothing else comes into, given back at the end.
struct Reserved(*mut u8, usize);

impl Reserved {
    fn new(pages: usize) -> Self {
        let len = pages * page_size();
        // SAFETY: without an address, the kernel takes a range where nothing is.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE) };
        Self(start.unwrap().cast(), len)
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.0.wrapping_add(offset)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: the range is this value's; what is attached in it was given up before.
        unsafe { rustix::mm::munmap(self.0.cast(), self.1) }.unwrap();
    }
}

#[test]
fn attach_into_a_reserved_range() {
    let shm = private(page_size());
    let range = Reserved::new(3);
    let here = range.at(page_size());
    // Without REMAP, the place is taken.
    // SAFETY: nothing is replaced.
    let taken = unsafe { shm.attach_at(here, AttachFlags::empty()) }.unwrap_err();
    assert_eq!((taken.reason(), taken.raw_os_error()), (SysvReason::Address, Some(libc::EINVAL)));
    assert!(taken.to_string().contains("mapped there"), "{taken}");
    // SAFETY: the range is this test's, and nothing uses it.
    let a = unsafe { shm.attach_at(here, AttachFlags::REMAP) }.unwrap();
    assert_eq!(a.as_ptr(), here.cast_const());
    drop(a);
    // The hole can be attached to without REMAP; ROUND finds its beginning, EXECUTE needs the bit.
    shm.set_mode(0o700).unwrap();
    let flags = AttachFlags::ROUND | AttachFlags::EXECUTE | AttachFlags::READ_ONLY;
    // SAFETY: nothing is replaced.
    let a = unsafe { shm.attach_at(here.wrapping_add(17), flags) }.unwrap();
    assert_eq!((a.as_ptr(), a.access()), (here.cast_const(), Access::ReadOnly));
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.starts_with(&format!("{:x}-", here.addr()))).expect("the mapping");
    assert!(line.contains("r-xs"), "{line}");
    // Given away, it belongs to the code that maps over it.
    assert_eq!(a.into_raw().0.as_ptr(), here);
}

#[test]
fn bad_addresses() {
    let shm = private(page_size());
    let range = Reserved::new(2);
    // SAFETY: nothing is replaced: the address is refused.
    let crooked = unsafe { shm.attach_at(range.at(1), AttachFlags::empty()) }.unwrap_err();
    assert_eq!(crooked.reason(), SysvReason::Address);
    assert!(crooked.to_string().contains("not a multiple of the page size"), "{crooked}");
    // SAFETY: nothing is replaced: without an address, this is refused.
    let nowhere = unsafe { shm.attach_at(ptr::null_mut(), AttachFlags::REMAP) }.unwrap_err();
    assert_eq!(nowhere.reason(), SysvReason::Address);
    assert!(nowhere.to_string().contains("needs an address"), "{nowhere}");
    assert_eq!(shm.stat().unwrap().attached, 0);
}
