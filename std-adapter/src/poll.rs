//! Streams for `poll`, `epoll` and event loops that are built on them.

mod directions;
mod duplex;

use crate::convert::ConvertError;
use crate::doorbell::{Doorbell, Remaining};
use crate::error::{Error, Reason, Result};
use crate::half::Polled;
use crate::liveness::Half;
use crate::stream::Stream;
use directions::{Directions, Ends};
use duplex::Duplex;
use rustix::event::epoll;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::Errno;
use smstream_shm::explain::explain;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;

/// A stream that can be waited for with `poll` and `epoll`, beside sockets, timers and other streams.
///
/// Reading and writing never wait: they give [`io::ErrorKind::WouldBlock`]. There is one descriptor for both directions (see
/// [`AsFd`]). Made by [`duplex`](Pollable::duplex), it is readable and writable as a socket is: that is for reactors which watch
/// each direction by itself (mio's `WRITABLE`, async-io's `writable()`).
///
/// Made by [`new`](Pollable::new), it is faster: the peer's ring wakes the poller itself, not through a thread of this process.
/// But it never becomes writable: **wait for `POLLIN`, and when it comes try each direction that you want**, in any order. It may
/// be for nothing. This descriptor is readable
/// * until a read has given `WouldBlock`, and again when there is something to read,
/// * after a write has given `WouldBlock`, when there is room.
///
/// So level-triggered waiting (the default of `poll` and `epoll`) works with one read for each event, and
/// edge-triggered waiting (`EPOLLET`) with reads until `WouldBlock`, as with a socket. A caller that wants to write and not to
/// read for a while says so by [`set_reading`](Pollable::set_reading). One poller per stream.
///
/// ```
/// use rustix::event::{PollFd, PollFlags, poll};
/// use smstream::{Kind, Pollable, Stream};
/// use std::io::{ErrorKind, Read, Write};
///
/// let listener = smstream::Builder::new().bind_temp(Kind::Abstract)?;
/// std::thread::scope(|s| {
///     let addr = listener.local_addr();
///     s.spawn(move || Stream::connect(addr)?.write_all(b"hello"));
///     let mut stream = Pollable::new(listener.accept()?)?;
///     let mut text = Vec::new();
///     loop {
///         match stream.read_to_end(&mut text) {
///             Err(e) if e.kind() == ErrorKind::WouldBlock => {
///                 poll(&mut [PollFd::new(&stream, PollFlags::IN)], None)?;
///             }
///             result => break result.map(drop)?,
///         }
///     }
///     assert_eq!(text, b"hello");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # What it promises
/// * The peer does not ring for a direction that has not given `WouldBlock`, and then once: two ends that are busy make no system
///   call for each other.
/// * A direction whose attempt failed with `WouldBlock` is signalled however the calls of the two directions follow each
///   other.
/// * The death of the peer makes the descriptor readable, and a [`duplex`](Pollable::duplex) one writable, for ever; so does its
///   closing.
///
/// # What it does not promise
/// * That the peer does as little: a hostile one can make the descriptor readable for nothing, again and again. Each time
///   costs a few system calls.
/// * To work over `file:` and `shm:`, nor for a [`pair`](Stream::pair): their ends share memory and nothing that `poll`
///   could look at. Use a thread, or `unix:`.
///
/// # References
/// `poll(2)`, `epoll(7)`.
#[derive(Debug)]
pub struct Pollable {
    stream: Stream,
    doorbell: Arc<Doorbell>,
    /// The descriptor that is shown, if it is not `epoll`.
    duplex: Option<Duplex>,
    /// It watches the socket.
    epoll: Arc<OwnedFd>,
    directions: Directions,
    /// Whether the descriptor says that a direction is worth an attempt though no ring may come, if that is known.
    shown: Option<bool>,
    /// Whether it is to tell of bytes at all.
    reading: bool,
}

impl Stream {
    /// Whether this stream can become [`Pollable`]: whether its parties have met over a socket (`unix:`, `fd:`).
    #[must_use]
    pub fn is_pollable(&self) -> bool {
        self.doorbell().is_some()
    }

    /// The doorbell, for which there must be a socket.
    pub(crate) fn doorbell_for(&self, what: &str) -> Result<Arc<Doorbell>> {
        self.doorbell().ok_or_else(|| {
            let text = format!(
                "the stream to {} cannot be {what}: its parties share memory and no socket, and nothing else can be \
                 waited for with poll; connect over unix: instead",
                self.peer_name()
            );
            Error::new(Reason::Unsupported, text)
        })
    }
}

impl Pollable {
    /// Makes a stream pollable. It blocks no longer, and its timeouts mean nothing.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] unless the parties have met over a socket (`unix:`, `fd:`); otherwise what the system says when
    /// there are no descriptors left. The stream is [given back](ConvertError::into_inner), as it was.
    #[allow(clippy::result_large_err, reason = "the stream is given back, and is not to be put on the heap")]
    pub fn new(stream: Stream) -> Result<Self, ConvertError<Stream>> {
        Self::make(stream, false)
    }

