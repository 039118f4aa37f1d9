//! What a [`Builder`] makes, and the same with its defaults.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::addr::{Addr, Kind, ToAddr};
use crate::attempt::Attempt;
use crate::builder::Builder;
use crate::connecting::Connecting;
use crate::error::{Error, Result};
use crate::listener::Listener;
use crate::stream::Stream;
use crate::trace;
use crate::trusted::Trusted;
use smstream_shm::Deadline;

impl Builder {
    /// Listens at `addr`.
    ///
    /// # Errors
    /// [`Reason::AddrInUse`](crate::Reason::AddrInUse) if another listener is there, [`Reason::NotARegion`](crate::Reason::NotARegion) if the name leads to anything that was not
    /// made by a listener (it is never replaced), [`Reason::Capacity`](crate::Reason::Capacity), and others as the text says.
    pub fn bind(&self, addr: impl ToAddr) -> Result<Listener> {
        let (addr, config) = (addr.to_addr()?, self.config()?);
        let listener = Listener::bind_with(addr.clone(), &config, self.settings()?)
            .inspect_err(|e| trace::refused("cannot listen", &addr, e))?;
        trace::listening(&addr, listener.capacities());
        Ok(listener)
    }

    /// Listens at an address that no listener had before, in the directory for temporary files or among the names of its
    /// kind. [`Listener::local_addr`] tells which.
    ///
    /// ```
    /// use smstream::{Builder, Kind};
    /// let listener = Builder::new().bind_temp(Kind::Unix)?;
    /// assert!(listener.local_addr().to_string().starts_with("unix:/"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`bind`](Builder::bind).
    ///
    /// # References
    /// `CreateSomeSocket` of Ulm's `Networks`.
    pub fn bind_temp(&self, kind: Kind) -> Result<Listener> {
        let listener = Listener::bind_new(kind, &self.config()?, self.settings()?)?;
        trace::listening(listener.local_addr(), listener.capacities());
        Ok(listener)
    }

