//! Where connections come from, and how new ones are made.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::endpoint::Endpoint;
use super::network::Network;
use crate::inherited;
use crate::link::cancel::CancelToken;
use crate::link::end::LinkEnd;
use crate::mode;
use crate::service;
use crate::transport::{self, Addr, BoundName, Listener, Options};

/// Waits for connections at an endpoint. Dropping it removes the name.
#[derive(Debug)]
pub struct Acceptor {
    kind: AnyListener,
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
pub enum AcceptResult {
    /// A connection, and who made it.
    Connection(LinkEnd, String),
    /// One that was refused, and why.
    Refused(String),
}

/// How many connectors the kernel keeps waiting, unless its own limit is lower.
const BACKLOG: i32 = 4096;

/// How many questions without an answer end a TCP connection.
const QUESTIONS: u32 = 6;

#[derive(Debug)]
enum AnyListener {
    Stream(Box<Listener>),
    Tcp(TcpListener),
    Uds(
        UnixListener,
        #[expect(dead_code, reason = "held for its drop, which removes the name")] Option<Box<BoundName>>,
    ),
}

impl Acceptor {
    /// Stops listening, and says if the name could not be removed.
    pub fn stop(self) {
        if let AnyListener::Stream(listener) = self.kind {
            service::close(*listener);
        }
    }

    /// Listens at a place.
    pub fn open(endpoint: &Endpoint, terms: Terms) -> io::Result<Self> {
        let kind = match endpoint {
            Endpoint::Stream(Addr::Fd(number)) => adopt(*number, &terms.stream)?,
            Endpoint::Stream(addr) => AnyListener::Stream(Box::new(transport::bind(addr, &terms.stream)?)),
            Endpoint::Tcp(text) => {
                let listener = TcpListener::bind(text.as_str())?;
                listener.set_nonblocking(true)?;
                AnyListener::Tcp(listener)
            }
            Endpoint::Uds(path) => {
                let (listener, name) = bind(path)?;
                AnyListener::Uds(listener, Some(Box::new(name)))
            }
            Endpoint::Abstract(name) => {
                let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)?;
                listener.set_nonblocking(true)?;
                AnyListener::Uds(listener, None)
            }
        };
        let acceptor = Self { kind, terms, over: CancelToken::new()? };
        if let (Some(mode), Endpoint::Uds(path) | Endpoint::Stream(Addr::Unix(path))) = (acceptor.terms.mode, endpoint)
        {
            mode::set(path, mode)?;
        }
        Ok(acceptor)
    }

    /// Where it is, with the port that the system chose.
    pub fn endpoint(&self, asked: &Endpoint) -> Endpoint {
        match (&self.kind, asked) {
            (AnyListener::Tcp(listener), Endpoint::Tcp(_)) => {
                listener.local_addr().map_or_else(|_| asked.clone(), |addr| Endpoint::Tcp(addr.to_string()))
            }
            _ => asked.clone(),
        }
    }

    /// Waits for a connection. An error while [`Acceptor::close`] was called means that.
    pub fn accept(&self) -> io::Result<AcceptResult> {
        match &self.kind {
            AnyListener::Stream(listener) => {
                let stream = listener.accept()?;
                let who = service::peer(&stream);
                Ok(AcceptResult::Connection(LinkEnd::stream(stream), who))
            }
            AnyListener::Tcp(listener) => {
                let (socket, addr) = self.wait(listener, || listener.accept())?;
                let who = format!("tcp:{addr}");
                if !self.terms.allowed.is_empty() && !self.terms.allowed.iter().any(|it| it.contains(addr.ip())) {
                    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
                    return Ok(AcceptResult::Refused(format!("{who} is not allowed (--allow-address)")));
                }
                Ok(AcceptResult::Connection(tcp(socket, self.terms.keepalive)?, who))
            }
            AnyListener::Uds(listener, _) => {
                let (socket, _) = self.wait(listener, || listener.accept())?;
                let who = sockopt::socket_peercred(&socket).map_or_else(
                    |_| "a process".to_owned(),
                    |it| format!("process {} of user {}", it.pid, it.uid.as_raw()),
                );
                Ok(AcceptResult::Connection(LinkEnd::uds(socket)?, who))
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
        if let AnyListener::Stream(listener) = &self.kind {
            listener.shutdown();
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.over.is_set()
    }
}

/// Listens at a path. What a proxy that was killed left there is replaced, and nothing else.
fn bind(path: &Path) -> io::Result<(UnixListener, BoundName)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let name = BoundName::listen("uds:", path, &socket, BACKLOG)?;
    Ok((socket.into(), name))
}

/// A listening socket that this process has inherited.
fn adopt(number: RawFd, options: &Options) -> io::Result<AnyListener> {
    let socket = inherited::listening(number)?;
    let kind = sockopt::socket_type(&socket)?;
    match sockopt::socket_domain(&socket)? {
        AddressFamily::INET | AddressFamily::INET6 if kind == SocketType::STREAM => {
            rustix::io::ioctl_fionbio(&socket, true)?;
            Ok(AnyListener::Tcp(socket.into()))
        }
        AddressFamily::UNIX if kind == SocketType::STREAM => {
            rustix::io::ioctl_fionbio(&socket, true)?;
            Ok(AnyListener::Uds(socket.into(), None))
        }
        AddressFamily::UNIX if kind == SocketType::SEQPACKET => {
            Ok(AnyListener::Stream(Box::new(transport::adopt(socket, options)?)))
        }
        _ => Err(inherited::wrong(number, "is neither a TCP nor a Unix socket that connections come from")),
    }
}

/// A TCP connection, with questions to a peer that says nothing for long, so that one that has vanished is noticed.
fn tcp(socket: TcpStream, keepalive: Option<Duration>) -> io::Result<LinkEnd> {
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
    LinkEnd::tcp(socket)
}

/// Makes a connection to an endpoint; to a stream, with a limit, waits for no longer than that to be accepted.
pub fn dial(endpoint: &Endpoint, terms: &Terms, limit: Option<Duration>) -> io::Result<LinkEnd> {
    match endpoint {
        Endpoint::Stream(addr) => Ok(LinkEnd::stream(transport::connect(addr, &terms.stream, limit)?)),
        Endpoint::Tcp(text) => tcp(TcpStream::connect(text.as_str())?, terms.keepalive),
        Endpoint::Uds(path) => LinkEnd::uds(UnixStream::connect(path)?),
        Endpoint::Abstract(name) => {
            LinkEnd::uds(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)?)
        }
    }
}
