//! The library as this command uses it: the one place that names its API.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// STAND-IN over Unix sockets until the library's stream is there.
#[derive(Clone, Debug)]
pub struct Addr(PathBuf);

impl std::fmt::Display for Addr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file:{}", self.0.display())
    }
}

impl FromStr for Addr {
    type Err = io::Error;
    fn from_str(text: &str) -> io::Result<Self> {
        let path = text.strip_prefix("file:").filter(|path| !path.is_empty());
        path.map(|path| Self(path.into())).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "an address is written file:PATH",
            )
        })
    }
}

/// STAND-IN.
pub struct Stream(UnixStream);

impl Stream {
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    pub fn wait_peer_closed(&self, timeout: Option<Duration>) -> bool {
        let time = timeout.map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: time.subsec_nanos().into(),
        });
        let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::empty())];
        poll(&mut fds, time.as_ref()).is_ok_and(|count| count > 0)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for &Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&self.0).write(buffer)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// STAND-IN.
pub struct Listener(UnixListener, PathBuf);

impl Listener {
    pub fn accept(&self) -> io::Result<Stream> {
        self.0.accept().map(|(stream, _)| Stream(stream))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

/// What to ask of a stream beyond the defaults.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// The bytes of each lane.
    pub capacity: Option<u64>,
    /// How long to look before sleeping.
    pub spin: Option<Duration>,
}

/// Listens at an address.
pub fn bind(addr: &Addr, options: Options) -> io::Result<Listener> {
    let _ = (options.capacity, options.spin);
    Ok(Listener(UnixListener::bind(&addr.0)?, addr.0.clone()))
}

/// Connects to an address; with a limit, for no longer than that.
pub fn connect(addr: &Addr, _options: Options, _limit: Option<Duration>) -> io::Result<Stream> {
    Ok(Stream(UnixStream::connect(&addr.0)?))
}
