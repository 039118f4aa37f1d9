//! Heaps: one for each thread, and a ring for each pair of them.

use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use smstream_core::spsc::{Consumer, Producer, Ring};

use crate::chunk::{self, CLASSES};

/// The most threads at a time.
const HEAPS: usize = 24;
/// Blocks on the way from one heap to another, before they spill.
const ON_THE_WAY: usize = 64;

/// A block that is free and lies in a list: its first word is the next one.
type List = *mut u8;

/// `RINGS[from][to]`: blocks that heap `from` has freed, and that are of heap `to`.
static RINGS: [[Ring<usize, ON_THE_WAY>; HEAPS]; HEAPS] = [const { [const { Ring::new() }; HEAPS] }; HEAPS];
static ALL: [Shared; HEAPS] = [const { Shared(UnsafeCell::new(Heap::EMPTY)) }; HEAPS];
/// The heaps that no thread has. `None` before the rings were split.
static UNUSED: Mutex<Option<[bool; HEAPS]>> = Mutex::new(None);

static COUNTS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
const SENT: usize = 0;
const SPILLED: usize = 1;
const RECEIVED: usize = 2;
const ADOPTED: usize = 3;

/// What has happened, over all threads.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Blocks that went to their heap through a ring.
    pub sent: usize,
    /// Blocks that found the ring full and were kept for later.
    pub spilled: usize,
    /// Blocks that came out of a ring.
    pub received: usize,
    /// Heaps that a new thread took over.
    pub adopted: usize,
}

pub fn counts() -> Counts {
    let [sent, spilled, received, adopted] = [SENT, SPILLED, RECEIVED, ADOPTED].map(|i| COUNTS[i].load(Relaxed));
    Counts { sent, spilled, received, adopted }
}

struct Shared(UnsafeCell<Heap>);
// SAFETY: a heap is touched by the thread that has it alone (see `mine`), and before that under the lock of `UNUSED`.
unsafe impl Sync for Shared {}