    /// The same, with a descriptor that is readable and writable as a socket is. So a poller can watch one direction alone, or
    /// both and do only what the event says. Level-triggered, edge-triggered and one-shot waiting work.
    ///
    /// * It is readable until a read has given `WouldBlock`, and again when there is something to read.
    /// * It is writable until a write has given `WouldBlock`, and again when there is room.
    /// * When the peer wakes this end, both directions may be shown as ready, one of them for nothing: the attempt gives
    ///   `WouldBlock`, and the descriptor is right again. A poller that watches a direction level-triggered and makes no attempt
    ///   there comes back at once.
    ///
    /// It costs two descriptors more, and a wake goes through the library's watcher, a thread of this process: some 10 µs
    /// more for each time that an attempt gave `WouldBlock`. A stream that is busy pays nothing.
    ///
    /// ```
    /// use rustix::event::{PollFd, PollFlags, poll};
    /// use smstream::{Kind, Pollable, Stream};
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// let listener = smstream::Builder::new().bind_temp(Kind::Abstract)?;
    /// std::thread::scope(|s| {
    ///     let addr = listener.local_addr();
    ///     s.spawn(move || Stream::connect(addr)?.read_exact(&mut [0; 1 << 20]));
    ///     let mut stream = Pollable::duplex(listener.accept()?)?;
    ///     let mut left = 1 << 20;
    ///     while left > 0 {
    ///         match stream.write(&[0; 1 << 14][..left.min(1 << 14)]) {
    ///             Ok(n) => left -= n,
    ///             Err(e) if e.kind() == ErrorKind::WouldBlock => {
    ///                 poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None)?;
    ///             }
    ///             Err(e) => return Err(e),
    ///         }
    ///     }
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`new`](Self::new), and what the system says when there can be no watcher: no thread, or no inotify instance
    /// (`fs.inotify.max_user_instances`).
    #[allow(clippy::result_large_err, reason = "the stream is given back, and is not to be put on the heap")]
    pub fn duplex(stream: Stream) -> Result<Self, ConvertError<Stream>> {
        Self::make(stream, true)
    }

    #[allow(clippy::result_large_err, reason = "the stream is given back, and is not to be put on the heap")]
    fn make(stream: Stream, duplex: bool) -> Result<Self, ConvertError<Stream>> {
        let prepared = stream.doorbell_for("waited for with poll").and_then(|doorbell| {
            let system = |what: &'static str| move |e: io::Error| Error::system(Reason::System, explain(e, what));
            let epoll = "cannot make an epoll instance for a stream";
            let made = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| system(epoll)(e.into()))?;
            let data = epoll::EventData::new_u64(0);
            epoll::add(&made, doorbell.socket(), data, epoll::EventFlags::IN).map_err(|e| system(epoll)(e.into()))?;
            let epoll = Arc::new(made);
            let duplex = duplex
                .then(|| Duplex::new(Arc::clone(&epoll)))
                .transpose()
                .map_err(system("cannot make a descriptor for both directions of a stream"))?;
            stream.set_nonblocking(true)?;
            Ok((doorbell, epoll, duplex))
        });
        let (doorbell, epoll, duplex) = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return Err(ConvertError::new(e, stream)),
        };
        doorbell.set_polled(true);
        let directions = Directions::new(duplex.is_some());
        let mut this = Pollable { stream, doorbell, duplex, epoll, directions, shown: Some(false), reading: true };
        match this.show(false) {
            Ok(()) => Ok(this),
            Err(e) => Err(ConvertError::new(Error::system(Reason::System, e), this.into_stream())),
        }
    }

    /// Sets whether the descriptor tells of bytes to read. Switch it off while you want to write and cannot take more, or
    /// else level-triggered waiting would come back at once. The end of the stream and the death of the peer are signalled all
    /// the same, when the socket hangs up. For a [`duplex`](Self::duplex) one this does nothing: let the poller watch it for
    /// being writable alone.
    ///
    /// # Errors
    /// What the system says; nothing is known that could be wrong.
    pub fn set_reading(&mut self, on: bool) -> io::Result<()> {
        self.reading = on;
        self.show(on)
    }

    /// The stream itself, which blocks again.
    #[must_use]
    pub fn into_stream(mut self) -> Stream {
        for half in [Half::Reader, Half::Writer] {
            self.withdraw(half);
        }
        self.doorbell.set_polled(false);
        // It gives no errors.
        let _ = self.stream.set_nonblocking(false);
        self.stream
    }

    /// The stream, to ask it something or to shut it down.
    #[must_use]
    pub fn get_ref(&self) -> &Stream {
        &self.stream
    }

    /// One direction: an attempt, when the half is ready, or one that is `trivial` and waits for nothing.
    fn attempt<T>(
        &mut self,
        half: Half,
        trivial: bool,
        mut attempt: impl FnMut(&mut Stream) -> io::Result<T>,
    ) -> io::Result<T> {
        if trivial {
            return attempt(&mut self.stream);
        }
        self.withdraw(half);
        loop {
            if self.ends().1.is_ready(half) {
                match attempt(&mut self.stream) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    result => {
                        self.directions.tried(half);
                        // The bytes have gone, or come: that is what counts. What could not be shown is shown next time.
                        let anew = self.directions.take_anew();
                        let _ = self.show(anew);
                        return result;
                    }
                }
            }
            if half == Half::Reader {
                // The peer may be waiting for it.
                self.stream.halves_mut().1.flush_buffered();
            }
            let (directions, mut ends) = self.ends();
            if directions.wait(&mut ends, half) {
                let anew = directions.take_anew();
                let unmarked = self.duplex.as_mut().map_or(Ok(()), |duplex| duplex.unmark(half));
                let shown = self.show(anew);
                // Announced, and so armed, whatever else went wrong: the next ring is to be heard.
                self.duplex.as_ref().map_or(Ok(()), |duplex| duplex.arm())?;
                unmarked.and(shown)?;
                return Err(Error::new(Reason::WouldBlock, "the stream would have to wait").into());
            }
        }
    }

    fn ends(&mut self) -> (&mut Directions, EndsOf<'_>) {
        (&mut self.directions, EndsOf { stream: &mut self.stream, doorbell: &self.doorbell })
    }

    fn withdraw(&mut self, half: Half) {
        let (directions, mut ends) = self.ends();
        directions.withdraw(&mut ends, half);
    }

    /// Makes the descriptor readable while something is owed, whatever comes. It watches the socket for being writable
    /// then, which it always is: only rings are sent on it, and an honest peer takes one before it wants to be
    /// rung again. An edge-triggered poller sees it again if it is done `anew`.
    fn show(&mut self, anew: bool) -> io::Result<()> {
        if let Some(duplex) = &mut self.duplex {
            return duplex.mark(self.directions.pending(), anew);
        }
        let [read, write] = self.directions.pending();
        let pending = (read && self.reading) || write;
        if Some(pending) != self.shown || (pending && anew) {
            // If this fails half-way it is done next time.
            self.shown = None;
            self.watch(pending).map_err(|e| explain(e, "cannot watch the socket of a stream"))?;
            self.shown = Some(pending);
        }
        Ok(())
    }

    /// Watches the socket for something to read, or for what it always is.
    fn watch(&self, always: bool) -> rustix::io::Result<()> {
        let (socket, data) = (self.doorbell.socket(), epoll::EventData::new_u64(0));
        if always {
            // Not `modify`: of a socket that is on its list of ready ones already, the instance wakes no poller then.
            match epoll::delete(&self.epoll, socket) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e),
            }
            return epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN | epoll::EventFlags::OUT);
        }
        match epoll::modify(&self.epoll, socket, data, epoll::EventFlags::IN) {
            Err(Errno::NOENT) => epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN),
            other => other,
        }
    }
}

