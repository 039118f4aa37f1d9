//! Sleeping until a word in shared memory changes, and waking the sleepers.
//!
//! A *futex* is an aligned word of 32 bits on which threads sleep, of one process or of several that map the same memory.
//! [`wait`] sleeps as long as the word holds the value that the caller has seen; [`wait_any`] does so for several words.
//! A thread that changes the word calls [`wake_all`] or [`wake_one`] afterwards. The kernel compares the word and puts the
//! thread to sleep in one step: a change that comes between the look and the sleep is not missed.
//!
//! ```
//! use smstream_shm::futex::{self, Scope, Word};
//! use smstream_shm::memory::{Access, Mapping, SharedMemory, memfd, page_size};
//! use std::sync::atomic::Ordering;
//!
//! let fd = memfd("example", page_size() as u64)?;
//! let writer = Mapping::new(&fd, 0, page_size(), Access::ReadWrite)?;
//! # let thread = std::thread::spawn(move || {
//! // One process (here: a thread) publishes, then wakes:
//! let word = writer.atomic_u32(0).expect("aligned and writable");
//! word.store(1, Ordering::Release);
//! futex::wake_all(word, Scope::Shared);
//! # });
//!
//! // Another sees the memory read-only. It looks, and sleeps only on what it has seen:
//! let reader = Mapping::new(&fd, 0, page_size(), Access::ReadOnly)?;
//! // SAFETY: aligned and mapped as long as `reader` lives; only loaded, Relaxed, and 32 bits wide.
//! let word = unsafe { std::sync::atomic::AtomicU32::from_ptr(reader.as_ptr().cast_mut().cast()) };
//! loop {
//!     let seen = word.load(Ordering::Relaxed);
//!     if seen != 0 {
//!         break;
//!     }
//!     futex::wait(&Word { word, seen, scope: Scope::Shared }, None);
//! }
//! std::sync::atomic::fence(Ordering::Acquire);
//! # thread.join().unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What it does not promise
//! - **A wait can return for no reason**: a signal (EINTR), a wake that was meant for other use of the same memory, a kernel
//!   that could not put the thread to sleep. Look at the word again, in a loop.
//! - **A wake wakes threads that sleep at that moment**, and is not kept for those that come later. So change the word
//!   first, then wake.
//! - **It orders no memory.** Order the stores and the loads of the word themselves: Release and Acquire.
//! - **A change without a wake wakes no thread.** A process that dies between the two leaves the sleepers asleep: where that
//!   matters, wait with a [`Deadline`] and look at what else shows the death.
//!
//! # Read-only memory
//! The kernel only reads the word, so all of these calls work on memory that is mapped for reading only. Rust promises
//! atomic loads there for `Relaxed` loads of at most 32 bits: load with `Relaxed`, then `fence(Acquire)`, as
//! [`SharedMemory::load_u32`](crate::memory::SharedMemory::load_u32) does. 64-bit words are no futexes.
//!
//! # Shared or private
//! [`Scope::Private`] (`FUTEX_PRIVATE_FLAG`) is a little faster, and finds only threads of this process. Waiters and wakers
//! of a word must agree: a private wake does not reach a shared wait. Between processes it is always [`Scope::Shared`],
//! also where both are threads of one program but have mapped the memory twice.
//!
//! # Time
//! A wait with a [`Deadline`] ends at that point of the monotonic clock, however often it is interrupted and begun again. A
//! change of the wall clock does not matter. The clock stands still while the machine is suspended.
//!
//! # References
//! [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), `FUTEX_WAIT_BITSET`, `FUTEX_WAKE`;
//! [futex_waitv](https://docs.kernel.org/userspace-api/futex2.html), Linux 5.16;
//! [`std::sync::atomic`], "Atomic accesses to read-only memory"

use crate::deadline::Deadline;
use rustix::io::Errno;
use rustix::thread::futex::{self, ClockId, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
use std::num::NonZeroU32;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// Which processes use a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Other processes wait on it or wake its sleepers.
    Shared,
    /// Only threads of this process do: `FUTEX_PRIVATE_FLAG`.
    Private,
}

/// A word to sleep on, and the value at which sleeping is right.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// The word. It may lie in memory that is mapped read-only: the kernel only reads it.
    pub word: &'a AtomicU32,
    /// The value that was checked. The kernel compares it with the word before it puts the thread to sleep.
    pub seen: u32,
    /// Which processes use the word.
    pub scope: Scope,
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A word changed, a waker came, a signal came, or for no reason: check again.
    Maybe,
    /// The deadline has passed.
    TimedOut,
}

