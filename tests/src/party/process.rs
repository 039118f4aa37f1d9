//! A process that runs the program `party`, and what it answers.

use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::state::{asleep, sleeps_in, until};
use crate::watchdog::PATIENCE;

/// A process that runs the program `party`. It dies with this, and with the thread that made it.
#[derive(Debug)]
pub struct Party {
    child: Child,
    commands: Option<ChildStdin>,
    replies: Receiver<String>,
    reaped: bool,
}

/// What a party says that could not do what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The `std::io::ErrorKind`.
    pub kind: String,
    /// The `smstream::Reason`, or `-`.
    pub reason: String,
    /// The `ErrorCode`, or `-`.
    pub code: String,
    /// The message.
    pub text: String,
}

/// What a party answers to a command.
pub type Reply = Result<String, Refusal>;

impl Party {
    /// Starts `program`, the path of the program `party`.
    #[must_use]
    pub fn start(program: &str) -> Self {
        Self::start_with(program, &[])
    }

    /// Starts `program` with arguments: what is to be done before anything else.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_with(program: &str, arguments: &[&str]) -> Self {
        Self::start_as(Command::new(program), arguments)
    }

    /// Starts the program by a command that was prepared, with arguments.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_as(mut command: Command, arguments: &[&str]) -> Self {
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let parent = std::process::id();
        let bound = move || {
            // SAFETY: this call takes no pointers and changes nothing but what happens to this process when the thread
            // that made it ends.
            let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // SAFETY: it takes nothing and cannot fail.
            let orphaned = unsafe { libc::getppid() } as u32 != parent;
            if result != 0 || orphaned { Err(std::io::Error::other("the test is gone")) } else { Ok(()) }
        };
        // SAFETY: between fork and exec, `bound` makes two system calls, and allocates only to report an error of them.
        unsafe { command.pre_exec(bound) };
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let commands = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, replies) = channel();
        thread::spawn(move || {
            for line in output.lines() {
                if line.map(|line| sender.send(line)).is_err() {
                    break;
                }
            }
        });
        Party { child, commands, replies, reaped: false }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a command, and does not wait for the reply.
    ///
    /// # Panics
    /// If it is gone.
    pub fn tell(&mut self, command: impl Display) {
        let pipe = self.commands.as_mut().expect("commands after the end");
        // One write, so that a party never sees half a command.
        let line = format!("{command}\n");
        pipe.write_all(line.as_bytes()).unwrap_or_else(|e| panic!("cannot tell a party {line:?}: {e}"));
    }

    /// The next reply.
    ///
    /// # Panics
    /// If there is none for a long time, or ever.
    pub fn hear(&mut self) -> Reply {
        let line = match self.replies.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("the party {} does not answer: it hangs", self.pid()),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the party {} has ended without an answer: {}", self.pid(), self.reap())
            }
        };
        self.parse(&line)
    }

    fn parse(&self, line: &str) -> Reply {
        let mut words = line.splitn(5, ' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        match word().as_str() {
            "ok" => Ok(line.strip_prefix("ok").unwrap_or_default().trim().to_owned()),
            "err" => Err(Refusal { kind: word(), reason: word(), code: word(), text: word() }),
            _ => panic!("the party {} says {line:?}", self.pid()),
        }
    }

    /// The next reply, if there is one by now.
    ///
    /// # Panics
    /// If there will be none, because it has ended.
    pub fn reply(&mut self) -> Option<Reply> {
        match self.replies.try_recv() {
            Ok(line) => Some(self.parse(&line)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                panic!("the party {} has ended without an answer: {}", self.pid(), self.reap())
            }
        }
    }

    /// A reply, if there is one by now.
    pub fn has_replied(&mut self) -> Option<String> {
        self.replies.try_recv().ok()
    }

    /// All replies that were not heard, of a party that has been reaped.
    ///
    /// # Panics
    /// If another process holds its standard output.
    pub fn last_replies(&mut self) -> Vec<String> {
        assert!(self.reaped, "it may say more");
        let mut all = Vec::new();
        loop {
            match self.replies.recv_timeout(PATIENCE) {
                Ok(line) => all.push(line),
                Err(RecvTimeoutError::Disconnected) => return all,
                Err(RecvTimeoutError::Timeout) => panic!("the output of a dead party does not end"),
            }
        }
    }

    /// Gives it a command and waits for the reply.
    pub fn ask(&mut self, command: impl Display) -> Reply {
        self.tell(command);
        self.hear()
    }

    /// Gives it a command that it can do.
    ///
    /// # Panics
    /// If it cannot.
    pub fn does(&mut self, command: impl Display) -> String {
        let command = command.to_string();
        self.ask(&command).unwrap_or_else(|e| panic!("{command}: {e:?}"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has been reaped: the number may be another process's by now.
    pub fn signal(&self, signal: i32) {
        assert!(!self.reaped, "a signal for a process that was reaped");
        // SAFETY: kill takes no pointers. The process is a child of this one that was not reaped, so the number is its own.
        let result = unsafe { libc::kill(self.child.id() as i32, signal) };
        assert_eq!(result, 0, "a child can be signalled until it is reaped");
    }

    /// Kills it, and leaves it unreaped.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Closes its standard input, which ends it (and those it forked), and waits for that.
    ///
    /// # Panics
    /// If it does not end.
    pub fn reap(&mut self) -> ExitStatus {
        self.commands = None;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                self.reaped = true;
                return status;
            }
            assert!(Instant::now() < end, "the party {} does not end", self.pid());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills it and reaps it.
    ///
    /// # Panics
    /// If it ended in another way before.
    pub fn kill_and_reap(&mut self) {
        self.kill();
        assert_eq!(self.reap().signal(), Some(libc::SIGKILL));
    }

    /// The process that it has become in another PID namespace (`--namespace`), by its number here. It is the child of one
    /// that waits for it.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn pid_inside(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let mut child = None;
        until("a party is in its PID namespace", || {
            let children = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}"));
            child = children.trim().parse().ok();
            child.is_some()
        });
        child.expect("it was found")
    }

    /// Kills the process that it has become in another PID namespace, and reaps what waits for that.
    ///
    /// # Panics
    /// If there is none.
    pub fn kill_inside_and_reap(&mut self) {
        let child = self.pid_inside() as i32;
        // SAFETY: kill takes no pointers. The process is the child of one that waits for it, so the number is its own.
        assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0, "a process below ours can be killed");
        assert_eq!(self.reap().code(), Some(128 + libc::SIGKILL));
    }

    /// Waits until its first thread sleeps on a futex.
    pub fn is_asleep(&self) {
        asleep(self.pid(), self.pid());
    }

    /// The same, of one in another PID namespace.
    pub fn is_asleep_inside(&self) {
        let pid = self.pid_inside();
        asleep(pid, pid);
    }

    /// Waits until its first thread waits for a descriptor.
    pub fn is_polling(&self) {
        sleeps_in(self.pid(), self.pid(), "waits for a descriptor", &[libc::SYS_ppoll, libc::SYS_epoll_pwait]);
    }

    /// Waits until its first thread waits for room in a listener's queue.
    pub fn is_connecting(&self) {
        sleeps_in(self.pid(), self.pid(), "waits in connect", &[libc::SYS_connect]);
    }

    /// Waits until its state, as `ps` shows it, is `state`: `T` is stopped, `Z` a zombie.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn is_in_state(&self, state: char) {
        let path = format!("/proc/{}/stat", self.pid());
        until(&format!("process {} is in state {state}", self.pid()), || {
            let stat = fs::read_to_string(&path).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state))
        });
    }

    /// Waits until it is a zombie, and its other threads have gone, too: only then are its files closed.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn is_zombie(&self) {
        self.is_in_state('Z');
        let path = format!("/proc/{}/task", self.pid());
        until("the threads of a zombie have gone", || fs::read_dir(&path).expect("it is not reaped").count() == 1);
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
