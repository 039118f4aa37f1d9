//! Where connections come from, and how new ones are made.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::network::Network;
use super::place::Place;
use crate::failure::say;
use crate::link::cancel::CancelToken;
use crate::link::line::Line;
use crate::mode;
use crate::service;
use crate::transport::{self, Addr, Listener, Options};

/// Waits for connections at a place. Dropping it removes the name.
#[derive(Debug)]
pub struct Acceptor {
    kind: Kind,
    terms: Terms,
    over: CancelToken,
}

/// What connections are to be like, and who may make them.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Of streams.
    pub stream: Options,
    /// The permissions of a socket's file.
    pub mode: Option<u32>,
    /// Of TCP connections: after so long without a byte the kernel asks whether the peer is still there.
    pub keepalive: Option<Duration>,
    /// Who may connect over TCP; all if it is empty.
    pub allowed: Vec<Network>,
}

/// What accepting has brought.
#[derive(Debug)]
pub enum Came {
    /// A connection, and who made it.
    Connection(Line, String),
    /// One that was refused, and why.
    Refused(String),
}

/// How many questions without an answer end a TCP connection.
const QUESTIONS: u32 = 6;

#[derive(Debug)]
enum Kind {
    Stream(Box<Listener>),
    Tcp(TcpListener),
    Uds(UnixListener, #[expect(dead_code, reason = "its drop removes the file")] Option<Name>),
}

/// The file of a socket, and which one it is.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    id: (u64, u64),
}

impl Acceptor {
    /// Stops listening, and says if the name could not be removed.
    pub fn stop(self) {
        if let Kind::Stream(listener) = self.kind {
            service::close(*listener);
        }
    }

    /// Listens at a place.
    pub fn open(place: &Place, terms: Terms) -> io::Result<Self> {
        let kind = match place {
            Place::Stream(Addr::Fd(number)) => inherited(*number)?,
            Place::Stream(addr) => Kind::Stream(Box::new(transport::bind(addr, &terms.stream)?)),
            Place::Tcp(text) => {
                let listener = TcpListener::bind(text.as_str())?;
                listener.set_nonblocking(true)?;
                Kind::Tcp(listener)
            }
            Place::Uds(path) => {
                let listener = bind(path)?;
                let name = fs::symlink_metadata(path)?;
                listener.set_nonblocking(true)?;
                Kind::Uds(listener, Some(Name { path: path.clone(), id: (name.dev(), name.ino()) }))
            }
            Place::Abstract(name) => {
                let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)?;
                listener.set_nonblocking(true)?;
                Kind::Uds(listener, None)
            }
        };
        let acceptor = Self { kind, terms, over: CancelToken::new()? };
        if let (Some(mode), Place::Uds(path) | Place::Stream(Addr::Unix(path))) = (acceptor.terms.mode, place) {
            mode::set(path, mode)?;
        }
        Ok(acceptor)
    }

    /// Where it is, with the port that the system chose.
    pub fn place(&self, asked: &Place) -> Place {
        match (&self.kind, asked) {
            (Kind::Tcp(listener), Place::Tcp(_)) => {
                listener.local_addr().map_or_else(|_| asked.clone(), |addr| Place::Tcp(addr.to_string()))
            }
            _ => asked.clone(),
        }
    }

    /// Waits for a connection. An error while [`Acceptor::close`] was called means that.
    pub fn accept(&self) -> io::Result<Came> {
        match &self.kind {
            Kind::Stream(listener) => {
                let stream = listener.accept()?;
                let who = service::peer(&stream);
                Ok(Came::Connection(Line::stream(stream), who))
            }
            Kind::Tcp(listener) => {
                let (socket, addr) = self.wait(listener, || listener.accept())?;
                let who = format!("tcp:{addr}");
                if !self.terms.allowed.is_empty() && !self.terms.allowed.iter().any(|it| it.contains(addr.ip())) {
                    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
                    return Ok(Came::Refused(format!("{who} is not allowed (--allow-address)")));
                }
                Ok(Came::Connection(tcp(socket, self.terms.keepalive)?, who))
            }
            Kind::Uds(listener, _) => {
                let (socket, _) = self.wait(listener, || listener.accept())?;
                let who = sockopt::socket_peercred(&socket).map_or_else(
                    |_| "a process".to_owned(),
                    |it| format!("process {} of user {}", it.pid, it.uid.as_raw()),
                );
                Ok(Came::Connection(Line::uds(socket)?, who))
            }
        }
    }

    fn wait<T>(&self, listener: &impl AsFd, accept: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.over.wait(listener.as_fd(), PollFlags::IN)?;
                }
                // The next connector has changed its mind.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Ends all waits, now and later, from any thread.
    pub fn close(&self) {
        self.over.set();
        if let Kind::Stream(listener) = &self.kind {
            listener.shutdown();
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.over.is_set()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let Self { path, id } = self;
        // A name that another socket has by now is left alone.
        if fs::symlink_metadata(&*path).is_ok_and(|now| (now.dev(), now.ino()) == *id)
            && let Err(error) = fs::remove_file(&*path)
        {
            say(format_args!("could not remove {}: {error}", path.display()));
        }
    }
}

