//! One side of a connection: a stream, a socket, or a program.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::sockopt;

use super::cancel::CancelToken;
use crate::transport::Stream;

/// One side of a connection. Two threads use it, one for each direction.
#[derive(Debug)]
pub enum Line {
    /// A stream of this library.
    Stream(Box<Stream>),
    /// A TCP connection, not blocking.
    Tcp(TcpStream),
    /// A Unix stream socket, not blocking.
    Uds(UnixStream),
    /// A program: the pipes to its standard input and from its standard output, not blocking.
    Program(Pipes),
}

/// The pipes of a program. A direction that has ended is closed.
#[derive(Debug)]
pub struct Pipes {
    stdin: Pipe,
    stdout: Pipe,
}

/// One of them. Whoever uses it holds it; it is closed by whoever ends the direction, and when nobody holds it.
#[derive(Debug)]
struct Pipe {
    fd: Mutex<Option<Arc<OwnedFd>>>,
    ended: CancelToken,
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

impl Line {
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
        // Each end of a pipe has flags of its own: the program's ends still block.
        let pipe = |fd: OwnedFd| {
            rustix::io::ioctl_fionbio(&fd, true)?;
            Ok::<_, io::Error>(Pipe { fd: Mutex::new(Some(Arc::new(fd))), ended: CancelToken::new()? })
        };
        Ok(Self::Program(Pipes { stdin: pipe(stdin)?, stdout: pipe(stdout)? }))
    }

    /// Waits for bytes; none: there will be no more.
    pub fn read(&self, buffer: &mut [u8], over: &CancelToken) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => retry(|| (&**stream).read(buffer)),
            Self::Tcp(socket) => over.retry(socket.as_fd(), PollFlags::IN, || rustix::io::read(socket, &mut *buffer)),
            Self::Uds(socket) => over.retry(socket.as_fd(), PollFlags::IN, || rustix::io::read(socket, &mut *buffer)),
            Self::Program(pipes) => match pipes.stdout.held() {
                Some(fd) => over.retry(fd.as_fd(), PollFlags::IN, || rustix::io::read(&fd, &mut *buffer)),
                None => Ok(0),
            },
        }
    }

    /// Waits for room, then writes what there is room for.
    pub fn write(&self, bytes: &[u8], over: &CancelToken) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => retry(|| (&**stream).write(bytes)),
            Self::Tcp(socket) => over.retry(socket.as_fd(), PollFlags::OUT, || rustix::io::write(socket, bytes)),
            Self::Uds(socket) => over.retry(socket.as_fd(), PollFlags::OUT, || rustix::io::write(socket, bytes)),
            Self::Program(pipes) => match pipes.stdin.held() {
                Some(fd) => over.retry(fd.as_fd(), PollFlags::OUT, || rustix::io::write(&fd, bytes)),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            },
        }
    }

    /// Says that no more will come.
    pub fn finish(&self) {
        // It can only fail for a side that is gone, and that is noticed elsewhere.
        match self {
            Self::Stream(stream) => drop(stream.shutdown(Shutdown::Write)),
            Self::Tcp(socket) => drop(socket.shutdown(Shutdown::Write)),
            Self::Uds(socket) => drop(socket.shutdown(Shutdown::Write)),
            Self::Program(pipes) => pipes.stdin.close(),
        }
    }

    /// Says that no more will be taken. `false`: this kind of side cannot be told.
    pub fn refuse(&self) -> bool {
        match self {
            Self::Stream(stream) => drop(stream.shutdown(Shutdown::Read)),
            Self::Tcp(_) => return false,
            Self::Uds(socket) => drop(socket.shutdown(Shutdown::Read)),
            Self::Program(pipes) => pipes.stdout.close(),
        }
        true
    }

    /// Whether an error in writing means that the side takes no more, rather than that it broke off. For TCP the two
    /// look alike: they can be told apart by whether it had `finished` what it had to say.
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
                if !stream.wait_peer_closed(None) {
                    return Gone::Over;
                }
                // An empty write tells whether the peer closed or died.
                return match (&**stream).write(&[]) {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Gone::Died(error),
                    _ => Gone::Closed,
                };
            }
            Self::Tcp(socket) => over.wait(socket.as_fd(), PollFlags::empty()),
            Self::Uds(socket) => over.wait(socket.as_fd(), PollFlags::empty()),
            Self::Program(pipes) => match pipes.stdin.held() {
                // A pipe without a reader.
                Some(fd) => over.wait_or(&pipes.stdin.ended, fd.as_fd(), PollFlags::empty()),
                None => return Gone::Closed,
            },
        };
        match socket {
            Ok(_) => Gone::Closed,
            Err(_) => Gone::Over,
        }
    }

    /// Ends in order, both ways, and wakes whoever waits in a stream. (Descriptors are waited for beside [`CancelToken`].)
    pub fn leave(&self) {
        self.finish();
        if let Self::Stream(stream) = self {
            let _ = stream.shutdown(Shutdown::Both);
            stream.abort();
        }
    }

    /// Prepares for the connection to be broken off, which happens when this is dropped, and wakes whoever waits in a
    /// stream.
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

    /// Bytes that were written and will never be read, where that can be known.
    pub fn undelivered(&self) -> u64 {
        match self {
            Self::Stream(stream) => stream.undelivered().unwrap_or(0) as u64,
            _ => 0,
        }
    }
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

impl Pipe {
    fn held(&self) -> Option<Arc<OwnedFd>> {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes it, and sends away whoever waits for it to be closed on the other side.
    fn close(&self) {
        drop(self.fd.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.ended.set();
    }
}
