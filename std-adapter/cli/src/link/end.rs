//! One side of a connection: a stream, a socket, or a program.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::sockopt;

use super::cancel::CancelToken;
use super::program::Program;
use crate::transport::Stream;

/// One side of a connection. Two threads use it, one for each direction.
#[derive(Debug)]
pub enum LinkEnd {
    /// A stream of this library.
    Stream(Box<Stream>),
    /// A TCP connection, not blocking.
    Tcp(TcpStream),
    /// A Unix stream socket, not blocking.
    Uds(UnixStream),
    /// A program: the pipes to its standard input and from its standard output, not blocking.
    Program(Box<Program>),
}

/// What became of a side that has no more to say.
#[derive(Debug)]
pub enum Gone {
    /// It takes no more, which is its right.
    Closed,
    /// It broke off.
    Died(io::Error),
    /// The connection is over anyway.
    Over,
}

impl LinkEnd {
    /// A stream.
    pub fn stream(stream: Stream) -> Self {
        Self::Stream(Box::new(stream))
    }

    /// A TCP connection.
    pub fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // What one side sent as it is, the other shall get as it is: no waiting for more.
        socket.set_nodelay(true)?;
        Ok(Self::Tcp(socket))
    }

    /// A Unix stream socket.
    pub fn uds(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Uds(socket))
    }

    /// A program's standard input and standard output.
    pub fn program(stdin: OwnedFd, stdout: OwnedFd) -> io::Result<Self> {
        Ok(Self::Program(Box::new(Program::new(stdin, stdout)?)))
    }

    /// The program, if it is one.
    pub fn as_program(&self) -> Option<&Program> {
        match self {
            Self::Program(program) => Some(program),
            _ => None,
        }
    }

    /// Waits for bytes; none: there will be no more.
    pub fn read(&self, buffer: &mut [u8], over: &CancelToken) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => retry(|| (&**stream).read(buffer)),
            Self::Tcp(socket) => over.retry(socket.as_fd(), PollFlags::IN, || rustix::io::read(socket, &mut *buffer)),
            Self::Uds(socket) => over.retry(socket.as_fd(), PollFlags::IN, || rustix::io::read(socket, &mut *buffer)),
            Self::Program(program) => program.read(buffer, over),
        }
    }

    /// Waits for room, then writes what there is room for.
    pub fn write(&self, bytes: &[u8], over: &CancelToken) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => retry(|| (&**stream).write(bytes)),
            Self::Tcp(socket) => over.retry(socket.as_fd(), PollFlags::OUT, || rustix::io::write(socket, bytes)),
            Self::Uds(socket) => over.retry(socket.as_fd(), PollFlags::OUT, || rustix::io::write(socket, bytes)),
            Self::Program(program) => program.write(bytes, over),
        }
    }

    /// Says that no more will come.
    pub fn finish(&self) {
        // It can only fail for a side that is gone, and that is noticed elsewhere.
        match self {
            Self::Stream(stream) => drop(stream.shutdown(Shutdown::Write)),
            Self::Tcp(socket) => drop(socket.shutdown(Shutdown::Write)),
            Self::Uds(socket) => drop(socket.shutdown(Shutdown::Write)),
            Self::Program(program) => program.close_stdin(),
        }
    }

    /// Says that no more will be taken. `false`: this kind of side has no word for it.
    pub fn refuse(&self) -> bool {
        match self {
            Self::Stream(stream) => drop(stream.shutdown(Shutdown::Read)),
            Self::Tcp(_) => return false,
            Self::Uds(socket) => drop(socket.shutdown(Shutdown::Read)),
            Self::Program(program) => program.close_stdout(),
        }
        true
    }

    /// Whether an error in writing means that the side takes no more, rather than that it broke off. For TCP the two
    /// look alike: what tells them apart is whether it had `finished` what it had to say.
    pub fn refused(&self, error: &io::Error, finished: bool) -> bool {
        match (self, error.kind()) {
            (Self::Tcp(_), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => finished,
            // One that closes with something unread says so in this way, once.
            (Self::Uds(_), io::ErrorKind::ConnectionReset) => true,
            (_, kind) => kind == io::ErrorKind::BrokenPipe,
        }
    }

    /// Waits, when it has no more to say, until it takes no more either.
    pub fn wait_gone(&self, over: &CancelToken) -> Gone {
        let socket = match self {
            Self::Stream(stream) => {
                return match closed(stream, over, None, Duration::from_secs(5)) {
                    None => Gone::Over,
                    Some(Ok(())) => Gone::Closed,
                    Some(Err(error)) => Gone::Died(error),
                };
            }
            Self::Tcp(socket) => over.wait(socket.as_fd(), PollFlags::empty()),
            Self::Uds(socket) => over.wait(socket.as_fd(), PollFlags::empty()),
            Self::Program(program) => {
                return match program.wait_ended(over) {
                    Err(_) => Gone::Over,
                    Ok(None) => Gone::Closed,
                    Ok(Some(how)) => Gone::Died(io::Error::other(how)),
                };
            }
        };
        match socket {
            Ok(_) => Gone::Closed,
            Err(_) => Gone::Over,
        }
    }

    /// Says that no more will be taken because all was taken, and no more comes.
    pub fn took_all(&self) {
        if let Self::Stream(stream) = self {
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Waits for a moment for a side that has said all it had to say, and knows that no more comes, to close. An error: it has
    /// broken off. Only a stream can say so at that time.
    pub fn verdict(&self, over: &CancelToken, limit: Duration) -> io::Result<()> {
        match self {
            Self::Stream(stream) => {
                closed(stream, over, Some(Instant::now() + limit), Duration::from_millis(20)).unwrap_or(Ok(()))
            }
            _ => Ok(()),
        }
    }

    /// Ends in order, both ways, and wakes the threads that wait in a stream. (Descriptors are waited for beside [`CancelToken`].)
    pub fn leave(&self) {
        self.finish();
        if let Self::Stream(stream) = self {
            let _ = stream.shutdown(Shutdown::Both);
            stream.abort();
        }
    }

    /// Prepares for the connection to be broken off, which happens when this is dropped, and wakes the threads that wait in
    /// a stream.
    ///
    /// A stream's peer sees that this side died; a TCP peer sees a reset. A Unix socket has nothing of the kind, nor has
    /// a pipe: there it is an end like any other.
    pub fn reset(&self) {
        match self {
            Self::Stream(stream) => stream.abort(),
            // Without it the peer would see an ordinary end, but that is all that can be done.
            Self::Tcp(socket) => drop(sockopt::set_socket_linger(socket, Some(Duration::ZERO))),
            Self::Uds(_) | Self::Program(_) => {}
        }
    }

    /// Reads and drops what still comes within a moment, of a stream: how much, and whether its end came.
    pub fn drain(&self, over: &CancelToken, time: Duration) -> (u64, bool) {
        let Self::Stream(stream) = self else { return (0, false) };
        let end = Instant::now() + time;
        let mut buffer = [0; 4096];
        let mut count = 0;
        while !over.is_set() && Instant::now() < end {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
            match (&**stream).read(&mut buffer) {
                Ok(0) => return (count, true),
                Ok(more) => count += more as u64,
                Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {}
                Err(_) => break,
            }
        }
        let _ = stream.set_read_timeout(None);
        (count, false)
    }

    /// Bytes that were written and will never be read, where that can be known.
    pub fn undelivered(&self) -> u64 {
        match self {
            Self::Stream(stream) => stream.undelivered().unwrap_or(0) as u64,
            Self::Program(program) => program.unread(),
            _ => 0,
        }
    }
}

/// Waits until the peer of a stream, which sends no more, takes no more either, or is gone: an error if it has not closed.
/// Nothing if it is over or late.
///
/// A peer that is gone wakes this thread. One that lives on, and has only said that it takes no more, wakes a writer alone, and
/// here none may wait: so it is looked for, with pauses that grow up to `longest`.
fn closed(stream: &Stream, over: &CancelToken, end: Option<Instant>, longest: Duration) -> Option<io::Result<()>> {
    let mut pause = Duration::from_micros(500);
    while !over.is_set() && end.is_none_or(|end| Instant::now() < end) {
        if stream.peer_stopped_reading() {
            return Some(Ok(()));
        }
        if stream.wait_peer_closed(Some(pause)) && !stream.peer_stopped_reading() {
            let what = format!("the peer (process {}) died without closing the stream", stream.peer().pid);
            return Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, what)));
        }
        pause = (pause * 2).min(longest);
    }
    None
}

/// Repeats what a signal interrupted.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
