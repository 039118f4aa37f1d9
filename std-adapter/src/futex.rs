//! The core's watches, slept on by the futexes of `smstream-shm`.

use smstream_core::park::{Place, Wake, Watch};
use smstream_core::word::SharedWord;
use smstream_shm::Deadline;
use smstream_shm::futex::{self, Scope, Word};
use std::sync::atomic::AtomicU32;

pub(crate) use smstream_shm::futex::{MAX_WORDS as MOST, has_waitv, wake_all_at};

/// The most words that a half watches. Sleeping on more takes memory from the heap.
const USUAL: usize = 3;

/// Sleeps while the word holds what was seen.
pub(crate) fn sleep_on(watch: &Watch<'_>, deadline: Option<Deadline>) -> Wake {
    wake(futex::wait(&word(watch), deadline))
}

/// Sleeps while all of the first [`MOST`] words hold what was seen.
pub(crate) fn sleep_on_all(watches: &[Watch<'_>], deadline: Option<Deadline>) -> Wake {
    if watches.len() <= USUAL {
        let words: heapless::Vec<_, USUAL> = watches.iter().map(word).collect();
        return wake(futex::wait_any(&words, deadline));
    }
    let words: Vec<_> = watches.iter().map(word).collect();
    wake(futex::wait_any(&words, deadline))
}

/// Wakes all that sleep on the word.
pub(crate) fn wake_all(word: SharedWord<'_>, place: Place) {
    futex::wake_all(to_atomic(word), scope(place));
}

/// The word as `smstream-shm` wants it.
fn to_atomic(word: SharedWord<'_>) -> &AtomicU32 {
    // SAFETY: a `SharedWord` is aligned and valid for atomic loads as long as it lives. It may be one of memory that can only be
    // read, and no function of `smstream_shm::futex` writes it: they give its address to the kernel, which only reads it.
    unsafe { AtomicU32::from_ptr(word.as_ptr().cast_mut()) }
}

fn word<'a>(watch: &Watch<'a>) -> Word<'a> {
    Word { word: to_atomic(watch.word), seen: watch.seen, scope: scope(watch.place) }
}

fn scope(place: Place) -> Scope {
    match place {
        Place::Shared => Scope::Shared,
        Place::Local => Scope::Private,
    }
}

fn wake(wake: futex::Wake) -> Wake {
    match wake {
        futex::Wake::Maybe => Wake::Maybe,
        futex::Wake::TimedOut => Wake::TimedOut,
    }
}
