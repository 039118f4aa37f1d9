//! Two words in memory shared by two processes, and the two floors that are measured over them.
//!
//! No message passing between two processors is faster than handing one cache line there and another one back; none
//! that sleeps is faster than the bare futex calls it must make.

use std::hint;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;

/// One word on a line of its own: 128 bytes, because processors fetch lines in pairs.
#[repr(C, align(128))]
struct Line(AtomicU32);

/// What the two processes share.
#[repr(C)]
struct Lines {
    ping: Line,
    pong: Line,
}

/// The mapping of the two words in this process.
pub struct Words(NonNull<Lines>);

/// Makes the memory for two words, both zero.
pub fn create() -> io::Result<OwnedFd> {
    let fd = memfd_create("smstream-demo-words", MemfdFlags::CLOEXEC)?;
    ftruncate(&fd, size_of::<Lines>() as u64)?;
    Ok(fd)
}

impl Words {
    /// Maps what [`create`] made, in either process.
    pub fn map(fd: impl AsFd) -> io::Result<Self> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a null address lets the kernel choose a free range, so no existing mapping is replaced.
        let memory = unsafe { mmap(ptr::null_mut(), size_of::<Lines>(), prot, flags, fd, 0) }?;
        NonNull::new(memory.cast()).map(Self).ok_or_else(|| io::Error::other("the kernel mapped memory at address 0"))
    }

    fn lines(&self) -> &Lines {
        // SAFETY: `map` got this page-aligned range of `size_of::<Lines>()` bytes from the kernel and only `drop` unmaps
        // it. The file was extended to that size before it was given to anyone and no process shrinks it. Every bit pattern
        // is an `AtomicU32`, and both processes touch the words only as atomics.
        unsafe { self.0.as_ref() }
    }

    /// Starts a series: both words zero. Done by one side, while the other does nothing.
    pub fn reset(&self) {
        self.lines().ping.0.store(0, Ordering::SeqCst);
        self.lines().pong.0.store(0, Ordering::SeqCst);
    }

    /// One round trip of the busy floor: hand over `turn`, wait for it to come back.
    pub fn ping_busy(&self, turn: u32) {
        self.lines().ping.0.store(turn, Ordering::Release);
        spin_until(&self.lines().pong.0, turn);
    }

    /// The other side of [`Words::ping_busy`].
    pub fn pong_busy(&self, turn: u32) {
        spin_until(&self.lines().ping.0, turn);
        self.lines().pong.0.store(turn, Ordering::Release);
    }

    /// One round trip of the sleeping floor: hand over `turn`, wake, sleep until it comes back.
    pub fn ping_asleep(&self, turn: u32) -> io::Result<()> {
        hand_over(&self.lines().ping.0, turn)?;
        sleep_until(&self.lines().pong.0, turn)
    }

    /// The other side of [`Words::ping_asleep`].
    pub fn pong_asleep(&self, turn: u32) -> io::Result<()> {
        sleep_until(&self.lines().ping.0, turn)?;
        hand_over(&self.lines().pong.0, turn)
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the range is the one that `map` got, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Lines>()) };
    }
}

/// Looks until the word is `turn`.
fn spin_until(word: &AtomicU32, turn: u32) {
    while word.load(Ordering::Acquire) != turn {
        hint::spin_loop();
    }
}

/// Stores `turn` and wakes who sleeps on the word.
fn hand_over(word: &AtomicU32, turn: u32) -> io::Result<()> {
    word.store(turn, Ordering::Release);
    futex::wake(word, futex::Flags::empty(), 1)?;
    Ok(())
}

/// Sleeps until the word is `turn`.
fn sleep_until(word: &AtomicU32, turn: u32) -> io::Result<()> {
    loop {
        let seen = word.load(Ordering::Acquire);
        if seen == turn {
            return Ok(());
        }
        match futex::wait(word, futex::Flags::empty(), seen, None) {
            // The word changed before we slept, or a signal came: look again.
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn words_lie_on_lines_of_their_own() {
        assert_eq!(std::mem::offset_of!(Lines, pong) - std::mem::offset_of!(Lines, ping), 128);
    }

    #[test]
    fn two_mappings_hand_turns_to_each_other() {
        let fd = create().expect("a memfd");
        let (here, there) = (Words::map(&fd).expect("a mapping"), fd.try_clone().expect("a descriptor"));
        here.reset();
        let other = thread::spawn(move || {
            let there = Words::map(&there).expect("a mapping");
            for turn in 1..=1000 {
                there.pong_asleep(turn).expect("a futex");
            }
        });
        for turn in 1..=1000 {
            here.ping_asleep(turn).expect("a futex");
        }
        other.join().expect("the other side");
        assert_eq!(here.lines().pong.0.load(Ordering::Relaxed), 1000);
    }
}
