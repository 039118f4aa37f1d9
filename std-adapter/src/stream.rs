//! One end of a connection.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smstream_core::counter::Counts;
use smstream_core::geometry::{self, Config};
use smstream_core::park::ALERT_CANCEL;

use crate::addr::ToAddr;
use crate::builder::{Builder, Settings};
use crate::deadline::Deadline;
use crate::error::{Error, Reason, Result};
use crate::half::{Mode, ReadHalf, Shared, WriteHalf};
use crate::liveness::{Half, Life, WatchMode};
use crate::memory::{self, Access, Mapping};
use crate::parking::Parker;
use crate::rendezvous::{Credentials, Link};

/// One end of a connection: bytes in both directions between two processes, through shared memory.
///
/// It reads and writes like a socket. `&mut Stream` takes no lock; `&Stream` can be used from several threads, and then
/// each direction takes a lock of its own, so that one thread can read while another writes. [`split`](Stream::split)
/// gives halves that need no locks at all.
///
/// # What it promises
/// * Bytes arrive in order, once, or not at all. A write returns when the bytes are in shared memory, where the peer can
///   read them even if this process dies.
/// * When the peer closes, what it sent is read first, then `Ok(0)`. When it dies without closing, what it sent is read
///   first, then there is an error of [`Reason::PeerGone`].
/// * A stream whose two ends are running makes no system call per message. One that waits sleeps, after a short spin.
/// * Dropping it closes it, and never blocks.
///
/// # What it does not promise
/// * That the peer has *read* what was written. Ask it to answer.
/// * To survive a `fork` in both processes: after a fork only one of them may go on using the stream, and the other must
///   not drop it ([`std::mem::forget`]). A program that is executed inherits nothing.
#[derive(Debug)]
pub struct Stream {
    // The halves point into `shared.memory`, of which each holds a part in its own `Arc`.
    reader: Mutex<ReadHalf>,
    writer: Mutex<WriteHalf>,
    shared: Arc<Shared>,
    peer: Peer,
}

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The process that made the other end, as it says itself. For display: in another PID namespace the number means
    /// somebody else.
    pub pid: u32,
    /// Who the kernel says it is, if the two met over a socket (`unix:`, `fd:`). Over `file:` and `shm:` it is the same
    /// user, for nobody else can open the region.
    pub credentials: Option<Credentials>,
}

/// What a stream has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The writing half.
    pub sent: Counts,
    /// The reading half.
    pub received: Counts,
    /// How the death of the peer is noticed.
    pub watch: WatchMode,
    /// The bytes that each lane holds: the one written here, the one read here.
    pub capacities: [usize; 2],
}

/// The two segments of a channel, mapped: mine for reading and writing, the peer's for reading only.
pub(crate) struct Segments {
    pub(crate) mine: Mapping,
    pub(crate) peer: Mapping,
}

impl Stream {
    /// Connects to the listener at `addr`, and waits until it accepts.
    ///
    /// ```no_run
    /// use std::io::Write;
    /// let mut stream = smstream::Stream::connect("file:/tmp/chat")?;
    /// stream.write_all(b"hello")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Reason::NotReady`] if nobody listens there, and others as the text says.
    pub fn connect(addr: impl ToAddr) -> Result<Stream> {
        Builder::new().connect(addr)
    }

    /// Connects like [`connect`](Stream::connect), but waits no longer than `timeout` to be accepted.
    ///
    /// # Errors
    /// [`Reason::TimedOut`], and as above.
    pub fn connect_timeout(addr: impl ToAddr, timeout: Duration) -> Result<Stream> {
        Builder::new().connect_timeout(addr, timeout)
    }

    /// Two ends of a new connection within this process.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// let (mut here, mut there) = smstream::Stream::pair()?;
    /// here.write_all(b"ping")?;
    /// let mut out = [0; 4];
    /// there.read_exact(&mut out)?;
    /// assert_eq!(&out, b"ping");
    /// drop(here);
    /// assert_eq!(there.read(&mut out)?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the system says when there is no memory.
    pub fn pair() -> Result<(Stream, Stream)> {
        Builder::new().pair()
    }

