//! A slab allocator as a user of [`smstream_core::spsc`].
//!
//! Each thread has a heap of its own and takes blocks from it without locks. A block that another thread frees goes back to
//! its heap through a ring, one for each pair of heaps; the rings are a plain static. When a ring is full, the block goes to a spill
//! list of the freeing heap, which is tried again when that heap runs out of blocks, and when its thread ends.
//!
//! A bit for each block says whether it is in use, so that a double free ends the process and a leak can be counted. It is
//! a test of the ring in its hardest place: nothing here may allocate, block for long or panic. It is no allocator to use.

mod chunk;
mod heap;

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;

pub use heap::Counts;

/// The allocator. All values of it are the same one.
#[derive(Debug)]
pub struct Slabs;

impl Slabs {
    /// What has happened so far, over all threads.
    pub fn counts() -> Counts {
        heap::counts()
    }

    /// The blocks in use.
    pub fn live() -> usize {
        chunk::LIVE.load(Relaxed)
    }
}

// SAFETY: `allocate` gives each block to one caller until it is freed, of at least the size and alignment of its class.
unsafe impl GlobalAlloc for Slabs {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match chunk::class_of(layout) {
            Some(class) => heap::allocate(class),
            None => chunk::map(layout.size(), layout.align()).unwrap_or(ptr::null_mut()),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match chunk::class_of(layout) {
            // SAFETY: the caller got `block` from `alloc` with this layout, so it is of a chunk.
            Some(_) => unsafe { heap::free(block) },
            // SAFETY: it was mapped with this size.
            None => unsafe { chunk::unmap(block, layout.size()) },
        }
    }
}
