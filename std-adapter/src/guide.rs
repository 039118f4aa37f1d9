//! A guide: listen, connect, wait for several things, event loops, tokio, children, messages, errors.
//!
//! Each section can be read on its own. Longer programs are in [`examples/`] of the repository.
//!
//! [`examples/`]: https://github.com/smstream/smstream/tree/main/std-adapter/examples
//!
//! # Listen and connect
//!
//! A listener has an address, by which connectors reach it. An accepted [`Stream`] reads and writes like a socket's.
//!
//! ```
//! use smstream::{Listener, Stream};
//! use std::io::{Read, Write};
//! use std::thread;
//!
//! # let dir = std::env::temp_dir().join(format!("smstream-guide-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! # let addr = format!("unix:{}/chat", dir.display());
//! # let server_addr = addr.clone();
//! // One process. `addr` is something like "unix:/run/chat".
//! let listener = Listener::bind(&server_addr)?;
//! let server = thread::spawn(move || -> std::io::Result<()> {
//!     for stream in listener.incoming().take(1) {
//!         let mut stream = stream?;
//!         let mut question = String::new();
//!         stream.read_to_string(&mut question)?; // until the client says that no more comes
//!         write!(stream, "{question}? Yes.")?;
//!     }
//!     Ok(())
//! });
//!
//! // Another one.
//! let mut stream = Stream::connect(&addr)?;
//! stream.write_all(b"Ready")?;
//! stream.shutdown(std::net::Shutdown::Write)?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert_eq!(answer, "Ready? Yes.");
//! # server.join().unwrap()?; std::fs::remove_dir(&dir)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! **Which address?** `unix:PATH` in most cases: the parties need not trust each other, the kernel says which user the peer is, and
//! event loops can wait for it. `file:PATH` and `shm:/NAME` use no socket at all, for one user. A bare path means `file:`.
//! [`Addr`] has all of them.
//!
//! **Other settings** are on the [`Builder`], which makes listeners and connections alike: capacities, spinning,
//! users that may connect, buffering.
//!
//! **One thread reads, another one writes**: [`Stream::split`] gives halves that take no locks ([`ReadHalf::reunite`]
//! makes one stream of them again), or share a `&Stream`.
//!
//! # Wait for several things
//!
//! [`wait_any`] sleeps once for up to 127 [conditions](crate::condition), of any kind of address: that a stream is readable or
//! writable, that a listener has a connector, that an attempt to connect has come to its end.
//!
//! ```
//! use smstream::{Listener, Stream, wait_any};
//! use std::io::{Read, Write};
//!
//! let listener = Listener::bind_temp()?;
//! let mut connecting = Stream::begin_connect(listener.local_addr())?;
//! let (mut here, mut there) = Stream::pair()?;
//! there.write_all(b"!")?;
//!
//! let ready = wait_any(&mut [listener.acceptable(), here.readable()], None)?;
//! if ready.contains(0) {
//!     let server = listener.accept()?; // does not wait
//! #   drop(server);
//! }
//! if ready.contains(1) {
//!     here.read_exact(&mut [0])?; // does not wait
//! }
//! let ready = wait_any(&mut [connecting.connectable()], None)?;
//! assert!(ready.contains(0));
//! let client = connecting.try_finish()?;
//! # drop(client);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The example `many_clients` is a server in one thread.
//!
//! # An event loop: poll, epoll, mio
//!
//! Over `unix:` and `fd:` a stream can become [`Pollable`], and a listener a [`PollableListener`]: each is one descriptor. **Wait for
//! it to be readable, for both directions**; then try what you want to do, until it gives
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock).
//!
//! ```
//! use rustix::event::{PollFd, PollFlags, poll};
//! use smstream::{Builder, Kind, Pollable, PollableListener, Stream};
//! use std::io::{ErrorKind, Read, Write};
//!
//! let listener = PollableListener::new(Builder::new().bind_temp(Kind::Abstract)?)?;
//! let addr = listener.get_ref().local_addr().clone();
//! let client = std::thread::spawn(move || Stream::connect(addr)?.write_all(b"hello"));
//!
//! let mut stream = loop {
//!     poll(&mut [PollFd::new(&listener, PollFlags::IN)], None)?;
//!     if let Some(stream) = listener.accept()? {
//!         break Pollable::new(stream)?;
//!     }
//! };
//! let mut text = Vec::new();
//! while let Err(e) = stream.read_to_end(&mut text) {
//!     assert_eq!(e.kind(), ErrorKind::WouldBlock);
//!     poll(&mut [PollFd::new(&stream, PollFlags::IN)], None)?;
//! }
//! assert_eq!(text, b"hello");
//! # client.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The example `mio_epoll` is a server with mio.
//!
//! # tokio
//!
//! With the feature `tokio`, `smstream::tokio::Stream` is `AsyncRead + AsyncWrite`, over `unix:` and `fd:`.
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use smstream::{Kind, tokio::{Listener, Stream}};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let listener = Listener::bind_temp(Kind::Abstract)?;
//! let addr = listener.local_addr().clone();
//! let client = tokio::spawn(async move {
//!     let mut stream = Stream::connect(addr).await?;
//!     stream.write_all(b"hello").await?;
//!     stream.shutdown().await
//! });
//! let mut text = String::new();
//! listener.accept().await?.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! # client.await??;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tokio"))]
//! # fn main() {}
//! ```
//!
//! # A child process
//!
//! A child that is *executed* inherits a socket: [`Builder::hand_over`], and the example `fork_exec`. A child that is only
//! *forked* has the stream itself; the process that does not go on using it calls [`Stream::relinquish`]. A listener that another
//! thread was accepting at, at the moment of the fork, is that thread's for ever in the child: there it accepts nothing, and
//! [`accept`](Listener::accept) waits without end ([`accept_timeout`](Listener::accept_timeout) does not). Fork first.
//!
//! # Messages
//!
//! A stream is a stream of bytes. Where both ends ask for records ([`Builder::records`](crate::Builder::records)), it carries whole
//! messages instead: [`Records`](crate::Records), and with the feature `tokio` `smstream::tokio::Records`. Otherwise put a length in front of each message. [`Stream::reserve`] builds a message where it will be
//! read, and shows it to the peer as a whole; [`Stream::peek`] looks at one before it is taken. The example `framing` does both.
//!
//! # Errors
//!
//! [`Error::reason`] tells errors apart; [`Reason::of`] finds it in an [`std::io::Error`].
//!
//! ```
//! use smstream::{Error, Reason, Stream};
//! use std::io::Write;
//!
//! let (mut here, there) = Stream::pair()?;
//! drop(there);
//! let e = here.write_all(b"hello").unwrap_err();
//! assert_eq!(Reason::of(&e), Some(Reason::WriteAfterClose));
//! // How far it came, and in words: what was tried, and what to do.
//! assert_eq!(Error::from_io(&e).and_then(Error::written), Some(0));
//! println!("{e}");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! If the peer *closes*, what it sent is read first, then the end of the stream. If it *dies*, what it sent is read first, then
//! there is [`Reason::PeerGone`]. If both parties wait for each other, one of them gets [`Reason::Deadlock`].
//!
//! # Time
//!
//! [`Stream::set_read_timeout`] and [`set_write_timeout`](Stream::set_write_timeout) bound each wait;
//! [`set_nonblocking`](Stream::set_nonblocking) means none. Both hold also when another thread is using the same direction.
//! [`Listener::accept_timeout`] and [`Stream::connect_timeout`] bound a whole call.

// For the links above.
#[allow(unused_imports, reason = "the documentation names them")]
use crate::{Addr, Builder, Error, Listener, Pollable, PollableListener, ReadHalf, Reason, Stream, wait_any};
