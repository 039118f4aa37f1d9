//! Connecting, for tokio.

use super::{Stream, watch};
use crate::addr::{Addr, ToAddr};
use crate::attempt;
use crate::builder::Builder;
use crate::error::{Error, Reason, Result};
use crate::settings::Settings;
use ::tokio::task::spawn_blocking;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use std::io;
use std::thread::sleep;
use std::time::Duration;

/// The pauses between two attempts to get into a listener's queue that is full: the first one, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];

/// Connects to the listener at `addr`, and waits until it accepts.
///
/// If the future is dropped the connection is given up, and nothing is left of it. For a time limit use
/// `tokio::time::timeout`.
///
/// # Errors
/// [`Reason::NotReady`] if there is no listener; [`Reason::Unsupported`] for `file:` and `shm:`; an error without a runtime;
/// and others as the text says.
///
/// # Panics
/// Within a runtime whose I/O is not enabled.
pub async fn connect(addr: impl ToAddr) -> Result<Stream> {
    connect_with(&Builder::new(), addr).await
}

/// Connects like [`connect`], as `builder` says.
///
/// # Errors
/// As for [`connect`].
///
/// # Panics
/// Within a runtime whose I/O is not enabled.
pub async fn connect_with(builder: &Builder, addr: impl ToAddr) -> Result<Stream> {
    let addr = addr.to_addr()?;
    let settings = builder.settings()?;
    connected(&settings, &addr).await.map_err(Error::of_connecting)
}

async fn connected(settings: &Settings, addr: &Addr) -> Result<Stream> {
    let mut connecting = attempt::on_socket(addr, settings)?;
    let mut connected = connecting.step()?;
    let [mut pause, longest] = PAUSES;
    while connecting.is_queueing() {
        // Nothing tells when the queue has room again.
        pause_for(pause).await?;
        pause = longest.min(2 * pause);
        connected = connecting.step()?;
    }
    if connected.is_none() {
        let socket = watch(connecting.socket())?;
        while connected.is_none() {
            let mut guard = socket.readable().await.map_err(|e| Error::system(Reason::System, e))?;
            // Cleared first: whatever comes from now on is signalled again.
            guard.clear_ready();
            connected = connecting.step()?;
            // What came before, and could not be received although it is there, is not.
            while connected.is_none() && is_readable(&socket) {
                pause_for(PAUSES[0]).await?;
                connected = connecting.step()?;
            }
        }
    }
    match connected {
        Some(connected) => Ok(Stream::from_std(crate::Stream::met(connected, settings, addr)?)?),
        None => Err(Error::new(Reason::System, "the rendezvous came to nothing")),
    }
}

/// Sleeps in a thread that is there for such things: the runtime may have no timers.
async fn pause_for(time: Duration) -> Result<()> {
    spawn_blocking(move || sleep(time)).await.map_err(|e| Error::system(Reason::System, io::Error::other(e)))
}

/// Whether there is something to be received now. If the system does not say it, there is nothing.
fn is_readable(socket: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use smstream_core::error::ErrorCode;

    fn refused(builder: &Builder, addr: &str) -> [Error; 2] {
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        [runtime.block_on(connect_with(builder, addr)).unwrap_err(), builder.connect(addr).unwrap_err()]
    }

    /// What does not connect says the same as without tokio.
    #[test]
    fn errors_are_those_of_the_blocking_call() {
        let nowhere = "unix:/nowhere/name";
        let too_long = format!("unix:/{}", "x".repeat(200));
        let not_a_directory = "unix:/dev/null/name";
        let fatal = Builder::new().wake_signal(libc::SIGUSR2);
        let no_signal = Builder::new().wake_signal(libc::SIGKILL);
        let usual = Builder::new();
        let cases = [
            (&usual, nowhere),
            (&usual, &too_long),
            (&usual, not_a_directory),
            (&usual, "fd:9999"),
            (&fatal, nowhere),
            (&no_signal, nowhere),
        ];
        for (builder, addr) in cases {
            let [with, without] = refused(builder, addr);
            assert_eq!(with.to_string(), without.to_string());
            assert_eq!((with.reason(), with.code()), (without.reason(), without.code()), "{addr}");
        }
        assert_eq!(refused(&fatal, nowhere)[0].reason(), Reason::InvalidInput);
        assert_eq!(refused(&usual, not_a_directory)[0].code(), Some(ErrorCode::ConnectionNotReady));
    }
}
