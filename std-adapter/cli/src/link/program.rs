//! A program as one side of a connection: the pipes to its standard input and from its standard output, and its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::cancel::CancelToken;

/// A program. A direction that has ended is closed.
#[derive(Debug)]
pub struct Program {
    stdin: Pipe,
    stdout: Pipe,
    /// The reading end of the program's input, when that has ended, to see what the program leaves in it. It is never read.
    watch: Mutex<Option<OwnedFd>>,
    /// Set when the process has ended.
    ended: CancelToken,
    /// How it ended, if that was no end in order.
    how: Mutex<Option<String>>,
    /// What lay in its output when it had ended, and was not read yet. What a process that it left behind writes later
    /// is not passed on.
    left: AtomicU64,
}

/// One of the pipes. A thread that uses it holds it; it is closed when the direction has ended and no thread holds it.
#[derive(Debug)]
struct Pipe(Mutex<Option<Arc<OwnedFd>>>);

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        // Each end of a pipe has flags of its own: the program's ends still block.
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self(Mutex::new(Some(Arc::new(fd)))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Option<Arc<OwnedFd>> {
        self.lock().clone()
    }

    fn close(&self) {
        drop(self.lock().take());
    }

    /// The bytes that lie in it.
    fn bytes(&self) -> u64 {
        self.held().and_then(|fd| rustix::io::ioctl_fionread(&fd).ok()).unwrap_or(0)
    }
}

impl Program {
    /// Of these pipes.
    pub fn new(stdin: OwnedFd, stdout: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            stdin: Pipe::new(stdin)?,
            stdout: Pipe::new(stdout)?,
            watch: Mutex::new(None),
            ended: CancelToken::new()?,
            how: Mutex::new(None),
            left: AtomicU64::new(0),
        })
    }

    /// The process has ended; `how`, if that was no end in order.
    pub fn note_end(&self, how: Option<String>) {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) = how;
        self.left.store(self.stdout.bytes(), Ordering::Release);
        self.ended.set();
    }

    /// Waits for the process to end: how, if that was no end in order. An error: `over` came first.
    pub fn wait_ended(&self, over: &CancelToken) -> io::Result<Option<String>> {
        over.wait_for(&self.ended)?;
        Ok(self.how.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Waits for bytes of its output; none: there will be no more.
    pub fn read(&self, buffer: &mut [u8], over: &CancelToken) -> io::Result<usize> {
        let Some(fd) = self.stdout.held() else { return Ok(0) };
        loop {
            let ended = self.ended.is_set();
            let most = if ended { self.left.load(Ordering::Acquire) } else { u64::MAX };
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
            if most == 0 {
                return Ok(0);
            }
            match rustix::io::read(&fd, &mut buffer[..most]) {
                Ok(count) => {
                    if ended {
                        self.left.fetch_sub(count as u64, Ordering::AcqRel);
                    }
                    return Ok(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if ended => return Ok(0),
                Err(Errno::AGAIN) => over.wait_or(&self.ended, fd.as_fd(), PollFlags::IN)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for room in its input, then writes what there is room for.
    pub fn write(&self, bytes: &[u8], over: &CancelToken) -> io::Result<usize> {
        let refused = || io::Error::from(io::ErrorKind::BrokenPipe);
        let fd = self.stdin.held().ok_or_else(refused)?;
        loop {
            if self.ended.is_set() {
                return Err(refused());
            }
            match rustix::io::write(&fd, bytes) {
                Ok(count) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => over.wait_or(&self.ended, fd.as_fd(), PollFlags::OUT)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Bytes that were written to its input and that it has not read.
    pub fn unread(&self) -> u64 {
        match &*self.watch() {
            Some(fd) => rustix::io::ioctl_fionread(fd).unwrap_or(0),
            None => self.stdin.bytes(),
        }
    }

    /// Ends its input. The bytes in it stay to be read.
    pub fn close_stdin(&self) {
        let mut watch = self.watch();
        if let Some(fd) = self.stdin.held() {
            // Another way in, to the end from which the program reads: without /proc there is none, and what the program
            // leaves is not counted.
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            *watch = rustix::fs::open(path, flags, Mode::empty()).ok();
        }
        self.stdin.close();
    }

    /// Takes no more of its output.
    pub fn close_stdout(&self) {
        self.stdout.close();
    }

    /// Closes all pipes.
    pub fn close(&self) {
        *self.watch() = None;
        self.stdin.close();
        self.stdout.close();
    }

    fn watch(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
