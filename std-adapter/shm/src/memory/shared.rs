//! Safe ways into memory that others write: copies, and atomic words.

use super::mapping::{Access, Mapping};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// The bytes of a word.
const WORD: usize = size_of::<AtomicU32>();

/// Memory that others may write at any time, with safe ways into it.
///
/// There is no `&[u8]` here: that would promise that the bytes do not change. Bytes are copied in and out, and words
/// are atomic. Underneath, everything is an atomic access to an aligned word of 32 bits, so that threads of this
/// process never race in the sense of Rust's memory model, whatever they do with these functions. Another process sees
/// each byte either as it was or as it became, but a copy as a whole may be half done: agree on who writes when, with a
/// [`Semaphore`](crate::posix::Semaphore) for example.
///
/// Copying word by word is slower than `memcpy`. Who moves much data takes the pointer, and then answers for it.
///
/// # Safety
/// As long as the value lives, the memory from [`start`](Self::start) on is mapped for the reads (and, if
/// [`access`](Self::access) says so, the writes) of [`len`](Self::len) bytes rounded up to a multiple of 4, and `start`
/// is a multiple of 4. The three never change. Other code of this process accesses these bytes by atomic accesses
/// to aligned words of 32 bits, or promises in an `unsafe` block that no other thread uses them at the time.
///
/// ```
/// use smstream_shm::memory::{Access, Mapping, SharedMemory, memfd};
/// use std::sync::atomic::Ordering;
///
/// let mapping = Mapping::new(memfd("example", 4096)?, 0, 4096, Access::ReadWrite)?;
/// mapping.copy_in(10, b"Hello")?;
/// let mut bytes = [0; 5];
/// mapping.copy_out(10, &mut bytes)?;
/// assert_eq!(&bytes, b"Hello");
///
/// let number = mapping.atomic_u32(64).expect("an aligned word of a writable mapping");
/// number.store(123, Ordering::Release);
/// assert_eq!(mapping.load_u32(64), Some(123));
/// assert!(mapping.copy_in(4090, b"too long").is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[allow(clippy::len_without_is_empty, reason = "it is never empty")]
pub unsafe trait SharedMemory {
    /// Where it begins.
    fn start(&self) -> *mut u8;

    /// How many bytes it has.
    fn len(&self) -> usize;

    /// What it allows.
    fn access(&self) -> Access;

    /// Copies bytes from `offset` on out of the memory. Never blocks.
    ///
    /// # Errors
    /// `InvalidInput` when the range does not lie inside.
    fn copy_out(&self, offset: usize, to: &mut [u8]) -> io::Result<()> {
        check(self.len(), offset, to.len())?;
        let mut done = 0;
        while done < to.len() {
            let at = (offset + done) % WORD;
            let step = (WORD - at).min(to.len() - done);
            // SAFETY: `check` has found the range inside, so the word lies within `len` rounded up.
            let word = unsafe { word(self.start(), offset + done - at) };
            let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            to[done..done + step].copy_from_slice(&bytes[at..at + step]);
            done += step;
        }
        // What was written before a value that was copied here can be seen from now on.
        fence(Ordering::Acquire);
        Ok(())
    }

    /// Copies bytes into the memory, from `offset` on. It does not touch the bytes beside them, and does not block.
    ///
    /// # Errors
    /// `InvalidInput` when the range does not lie inside, `PermissionDenied` when the memory is mapped for reading
    /// only.
    fn copy_in(&self, offset: usize, from: &[u8]) -> io::Result<()> {
        check(self.len(), offset, from.len())?;
        if self.access() == Access::ReadOnly {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the shared memory is mapped for reading only",
            ));
        }
        fence(Ordering::Release);
        let mut done = 0;
        while done < from.len() {
            let at = (offset + done) % WORD;
            let step = (WORD - at).min(from.len() - done);
            // SAFETY: `check` has found the range inside, so the word lies within `len` rounded up.
            let word = unsafe { word(self.start(), offset + done - at) };
            let part = &from[done..done + step];
            if let Ok(whole) = <[u8; WORD]>::try_from(part) {
                word.store(u32::from_ne_bytes(whole), Ordering::Relaxed);
            } else {
                // Another thread or process may write the other bytes of this word meanwhile.
                let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                    let mut bytes = old.to_ne_bytes();
                    bytes[at..at + step].copy_from_slice(part);
                    Some(u32::from_ne_bytes(bytes))
                });
            }
            done += step;
        }
        Ok(())
    }

    /// The word at `offset`, to be used atomically: `None` if it is not aligned, not inside, or may not be written.
    fn atomic_u32(&self, offset: usize) -> Option<&AtomicU32> {
        let fits = offset.is_multiple_of(WORD) && check(self.len(), offset, WORD).is_ok();
        if !fits || self.access() == Access::ReadOnly {
            return None;
        }
        // SAFETY: aligned and inside, as was just checked.
        Some(unsafe { word(self.start(), offset) })
    }

    /// The value of the word at `offset`, which may be one of memory that can only be read: `None` if it is not aligned
    /// or not inside. What its writer wrote before it with `Release` can be seen after this.
    fn load_u32(&self, offset: usize) -> Option<u32> {
        if !offset.is_multiple_of(WORD) || check(self.len(), offset, WORD).is_err() {
            return None;
        }
        // SAFETY: aligned and inside, as was just checked.
        let value = unsafe { word(self.start(), offset) }.load(Ordering::Relaxed);
        // On memory that is mapped read-only Rust guarantees relaxed loads only; the fence makes it an acquire.
        fence(Ordering::Acquire);
        Some(value)
    }
}

