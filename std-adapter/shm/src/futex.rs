//! Sleeping on words and waking the sleepers, by futex.
//!
//! A futex works on memory that is mapped read-only: the kernel needs the address and the value, and writes nothing.

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
/// The most words that the kernel watches at once (`FUTEX_WAITV_MAX`).
#[doc(hidden)]
pub const MAX_WORDS: usize = 128;

/// A count for wakes that means everyone.
const ALL: u32 = i32::MAX as u32;

/// Whether this kernel can sleep on several words at once (`futex_waitv`, Linux 5.16). Asked once per process.
#[doc(hidden)]
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

/// Sleeps while all of the first [`MAX_WORDS`] words hold what was seen.
#[doc(hidden)]
pub fn wait_any(watches: &[Word<'_>], deadline: Option<Deadline>) -> Wake {
    outcome(waitv(watches, deadline).map(drop))
}

/// Sleeps while the word holds what was seen.
#[doc(hidden)]
pub fn wait(watch: &Word<'_>, deadline: Option<Deadline>) -> Wake {
    let flags = match watch.scope {
        Scope::Shared => Flags::empty(),
        Scope::Private => Flags::PRIVATE,
    };
    // FUTEX_WAIT_BITSET, because its time is absolute, on the monotonic clock.
    let until = deadline.as_ref().map(Deadline::timespec);
    outcome(futex::wait_bitset(watch.word, flags, watch.seen, until, NonZeroU32::MAX))
}

/// Wakes everyone who sleeps on the word.
#[doc(hidden)]
pub fn wake_all(word: &AtomicU32, scope: Scope) {
    wake(word, scope, ALL);
}

/// Wakes one who sleeps on the word, if anybody does.
#[doc(hidden)]
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

/// Wakes everyone who sleeps on the shared word at `address`, if there is one. The word may be unmapped by now, or be
/// something else: then nobody wakes, or somebody does for no reason, as every sleeper on a futex must expect.
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