/// The two directions of a stream.
struct EndsOf<'s> {
    stream: &'s mut Stream,
    doorbell: &'s Doorbell,
}

impl EndsOf<'_> {
    fn half(&mut self, half: Half) -> &mut dyn Polled {
        let (reader, writer) = self.stream.halves_mut();
        match half {
            Half::Reader => reader,
            Half::Writer => writer,
        }
    }
}

impl Ends for EndsOf<'_> {
    fn is_ready(&mut self, half: Half) -> bool {
        self.half(half).is_ready()
    }

    fn announce(&mut self, half: Half) -> bool {
        self.half(half).announce()
    }

    fn withdraw(&mut self, half: Half) {
        self.half(half).withdraw();
    }

    fn take(&mut self) -> Remaining {
        self.doorbell.take(self.stream.monitor())
    }
}

impl Read for Pollable {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.attempt(Half::Reader, out.is_empty(), |stream| stream.read(out))
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.attempt(Half::Reader, bufs.iter().all(|b| b.is_empty()), |stream| stream.read_vectored(bufs))
    }
}

impl Write for Pollable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(Half::Writer, bytes.is_empty(), |stream| stream.write(bytes))
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.attempt(Half::Writer, bufs.iter().all(|b| b.is_empty()), |stream| stream.write_vectored(bufs))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Readable when it is worth trying again. Only to be waited for: not to be read, written or changed.
impl AsFd for Pollable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.duplex.as_ref().map_or(&*self.epoll, Duplex::outer).as_fd()
    }
}

impl AsRawFd for Pollable {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

static_assertions::assert_impl_all!(Pollable: Send, Sync);

#[cfg(test)]
#[path = "poll_tests.rs"]
mod tests;
