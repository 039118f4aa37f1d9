//! Starting the command and waiting for what comes of it.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use smstream::Stream;

/// After this time a test hangs.
pub const HANGS: Duration = Duration::from_secs(60);

/// A directory of a test's own.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("smstream-cli-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn addr(&self) -> String {
        self.addrs()[0].clone()
    }

    /// One address of each kind of rendezvous.
    pub fn addrs(&self) -> [String; 2] {
        ["file:", "unix:"].map(|kind| format!("{kind}{}", self.path("stream").display()))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The command with its arguments; nothing comes in, and what goes out is caught.
pub fn smstream<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smstream"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let interruptible = || {
        for signal in [libc::SIGINT, libc::SIGHUP] {
            // SAFETY: the default action is no function of this program's; a process of one thread changes its own.
            if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // A shell ignores interrupts for what it runs in the background, and nohup hang-ups, and that is inherited.
    // SAFETY: between fork and exec it makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(interruptible) };
    command
}

/// The same through a shell, which redirects as its text says, for what [`Command`] cannot do.
pub fn through_shell(redirection: &str, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirection}"));
    command.arg(env!("CARGO_BIN_EXE_smstream")).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that runs, and is killed with the test if it still does, or when it hangs.
pub struct Running {
    child: Child,
    _ended: Sender<()>,
}

/// What became of a process.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn().expect("a process");
        let pid = Pid::from_child(&child);
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            if is_done.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
                eprintln!("process {pid:?} has not ended after {HANGS:?}: it is killed");
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Self { child, _ended: done }
    }

    /// Starts with an open standard input.
    pub fn start_with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut running = Self::start(command.stdin(Stdio::piped()));
        let stdin = running.child.stdin.take().expect("standard input");
        (running, stdin)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Closes the reading end of its standard output.
    pub fn close_stdout(&mut self) {
        drop(self.child.stdout.take());
    }

    /// Waits until it has written exactly this.
    pub fn expect_stdout(&mut self, expected: &[u8]) {
        let mut seen = vec![0; expected.len()];
        let stdout = self.child.stdout.as_mut().expect("standard output");
        stdout.read_exact(&mut seen).expect("its output");
        assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(expected));
    }

    /// Waits until it has written a text to standard error.
    pub fn expect_stderr(&mut self, expected: &str) {
        let mut seen = Vec::new();
        let stderr = self.child.stderr.as_mut().expect("standard error");
        while !String::from_utf8_lossy(&seen).contains(expected) {
            let mut byte = [0];
            let count = stderr.read(&mut byte).expect("its messages");
            assert_ne!(count, 0, "it only said {:?}", String::from_utf8_lossy(&seen));
            seen.extend(byte);
        }
    }

    /// Reads what it has written to standard output up to a byte, which is left out.
    pub fn read_stdout(&mut self, end: u8) -> String {
        let stdout = self.child.stdout.as_mut().expect("standard output");
        let mut seen = Vec::new();
        loop {
            let mut byte = [0];
            assert_ne!(stdout.read(&mut byte).expect("its output"), 0, "it only wrote {seen:?}");
            if byte[0] == end {
                return String::from_utf8(seen).expect("text");
            }
            seen.extend(byte);
        }
    }

    /// Reads what it has written to standard error up to a byte, which is left out.
    pub fn read_stderr(&mut self, end: u8) -> String {
        let mut seen = Vec::new();
        let stderr = self.child.stderr.as_mut().expect("standard error");
        loop {
            let mut byte = [0];
            let count = stderr.read(&mut byte).expect("its messages");
            assert_ne!(count, 0, "it only said {:?}", String::from_utf8_lossy(&seen));
            if byte[0] == end {
                return String::from_utf8(seen).expect("text");
            }
            seen.extend(byte);
        }
    }

    /// The same with that byte; `None`: there is no more.
    pub fn next_stderr(&mut self, end: u8) -> Option<String> {
        let stderr = self.child.stderr.as_mut().expect("standard error");
        let mut seen = Vec::new();
        let mut byte = [0];
        while seen.last() != Some(&end) && stderr.read(&mut byte).expect("its messages") == 1 {
            seen.extend(byte);
        }
        (!seen.is_empty()).then(|| String::from_utf8_lossy(&seen).into_owned())
    }

    /// Waits for the end of this process alone: another one may still have what it writes to open.
    pub fn end_of_process(mut self) -> Option<i32> {
        self.child.wait().expect("its state").code()
    }

    /// Waits for the end (a process that hangs is killed), and takes what it has written that was not read yet.
    pub fn end(mut self) -> Ended {
        let stdout = self.child.stdout.take().map(all_of);
        let stderr = self.child.stderr.take().map(all_of);
        let status = self.child.wait().expect("its state");
        let text = |reader: Option<JoinHandle<Vec<u8>>>| reader.map_or(Vec::new(), |it| it.join().expect("a reader"));
        Ended { status, stdout: text(stdout), stderr: String::from_utf8_lossy(&text(stderr)).into_owned() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Checks the exit code, and that all messages have the common form.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert!(self.stderr.is_empty() || self.stderr.starts_with("smstream: "), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// Checks that a message says this.
    #[track_caller]
    pub fn saying(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no '{text}' in {self:?}");
        self
    }
}

/// Reads everything in a thread.
fn all_of(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// Writes everything in a thread, and closes.
pub fn feed(mut stdin: ChildStdin, bytes: Vec<u8>) -> JoinHandle<()> {
    thread::spawn(move || {
        // A reader that does not want all of it closes early.
        let _ = stdin.write_all(&bytes);
    })
}

/// Connects from within the test, as soon as a listener is there.
pub fn reach(addr: &str) -> Stream {
    let start = Instant::now();
    loop {
        match Stream::connect(addr) {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed() < HANGS, "no process listens at {addr}: {error}"),
        }
        thread::yield_now();
    }
}

/// Looks again and again until there is something.
#[track_caller]
pub fn in_the_end<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < HANGS, "it never came about");
    }
}

/// Does something that may hang, in a thread.
pub fn within_time<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(act());
    });
    receiver.recv_timeout(HANGS).expect("it did not hang")
}

/// Bytes that are all over the place, different for each seed.
pub fn noise(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}
