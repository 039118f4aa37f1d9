//! Reading and writing, by `&mut Stream` and by `&Stream`.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;

use super::Stream;
use crate::error::{Error, Reason, Result};
use crate::half::{Caller, Mode, ReadHalf, WriteHalf, initialised};
use crate::timed_mutex::{FLUSH, Requests, TimedGuard, TimedMutex};
use smstream_shm::Deadline;

impl Read for Stream {
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (reader, writer) = self.halves_mut();
        match reader.read_now(out) {
            Ok(n) => Ok(n),
            Err(e) => {
                let result = reader.read_after(e, out, Caller::Whole(writer));
                self.fail_together(result)
            }
        }
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (reader, writer) = self.halves_mut();
        let result = reader.read_vectored_for(bufs, Caller::Whole(writer));
        self.fail_together(result)
    }
    /// Like [`read`](Read::read) in a loop, but asks to be woken only when half a lane, or all that is wanted, is there. The
    /// timeout is for each wait, not for the whole call. If it fails midway, the error says how many bytes were read before:
    /// [`Error::read`].
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        let (reader, writer) = self.halves_mut();
        let result = reader.read_exact_for(out, Caller::Whole(writer));
        self.fail_together(result)
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (reader, writer) = self.halves_mut();
        match writer.write_now(bytes) {
            Ok(n) => Ok(n),
            Err(e) => {
                let result = writer.write_after(e, bytes, Caller::Whole(reader.consumer_mut()));
                self.fail_together(result)
            }
        }
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let (reader, writer) = self.halves_mut();
        let result = writer.write_vectored_for(bufs, Caller::Whole(reader.consumer_mut()));
        self.fail_together(result)
    }
    /// Like [`write`](Write::write) in a loop, but asks to be woken only when there is room for half a lane, or for all
    /// that is left. The timeout is for each wait, not for the whole call. If it fails midway, the error says how many bytes
    /// went before: [`Error::written`].
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (reader, writer) = self.halves_mut();
        let result = writer.write_all_for(bytes, Caller::Whole(reader.consumer_mut()));
        self.fail_together(result)
    }
    fn flush(&mut self) -> io::Result<()> {
        let result = self.halves_mut().1.flush();
        self.fail_together(result)
    }
}

/// Each call takes the lock of its direction. If another thread has it, the timeout and the nonblocking mode hold all the same:
/// a call that would have to wait for a thread that waits for the peer gives [`io::ErrorKind::WouldBlock`], and the timeout
/// is for both waits together.
impl Read for &Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let result = self.read_turn().and_then(|(mut reader, deadline)| {
            reader.read_for(out, Caller::Shared { flush: &|| self.flush_later(), deadline })
        });
        self.fail_together(result)
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let result = self.read_turn().and_then(|(mut reader, deadline)| {
            reader.read_vectored_for(bufs, Caller::Shared { flush: &|| self.flush_later(), deadline })
        });
        self.fail_together(result)
    }
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        let result = self.read_turn().and_then(|(mut reader, deadline)| {
            reader.read_exact_for(out, Caller::Shared { flush: &|| self.flush_later(), deadline })
        });
        self.fail_together(result)
    }
}

/// As for reading.
impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self
            .write_turn()
            .and_then(|(mut writer, deadline)| writer.write_for(bytes, Caller::Shared { flush: &|| {}, deadline }));
        self.fail_together(result)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.write_turn().and_then(|(mut writer, deadline)| {
            writer.write_vectored_for(bufs, Caller::Shared { flush: &|| {}, deadline })
        });
        self.fail_together(result)
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = self
            .write_turn()
            .and_then(|(mut writer, deadline)| writer.write_all_for(bytes, Caller::Shared { flush: &|| {}, deadline }));
        self.fail_together(result)
    }
    /// Publishes what is buffered. A thread that waits in a write is not waited for: it has published all before.
    fn flush(&mut self) -> io::Result<()> {
        match self.halves().1.lock_unless(|| self.shared.write.is_waiting()) {
            Some(mut writer) => {
                let result = writer.flush();
                drop(writer);
                self.fail_together(result)
            }
            None => Ok(()),
        }
    }
}