    /// Makes a pair as [`Builder::pair`] says.
    pub(crate) fn pair_with(config: &Config, settings: &Settings) -> Result<(Stream, Stream)> {
        let system = |e| Error::system(Reason::System, e);
        let ([first, second], len) = config.block();
        let len = memory::round_up_to_page(len).unwrap_or(usize::MAX);
        let fd = memory::memfd("smstream-pair", len as u64).map_err(system)?;
        let map = |access| -> Result<[Mapping; 2]> {
            let [a, b] = match access {
                0 => [Access::ReadWrite, Access::ReadOnly],
                _ => [Access::ReadOnly, Access::ReadWrite],
            };
            let listener = Mapping::new(&fd, first as u64, second - first, a).map_err(system)?;
            let connector = Mapping::new(&fd, second as u64, len - second, b).map_err(system)?;
            Ok([listener, connector])
        };
        let ends = [map(0)?, map(1)?];
        for (party, end) in ends.iter().enumerate() {
            let segment = &end[party];
            let start = segment.as_mut_ptr().ok_or_else(|| Error::new(Reason::System, "the mapping is read-only"))?;
            // SAFETY: the mapping is valid for reads and writes of its length, and nobody but this function knows of it.
            unsafe { geometry::init(start, segment.len(), config, party) }
                .map_err(|findings| Error::new(Reason::Corrupt, findings.to_string()))?;
        }
        let [[mine, peer], [other_peer, other_mine]] = ends;
        let here = Segments { mine, peer };
        let there = Segments { mine: other_mine, peer: other_peer };
        // SAFETY: both segments have just been set up, in memory of this process that cannot shrink (it is sealed), and
        // each party gets one end.
        let a = unsafe { Stream::attach(here, Life::none(), None, settings, "the other end of the pair") }?;
        // SAFETY: as above.
        let b = unsafe { Stream::attach(there, Life::none(), None, settings, "the other end of the pair") }?;
        Ok((a, b))
    }

    /// Makes an end of two mapped segments.
    ///
    /// # Safety
    /// The promises of [`geometry::attach`], for as long as the mappings live: nobody in this process touches the
    /// segments but the ends of the channel, this party has no other end, and nobody shortens the memory.
    pub(crate) unsafe fn attach(
        segments: Segments,
        life: Arc<Life>,
        link: Option<Link>,
        settings: &Settings,
        peer: &str,
    ) -> Result<Stream> {
        let Segments { mine, peer: theirs } = segments;
        let start =
            mine.as_mut_ptr().ok_or_else(|| Error::new(Reason::System, "the own segment is mapped read-only"))?;
        // SAFETY: the mappings are valid for their lengths until they are dropped. `'static` is more than that, but the
        // ends made of it live in halves that own, through `shared`, the mappings, and drop them last.
        let attachment = unsafe { geometry::attach::<'static>(start, mine.len(), theirs.as_ptr(), theirs.len()) }
            .map_err(|findings| {
                Error::new(Reason::Corrupt, format!("the memory shared with {peer} cannot be used: {findings}"))
            })?;
        // SAFETY: as above, for the duration of the call.
        let described = unsafe { geometry::inspect(theirs.as_ptr(), theirs.len()) };
        let peer_pid = described.map_or(0, |d| d.pid);
        let end = attachment.into_end(
            Parker::new(Arc::clone(&life), Half::Writer, settings.spin),
            Parker::new(Arc::clone(&life), Half::Reader, settings.spin),
        );
        let (consumer, producer) = end.split();
        let credentials = link.as_ref().map(|link| link.credentials);
        let shared = Arc::new(Shared {
            peer: peer.to_owned(),
            cut: life.cut().cloned(),
            life,
            link,
            read: Mode::default(),
            write: Mode::default(),
            memory: [mine, theirs],
        });
        Ok(Stream {
            reader: Mutex::new(ReadHalf::new(consumer, Arc::clone(&shared))),
            writer: Mutex::new(WriteHalf::new(producer, Arc::clone(&shared))),
            shared,
            peer: Peer { pid: peer_pid, credentials },
        })
    }

    /// The two halves, to be used by two threads without locks. Each closes its direction when it is dropped.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let reader = self.reader.into_inner().unwrap_or_else(PoisonError::into_inner);
        let writer = self.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        (reader, writer)
    }

