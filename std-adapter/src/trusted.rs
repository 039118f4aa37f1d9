//! Ends that trust their peer, and so may look at the bytes where they lie.

use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};
use std::ops::Deref;
use std::slice;

use crate::half::{Caller, ReadHalf, WriteHalf};
use crate::stream::Stream;

/// A [`Stream`] or [`ReadHalf`] whose peer is trusted not to touch what it has sent: it can be read through [`BufRead`],
/// without a copy.
///
/// `&[u8]` promises that the bytes do not change while it lives. Another process that has the memory could, so an ordinary
/// stream copies bytes out before it shows them. The trust can come from
///
/// * [`Stream::pair_trusted`]: both ends are this crate's own code, in this process; or
/// * [`Stream::trust_peer`], an `unsafe` promise about the other process.
///
/// [`fill_buf`](BufRead::fill_buf) waits like a read and shows what lies in one piece: where the lane ends and begins again
/// that is less than all there is. The peer gets room again by [`consume`](BufRead::consume).
///
/// ```
/// use std::io::{BufRead, Write};
///
/// let (mut here, there) = smstream::Stream::pair_trusted()?;
/// here.write_all(b"one\ntwo\n")?;
/// drop(here);
/// let lines: Vec<String> = there.lines().collect::<Result<_, _>>()?;
/// assert_eq!(lines, ["one", "two"]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Invariants
/// As long as this lives:
/// 1. No process changes a byte of the peer's lane from when it was published until its room has been given back.
/// 2. No process makes the memory shorter.
///
/// Therefore there is no way to a `&mut` of what is inside: an end without these invariants could be put there.
#[derive(Debug)]
pub struct Trusted<T>(T);

impl Trusted<Stream> {
    /// The two ends of a pair.
    ///
    /// The invariants hold for both, for each way in which a byte of their memory might change:
    ///
    /// 1. *By another mapping.* [`Stream::pair_with`] maps a memfd that it closes before it returns. Only the two ends have
    ///    mappings of it; each maps its own segment for writing, and the other one's for reading only.
    /// 2. *By the peer's writing half.* It alone has a pointer through which the peer's lane can be written: the `Producer`
    ///    in [`WriteHalf`], which is private there. A `Producer` writes lane bytes only into room, which ends where the bytes
    ///    begin that this end has not given back (its invariants 3 and 4), by `write` and `write_deferred`; its reservations
    ///    are not handed out.
    /// 3. *By this end giving the room back too early.* The `Consumer` moves `received` only when bytes are taken, for which
    ///    it is borrowed mutably, as is the slice that [`fill_buf`](BufRead::fill_buf) returns.
    /// 4. *By shortening.* The memfd is sealed against it.
    /// 5. *By a forked child*, which has both ends as well. `fork` is `unsafe`; the promise of its caller, that the child
    ///    leaves this stream alone (see [`Stream`]), covers this.
    pub(crate) fn pair((a, b): (Stream, Stream)) -> (Self, Self) {
        (Trusted(a), Trusted(b))
    }

    /// The two halves. The reading half trusts the peer as before.
    #[must_use]
    pub fn split(self) -> (Trusted<ReadHalf>, WriteHalf) {
        let (reader, writer) = self.0.split();
        (Trusted(reader), writer)
    }
}

impl<T> Trusted<T> {
    /// What is inside, without the trust.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Stream {
    /// Trusts the peer not to touch what it has sent, so that it can be read without a copy.
    ///
    /// # Safety
    /// As long as the result lives, and what [`split`](Trusted::split) makes of it,
    /// * no process changes a byte that the peer has sent before this end has taken it. A peer that uses this crate, and leaves the
    ///   memory alone otherwise, does not. For a `file:` or `shm:` stream that means every process of this user;
    /// * no process makes the memory shorter.
    ///
    /// ```
    /// use std::io::{BufRead, Write};
    ///
    /// let (mut here, there) = smstream::Stream::pair()?;
    /// here.write_all(b"hello\n")?;
    /// // SAFETY: `here` is the only other end, and this program touches its memory by `write` alone.
    /// let mut there = unsafe { there.trust_peer() };
    /// assert_eq!(there.fill_buf()?, b"hello\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub unsafe fn trust_peer(self) -> Trusted<Stream> {
        Trusted(self)
    }
}

impl ReadHalf {
    /// Trusts the peer not to touch what it has sent, so that it can be read without a copy.
    ///
    /// # Safety
    /// As for [`Stream::trust_peer`].
    #[must_use]
    pub unsafe fn trust_peer(self) -> Trusted<ReadHalf> {
        Trusted(self)
    }
}

impl<T> Deref for Trusted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Read> Read for Trusted<T> {
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(out)
    }
}

impl Write for Trusted<Stream> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bufs)
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl BufRead for Trusted<Stream> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (start, len) = self.0.peek_run()?;
        // SAFETY: `peek_run` says that `len` bytes from `start` on may be read until the stream is used again, which the borrow
        // of `self` by the slice keeps from happening; with `len` 0 the pointer is not null. They are bytes of a mapping of
        // a file, so they are initialized. By the invariants they do not change, nor does the memory become shorter meanwhile.
        Ok(unsafe { slice::from_raw_parts(start, len) })
    }

    fn consume(&mut self, n: usize) {
        self.0.take_bytes(n);
    }
}

impl BufRead for Trusted<ReadHalf> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (start, len) = self.0.peek_run(Caller::Half)?;
        // SAFETY: as for a stream.
        Ok(unsafe { slice::from_raw_parts(start, len) })
    }

    fn consume(&mut self, n: usize) {
        self.0.take_bytes(n);
    }
}

static_assertions::assert_impl_all!(Trusted<Stream>: Send, Sync);
static_assertions::assert_impl_all!(Trusted<ReadHalf>: Send, Sync);
// With a `&mut` of what is inside an end could be put there whose peer is not trusted.
static_assertions::assert_not_impl_any!(Trusted<Stream>: std::ops::DerefMut, AsMut<Stream>);
