//! Memory for segments: on the heap, exactly as long as needed; or shared, between guard pages.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

pub use crate::heap::Heap;

/// A segment as processes share it: one file in memory, mapped twice, each time between pages that no code may touch.
///
/// It ends within a line of the page behind it, and every byte of the pages before it and behind it is out of bounds,
/// so an access there is the end of the process.
#[derive(Debug)]
pub struct Shared {
    /// For the owner: reading and writing.
    own: Window,
    /// For the peer: reading only. A write is the end of the process, too.
    view: Window,
    len: usize,
}

impl Shared {
    /// Memory for `len` bytes, all 0.
    ///
    /// # Panics
    /// If the system has none.
    pub fn new(len: usize) -> Self {
        let pages = len.max(1).next_multiple_of(PAGE);
        let fd = memfd_create("smstream-test", MemfdFlags::CLOEXEC).expect("a memfd");
        ftruncate(&fd, pages as u64).expect("room in memory");
        let at = (pages - len) & !127;
        let own = Window::new(fd.as_fd(), pages, at, ProtFlags::READ | ProtFlags::WRITE);
        Shared { own, view: Window::new(fd.as_fd(), pages, at, ProtFlags::READ), len }
    }

    /// The segment as its owner sees it.
    pub fn own(&self) -> *mut u8 {
        self.own.segment
    }

    /// The segment as the peer sees it.
    pub fn view(&self) -> *const u8 {
        self.view.segment
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The size that the guards have, and a multiple of the machine's page.
const PAGE: usize = 1 << 16;

#[derive(Debug)]
struct Window {
    all: *mut core::ffi::c_void,
    all_len: usize,
    segment: *mut u8,
}

impl Window {
    fn new(fd: BorrowedFd<'_>, pages: usize, at: usize, access: ProtFlags) -> Self {
        let all_len = pages + 2 * PAGE;
        // SAFETY: a new mapping, wherever the kernel likes.
        let all = unsafe { mmap_anonymous(std::ptr::null_mut(), all_len, ProtFlags::empty(), MapFlags::PRIVATE) }
            .expect("address space");
        let inner = all.wrapping_byte_add(PAGE);
        // SAFETY: replaces pages of the mapping just made, which no code uses yet.
        let mapped = unsafe { mmap(inner, pages, access, MapFlags::SHARED | MapFlags::FIXED, fd, 0) };
        assert_eq!(mapped.expect("a mapping"), inner);
        Window { all, all_len, segment: inner.wrapping_byte_add(at).cast() }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; the caller that made references into it has answered for them.
        unsafe { munmap(self.all, self.all_len) }.expect("munmap");
    }
}