    /// Closes one direction or both, as for a socket. `Write`: the peer reads what is left, then the end of the stream.
    /// `Read`: the peer's writes fail from now on. A thread that waits in this direction returns.
    ///
    /// # Errors
    /// None at present; a socket has some.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.shared.write.shut();
            self.shared.life.raise(Half::Writer, ALERT_CANCEL);
            self.writer().shutdown();
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.shared.read.shut();
            self.shared.life.raise(Half::Reader, ALERT_CANCEL);
            self.reader().shutdown();
        }
        Ok(())
    }

    /// Sets how long a read may wait for its first byte; `None`, as at the beginning: for ever. The error is
    /// [`io::ErrorKind::TimedOut`].
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] for a timeout of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.shared.read.set_timeout(timeout)
    }

    /// Sets how long a write may wait for room; `None`, as at the beginning: for ever.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] for a timeout of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.shared.write.set_timeout(timeout)
    }

    /// How long a read may wait.
    #[must_use]
    pub fn read_timeout(&self) -> Option<Duration> {
        self.shared.read.timeout()
    }

    /// How long a write may wait.
    #[must_use]
    pub fn write_timeout(&self) -> Option<Duration> {
        self.shared.write.timeout()
    }

    /// Sets whether reading and writing give [`io::ErrorKind::WouldBlock`] instead of waiting.
    ///
    /// # Errors
    /// None at present; a socket has some.
    pub fn set_nonblocking(&self, on: bool) -> Result<()> {
        self.shared.read.set_nonblocking(on);
        self.shared.write.set_nonblocking(on);
        Ok(())
    }

    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// What this stream has done so far. Takes both directions' locks for a moment, so it waits for a call that is
    /// waiting on `&Stream` in another thread.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (sent, mine) = {
            let writer = self.writer();
            (writer.producer().counts(), writer.producer().capacity())
        };
        let reader = self.reader();
        Stats {
            sent,
            received: reader.consumer().counts(),
            watch: self.shared.life.watch_mode(),
            capacities: [mine, reader.consumer().capacity()],
        }
    }

    /// Bytes that were written and that the peer will never read, because it has closed or died. `None` while it may
    /// still read them.
    #[must_use]
    pub fn undelivered(&self) -> Option<usize> {
        self.writer().undelivered()
    }

    /// Waits until the peer has closed its end altogether, or died: `true`; or until `timeout` has passed: `false`.
    ///
    /// It says nothing about bytes: there may be some left to read. The ends of a [`pair`](Stream::pair) live in one
    /// process, so none outlives the other, and this only ever times out.
    #[must_use]
    pub fn wait_peer_closed(&self, timeout: Option<Duration>) -> bool {
        self.shared.life.wait_gone(timeout.map(Deadline::after))
    }

    /// If one half has found the peer corrupt, so has the other: the peer is told FIN and STOP. A half that another
    /// thread is using has been alerted, and sees to it itself.
    #[inline]
    fn both_or_neither<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err()
            && let (Ok(mut reader), Ok(mut writer)) = (self.reader.try_lock(), self.writer.try_lock())
            && reader.consumer().is_corrupt() != writer.producer().is_corrupt()
        {
            reader.fail();
            writer.fail();
        }
        result
    }

    fn reader(&self) -> MutexGuard<'_, ReadHalf> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, WriteHalf> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader_mut(&mut self) -> &mut ReadHalf {
        self.reader.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer_mut(&mut self) -> &mut WriteHalf {
        self.writer.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let result = self.reader_mut().read(out);
        self.both_or_neither(result)
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let result = self.reader_mut().read_vectored(bufs);
        self.both_or_neither(result)
    }
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        let result = self.reader_mut().read_exact(out);
        self.both_or_neither(result)
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.writer_mut().write(bytes);
        self.both_or_neither(result)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.writer_mut().write_vectored(bufs);
        self.both_or_neither(result)
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = self.writer_mut().write_all(bytes);
        self.both_or_neither(result)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.writer_mut().flush()
    }
}

impl Read for &Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let result = self.reader().read(out);
        self.both_or_neither(result)
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let result = self.reader().read_vectored(bufs);
        self.both_or_neither(result)
    }
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        let result = self.reader().read_exact(out);
        self.both_or_neither(result)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.writer().write(bytes);
        self.both_or_neither(result)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.writer().write_vectored(bufs);
        self.both_or_neither(result)
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = self.writer().write_all(bytes);
        self.both_or_neither(result)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

static_assertions::assert_impl_all!(Stream: Send, Sync);
static_assertions::assert_impl_all!(ReadHalf: Send, Sync);
static_assertions::assert_impl_all!(WriteHalf: Send, Sync);
