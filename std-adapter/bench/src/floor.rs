//! The floors: what this machine needs at least, over two words in memory that both sides share.
//!
//! No message passing between two CPUs is faster than handing one cache line there and another one back; none that
//! sleeps is faster than the bare futex calls it must make; none that copies in and out is faster than `memcpy` there and
//! back on one CPU, which moves no line to another one.

use std::hint::{self, black_box};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;
use smstream::memory::check_file_size_limit;

/// One word on a line of its own: 128 bytes, because processors fetch lines in pairs.
#[repr(C, align(128))]
struct CacheLine(AtomicU32);

/// What the two processes share.
#[repr(C)]
struct CacheLines {
    ping: CacheLine,
    pong: CacheLine,
}

/// The mapping of the two words in this process.
pub struct Words(NonNull<CacheLines>);

// SAFETY: the mapping belongs to no thread, and all that is done with it are atomic accesses through `&self`; it is
// unmapped by its only owner.
unsafe impl Send for Words {}
// SAFETY: as above: a shared reference gives out nothing but atomics.
unsafe impl Sync for Words {}

/// How long the memory is.
const LEN: u64 = size_of::<CacheLines>() as u64;

/// Makes the memory for two words, both zero. The limit on file sizes is an error, and does not end the process.
pub fn create() -> io::Result<OwnedFd> {
    check_file_size_limit(LEN)?;
    let fd = memfd_create("smstream-words", MemfdFlags::CLOEXEC)?;
    ftruncate(&fd, LEN)?;
    Ok(fd)
}

/// What is measured over the two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// One cache line that goes there and comes back.
    OneLine,
    /// One line there, and another one back: what a message and its answer need.
    TwoLines,
    /// As two lines, and each side sleeps in `futex` until the other one wakes it.
    Futex,
}

impl Floor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OneLine, Self::TwoLines, Self::Futex];

    /// The name in orders and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneLine => "one_line",
            Self::TwoLines => "two_lines",
            Self::Futex => "futex",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|floor| floor.name() == name)
    }
}

/// The first side: so many turns there and back.
pub fn ping(words: &Words, floor: Floor, count: u64) -> io::Result<()> {
    for number in 0..count {
        match floor {
            Floor::OneLine => words.ping_one(turn(number)),
            Floor::TwoLines => words.ping_busy(turn(number)),
            Floor::Futex => words.ping_asleep(turn(number))?,
        }
    }
    Ok(())
}

/// The second side of [`ping`].
pub fn pong(words: &Words, floor: Floor, count: u64) -> io::Result<()> {
    for number in 0..count {
        match floor {
            Floor::OneLine => words.pong_one(turn(number)),
            Floor::TwoLines => words.pong_busy(turn(number)),
            Floor::Futex => words.pong_asleep(turn(number))?,
        }
    }
    Ok(())
}

/// The word's value for a trip: an odd number, and never that of the trip before. A series starts with both words 0.
pub fn turn(trip: u64) -> u32 {
    // Truncation is harmless: two turns in a row differ.
    (trip as u32).wrapping_mul(2).wrapping_add(1)
}

/// How many nanoseconds a copy of `size` bytes into a buffer and out of it again takes on this CPU.
pub fn memcpy(size: usize, count: u64) -> f64 {
    /// As long as the default lane, which is why the same bytes are not copied over and over.
    const LANE: usize = 256 << 10;
    let (source, mut lane, mut target) = (vec![1_u8; size], vec![2_u8; LANE.max(size)], vec![3_u8; size]);
    let places = lane.len() / size.max(1);
    let start = crate::usage::now();
    for number in 0..count {
        let at = (number as usize % places) * size;
        let place = &mut lane[at..at + size];
        place.copy_from_slice(black_box(&source));
        black_box(&mut target).copy_from_slice(black_box(place));
    }
    (crate::usage::now() - start) as f64 / count.max(1) as f64
}

impl Words {
    /// Makes a file for two words, both zero, and maps it.
    ///
    /// # Errors
    /// What the system says; the file must not exist.
    pub fn in_file(path: &std::path::Path) -> io::Result<Self> {
        check_file_size_limit(LEN)?;
        let file = std::fs::File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(LEN)?;
        Self::map(file)
    }

    /// Maps what [`in_file`](Self::in_file) has made, in another process.
    ///
    /// # Errors
    /// What the system says.
    pub fn of_file(path: &std::path::Path) -> io::Result<Self> {
        Self::map(std::fs::File::options().read(true).write(true).open(path)?)
    }

    /// Maps what [`create`] made, in either process.
    pub fn map(fd: impl AsFd) -> io::Result<Self> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a null address lets the kernel choose a free range, so no existing mapping is replaced.
        let memory = unsafe { mmap(ptr::null_mut(), size_of::<CacheLines>(), prot, flags, fd, 0) }?;
        NonNull::new(memory.cast()).map(Self).ok_or_else(|| io::Error::other("the kernel mapped memory at address 0"))
    }

    fn lines(&self) -> &CacheLines {
        // SAFETY: `map` got this page-aligned range of `size_of::<CacheLines>()` bytes from the kernel and only `drop` unmaps
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

    /// One round trip of one line: hand over `turn`, wait until the other side has made it even.
    pub fn ping_one(&self, turn: u32) {
        self.lines().ping.0.store(turn, Ordering::Release);
        spin_until(&self.lines().ping.0, turn.wrapping_add(1));
    }

    /// The other side of [`Words::ping_one`].
    pub fn pong_one(&self, turn: u32) {
        spin_until(&self.lines().ping.0, turn);
        self.lines().ping.0.store(turn.wrapping_add(1), Ordering::Release);
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
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<CacheLines>()) };
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
        assert_eq!(std::mem::offset_of!(CacheLines, pong) - std::mem::offset_of!(CacheLines, ping), 128);
    }

    #[test]
    fn every_floor_comes_back() {
        let fd = create().expect("a memfd");
        let (here, there) = (Words::map(&fd).expect("a mapping"), Words::map(&fd).expect("a mapping"));
        for floor in Floor::ALL {
            assert_eq!(Floor::named(floor.name()), Some(floor));
            here.reset();
            thread::scope(|threads| {
                threads.spawn(|| pong(&there, floor, 100).expect("a futex"));
                ping(&here, floor, 100).expect("a futex");
            });
        }
        assert!(memcpy(64, 100) > 0.0);
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