/// Listens at a path. A socket without a listener is replaced; anything else is not.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket());
            // A socket of another type asks: a connection of the right type would be one that is served. It is refused
            // only where no socket has the name any more.
            let asked = UnixDatagram::unbound()?.connect(path);
            let dead = asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if !(is_socket && dead) {
                return Err(error);
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        result => result,
    }
}

/// A listening socket that this process has inherited, as from a service manager: sd_listen_fds(3).
fn inherited(number: RawFd) -> io::Result<Kind> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {number} {why}"));
    if number < 3 {
        return Err(wrong("is a standard stream"));
    }
    // SAFETY: F_DUPFD_CLOEXEC takes any number, and touches no memory; where there is no such descriptor it fails.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(wrong("is not open"));
    }
    // SAFETY: the call has just made this descriptor, and nothing else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(copy) };
    if !sockopt::socket_acceptconn(&socket).map_err(|_| wrong("is no socket"))? {
        return Err(wrong("is a socket that does not listen"));
    }
    let stream = sockopt::socket_type(&socket)? == SocketType::STREAM;
    rustix::io::ioctl_fionbio(&socket, true)?;
    match sockopt::socket_domain(&socket)? {
        AddressFamily::INET | AddressFamily::INET6 if stream => Ok(Kind::Tcp(socket.into())),
        AddressFamily::UNIX if stream => Ok(Kind::Uds(socket.into(), None)),
        _ => Err(wrong("is neither a TCP nor a Unix stream socket")),
    }
}

/// A TCP connection, with questions to a peer that says nothing for long, so that one that has vanished is noticed.
fn tcp(socket: TcpStream, keepalive: Option<Duration>) -> io::Result<Line> {
    if let Some(idle) = keepalive {
        let between = (idle / QUESTIONS).max(Duration::from_secs(1));
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, idle)?;
        sockopt::set_tcp_keepintvl(&socket, between)?;
        sockopt::set_tcp_keepcnt(&socket, QUESTIONS)?;
        // The same patience with bytes that are not acknowledged: while there are some, no questions are asked.
        let all = idle + between * QUESTIONS;
        sockopt::set_tcp_user_timeout(&socket, u32::try_from(all.as_millis()).unwrap_or(u32::MAX))?;
    }
    Line::tcp(socket)
}

/// Makes a connection to a place; to a stream, with a limit, waits for no longer than that to be accepted.
pub fn dial(place: &Place, terms: &Terms, limit: Option<Duration>) -> io::Result<Line> {
    match place {
        Place::Stream(addr) => Ok(Line::stream(transport::connect(addr, &terms.stream, limit)?)),
        Place::Tcp(text) => tcp(TcpStream::connect(text.as_str())?, terms.keepalive),
        Place::Uds(path) => Line::uds(UnixStream::connect(path)?),
        Place::Abstract(name) => {
            Line::uds(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)?)
        }
    }
}
