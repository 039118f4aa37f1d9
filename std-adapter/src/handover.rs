//! Streams between a process and a child that it starts: the child inherits a socket, and says HELLO on it.

use crate::addr::Addr;
use crate::builder::Builder;
use crate::error::{Error, Reason, Result};
use crate::inherited::{VARIABLE, inode};
use crate::rendezvous::socket::{self, Host};
use crate::settings::Settings;
use crate::stream::Stream;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use smstream_core::geometry::Config;
use smstream_shm::Deadline;
use smstream_shm::explain::explain;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// One end of a socket whose other end a child inherits: made by [`Builder::hand_over`].
///
/// ```no_run
/// use std::io::{Read, Write};
/// use std::process::Command;
///
/// let mut command = Command::new("child");
/// let handover = smstream::Builder::new().hand_over(&mut command)?;
/// let mut child = command.arg(handover.addr().to_string()).spawn()?;
/// let mut stream = handover.accept()?;
/// stream.write_all(b"do it")?;
/// # child.wait()?;
///
/// // The child: its argument is something like "fd:5".
/// let addr = std::env::args().nth(1).expect("an address");
/// let mut stream = smstream::Stream::connect(addr)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The child is the connector, whatever it runs as by then: this process decides by [`Builder::allow_uid`] whom it
/// accepts.
#[derive(Debug)]
pub struct Handover {
    ours: OwnedFd,
    /// Open until the child has been started, and closed then: its hang-up must be the child's alone.
    theirs: OwnedFd,
    config: Config,
    settings: Settings,
}

impl Builder {
    /// Prepares a command to start a child that can connect to this process: it will inherit a socket, whose number
    /// [`Handover::addr`] tells, and the variable `SMSTREAM_FDS`, which says so. Start the command, once, then
    /// [`accept`](Handover::accept).
    ///
    /// # Errors
    /// [`Reason::Capacity`], or what the system says.
    pub fn hand_over(&self, command: &mut Command) -> Result<Handover> {
        let handover = Handover::new(self.config()?, self.settings()?)?;
        handover.settings.check(&handover.addr())?;
        let number = handover.theirs.as_raw_fd();
        let inode = inode(&handover.theirs)
            .map_err(|e| Error::system(Reason::System, explain(e, "cannot look at the socket for a child")))?;
        let entry = format!("{number}:{inode}");
        let before = command.get_envs().find(|(name, _)| *name == VARIABLE).and_then(|(_, value)| value?.to_str());
        let value = before.map_or_else(|| entry.clone(), |before| format!("{before},{entry}"));
        command.env(VARIABLE, value);
        let inherit = move || {
            // SAFETY: this runs in the child between fork and exec, where nothing else happens. If nothing is open there
            // the kernel answers EBADF.
            let theirs = unsafe { BorrowedFd::borrow_raw(number) };
            // The handover may have been used or dropped before the command was started.
            if rustix::fs::fstat(theirs)?.st_ino != inode || socket::check_socket_type(theirs).is_err() {
                return Err(Errno::BADF.into());
            }
            fcntl_setfd(theirs, fcntl_getfd(theirs)? - FdFlags::CLOEXEC)?;
            Ok(())
        };
        // SAFETY: the closure calls fstat, getsockopt and fcntl, which are async-signal-safe (signal-safety(7)), and touches neither
        // locks nor the heap.
        unsafe { command.pre_exec(inherit) };
        Ok(handover)
    }
}

impl Handover {
    fn new(config: Config, settings: Settings) -> Result<Self> {
        let system = |e: Errno| Error::system(Reason::System, explain(e, "cannot make a pair of sockets"));
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(system)?;
        Ok(Handover { ours, theirs, config, settings })
    }

    /// The address that the child is to connect to: `fd:N`.
    #[must_use]
    pub fn addr(&self) -> Addr {
        Addr::Fd(self.theirs.as_raw_fd())
    }

    /// Waits for the child to connect. Call it after the command was started. A child that ends without connecting ends
    /// the wait, too.
    ///
    /// # Errors
    /// [`Reason::NotReady`] if the child has ended, and others as the text says.
    pub fn accept(self) -> Result<Stream> {
        self.accept_until(None)
    }

    /// Waits like [`accept`](Handover::accept), but no longer than `timeout`.
    ///
    /// # Errors
    /// [`Reason::TimedOut`], and as above.
    pub fn accept_timeout(self, timeout: Duration) -> Result<Stream> {
        self.accept_until(Some(Deadline::after(timeout)))
    }

    fn accept_until(self, deadline: Option<Deadline>) -> Result<Stream> {
        let Handover { ours, theirs, config, settings } = self;
        let addr = Addr::Fd(theirs.as_raw_fd());
        drop(theirs);
        let connected = Host::new(ours, addr.to_string(), &config, settings.terms.clone())?.wait(deadline)?;
        Stream::met(connected, &settings, &addr)
    }
}
