//! The demo's second process, as the first one sees it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use super::control::{self, Control, Order};
use super::scratch;
use super::workload::Ends;
use crate::failure::{Context, Failure, say};
use smstream_bench::floor::{self as words, Words};

/// The buffer that the pipes are given.
pub const PIPE_BUFFER: usize = 1 << 20;

/// How long a failure of the conversation waits for the news that the other process died.
const GRACE: Duration = Duration::from_secs(1);

/// The second process.
pub struct Partner {
    control: Control,
    expected: Arc<AtomicBool>,
    watch: JoinHandle<()>,
    /// The buffer that the kernel granted the pipes.
    pub pipe_buffer: usize,
}

/// Two pipes, crossed over: what each of two processes reads from and writes to.
struct Pipes {
    here: (OwnedFd, OwnedFd),
    there: (OwnedFd, OwnedFd),
    buffer: usize,
}

impl Partner {
    /// Starts the second process and gives it its ends; returns ours.
    ///
    /// If it dies before [`Partner::finish`], whatever waits for it is ended: the whole process says so and exits.
    pub fn start() -> Result<(Self, Ends), Failure> {
        let what = "could not prepare the second process";
        let pipes = pipes().or_broken(what)?;
        let (socket, their_socket) = UnixStream::pair().or_broken(what)?;
        let (talk, their_talk) = UnixStream::pair().or_broken(what)?;
        let memory = words::create().or_broken(what)?;
        let words = Words::map(&memory).or_broken(what)?;

        let program = std::env::current_exe().or_broken("could not find this program's own file")?;
        let child = Command::new(&program)
            .arg(control::PEER)
            .arg(process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(their_talk)))
            .stdout(Stdio::null())
            .spawn()
            .or_broken(format_args!("could not start {} a second time", program.display()))?;

        let expected = Arc::new(AtomicBool::new(false));
        let watch = watch(child, Arc::clone(&expected)).or_broken(what)?;
        let (their_input, their_output) = &pipes.there;
        let given = [their_input.as_fd(), their_output.as_fd(), their_socket.as_fd(), memory.as_fd()];
        control::give(&talk, given).or_broken("could not give the second process its descriptors")?;
        let control = Control::over(talk).or_broken(what)?;
        let (input, output) = pipes.here;
        let partner = Self { control, expected, watch, pipe_buffer: pipes.buffer };
        Ok((partner, Ends::new(input, output, socket, words)))
    }

    /// Tells the second process what to do.
    pub fn order(&mut self, order: Order) -> Result<(), Failure> {
        self.control.say(order).or_broken("could not talk to the second process")
    }

    /// Hears one line of the second process.
    pub fn hear(&mut self) -> Result<String, Failure> {
        self.control.hear().or_broken("could not hear the second process")
    }

    /// Hears one line that must be this one.
    pub fn expect(&mut self, line: &str) -> Result<(), Failure> {
        self.control.expect(line).or_broken("could not hear the second process")
    }

    /// Ends the second process, which is no failure any more.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.expected.store(true, Ordering::SeqCst);
        self.order(Order::End)?;
        // A watcher that panicked has said so itself.
        let _ = self.watch.join();
        Ok(())
    }

    /// Gives the news of the second process's death the precedence over what followed from it. If there is none, it ends now,
    /// which is no news: the failure is this process's own.
    pub fn settle(self) {
        let end = Instant::now() + GRACE;
        while Instant::now() < end && !self.watch.is_finished() {
            thread::park_timeout(Duration::from_millis(10));
        }
        self.expected.store(true, Ordering::SeqCst);
    }
}

/// Waits for the second process in a thread.
fn watch(mut child: process::Child, expected: Arc<AtomicBool>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("second process".to_owned()).spawn(move || {
        let result = child.wait();
        if expected.load(Ordering::SeqCst) {
            return;
        }
        match result {
            Ok(status) => say(format_args!("the second process {}: the demo cannot go on", fate(status))),
            Err(error) => say(format_args!("could not wait for the second process: {error}")),
        }
        scratch::remove();
        process::exit(Failure::BROKEN.into());
    })
}

/// How a process ended.
fn fate(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended too early with exit code {code}"),
        (None, None) => "ended too early".to_owned(),
    }
}

/// Makes the pipes, with large buffers if the kernel grants them.
fn pipes() -> io::Result<Pipes> {
    let (input, their_output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (their_input, output) = pipe_with(PipeFlags::CLOEXEC)?;
    for pipe in [&input, &output] {
        // Refused to a user who already has many pipes: then the pipe stays as it is, and the table shows its size.
        let _ = fcntl_setpipe_size(pipe, PIPE_BUFFER);
    }
    let buffer = fcntl_getpipe_size(&output)?;
    Ok(Pipes { here: (input, output), there: (their_input, their_output), buffer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_are_reported() {
        assert_eq!(fate(ExitStatus::from_raw(9)), "was killed by signal 9");
        assert_eq!(fate(ExitStatus::from_raw(1 << 8)), "ended too early with exit code 1");
    }
}
