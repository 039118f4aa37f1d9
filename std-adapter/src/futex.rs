//! Sleeping on words and waking the sleepers, by futex.
//!
//! A futex works on memory that is mapped read-only: the kernel needs the address and the value, and writes nothing.

use crate::deadline::Deadline;
use rustix::io::Errno;
use rustix::thread::futex::{self, ClockId, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
use smstream_core::park::{Place, Wake, Watch};
use smstream_core::word::SharedWord;
use std::num::NonZeroU32;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// The words that a half watches at most. Sleeping on more takes memory from the heap.
const USUAL: usize = 3;
/// The most words that the kernel watches at once (`FUTEX_WAITV_MAX`).
pub(crate) const MOST: usize = 128;

/// A count for wakes that means everyone.
const ALL: u32 = i32::MAX as u32;

/// Whether this kernel can sleep on several words at once (`futex_waitv`, Linux 5.16). Asked once per process.
pub(crate) fn has_waitv() -> bool {
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
            let watch = Watch { word: SharedWord::new(&word), seen: 0, place: Place::Local };
            let missing = matches!(waitv(&[watch], None), Err(Errno::NOSYS | Errno::PERM));
            KNOWN.store(if missing { NO } else { YES }, Ordering::Relaxed);
            !missing
        }
    }
}

/// Sleeps while all of the first [`MOST`] words hold what was seen.
pub(crate) fn sleep_on_all(watches: &[Watch<'_>], deadline: Option<Deadline>) -> Wake {
    outcome(waitv(watches, deadline).map(drop))
}

/// Sleeps while the word holds what was seen.
pub(crate) fn sleep_on(watch: &Watch<'_>, deadline: Option<Deadline>) -> Wake {
    let flags = match watch.place {
        Place::Shared => Flags::empty(),
        Place::Local => Flags::PRIVATE,
    };
    // FUTEX_WAIT_BITSET, because its time is absolute, on the monotonic clock.
    let until = deadline.as_ref().map(Deadline::timespec);
    outcome(futex::wait_bitset(to_atomic(watch.word), flags, watch.seen, until, NonZeroU32::MAX))
}

/// Wakes everyone who sleeps on the word.
pub(crate) fn wake_all(word: SharedWord<'_>, place: Place) {
    wake(word, place, ALL);
}

/// Wakes one who sleeps on the word, if anybody does.
pub(crate) fn wake_one(word: SharedWord<'_>, place: Place) {
    wake(word, place, 1);
}

/// The word as rustix wants it.
fn to_atomic(word: SharedWord<'_>) -> &AtomicU32 {
    // SAFETY: a `SharedWord` is aligned and valid for atomic loads as long as it lives. It may be one of memory that can only be
    // read, and neither FUTEX_WAIT nor FUTEX_WAKE writes the word, nor does rustix, which takes its address only.
    unsafe { AtomicU32::from_ptr(word.as_ptr().cast_mut()) }
}

fn wake(word: SharedWord<'_>, place: Place, count: u32) {
    let flags = match place {
        Place::Shared => Flags::empty(),
        Place::Local => Flags::PRIVATE,
    };
    // It can only fail for an address that is not mapped or not aligned, and this is a reference.
    let _ = futex::wake(to_atomic(word), flags, count);
}

/// Wakes everyone who sleeps on the shared word at `address`, if there is one. The word may be unmapped by now, or be
/// something else: then nobody wakes, or somebody does for no reason, as every sleeper on a futex must expect.
pub(crate) fn wake_all_at(address: usize) {
    let null = ptr::null::<libc::timespec>();
    // SAFETY: FUTEX_WAKE uses its first argument as a key only: the kernel finds out what is mapped there, and answers
    // EFAULT if nothing is. It neither reads nor writes the word, and ignores the arguments after the count.
    let _ = unsafe { libc::syscall(libc::SYS_futex, address, libc::FUTEX_WAKE, libc::c_int::MAX, null, 0usize, 0u32) };
}

fn waitv(watches: &[Watch<'_>], deadline: Option<Deadline>) -> rustix::io::Result<usize> {
    let mut usual = [Wait::new(); USUAL];
    let mut many = Vec::new();
    let words = match usual.get_mut(..watches.len()) {
        Some(words) => words,
        None => {
            many.resize(watches.len().min(MOST), Wait::new());
            &mut many[..]
        }
    };
    for (wait, watch) in words.iter_mut().zip(watches) {
        wait.val = u64::from(watch.seen);
        // The kernel only reads the word, so that it may be one of a read-only mapping.
        wait.uaddr = WaitPtr::new(watch.word.as_ptr().cast_mut().cast());
        wait.flags = match watch.place {
            Place::Shared => WaitFlags::SIZE_U32,
            Place::Local => WaitFlags::SIZE_U32 | WaitFlags::PRIVATE,
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
        for place in [Place::Shared, Place::Local] {
            for changed in 0..3 {
                let mut watches =
                    [0, 1, 2].map(|i| Watch { word: SharedWord::new(&words[i]), seen: i as u32 + 1, place });
                watches[changed].seen = 9;
                assert_eq!(sleep_on(&watches[changed], None), Wake::Maybe);
                if has_waitv() {
                    assert_eq!(sleep_on_all(&watches, None), Wake::Maybe);
                    let many: Vec<_> =
                        (0..MOST - 3).map(|_| Watch { word: SharedWord::new(&words[0]), seen: 1, place }).collect();
                    assert_eq!(sleep_on_all(&[&many, &watches[..]].concat(), None), Wake::Maybe);
                }
            }
        }
    }
}
