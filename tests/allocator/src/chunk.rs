//! Chunks: aligned pieces of mapped memory, each with blocks of one size and a bit for each block.

use std::alloc::Layout;
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The bytes of a chunk, and what it is aligned to.
pub const CHUNK: usize = 1 << 16;
/// The classes of blocks: 16 bytes, 32, … 4096.
pub const CLASSES: usize = 9;
const SMALLEST: usize = 16;
/// Bytes at the start of a chunk that are no block.
const HEADER: usize = 4096;

/// All blocks of all chunks that are in use.
pub static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The start of a chunk.
#[repr(C)]
pub struct Chunk {
    /// The heap that it belongs to.
    pub heap: usize,
    /// The class of its blocks.
    pub class: usize,
    used: [AtomicU64; (CHUNK - HEADER) / SMALLEST / 64],
}

/// The bytes of a block of a class.
pub const fn size(class: usize) -> usize {
    SMALLEST << class
}

/// The class for a layout; `None`: it is mapped by itself.
pub fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(SMALLEST).next_power_of_two();
    let class = (size / SMALLEST).ilog2() as usize;
    (class < CLASSES).then_some(class)
}

/// Maps memory of this size, aligned to so much.
pub fn map(size: usize, align: usize) -> Option<*mut u8> {
    let more = if align <= 4096 { 0 } else { align };
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping touches no memory that is in use.
    let base = unsafe { libc::mmap(ptr::null_mut(), size + more, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return None;
    }
    let base: *mut u8 = base.cast();
    // What is mapped beside it stays so: that is at most one alignment for each chunk, and never touched.
    Some(base.wrapping_add(if more == 0 { 0 } else { base.align_offset(align) }))
}

/// # Safety
/// `block` was mapped with this size and an alignment of at most a page.
pub unsafe fn unmap(block: *mut u8, size: usize) {
    // SAFETY: the caller promises that this is a mapping, which it uses no more.
    unsafe { libc::munmap(block.cast(), size) };
}

/// A new chunk of a class, for a heap: its first block and how many there are.
pub fn new(heap: usize, class: usize) -> Option<(*mut u8, usize)> {
    let base = map(CHUNK, CHUNK)?;
    // SAFETY: the chunk is fresh memory of zeros, aligned, and large enough; zeros are a value of a `Chunk`.
    let chunk = unsafe { &mut *base.cast::<Chunk>() };
    chunk.heap = heap;
    chunk.class = class;
    Some((base.wrapping_add(HEADER), (CHUNK - HEADER) / size(class)))
}

/// The chunk of a block.
///
/// # Safety
/// `block` is a block of a chunk. Chunks are never unmapped.
pub unsafe fn of<'c>(block: *mut u8) -> &'c Chunk {
    let chunk: *const Chunk = block.map_addr(|at| at & !(CHUNK - 1)).cast();
    // SAFETY: a chunk is aligned to its size, so this is its start; its header was written before its blocks were handed out.
    unsafe { &*chunk }
}

impl Chunk {
    fn bit(&self, block: *mut u8) -> (&AtomicU64, u64) {
        let number = ((block.addr() & (CHUNK - 1)) - HEADER) / size(self.class);
        (&self.used[number / 64], 1 << (number % 64))
    }

    /// Says that the block is in use from now on. It must not have been.
    pub fn mark_used(&self, block: *mut u8) {
        let (word, bit) = self.bit(block);
        if word.fetch_or(bit, Relaxed) & bit != 0 {
            die(b"allocator: a block was handed out twice\n");
        }
        LIVE.fetch_add(1, Relaxed);
    }

    /// Says that the block is free from now on. It must have been in use.
    pub fn mark_free(&self, block: *mut u8) {
        let (word, bit) = self.bit(block);
        if word.fetch_and(!bit, Relaxed) & bit == 0 {
            die(b"allocator: a block was freed twice\n");
        }
        LIVE.fetch_sub(1, Relaxed);
    }
}

/// Ends the process without allocating.
pub fn die(message: &[u8]) -> ! {
    // SAFETY: the message is a live slice.
    unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
    std::process::abort()
}
