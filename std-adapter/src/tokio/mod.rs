//! Streams for [tokio](https://docs.rs/tokio), with the feature `tokio`: [`Stream`] is `AsyncRead + AsyncWrite`, [`Listener`]
//! accepts, [`connect`] connects; [`Records`] are whole messages. Over `unix:` and `fd:` only, where there is a socket to wait for.
//!
//! ```
//! use smstream::{Kind, tokio::{Listener, connect}};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = Listener::bind_temp(Kind::Abstract)?;
//! let addr = listener.local_addr().clone();
//! let client = tokio::spawn(async move {
//!     let mut stream = connect(addr).await?;
//!     stream.write_all(b"hello").await?;
//!     stream.shutdown().await
//! });
//! let mut text = String::new();
//! listener.accept().await?.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! client.await??;
//! # Ok(())
//! # }
//! ```
//!
//! # While both ends are busy
//! A read that finds nothing, or a write that finds no room, is tried again for as long as the stream's
//! [spin](crate::Builder::spin) lasts; in between the task yields, so that others of its thread run. Only then does it say
//! to the peer that it sleeps, and waits for the socket. A half that looks in vain, because its peer is not running or
//! needs the same CPU, soon looks seldom. So two ends that are running make no system call per message for
//! each other (the runtime makes some, for its own purposes), and a peer that is busy is never rung.
//!
//! # Cancelling
//! Whatever future is dropped, no byte is lost: reading and writing take and put bytes only when they are ready at once.
//! `read`, `write`, [`Listener::accept`] and all of [`Records`] are cancel safe; `read_exact` and `write_all` are not, as everywhere in tokio: they
//! may have moved some bytes. A [`connect`] that is dropped hangs up. A read that is dropped while it waits leaves the
//! stream's word to the peer that it sleeps, until the stream is next used; that costs the peer at most one ring.
//!
//! # Runtimes
//! What makes a stream or a listener must be called within a tokio runtime whose I/O is enabled, and the stream stays with
//! that runtime. Without a runtime it is an error; with one whose I/O is not enabled tokio panics.

mod connect;
mod half;
mod listener;
mod readiness;
mod records;
mod spin;
mod stream;

pub use connect::{connect, connect_with};
pub use half::{ReadHalf, WriteHalf};
pub use listener::Listener;
pub use records::{RecordReadHalf, RecordWriteHalf, Records};
pub use stream::{ReuniteError, Stream};

use crate::error::{Error, Reason, Result};
use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use ::tokio::runtime::Handle;
use rustix::fd::{AsRawFd, OwnedFd};
use smstream_shm::explain::explain;
use std::io;
use std::sync::Arc;

/// What is one open descriptor, always the same, until it is dropped.
trait Owner {}
impl Owner for OwnedFd {}
impl Owner for crate::peer_socket::PeerSocket {}

/// Watches a descriptor in the runtime that this is called in, for being readable.
fn watch<T: AsRawFd + Owner>(fd: &Arc<T>) -> Result<AsyncFd<Arc<T>>> {
    let system = |e: io::Error| Error::system(Reason::System, explain(e, "cannot be watched by tokio"));
    Handle::try_current().map_err(|e| system(io::Error::other(e)))?;
    // SAFETY: an `Owner` is one open descriptor, always the same, until it is dropped; the handle that goes into the
    // `AsyncFd` keeps it from that.
    let watched = unsafe { AsyncFd::register_with_interest(Arc::clone(fd), Interest::READABLE) };
    watched.map_err(|e| system(e.into()))
}
