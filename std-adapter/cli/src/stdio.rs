//! Standard input and output without the surprises: no panic, no buffer, no silent loss.
//!
//! Rust opens `/dev/null` for a standard stream that the parent process left closed. What is written there would be
//! lost in silence, so a look is taken before that happens.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::failure::Failure;

/// Whether descriptors 0 and 1 were closed when the process started.
static CLOSED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Notes which standard streams are closed. Runs before `main`, and before Rust's own preparations.
extern "C" fn look_early() {
    for (number, closed) in (0..).zip(&CLOSED) {
        // SAFETY: F_GETFD takes any number and touches no memory.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        // Only this error says that it is not open. Of a descriptor that is open and cannot be asked, the first use tells.
        let closed_now = flags == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EBADF);
        closed.store(closed_now, Ordering::Relaxed);
    }
}

// SAFETY: the section holds pointers to `extern "C"` functions that the C library calls before `main` (with arguments
// that the System V ABI lets a function ignore); `look_early` needs nothing that is not there yet at that time.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_EARLY: extern "C" fn() = look_early;

/// Standard output, unbuffered.
pub struct Output(io::Stdout);

impl Output {
    /// Standard output.
    pub fn new() -> Self {
        Self(io::stdout())
    }

    /// Writes all bytes, waiting where the descriptor does not.
    pub fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        if CLOSED[1].load(Ordering::Relaxed) {
            return if bytes.is_empty() { Ok(()) } else { Err(Errno::BADF.into()) };
        }
        while !bytes.is_empty() {
            match rustix::io::write(&self.0, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait(self.0.as_fd(), PollFlags::OUT)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes a text, with the error that ends the command.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.write_all(text.as_bytes()).map_err(|error| match error.kind() {
            // As `cat` ends there: the reader has what it wanted.
            io::ErrorKind::BrokenPipe => Failure::no_reader(),
            _ => Failure::broken(output_failed(&error)),
        })
    }

    /// Whether standard output was left closed by the parent process.
    pub fn is_closed() -> bool {
        CLOSED[1].load(Ordering::Relaxed)
    }
}

/// What to say when standard output cannot be written.
pub fn output_failed(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe => "could not write to standard output: its reader has gone".to_owned(),
        io::ErrorKind::StorageFull => {
            format!("could not write to standard output: {error}; free some space and start again")
        }
        _ if CLOSED[1].load(Ordering::Relaxed) => "could not write to standard output: it is not open".to_owned(),
        _ => format!("could not write to standard output: {error}"),
    }
}

/// Standard input, whose reader can be called off.
///
/// A terminal is only read while this process is in its foreground: reading it from the background would stop the process.
pub struct Input {
    stdin: io::Stdin,
    stop: OwnedFd,
    terminal: bool,
    readable: bool,
}

/// What waiting for standard input brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes.
    Bytes(usize),
    /// The end.
    End,
    /// The reader was called off before anything came.
    Stopped,
}

/// How often to look whether this process has come to the foreground, while a person types for another one.
const FOREGROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

impl Input {
    /// Standard input; one that is not open, or only for writing, has nothing in it.
    pub fn new() -> io::Result<Self> {
        let stdin = io::stdin();
        let flags = rustix::fs::fcntl_getfl(&stdin);
        // What `nohup` puts in the place of a terminal can only be written.
        // If it cannot be asked, the first read tells: an input that is there is not left out.
        let write_only = flags.is_ok_and(|flags| flags.contains(OFlags::WRONLY));
        let readable = !Self::is_closed() && !write_only;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { terminal: stdin.is_terminal(), stdin, stop, readable })
    }

    /// Whether standard input was left closed by the parent process.
    pub fn is_closed() -> bool {
        CLOSED[0].load(Ordering::Relaxed)
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether it is a terminal at which a person may type for this process, and sees on the same terminal what comes.
    pub fn is_attended(&self) -> bool {
        self.terminal && self.is_foreground() && io::stdout().is_terminal()
    }

    /// Whether this process may read its terminal. (One that is not the terminal of the session may be read.)
    fn is_foreground(&self) -> bool {
        rustix::termios::tcgetpgrp(&self.stdin).map_or(true, |group| group == rustix::process::getpgrp())
    }

    /// Waits for bytes or for [`Input::stop`], which has precedence.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Got> {
        if !self.readable {
            return Ok(Got::End);
        }
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.stdin.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !fds[0].revents().is_empty() {
                return Ok(Got::Stopped);
            }
            if self.terminal && !self.is_foreground() {
                // What is typed is for the process in the foreground.
                let mut stop = [PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN)];
                let _ = poll(&mut stop, Some(&FOREGROUND));
                continue;
            }
            if let Some(got) = self.try_read(buffer)? {
                return Ok(got);
            }
        }
    }

    /// Takes what is there already; never waits for more, and the stop does not matter.
    pub fn read_what_is_there(&self, buffer: &mut [u8]) -> io::Result<Got> {
        if !self.readable {
            return Ok(Got::End);
        }
        if self.terminal && !self.is_foreground() {
            return Ok(Got::Stopped);
        }
        let mut fds = [PollFd::from_borrowed_fd(self.stdin.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(0) | Err(Errno::INTR) => Ok(Got::Stopped),
            Ok(_) => Ok(self.try_read(buffer)?.unwrap_or(Got::Stopped)),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads once; nothing if there is nothing after all.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<Got>> {
        match rustix::io::read(&self.stdin, buffer) {
            Ok(0) => Ok(Some(Got::End)),
            Ok(count) => Ok(Some(Got::Bytes(count))),
            Err(Errno::INTR | Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Calls off the thread that waits in [`Input::read`], now and later, until [`Input::resume`].
    pub fn stop(&self) {
        // The counter can only fail to grow when it is full, and then it is set anyway.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }

    /// Lets [`Input::read`] wait again.
    pub fn resume(&self) {
        // Nothing to take away means that no thread was called off.
        let _ = rustix::io::read(&self.stop, &mut [0; 8]);
    }
}

/// Waits until a descriptor is ready.
fn wait(fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, events)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
