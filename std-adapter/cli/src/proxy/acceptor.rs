//! Where connections come from, and how new ones are made.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::PollFlags;

use super::place::Place;
use crate::link::cancel::CancelToken;
use crate::link::line::Line;
use crate::transport::{self, Listener, Options};

/// Waits for connections at a place. Dropping it removes the name.
#[derive(Debug)]
pub struct Acceptor {
    kind: Kind,
    over: CancelToken,
}

#[derive(Debug)]
enum Kind {
    Stream(Box<Listener>),
    Tcp(TcpListener),
    Uds(UnixListener, Option<Name>),
}

/// The file of a socket, and which one it is.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    id: (u64, u64),
}

impl Acceptor {
    /// Listens at a place.
    pub fn open(place: &Place, options: Options) -> io::Result<Self> {
        let kind = match place {
            Place::Stream(addr) => Kind::Stream(Box::new(transport::bind(addr, options)?)),
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
                let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
                listener.set_nonblocking(true)?;
                Kind::Uds(listener, None)
            }
        };
        Ok(Self { kind, over: CancelToken::new()? })
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
    pub fn accept(&self) -> io::Result<Line> {
        match &self.kind {
            Kind::Stream(listener) => Ok(Line::stream(listener.accept()?)),
            Kind::Tcp(listener) => Line::tcp(self.wait(listener, || listener.accept())?.0),
            Kind::Uds(listener, _) => Line::uds(self.wait(listener, || listener.accept())?.0),
        }
    }

    fn wait<T>(&self, listener: &impl AsFd, accept: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.over.wait(listener.as_fd(), PollFlags::IN)?;
                }
                // Whoever was next has changed its mind.
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

impl Drop for Acceptor {
    fn drop(&mut self) {
        // A name that is somebody else's by now is left alone.
        if let Kind::Uds(_, Some(Name { path, id })) = &self.kind
            && fs::symlink_metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == *id)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Listens at a path. A socket that nobody listens at any more is replaced; anything else is not.
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

/// Makes a connection to a place; to a stream, with a limit, waits for no longer than that to be accepted.
pub fn dial(place: &Place, limit: Option<Duration>) -> io::Result<Line> {
    match place {
        Place::Stream(addr) => Ok(Line::stream(transport::connect(addr, Options::default(), limit)?)),
        Place::Tcp(text) => Line::tcp(TcpStream::connect(text.as_str())?),
        Place::Uds(path) => Line::uds(UnixStream::connect(path)?),
        Place::Abstract(name) => Line::uds(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?),
    }
}