/// Refuses a range that is not inside.
fn check(len: usize, offset: usize, count: usize) -> io::Result<()> {
    if offset.checked_add(count).is_some_and(|end| end <= len) {
        return Ok(());
    }
    let text = format!("{count} bytes at offset {offset} are not inside of shared memory of {len} bytes");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// The word at `offset`.
///
/// # Safety
/// `start` is the start of a [`SharedMemory`] that outlives `'a`, `offset` is a multiple of 4 and lies within its
/// length rounded up. If that may only be read, nothing but relaxed loads is done with the word.
unsafe fn word<'a>(start: *mut u8, offset: usize) -> &'a AtomicU32 {
    // SAFETY: within, or one past, the mapped range: the caller's promise.
    let at = unsafe { start.add(offset) };
    // SAFETY: mapped for four bytes, aligned, and used in this process by atomic accesses of this size only, as the
    // implementor of `SharedMemory` has promised; any value is one of an `AtomicU32`.
    unsafe { AtomicU32::from_ptr(at.cast()) }
}

// SAFETY: a mapping is a whole number of pages, of which the file had all `len` bytes; it begins on a page and stays
// until it is dropped. Its pointers can be used in `unsafe` blocks only, and theirs is the promise.
unsafe impl SharedMemory for Mapping {
    fn start(&self) -> *mut u8 {
        self.as_ptr().cast_mut()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn access(&self) -> Access {
        self.access()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{memfd, page_size};

    fn both() -> (Mapping, Mapping) {
        let fd = memfd("shared-test", page_size() as u64).unwrap();
        // A length that is no multiple of a word.
        let map = |access| Mapping::new(&fd, 0, 1001, access).unwrap();
        (map(Access::ReadWrite), map(Access::ReadOnly))
    }

    #[test]
    fn copies_at_every_alignment_touch_nothing_else() {
        let (write, read) = both();
        for offset in 0..9 {
            for len in 0..14 {
                write.copy_in(0, &[0xee; 32]).unwrap();
                let bytes: Vec<u8> = (1..=len).collect();
                write.copy_in(offset, &bytes).unwrap();
                let mut expected = [0xee; 32];
                expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
                let mut all = [0; 32];
                read.copy_out(0, &mut all).unwrap();
                assert_eq!(all, expected);
                let mut back = vec![0; bytes.len()];
                read.copy_out(offset, &mut back).unwrap();
                assert_eq!(back, bytes);
            }
        }
    }

    #[test]
    fn the_end_is_the_end() {
        let (write, read) = both();
        write.copy_in(1000, &[7]).unwrap();
        let mut one = [0];
        read.copy_out(1000, &mut one).unwrap();
        assert_eq!(one, [7]);
        write.copy_in(1001, &[]).unwrap();
        for (offset, len) in [(1001, 1), (1000, 2), (usize::MAX, 2), (0, 1002)] {
            let kind = write.copy_in(offset, &vec![0; len]).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::InvalidInput);
            assert!(read.copy_out(offset, &mut vec![0; len]).is_err());
        }
        assert_eq!(read.load_u32(1000), None);
        assert_eq!(read.load_u32(3), None);
        assert!(write.atomic_u32(996).is_some());
        assert!(write.atomic_u32(1000).is_none());
        assert!(write.atomic_u32(usize::MAX - 3).is_none());
    }

    #[test]
    fn what_may_only_be_read_is_not_written() {
        let (write, read) = both();
        assert_eq!(read.copy_in(0, &[1]).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(read.atomic_u32(0).is_none());
        write.atomic_u32(8).unwrap().store(5, Ordering::Relaxed);
        assert_eq!(read.load_u32(8), Some(5));
    }

    #[test]
    fn neighbours_in_a_word_do_not_lose_bytes() {
        let (write, _) = both();
        std::thread::scope(|scope| {
            for at in 0..4 {
                let write = &write;
                scope.spawn(move || {
                    for i in 0..=255 {
                        write.copy_in(at, &[i]).unwrap();
                        let mut found = [0];
                        write.copy_out(at, &mut found).unwrap();
                        assert_eq!(found, [i]);
                    }
                });
            }
        });
    }
}