    /// Listens on a socket that listens already: one that a service manager or a parent process hands over. It must be a Unix
    /// socket of the type `SOCK_SEQPACKET`, and have a name, which [`Listener::local_addr`] tells.
    ///
    /// The name stays its owner's. Dropping the listener removes nothing, and connectors that wait in the queue of the socket go
    /// on waiting there, for the next process that accepts. Another process that has the socket may accept, too: each connector
    /// comes to one of them. The socket is set not to block, for all who have it.
    ///
    /// ```
    /// use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    /// # let path = std::env::temp_dir().join(format!("smstream-doc-adopt-{}", std::process::id()));
    /// // What the service manager does. A process that it starts has the socket as descriptor 3, as systemd has it.
    /// let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    /// bind(&socket, &SocketAddrUnix::new(&path)?)?;
    /// listen(&socket, 128)?;
    ///
    /// let listener = smstream::Builder::new().adopt(socket)?;
    /// assert_eq!(listener.local_addr(), &smstream::Addr::Unix(path.clone()));
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Reason::InvalidInput`](crate::Reason::InvalidInput) for any other descriptor, [`Reason::Capacity`](crate::Reason::Capacity), and what the system
    /// says.
    ///
    /// # References
    /// `sd_listen_fds(3)`, `systemd.socket(5)` with `ListenSequentialPacket=`
    pub fn adopt(&self, socket: OwnedFd) -> Result<Listener> {
        let listener = Listener::adopt(socket, &self.config()?, self.settings()?)?;
        trace::listening(listener.local_addr(), listener.capacities());
        Ok(listener)
    }

    /// Connects to the listener at `addr`, and waits until it accepts.
    ///
    /// # Errors
    /// As for [`Stream::connect`].
    pub fn connect(&self, addr: impl ToAddr) -> Result<Stream> {
        self.connect_until(&addr.to_addr()?, None)
    }

    /// Connects, and waits no longer than `timeout` to be accepted.
    ///
    /// # Errors
    /// As for [`Stream::connect_timeout`].
    pub fn connect_timeout(&self, addr: impl ToAddr, timeout: Duration) -> Result<Stream> {
        self.connect_until(&addr.to_addr()?, Some(Deadline::after(timeout)))
    }

    fn connect_until(&self, addr: &Addr, deadline: Option<Deadline>) -> Result<Stream> {
        let result = self.connect_with(addr, deadline).map_err(Error::of_connecting);
        if let Err(e) = &result {
            trace::refused("cannot connect", addr, e);
        }
        result
    }

    fn connect_with(&self, addr: &Addr, deadline: Option<Deadline>) -> Result<Stream> {
        let settings = self.settings()?;
        let connected = Attempt::begin(addr, &settings)?.wait(deadline)?;
        Stream::met(connected, &settings, addr)
    }

    /// Begins to connect to the listener at `addr`, and does not wait: see [`Connecting`].
    ///
    /// # Errors
    /// [`Reason::InvalidInput`](crate::Reason::InvalidInput) if `addr` is no address. All that can go wrong with the connection itself is said by
    /// [`Connecting::try_finish`].
    pub fn begin_connect(&self, addr: impl ToAddr) -> Result<Connecting> {
        Ok(Connecting::begin(addr.to_addr()?, self.settings()?))
    }

    /// Two ends of a new connection within this process. The first is the listener's.
    ///
    /// # Errors
    /// As for [`Stream::pair`], and [`Reason::Capacity`](crate::Reason::Capacity).
    pub fn pair(&self) -> Result<(Stream, Stream)> {
        Stream::pair_with(&self.config()?, &self.settings()?)
    }

    /// A [pair](Builder::pair) whose ends trust each other, so that they can be read without a copy: see [`Trusted`].
    ///
    /// # Errors
    /// As for [`pair`](Builder::pair).
    pub fn pair_trusted(&self) -> Result<(Trusted<Stream>, Trusted<Stream>)> {
        self.pair().map(Trusted::pair)
    }
}

impl Listener {
    /// Listens at `addr` with the default settings: see [`Builder`] for others.
    ///
    /// # Errors
    /// As for [`Builder::bind`].
    pub fn bind(addr: impl ToAddr) -> Result<Listener> {
        Builder::new().bind(addr)
    }

    /// Listens at a new address of its own, with the default settings: a `file:` in the directory for temporary files.
    /// See [`Builder::bind_temp`] for other kinds.
    ///
    /// # Errors
    /// As for [`Builder::bind`].
    pub fn bind_temp() -> Result<Listener> {
        Builder::new().bind_temp(Kind::File)
    }
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
    /// [`Reason::NotReady`](crate::Reason::NotReady) if there is no listener, and others as the text says.
    pub fn connect(addr: impl ToAddr) -> Result<Stream> {
        Builder::new().connect(addr)
    }

    /// Connects like [`connect`](Stream::connect), but waits no longer than `timeout` to be accepted.
    ///
    /// # Errors
    /// [`Reason::TimedOut`](crate::Reason::TimedOut), and as above.
    pub fn connect_timeout(addr: impl ToAddr, timeout: Duration) -> Result<Stream> {
        Builder::new().connect_timeout(addr, timeout)
    }

    /// Begins to connect to the listener at `addr`, and does not wait: see [`Connecting`].
    ///
    /// # Errors
    /// As for [`Builder::begin_connect`].
    pub fn begin_connect(addr: impl ToAddr) -> Result<Connecting> {
        Builder::new().begin_connect(addr)
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

    /// [A pair](Stream::pair) whose ends can be read without a copy.
    ///
    /// # Errors
    /// As for [`pair`](Stream::pair).
    pub fn pair_trusted() -> Result<(Trusted<Stream>, Trusted<Stream>)> {
        Builder::new().pair_trusted()
    }
}
