//! A process of a scenario: how it is started, and what it says.

use crate::notify;
use crate::setup::{Setup, check};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub file: PathBuf,
    /// Its arguments, without its name.
    pub arguments: Vec<String>,
    /// What it finds at standard input; if nothing, a pipe that is open until it is closed here.
    pub input: Option<PathBuf>,
    /// What is done to it before it begins.
    pub setup: Vec<Setup>,
}

/// A process that was started.
#[derive(Debug)]
pub struct Child {
    /// Its number.
    pub pid: libc::pid_t,
    /// The program.
    pub program: Program,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// The pipe to its standard input.
    pub input: Option<OwnedFd>,
    /// What it has written to standard output.
    pub output: Stream,
    /// And to standard error.
    pub errors: Stream,
    /// How it ended, as `waitpid` says.
    pub status: Option<i32>,
}

/// What came through a pipe.
#[derive(Debug)]
pub struct Stream {
    /// `None`: it is at its end.
    pub pipe: Option<File>,
    /// All so far.
    pub bytes: Vec<u8>,
}

impl Stream {
    /// Takes what there is.
    pub fn take(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut buffer = [0; 65536];
        match pipe.read(&mut buffer)? {
            0 => self.pipe = None,
            n => self.bytes.extend_from_slice(&buffer[..n]),
        }
        Ok(())
    }

    /// As text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Program {
    /// Starts it; if it is `asked` about its calls, with the filter, and then it waits for its first answer.
    pub fn start(&self, asked: bool) -> io::Result<Child> {
        let own = [CString::new(self.file.as_os_str().as_bytes())?];
        let arguments = self.arguments.iter().map(|a| CString::new(a.as_bytes()));
        let arguments: Vec<CString> = own.into_iter().map(Ok).chain(arguments).collect::<Result<_, _>>()?;
        let mut pointers: Vec<_> = arguments.iter().map(|a| a.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let environment = [ENVIRONMENT.as_ptr(), std::ptr::null()];
        let input = match &self.input {
            Some(path) => (File::open(path)?.into(), None),
            None => pipe().map(|(from, to)| (from, Some(to)))?,
        };
        let (output, to_output) = pipe()?;
        let (errors, to_errors) = pipe()?;
        let (ready, to_ready) = pipe()?;
        let standard = [input.0.as_raw_fd(), to_output.as_raw_fd(), to_errors.as_raw_fd(), to_ready.as_raw_fd()];
        // SAFETY: this process has one thread, so that the child may do anything.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            let e = self.become_it(&pointers, &environment, standard, asked);
            eprintln!("cannot start {}: {e}", self.file.display());
            // SAFETY: the child ends at once.
            unsafe { libc::_exit(99) };
        }
        drop((to_output, to_errors, to_ready, input.0));
        // SAFETY: it takes numbers only.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if pidfd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as RawFd) };
        // It has closed what it does not need.
        File::from(ready).read_exact(&mut [0])?;
        let stream = |pipe: OwnedFd| Stream { pipe: Some(pipe.into()), bytes: Vec::new() };
        let (output, errors) = (stream(output), stream(errors));
        Ok(Child { pid, program: self.clone(), pidfd, input: input.1, output, errors, status: None })
    }

    /// The forked child's part: returns only if something is wrong.
    fn become_it(
        &self,
        arguments: &[*const libc::c_char],
        environment: &[*const libc::c_char],
        standard: [RawFd; 4],
        asked: bool,
    ) -> io::Error {
        const READY: RawFd = 200;
        const SPARE: RawFd = 300;
        let attempt = || -> io::Result<()> {
            // SAFETY: it takes nothing.
            check(unsafe { libc::setsid() })?;
            as_if_first()?;
            let copy = |from: RawFd, to: RawFd, flags| {
                // SAFETY: it takes numbers only; the descriptors that it replaces are of no other use to this process.
                check(unsafe { libc::dup3(from, to, flags) })
            };
            for (number, from) in standard[..3].iter().enumerate() {
                copy(*from, SPARE + number as RawFd, libc::O_CLOEXEC)?;
            }
            copy(standard[3], READY, libc::O_CLOEXEC)?;
            // SAFETY: it takes numbers only; no code of this process uses these descriptors any more.
            check(unsafe { libc::close_range(notify::NUMBER as u32, READY as u32 - 1, 0) })?;
            for number in 0..3 {
                copy(SPARE + number, number, 0)?;
            }
            for one in &self.setup {
                one.apply()?;
            }
            // SAFETY: it reads one byte of a constant.
            check(unsafe { libc::write(READY, b"r".as_ptr().cast(), 1) } as i32)?;
            if asked { notify::install() } else { Ok(()) }
        };
        if let Err(e) = attempt() {
            return e;
        }
        for one in &self.setup {
            one.apply_last();
        }
        // SAFETY: both are lists of strings with a null pointer at their ends.
        unsafe { libc::execve(arguments[0], arguments.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

impl Child {
    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        self.status.is_some()
    }

    /// Takes its status, when its pidfd is readable.
    pub fn reap(&mut self) -> io::Result<()> {
        let mut status = 0;
        // SAFETY: the status goes to writable memory of its type.
        match unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) } {
            0 => Ok(()),
            n if n < 0 => Err(io::Error::last_os_error()),
            _ => {
                self.status = Some(status);
                Ok(())
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        if !self.ended() {
            // SAFETY: it is this process's own child, not reaped yet, so that the number is still its own.
            unsafe { libc::kill(self.pid, signal) };
        }
    }

    /// Its exit code; that of a signal is 128 and its number, as for a shell.
    pub fn code(&self) -> Option<i32> {
        self.status.map(|s| if libc::WIFEXITED(s) { libc::WEXITSTATUS(s) } else { 128 + libc::WTERMSIG(s) })
    }

    /// Where it hangs, for a message.
    pub fn whereabouts(&self) -> String {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else { return "gone".into() };
        let look = |path: &Path, name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        let each = threads.flatten().map(|thread| {
            let path = thread.path();
            format!("{}: {}", look(&path, "comm").trim(), look(&path, "syscall").trim())
        });
        each.collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended() {
            self.signal(libc::SIGKILL);
            // SAFETY: the status is not wanted.
            unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: it writes two numbers.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just made them.
    Ok(fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).into())
}

/// All that a program finds in its environment: colors, languages and a service's socket would change what it does.
const ENVIRONMENT: &CStr = c"PATH=/usr/local/bin:/usr/bin:/bin";

/// In the forked child: signals are as in a process whose parents have ignored and blocked none, and what is aborted leaves no
/// core.
fn as_if_first() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler is installed. For the few signals that must stay as they are it fails, and changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: all zero is a valid value of a set of signals.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: it writes the set.
    check(unsafe { libc::sigemptyset(&raw mut none) })?;
    // SAFETY: it reads the set; the old one is not wanted.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) })?;
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it reads the struct.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core) })
}

/// The last part of a path, as text.
pub fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or("")
}
