//! A counting semaphore in memory that processes share.

mod sync;
mod words;

use crate::deadline::Deadline;
use crate::explain::explain;
use crate::futex::{self, Scope, Wake, Word};
use crate::memory::{Access, SharedMemory};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use words::{Futex, Words};

/// Sleepers in any process.
struct SharedFutex;

impl Futex for SharedFutex {
    type Deadline = Deadline;
    fn wait_while_zero(&self, word: &AtomicU32, deadline: Option<Deadline>) -> bool {
        futex::wait(&Word { word, seen: 0, scope: Scope::Shared }, deadline) == Wake::Maybe
    }
    fn wake_one(&self, word: &AtomicU32) {
        futex::wake_one(word, Scope::Shared);
    }
}

/// A counting semaphore in shared memory, for processes and threads.
///
/// It takes [`SIZE`](Self::SIZE) bytes at an offset that is a multiple of 4: first the value, then the number of
/// waiters, each a `u32` in the byte order of the machine. Zeros are a semaphore of value 0. So fresh memory
/// has one that is ready, and no process can come before that.
///
/// **It is not libc's `sem_t`**, whose bytes are libc's own business. A program in another language takes part by
/// these rules:
/// - *post*: add 1 to the value, then (after a full barrier) if waiters is not 0, `FUTEX_WAKE` one sleeper on the
///   value;
/// - *wait*: if the value is above 0, take 1 off it by compare-and-swap, and return. Else add 1 to waiters, (full
///   barrier,) look again, `FUTEX_WAIT` on the value as long as it is 0, and look again; when done, take 1 off waiters.
///   Who has slept and leaves a value above 0 behind wakes the next one.
///
/// The futex is not a private one. A value is at most 2³¹ − 1.
///
/// # Why no wake is lost
/// A waiter counts itself before it looks at the value for the last time: in the kernel, which puts it to sleep only if
/// the value is still 0. A poster raises the value before it looks at the count. There is a full barrier between the
/// two steps on both sides, so one of them sees the other: either the waiter finds the value, or the poster finds the
/// waiter, and wakes it. A third thread may take the value that a waiter was woken for; then the woken one
/// sleeps again, and no value is lost. A process that is killed between posting and waking, or between waking and
/// taking, leaves a value and no waiter awake: the next post, or the next wait that takes one, wakes a waiter. Until then only
/// [`wait_timeout`](Self::wait_timeout) helps, as with every semaphore: a process that dies does not give back what it
/// had taken.
///
/// A process that can write the words can also stop others, but do no more than that.
///
/// ```
/// use smstream_shm::memory::{Access, Mapping, memfd};
/// use smstream_shm::posix::Semaphore;
/// use std::time::Duration;
///
/// let memory = Mapping::new(memfd("example", 4096)?, 0, 4096, Access::ReadWrite)?;
/// let free = Semaphore::init(&memory, 0, 2)?;
/// free.wait();
/// assert!(free.try_wait());
/// assert!(!free.try_wait());
/// assert!(!free.wait_timeout(Duration::from_millis(1)));
/// free.post()?;
/// assert_eq!(free.value(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
/// [sem_overview(7)](https://man7.org/linux/man-pages/man7/sem_overview.7.html),
/// [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html)
#[derive(Clone, Copy, Debug)]
pub struct Semaphore<'a>(&'a Words);

impl<'a> Semaphore<'a> {
    /// How many bytes it takes.
    pub const SIZE: usize = size_of::<Words>();
    /// The highest value.
    pub const MAX: u32 = words::MAX;

    /// The semaphore that is at `offset` of the memory, with the value that it has.
    ///
    /// # Errors
    /// `InvalidInput` when the offset is no multiple of 4 or the memory ends before it does, `PermissionDenied` when
    /// the memory is mapped for reading only.
    pub fn at(memory: &'a impl SharedMemory, offset: usize) -> io::Result<Self> {
        let last = offset.checked_add(size_of::<u32>()).and_then(|offset| memory.load_u32(offset));
        if memory.load_u32(offset).is_none() || last.is_none() {
            let len = SharedMemory::len(memory);
            let text = format!("no semaphore can be at offset {offset} of {len} bytes: it takes 8, at a multiple of 4");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let start = NonNull::new(memory.start().wrapping_add(offset));
        let (Some(start), Access::ReadWrite) = (start, SharedMemory::access(memory)) else {
            let text = "a semaphore must be written, and the shared memory is mapped for reading only";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        };
        // SAFETY: both words were found aligned and inside, and may be written. They stay as long as `memory` is
        // borrowed, and this process uses them by atomic accesses to words (`SharedMemory`).
        Ok(unsafe { Self::from_ptr(start) })
    }

    /// Sets up a semaphore with this value. No thread may wait for it yet; see [`at`](Self::at) for one that others use.
    ///
    /// # Errors
    /// As for [`at`](Self::at), and `InvalidInput` for a value above [`MAX`](Self::MAX).
    pub fn init(memory: &'a impl SharedMemory, offset: usize, value: u32) -> io::Result<Self> {
        if value > Self::MAX {
            let text = format!("a semaphore cannot have the value {value}: the most is {}", Self::MAX);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let semaphore = Self::at(memory, offset)?;
        semaphore.0.waiters.store(0, Ordering::Relaxed);
        semaphore.0.value.store(value, Ordering::Release);
        Ok(semaphore)
    }

    /// The semaphore at an address.
    ///
    /// # Safety
    /// The address is a multiple of 4, and as long as `'a` lasts [`SIZE`](Self::SIZE) bytes from it are valid for reads
    /// and writes, and are used in this process by atomic accesses to words of 32 bits only.
    #[must_use]
    pub unsafe fn from_ptr(start: NonNull<u8>) -> Self {
        // SAFETY: aligned, valid and used atomically, as the caller promises; every value of the bytes is one of two
        // atomic words.
        Self(unsafe { start.cast::<Words>().as_ref() })
    }

    /// Adds 1, and wakes one who waits. It never blocks.
    ///
    /// # Errors
    /// `EOVERFLOW` when the value is [`MAX`](Self::MAX) already.
    pub fn post(&self) -> io::Result<()> {
        if !self.0.post(&SharedFutex) {
            let text = format!("the semaphore has its highest value, {}", Self::MAX);
            return Err(explain(rustix::io::Errno::OVERFLOW, text));
        }
        Ok(())
    }

    /// Takes 1 off if there is one; says whether it has. It never blocks.
    #[must_use]
    pub fn try_wait(&self) -> bool {
        self.0.try_wait()
    }

    /// Waits until there is one to take, and takes it. Signals do not end the wait.
    pub fn wait(&self) {
        let _ = self.try_wait() || self.0.sleep(&SharedFutex, None);
    }

    /// As [`wait`](Self::wait), but not longer than this; says whether it has taken one. The time is measured on the
    /// monotonic clock, whatever the wall clock does.
    #[must_use]
    pub fn wait_timeout(&self, longest: Duration) -> bool {
        self.try_wait() || self.0.sleep(&SharedFutex, Some(Deadline::after(longest)))
    }

    /// The value at this moment. It may be another one by the time it is looked at.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.0.value.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
