//! `listen ADDR -- COMMAND` and `connect ADDR -- COMMAND`: a program with the stream as its standard input and output.
//!
//! The program gets pipes, as from a shell; what goes through them is passed on as a proxy does it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::SIGINT;

use crate::backoff::Backoff;
use crate::failure::{Context, Failure, say};
use crate::link::line::Line;
use crate::link::{Link, Outcome, Side};
use crate::options::When;
use crate::progress::{INTERVAL, Meter, Progress};
use crate::signals;
use crate::transport::{Addr, Listener, Stream};

/// The help's part about it.
pub const HELP: &str = "\
With a command:
  -- COMMAND ARGS... runs it for the connection, with the stream as its standard input and
  output. The end of the stream is the end of its input, and when it closes its output that is
  the end for the peer. If the peer dies, the command gets SIGHUP. It finds the address in
  SMSTREAM_ADDR, and in SMSTREAM_PEER_PID who is on the other side, as that one says itself.
  With --keep-open there is a process for each connection, any number at once.
  When the command has ended nobody waits for the peer, which may still read.
  Exit codes then: the command's own, 126 if it cannot be run, 127 if it is not found, 128 and
  the number of the signal that ended it; 1 if it succeeded, but the peer died, or closed
  before and had not read all.";

/// Serves the connections of a listener: one, or all that come, at once, until interrupted.
pub fn listen(
    listener: Listener,
    addr: &Addr,
    command: &[OsString],
    keep_open: bool,
    when: When,
) -> Result<u8, Failure> {
    let listener = Arc::new(listener);
    let runner = Arc::new(Runner::new(addr, command, when, keep_open));
    let (on_signal, door) = (Arc::clone(&runner), Arc::downgrade(&listener));
    signals::on_end(move |signal| {
        on_signal.interrupt(signal);
        if let Some(door) = door.upgrade() {
            door.shutdown();
        }
    })
    .or_broken("could not wait for signals")?;
    let mut backoff = Backoff::default();
    loop {
        let stream = match listener.accept() {
            Ok(stream) => stream,
            Err(_) if runner.interrupted().is_some() => break,
            Err(error) if keep_open => {
                backoff.after(addr, &error.into())?;
                continue;
            }
            Err(error) => {
                let what = format!("could not accept a connection at {addr}: {error}");
                return Err(Failure::no_connection(what));
            }
        };
        if !keep_open {
            // Whoever comes next shall not wait for an answer that never comes.
            drop(signals::sole(listener));
            return runner.serve(stream);
        }
        backoff.restore();
        let this = Arc::clone(&runner);
        runner.begin();
        let served = thread::Builder::new().name("serve".to_owned()).spawn(move || {
            if let Err(failure) = this.serve(stream) {
                say(failure);
            }
            this.end();
        });
        if let Err(error) = served {
            say(format_args!("could not start a thread for a connection at {addr}: {error}"));
            runner.end();
        }
    }
    drop(signals::sole(listener));
    runner.wait();
    Ok(if keep_open { 0 } else { runner.interrupted().map_or(0, signals::code) })
}

/// Serves one connection.
pub fn connected(stream: Stream, addr: &Addr, command: &[OsString], when: When) -> Result<u8, Failure> {
    let runner = Arc::new(Runner::new(addr, command, when, false));
    let on_signal = Arc::clone(&runner);
    signals::on_end(move |signal| on_signal.interrupt(signal)).or_broken("could not wait for signals")?;
    runner.serve(stream)
}

/// Runs the command for connections.
struct Runner {
    addr: Addr,
    command: Vec<OsString>,
    when: When,
    many: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What runs, by the process.
    running: HashMap<Pid, Weak<Link>>,
    /// Connections that are served.
    open: usize,
    interrupted: Option<i32>,
}