struct Heap {
    number: usize,
    free: [List; CLASSES],
    /// Blocks of other heaps whose ring was full.
    spill: List,
    to: [Option<Producer<'static, usize>>; HEAPS],
    from: [Option<Consumer<'static, usize>>; HEAPS],
}

/// Gives the heap back when the thread ends.
struct Leave;
impl Drop for Leave {
    fn drop(&mut self) {
        let heap = MINE.replace(ptr::null_mut());
        if !heap.is_null() {
            give_back(heap);
        }
    }
}

thread_local! {
    static MINE: Cell<*mut Heap> = const { Cell::new(ptr::null_mut()) };
    static LEAVE: Leave = const { Leave };
}

fn lock() -> std::sync::MutexGuard<'static, Option<[bool; HEAPS]>> {
    UNUSED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Does something with the heap of this thread. `what` must not come back here.
fn with_mine<R>(what: impl FnOnce(&mut Heap) -> R) -> R {
    let mut heap = MINE.get();
    let mut for_now = false;
    if heap.is_null() {
        heap = adopt();
        MINE.set(heap);
        // After the thread's destructors have run there is no hook any more: then it has the heap for this call only.
        for_now = LEAVE.try_with(|_| ()).is_err();
    }
    // SAFETY: this thread has the heap, and there is no other reference to it: `what` does not come back here.
    let result = what(unsafe { &mut *heap });
    if for_now {
        MINE.set(ptr::null_mut());
        give_back(heap);
    }
    result
}

/// Gives a heap up that this thread has.
fn give_back(heap: *mut Heap) {
    // SAFETY: this thread has the heap, until the lock below is released.
    let heap = unsafe { &mut *heap };
    heap.collect();
    heap.send_spilled();
    let number = heap.number;
    if let Some(unused) = lock().as_mut() {
        unused[number] = true;
    }
}

/// A heap that no thread has, for this one.
fn adopt() -> *mut Heap {
    let mut lock = lock();
    let unused = lock.get_or_insert_with(split_all);
    let Some(number) = unused.iter().position(|unused| *unused) else {
        chunk::die(b"allocator: too many threads\n");
    };
    unused[number] = false;
    COUNTS[ADOPTED].fetch_add(1, Relaxed);
    ALL[number].0.get()
}

/// Splits all rings and gives each half to its heap, before there is any other use of them.
fn split_all() -> [bool; HEAPS] {
    for from in 0..HEAPS {
        // SAFETY: no thread has a heap yet, and the lock is held.
        unsafe { &mut *ALL[from].0.get() }.number = from;
        for to in 0..HEAPS {
            let Ok((producer, consumer)) = RINGS[from][to].try_split() else {
                chunk::die(b"allocator: a ring was split before\n");
            };
            // SAFETY: as above.
            unsafe { &mut *ALL[from].0.get() }.to[to] = Some(producer);
            // SAFETY: as above; the reference before is gone.
            unsafe { &mut *ALL[to].0.get() }.from[from] = Some(consumer);
        }
    }
    [true; HEAPS]
}

/// A block of this class, or null if the system has no memory.
pub fn allocate(class: usize) -> *mut u8 {
    let block = with_mine(|heap| heap.take(class).or_else(|| heap.take_slowly(class))).unwrap_or(ptr::null_mut());
    if !block.is_null() {
        // SAFETY: it is a block of a chunk.
        unsafe { chunk::of(block) }.mark_used(block);
    }
    block
}

/// Frees a block of any heap.
///
/// # Safety
/// It is a block of a chunk, and nothing uses it any more.
pub unsafe fn free(block: *mut u8) {
    // SAFETY: the caller's promise.
    let chunk = unsafe { chunk::of(block) };
    chunk.mark_free(block);
    with_mine(|heap| {
        if chunk.heap == heap.number {
            // SAFETY: the block is free and of this heap.
            unsafe { push(&mut heap.free[chunk.class], block) };
        } else if !heap.send(chunk.heap, block) {
            COUNTS[SPILLED].fetch_add(1, Relaxed);
            // SAFETY: the block is free, and in no other list.
            unsafe { push(&mut heap.spill, block) };
        }
    });
}

/// # Safety
/// `block` is a free block that is in no list.
unsafe fn push(list: &mut List, block: *mut u8) {
    // SAFETY: a block has at least 16 bytes, is aligned to that, and nothing else uses it.
    unsafe { block.cast::<List>().write(*list) };
    *list = block;
}

fn pop(list: &mut List) -> Option<*mut u8> {
    let block = *list;
    if block.is_null() {
        return None;
    }
    // SAFETY: what is in a list was put there by `push`, which wrote the word.
    *list = unsafe { block.cast::<List>().read() };
    Some(block)
}

impl Heap {
    const EMPTY: Heap = Heap {
        number: 0,
        free: [ptr::null_mut(); CLASSES],
        spill: ptr::null_mut(),
        to: [const { None }; HEAPS],
        from: [const { None }; HEAPS],
    };

    fn take(&mut self, class: usize) -> Option<*mut u8> {
        pop(&mut self.free[class])
    }

    /// The slow path: what others have freed, and then a new chunk.
    #[cold]
    fn take_slowly(&mut self, class: usize) -> Option<*mut u8> {
        self.collect();
        self.send_spilled();
        if let Some(block) = self.take(class) {
            return Some(block);
        }
        let (first, count) = chunk::new(self.number, class)?;
        for i in (0..count).rev() {
            // SAFETY: the blocks of a fresh chunk are free and in no list.
            unsafe { push(&mut self.free[class], first.wrapping_add(i * chunk::size(class))) };
        }
        self.take(class)
    }

    fn send(&mut self, to: usize, block: *mut u8) -> bool {
        let sent = self.to[to].as_mut().is_some_and(|ring| ring.push(block.expose_provenance()).is_ok());
        COUNTS[SENT].fetch_add(usize::from(sent), Relaxed);
        sent
    }

    /// Takes what others have freed out of the rings.
    fn collect(&mut self) {
        let Heap { free, from, .. } = self;
        let mut received = 0;
        for ring in from.iter_mut().flatten() {
            received += ring.pop_all(|block| {
                let block: *mut u8 = ptr::with_exposed_provenance_mut(block);
                // SAFETY: it is a block of this heap's chunks, which another heap has freed and sent.
                let class = unsafe { chunk::of(block) }.class;
                // SAFETY: as above; it is in no list.
                unsafe { push(&mut free[class], block) };
            });
        }
        COUNTS[RECEIVED].fetch_add(received, Relaxed);
    }

    /// Tries again to send what has spilled.
    fn send_spilled(&mut self) {
        let mut spilled = std::mem::replace(&mut self.spill, ptr::null_mut());
        while let Some(block) = pop(&mut spilled) {
            // SAFETY: it is a block of a chunk.
            let to = unsafe { chunk::of(block) }.heap;
            if !self.send(to, block) {
                // SAFETY: it was taken out of the other list.
                unsafe { push(&mut self.spill, block) };
            }
        }
    }
}
