//! Segments in memory.

use super::call::check;
use super::error::{Result, SysvError, SysvKind, SysvObject, SysvReason};
use crate::memory::{Access, SharedMemory};
use bitflags::bitflags;
use std::ffi::c_void;
use std::ptr::NonNull;

bitflags! {
    /// How a segment is attached.
    ///
    /// # References
    /// shmat(2); Free Pascal `SHM_RDONLY`, `SHM_RND`, `SHM_REMAP`; Cedar `shmRDOnly`, `shmRnd`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AttachFlags: libc::c_int {
        /// For reading only. The MMU enforces it.
        const READ_ONLY = libc::SHM_RDONLY;
        /// Round the address down to a page.
        const ROUND = libc::SHM_RND;
        /// Replace what is mapped there. Needs an address.
        const REMAP = libc::SHM_REMAP;
        /// The memory may be executed. Needs the execute bit of the mode.
        const EXECUTE = 0o100000;
    }
}

/// A segment in this process's memory, until this is dropped.
///
/// Another process writes there, so there are only raw pointers. In a child made by `fork` the memory is attached, too.
#[derive(Debug)]
pub struct Attachment {
    start: NonNull<u8>,
    pub(super) len: usize,
    access: Access,
}

// SAFETY: an `Attachment` owns an address range of the process. Nothing about it belongs to a thread (shmat(2)).
unsafe impl Send for Attachment {}
// SAFETY: `&Attachment` gives out the address and the length, which never change, and accesses no byte.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Takes what `shmat` returned, for which this is from now on to answer.
    pub(super) fn new(start: NonNull<u8>, access: Access) -> Self {
        Self { start, len: 0, access }
    }

    /// Where it begins. It stays valid until this is dropped.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Where it begins, for writing: `None` if it may only be read.
    #[must_use]
    pub fn as_mut_ptr(&self) -> Option<*mut u8> {
        match self.access {
            Access::ReadWrite => Some(self.start.as_ptr()),
            Access::ReadOnly => None,
        }
    }

    /// The bytes of the segment. Its last page is there to its end.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What it allows.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Detaches, and tells if that failed. Dropping it does the same in silence.
    ///
    /// # Errors
    /// [`SysvReason::Address`] if the range is unmapped already.
    ///
    /// # References
    /// shmdt(2); Free Pascal `shmdt`; Cedar `ShmDt`: the segment and its contents are retained.
    pub fn detach(self) -> Result<()> {
        let (start, _) = self.into_raw();
        let object = SysvObject { kind: SysvKind::Shm, key: None, id: None };
        let error = |errno| {
            let advice = "the range is unmapped already";
            SysvError::system(errno, object, "detach").because(SysvReason::Address, advice)
        };
        // SAFETY: the range is this attachment's, whose pointers the caller gave up by consuming it.
        check(unsafe { libc::shmdt(start.as_ptr().cast::<c_void>()) }).map(drop).map_err(error)
    }

    /// Gives the address and the length away; nothing detaches it any more. For who maps something else over it.
    #[must_use = "nothing else has the address"]
    pub fn into_raw(self) -> (NonNull<u8>, usize) {
        let raw = (self.start, self.len);
        std::mem::forget(self);
        raw
    }
}

// SAFETY: a segment is attached in whole pages, from a page on, until the attachment is dropped, and its size never
// changes. Its pointers can be used in `unsafe` blocks only, and theirs is the promise.
unsafe impl SharedMemory for Attachment {
    fn start(&self) -> *mut u8 {
        self.as_ptr().cast_mut()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn access(&self) -> Access {
        self.access()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: the range is this value's. A caller that took a pointer from it agreed not to use it after this moment
        // (`as_ptr`), and no reference into it was ever made here.
        let result = unsafe { libc::shmdt(self.start.as_ptr().cast::<c_void>()) };
        debug_assert_eq!(result, 0, "detaching one's own attachment");
    }
}
