//! Whether memory was cut short.

use rustix::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Proof that the handler is installed.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Installed(pub(super) ());

/// Whether the memory of an end was cut short: set once, by the handler or by the thread that finds the file shorter.
#[derive(Debug)]
#[doc(hidden)]
pub struct Cut {
    is_set: AtomicBool,
    /// The bytes that the file had, and must keep.
    len: u64,
}

impl Cut {
    /// For a file of `len` bytes.
    #[doc(hidden)]
    pub fn new(_: Installed, len: u64) -> Arc<Self> {
        Arc::new(Self { is_set: AtomicBool::new(false), len })
    }

    /// Whether it was found to be short. A thread that asks this after touching the memory learns of all that it has met there:
    /// the flag is set before the empty pages can be seen.
    #[inline]
    #[doc(hidden)]
    pub fn is_set(&self) -> bool {
        // The handler that has replaced a page that was read before this may have run in this thread or in another.
        fence(Ordering::Acquire);
        self.is_set.load(Ordering::Relaxed)
    }

    /// Looks at the size of the file, too, which `fd` is open on. A file whose size cannot be found out counts as whole.
    #[doc(hidden)]
    pub fn look(&self, fd: impl AsFd) -> bool {
        let size = rustix::fs::fstat(fd).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
        if size.is_some_and(|size| size < self.len) {
            self.set();
        }
        self.is_set()
    }

    /// For the handler as well.
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
    }
}