/// The words that a half watches at most. Sleeping on more takes memory from the heap.
const USUAL: usize = 3;
/// The most words that [`wait_any`] watches at once (`FUTEX_WAITV_MAX`).
pub const MAX_WORDS: usize = 128;

/// A count for wakes that means all.
const ALL: u32 = i32::MAX as u32;

/// Whether this kernel can sleep on several words at once (`futex_waitv`, Linux 5.16), and no filter of system calls
/// forbids it. The kernel is asked once per process. It does not block.
///
/// ```
/// // Without it, watch one word, and look at the others at intervals.
/// println!("several words at once: {}", smstream_shm::futex::has_waitv());
/// ```
#[must_use]
pub fn has_waitv() -> bool {
    const UNKNOWN: u8 = 0;
    const YES: u8 = 1;
    const NO: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    match KNOWN.load(Ordering::Relaxed) {
        YES => true,
        NO => false,
        _ => {
            // The word does not hold what is expected, so this cannot sleep. A filter may forbid the call: EPERM.
            let word = AtomicU32::new(1);
            let watch = Word { word: &word, seen: 0, scope: Scope::Private };
            let missing = matches!(waitv(&[watch], None), Err(Errno::NOSYS | Errno::PERM));
            KNOWN.store(if missing { NO } else { YES }, Ordering::Relaxed);
            !missing
        }
    }
}

