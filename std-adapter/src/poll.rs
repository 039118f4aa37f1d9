//! Streams for `poll`, `epoll` and event loops that are built on them.

use crate::doorbell::Doorbell;
use crate::error::{Error, Reason, Result};
use crate::explain::explain;
use crate::half::{Polled, ReadHalf, WriteHalf};
use crate::liveness::Half;
use crate::stream::Stream;
use rustix::event::epoll;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::Errno;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;

/// A stream that can be waited for with `poll` and `epoll`, beside sockets, timers and other streams.
///
/// Reading and writing never wait: they give [`io::ErrorKind::WouldBlock`]. After that, the descriptor (see
/// [`AsFd`]) becomes *readable* when it is worth trying again. There is one descriptor for both directions, and it is
/// never told as writable: **wait for `POLLIN`, and when it comes try each direction that gave `WouldBlock`**, in any order.
/// It may be for nothing. Level-triggered (the default of `poll` and `epoll`) and edge-triggered (`EPOLLET`) waiting both
/// work. One poller per stream.
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
///             result => break result?,
///         };
///     }
///     assert_eq!(text, b"hello");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # What it promises
/// * A peer that is busy makes no system call for it: only a direction that gave `WouldBlock` is told about, and once.
///   Nothing is told about a direction that did not.
/// * A direction whose attempt failed with `WouldBlock` is told about however the calls of the two directions follow each
///   other.
/// * The death of the peer makes the descriptor readable, for ever; so does its closing.
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
    /// What is waited for: the socket, and, to tell of what was found out meanwhile, its being writable, which it always
    /// is.
    epoll: OwnedFd,
    /// Which directions have said to the peer that they sleep.
    announced: [bool; 2],
    /// Which directions are ready without the socket's saying so: what was rung for them was taken by the other one.
    owed: [bool; 2],
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
    /// [`Reason::Unsupported`] unless the parties have met over a socket (`unix:`, `fd:`); the stream is closed then, so ask
    /// [`Stream::is_pollable`] if it might not be. Otherwise what the system says when there are no descriptors left.
    pub fn new(stream: Stream) -> Result<Self> {
        let doorbell = stream.doorbell_for("waited for with poll")?;
        let system = |e: Errno| Error::system(Reason::System, explain(e, "cannot make an epoll instance for a stream"));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&epoll, doorbell.socket(), data, epoll::EventFlags::IN).map_err(system)?;
        stream.set_nonblocking(true)?;
        doorbell.set_polled(true);
        Ok(Pollable { stream, doorbell, epoll, announced: [false; 2], owed: [false; 2] })
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

    /// One direction: an attempt, which waits for nothing if `trivial`; else one that is made when the half is ready.
    fn attempt<T>(
        &mut self,
        half: Half,
        trivial: bool,
        mut attempt: impl FnMut(&mut Stream) -> io::Result<T>,
    ) -> io::Result<T> {
        self.withdraw(half);
        self.settle(half)?;
        loop {
            if trivial || self.is_ready(half) {
                match attempt(&mut self.stream) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                }
            }
            if half == Half::Reader {
                // The peer may be waiting for it.
                self.halves().1.publish_held();
            }
            // What was rung until now is taken first. What is rung after announcing stays, and is told.
            self.doorbell.take(self.stream.life());
            if self.announce(half) {
                self.owe(other(half))?;
                return Err(Error::new(Reason::WouldBlock, "the stream would have to wait").into());
            }
        }
    }

    fn halves(&mut self) -> (&mut ReadHalf, &mut WriteHalf) {
        self.stream.halves_mut()
    }

    fn half(&mut self, half: Half) -> &mut dyn Polled {
        let (reader, writer) = self.halves();
        match half {
            Half::Reader => reader,
            Half::Writer => writer,
        }
    }

    fn is_ready(&mut self, half: Half) -> bool {
        self.half(half).is_ready()
    }

    fn announce(&mut self, half: Half) -> bool {
        let announced = self.half(half).announce();
        self.announced[half as usize] = announced;
        announced
    }

    fn withdraw(&mut self, half: Half) {
        if std::mem::take(&mut self.announced[half as usize]) {
            self.half(half).withdraw();
        }
    }

    /// What was taken from the socket may have been rung for a half that announced itself before. If it has become ready,
    /// the descriptor is to say so until that direction is tried.
    fn owe(&mut self, half: Half) -> io::Result<()> {
        if self.announced[half as usize] && self.is_ready(half) {
            self.withdraw(half);
            self.owed[half as usize] = true;
            self.tell(true)?;
        }
        Ok(())
    }

    /// This direction is tried.
    fn settle(&mut self, half: Half) -> io::Result<()> {
        if std::mem::take(&mut self.owed[half as usize]) && self.owed == [false; 2] {
            self.tell(false)?;
        }
        Ok(())
    }

    /// Sets whether the descriptor is readable whatever comes. The socket is writable: nobody sends on it but who rings,
    /// and an honest peer takes that before it wants to be rung again.
    fn tell(&self, on: bool) -> io::Result<()> {
        let events = if on { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        Ok(epoll::modify(&self.epoll, self.doorbell.socket(), epoll::EventData::new_u64(0), events)?)
    }
}

fn other(half: Half) -> Half {
    match half {
        Half::Reader => Half::Writer,
        Half::Writer => Half::Reader,
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
        self.epoll.as_fd()
    }
}

impl AsRawFd for Pollable {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

static_assertions::assert_impl_all!(Pollable: Send, Sync);
