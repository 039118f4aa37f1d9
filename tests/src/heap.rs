//! Memory for a segment on the heap, exactly as long as needed.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// A heap allocation of an exact length and alignment, so that a sanitizer sees each byte too far.
#[derive(Debug)]
pub struct Heap {
    base: *mut u8,
    layout: Layout,
}

impl Heap {
    /// `len` bytes (at least 1), all 0, at a multiple of `align`, a power of two.
    ///
    /// # Panics
    /// If that is no layout.
    pub fn new(len: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(len.max(1), align).expect("a layout");
        // SAFETY: the size is not 0.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            handle_alloc_error(layout);
        }
        Heap { base, layout }
    }

    /// Where it begins. The memory has no other owner; who makes references into it answers for them.
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.layout.size()
    }

    /// Never: an allocation has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed nowhere else.
        unsafe { dealloc(self.base, self.layout) };
    }
}