impl Runner {
    fn new(addr: &Addr, command: &[OsString], when: When, many: bool) -> Self {
        let (addr, command) = (addr.clone(), command.to_vec());
        // The lines of many connections would be in each other's way.
        let when = if many && when == When::Auto { When::Never } else { when };
        Self { addr, command, when, many, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        self.state().open += 1;
    }

    fn end(&self) {
        self.state().open -= 1;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut state = self.state();
        while state.open > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn interrupted(&self) -> Option<i32> {
        self.state().interrupted
    }

    /// Breaks all connections off, and passes the signal on: but not Ctrl-C, which the terminal has sent to the command
    /// as well.
    fn interrupt(&self, signal: i32) {
        let mut state = self.state();
        state.interrupted = Some(signal);
        for (&pid, link) in &state.running {
            strike(pid, link, signal);
        }
    }

    /// Runs the command for a connection, to the end of both. The exit code is the command's.
    fn serve(&self, stream: Stream) -> Result<u8, Failure> {
        let mut child = match self.spawn(&stream) {
            Ok(child) => child,
            Err(failure) => {
                // So that no answer does not look like an empty one.
                stream.abort();
                return Err(failure);
            }
        };
        let pid = Pid::from_child(&child);
        let link = match join(&mut child, stream) {
            Ok(link) => Arc::new(link),
            Err(error) => {
                hang_up(pid, Signal::HUP);
                let _ = child.wait();
                return Err(Failure::broken(format!("could not prepare for {}: {error}", self.name())));
            }
        };
        let interrupted = {
            let mut state = self.state();
            state.running.insert(pid, Arc::downgrade(&link));
            state.interrupted
        };
        if let Some(signal) = interrupted {
            strike(pid, &Arc::downgrade(&link), signal);
        }
        let result = self.pass(&link);
        if matches!(&result, Ok(Outcome { broken: Some(_), .. }) | Err(_)) {
            // An end of its input alone would look as if that was all.
            hang_up(pid, Signal::HUP);
        }
        // This closes the pipes.
        drop(link);
        let status = self.reap(pid, &mut child).or_broken(format_args!("could not wait for {}", self.name()))?;
        let outcome = result.or_broken("could not start a thread")?;
        self.conclude(&outcome, status)
    }

    /// Waits for the end of a process; until it is known here that it has ended, its number belongs to it.
    fn reap(&self, pid: Pid, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.state().running.remove(&pid);
        child.wait()
    }

    fn name(&self) -> String {
        self.command.first().map_or_else(String::new, |name| name.display().to_string())
    }

    /// Starts the command.
    fn spawn(&self, stream: &Stream) -> Result<Child, Failure> {
        let (name, args) = self.command.split_first().ok_or_else(|| Failure::usage("there is no command"))?;
        let mut command = Command::new(name);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("SMSTREAM_ADDR", self.addr.to_string()).env("SMSTREAM_PEER_PID", stream.peer().pid.to_string());
        command.spawn().map_err(|error| {
            let code = if error.kind() == io::ErrorKind::NotFound { Failure::NOT_FOUND } else { Failure::CANNOT_RUN };
            Failure::with_code(code, format!("could not run {}: {error}", self.name()))
        })
    }

    /// Moves the bytes.
    fn pass(&self, link: &Link) -> io::Result<Outcome> {
        let Some(mut progress) = Progress::start(self.when) else {
            return link.run();
        };
        let (tell, told) = mpsc::channel();
        let result = thread::scope(|scope| {
            thread::Builder::new().name("pass".to_owned()).spawn_scoped(scope, move || tell.send(link.run()))?;
            loop {
                match told.recv_timeout(INTERVAL) {
                    Ok(result) => return result,
                    Err(RecvTimeoutError::Timeout) if self.many => {}
                    Err(RecvTimeoutError::Timeout) => progress.tick(link.meter()),
                    Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::Other.into()),
                }
            }
        });
        progress.finish(link.meter());
        result
    }

    /// The exit code; says what went wrong with the connection.
    fn conclude(&self, outcome: &Outcome, status: ExitStatus) -> Result<u8, Failure> {
        let mut parts = Vec::new();
        if let Some((side, error)) = &outcome.broken {
            parts.push(match side {
                Side::From => format!("the pipes to {}: {error}", self.name()),
                Side::To => error.to_string(),
            });
        }
        let lost = outcome.dropped[Side::From as usize];
        if lost > 0 && !outcome.cut {
            let bytes = if lost == 1 { "1 byte".to_owned() } else { format!("{lost} bytes") };
            parts.push(format!("the peer at {} did not read the last {bytes} that {} wrote", self.addr, self.name()));
        }
        let code = match (status.code(), status.signal()) {
            (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
            (None, Some(signal)) => signals::code(signal),
            (None, None) => u8::MAX,
        };
        if parts.is_empty() {
            return Ok(code);
        }
        let code = if code == 0 { Failure::BROKEN } else { code };
        Err(Failure::with_code(code, parts.join("; ")))
    }
}

/// Joins a process and a stream, which breaks off if that fails. What the program says counts as sent.
fn join(child: &mut Child, stream: Stream) -> io::Result<Link> {
    let program = match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => Line::program(stdin.into(), stdout.into()),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let program = match program {
        Ok(program) => program,
        Err(error) => {
            stream.abort();
            return Err(error);
        }
    };
    Link::new(program, Line::stream(stream), Arc::new(Meter::default())).map_err(|(lines, error)| {
        lines.iter().for_each(Line::reset);
        error
    })
}

/// Breaks a connection off and passes a signal on to its process.
fn strike(pid: Pid, link: &Weak<Link>, signal: i32) {
    if let Some(link) = link.upgrade() {
        link.cut();
    }
    if signal != SIGINT
        && let Some(signal) = Signal::from_named_raw(signal)
    {
        hang_up(pid, signal);
    }
}

/// Sends a signal to a process that was not waited for yet. One that has ended does not mind.
fn hang_up(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}