impl Stream {
    /// Reads like [`read`](Read::read) into memory that need not be initialised, so that a buffer is not zeroed in order to be
    /// written over. Waits for at least one byte, then takes what is there. Returns the bytes that were read: the start of
    /// `out`. None: the peer has closed, and all was read; or `out` is empty. The rest of `out` is as it was.
    ///
    /// The timeout and the nonblocking mode hold as for a read.
    ///
    /// ```
    /// use std::io::Write;
    /// let (mut here, mut there) = smstream::Stream::pair()?;
    /// here.write_all(b"hello")?;
    /// let mut out = Vec::with_capacity(64 << 10); // Its memory is not touched before the bytes are there.
    /// let n = there.read_uninit(out.spare_capacity_mut())?.len();
    /// // SAFETY: so many bytes were just initialised.
    /// unsafe { out.set_len(n) };
    /// assert_eq!(out, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of a read, and nothing was read then.
    ///
    /// # References
    /// `Consumer::read_uninit` of the core; `Read::read_buf` of the standard library, which is not stable.
    pub fn read_uninit<'b>(&mut self, out: &'b mut [MaybeUninit<u8>]) -> io::Result<&'b mut [u8]> {
        let (reader, writer) = self.halves_mut();
        let result = reader.read_uninit_for(out, Caller::Whole(writer));
        let n = self.fail_together(result)?;
        // SAFETY: so many bytes at its start were just initialised.
        Ok(unsafe { initialised(out, n) })
    }

    /// The reading half, and when the call has to end if that took time.
    fn read_turn(&self) -> io::Result<(TimedGuard<'_, ReadHalf>, Option<Deadline>)> {
        Ok(turn(self.halves().0, &self.shared.read, "read")?)
    }

    /// The writing half, and when the call has to end if that took time.
    fn write_turn(&self) -> io::Result<(TimedGuard<'_, WriteHalf>, Option<Deadline>)> {
        Ok(turn(self.halves().1, &self.shared.write, "write")?)
    }

    /// Publishes what is buffered, or has the thread do it that is writing.
    pub(crate) fn flush_later(&self) {
        self.halves().1.request(FLUSH);
    }

    #[inline]
    pub(crate) fn fail_together<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.fail_both_or_neither();
        }
        result
    }

    /// As [`ReadHalf::peek_run`](crate::ReadHalf::peek_run), with what is buffered published before it waits: for a peer that
    /// is trusted.
    pub(crate) fn peek_run(&mut self) -> io::Result<(*const u8, usize)> {
        let (reader, writer) = self.halves_mut();
        let result = reader.peek_run(Caller::Whole(writer));
        self.fail_together(result)
    }

    /// Takes up to `n` bytes that are there.
    pub(crate) fn take_bytes(&mut self, n: usize) {
        self.halves_mut().0.take_bytes(n);
    }
}

/// A direction that other threads may be using, as its mode says.
#[inline]
fn turn<'a, T: Requests>(
    half: &'a TimedMutex<T>,
    mode: &Mode,
    doing: &str,
) -> Result<(TimedGuard<'a, T>, Option<Deadline>)> {
    match half.try_lock() {
        Some(guard) => Ok((guard, None)),
        None => wait_for_turn(half, mode, doing),
    }
}

#[cold]
fn wait_for_turn<'a, T: Requests>(
    half: &'a TimedMutex<T>,
    mode: &Mode,
    doing: &str,
) -> Result<(TimedGuard<'a, T>, Option<Deadline>)> {
    if mode.is_nonblocking() {
        let guard = half.lock_unless(|| mode.is_waiting());
        return guard.map(|guard| (guard, None)).ok_or_else(|| {
            Error::new(Reason::WouldBlock, format!("cannot {doing} yet: another thread is waiting to"))
        });
    }
    let timeout = mode.timeout();
    let deadline = timeout.map(Deadline::after);
    let guard = half.lock_until(deadline).ok_or_else(|| {
        let time = timeout.unwrap_or_default();
        let text = format!("cannot {doing}: another thread has been waiting to for {time:?}, and still is");
        Error::new(Reason::TimedOut, text)
    })?;
    Ok((guard, deadline))
}