/// Sleeps while each of the words holds what was seen, for no longer than until the deadline. Of more than [`MAX_WORDS`]
/// words, it watches the first. It blocks; with no deadline, possibly for ever.
///
/// More than three words take memory from the heap. Where the kernel cannot do this (see [`has_waitv`]) it returns
/// [`Wake::Maybe`] soon: a loop goes on, slower.
///
/// ```
/// use smstream_shm::Deadline;
/// use smstream_shm::futex::{self, Scope, Wake, Word};
/// use std::sync::atomic::AtomicU32;
/// use std::time::Duration;
///
/// let words = [AtomicU32::new(1), AtomicU32::new(2)];
/// let watch = |i: usize, seen| Word { word: &words[i], seen, scope: Scope::Private };
/// // The second word is not 3, so this does not sleep.
/// assert_eq!(futex::wait_any(&[watch(0, 1), watch(1, 3)], None), Wake::Maybe);
/// # if futex::has_waitv() {
/// let soon = Deadline::after(Duration::from_millis(5));
/// assert_eq!(futex::wait_any(&[watch(0, 1), watch(1, 2)], Some(soon)), Wake::TimedOut);
/// # }
/// ```
///
/// # References
/// [futex_waitv](https://docs.kernel.org/userspace-api/futex2.html)
pub fn wait_any(watches: &[Word<'_>], deadline: Option<Deadline>) -> Wake {
    outcome(waitv(watches, deadline).map(drop))
}

/// Sleeps while the word holds what was seen, for no longer than until the deadline. It blocks; with no deadline, possibly
/// for ever. It returns at once if the word holds another value.
///
/// ```
/// use smstream_shm::Deadline;
/// use smstream_shm::futex::{self, Scope, Wake, Word};
/// use std::sync::atomic::AtomicU32;
/// use std::time::Duration;
///
/// let word = AtomicU32::new(7);
/// let watch = |seen| Word { word: &word, seen, scope: Scope::Private };
/// assert_eq!(futex::wait(&watch(6), None), Wake::Maybe);
/// let soon = Deadline::after(Duration::from_millis(5));
/// // It may return earlier, for no reason: look again until the deadline has passed.
/// while futex::wait(&watch(7), Some(soon)) != Wake::TimedOut {}
/// assert!(soon.has_passed());
/// ```
///
/// # References
/// [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), `FUTEX_WAIT_BITSET`
pub fn wait(watch: &Word<'_>, deadline: Option<Deadline>) -> Wake {
    let flags = match watch.scope {
        Scope::Shared => Flags::empty(),
        Scope::Private => Flags::PRIVATE,
    };
    // FUTEX_WAIT_BITSET, because its time is absolute, on the monotonic clock.
    let until = deadline.as_ref().map(Deadline::timespec);
    outcome(futex::wait_bitset(watch.word, flags, watch.seen, until, NonZeroU32::MAX))
}

/// Wakes all threads that sleep on the word. Change the word before. It does not block.
///
/// # References
/// [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), `FUTEX_WAKE`
pub fn wake_all(word: &AtomicU32, scope: Scope) {
    wake(word, scope, ALL);
}

/// Wakes one thread that sleeps on the word, if there is one. It is enough where each sleeper can do what the change asks
/// for; where sleepers wait for different things, or a process may die with the wake, use [`wake_all`]. It does not block.
///
/// # References
/// [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), `FUTEX_WAKE`
pub fn wake_one(word: &AtomicU32, scope: Scope) {
    wake(word, scope, 1);
}

fn wake(word: &AtomicU32, scope: Scope, count: u32) {
    let flags = match scope {
        Scope::Shared => Flags::empty(),
        Scope::Private => Flags::PRIVATE,
    };
    // It can only fail for an address that is not mapped or not aligned, and this is a reference.
    let _ = futex::wake(word, flags, count);
}

/// Wakes all threads that sleep on the shared word at `address`, if there is one. The word may be unmapped by now, or be
/// something else: then no thread wakes, or one does for no reason, as every sleeper on a futex must expect.
#[doc(hidden)]
pub fn wake_all_at(address: usize) {
    let null = ptr::null::<libc::timespec>();
    // SAFETY: FUTEX_WAKE uses its first argument as a key only: the kernel finds out what is mapped there, and answers
    // EFAULT if nothing is. It neither reads nor writes the word, and ignores the arguments after the count.
    let _ = unsafe { libc::syscall(libc::SYS_futex, address, libc::FUTEX_WAKE, libc::c_int::MAX, null, 0usize, 0u32) };
}

fn waitv(watches: &[Word<'_>], deadline: Option<Deadline>) -> rustix::io::Result<usize> {
    let mut usual = [Wait::new(); USUAL];
    let mut many = Vec::new();
    let words = match usual.get_mut(..watches.len()) {
        Some(words) => words,
        None => {
            many.resize(watches.len().min(MAX_WORDS), Wait::new());
            &mut many[..]
        }
    };
    for (wait, watch) in words.iter_mut().zip(watches) {
        wait.val = u64::from(watch.seen);
        // The kernel only reads the word, so that it may be one of a read-only mapping.
        wait.uaddr = WaitPtr::new(ptr::from_ref(watch.word).cast_mut().cast());
        wait.flags = match watch.scope {
            Scope::Shared => WaitFlags::SIZE_U32,
            Scope::Private => WaitFlags::SIZE_U32 | WaitFlags::PRIVATE,
        };
    }
    futex::waitv(words, WaitvFlags::empty(), deadline.as_ref().map(Deadline::timespec), ClockId::Monotonic)
}

fn outcome(result: rustix::io::Result<()>) -> Wake {
    match result {
        Err(Errno::TIMEDOUT) => Wake::TimedOut,
        Ok(()) | Err(Errno::AGAIN | Errno::INTR) => Wake::Maybe,
        Err(_) => {
            // No memory for the wait, for example. The caller looks again and comes back: do not let it burn a CPU.
            std::thread::sleep(Duration::from_millis(1));
            Wake::Maybe
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Access, Mapping, memfd};

    #[test]
    fn this_kernel_is_asked_once() {
        assert_eq!(has_waitv(), has_waitv());
    }

    #[test]
    fn waking_where_nothing_is_does_nothing() {
        wake_all_at(0x10);
        let page = crate::memory::page_size();
        let fd = memfd("futex-test", page as u64).unwrap();
        let mapping = Mapping::new(&fd, 0, page, Access::ReadOnly).unwrap();
        let address = mapping.as_ptr().addr();
        wake_all_at(address);
        drop(mapping);
        wake_all_at(address);
    }

    #[test]
    fn a_changed_word_does_not_sleep() {
        let words = [AtomicU32::new(1), AtomicU32::new(2), AtomicU32::new(3)];
        for scope in [Scope::Shared, Scope::Private] {
            for changed in 0..3 {
                let mut watches = [0, 1, 2].map(|i| Word { word: &words[i], seen: i as u32 + 1, scope });
                watches[changed].seen = 9;
                assert_eq!(wait(&watches[changed], None), Wake::Maybe);
                if has_waitv() {
                    assert_eq!(wait_any(&watches, None), Wake::Maybe);
                    let many: Vec<_> = (0..MAX_WORDS - 3).map(|_| Word { word: &words[0], seen: 1, scope }).collect();
                    assert_eq!(wait_any(&[&many, &watches[..]].concat(), None), Wake::Maybe);
                }
            }
        }
    }
}
