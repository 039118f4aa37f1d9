//! One command for each connection: its process, its pipes, its end.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::SIGINT;
use smstream::inspect::printable;

use crate::failure::{Context, Failure, say};
use crate::link::end::LinkEnd;
use crate::link::{Link, Outcome, Side};
use crate::options::ProgressArgs;
use crate::progress::{Meter, Reports};
use crate::service;
use crate::signals;
use crate::size::Bytes;
use crate::transport::{Addr, Stream, written};

/// Runs the command for connections.
pub struct Runner {
    addr: Addr,
    place: String,
    command: Vec<OsString>,
    progress: ProgressArgs,
    many: bool,
    verbose: bool,
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
    /// Runs this command for connections at this address.
    pub fn new(addr: &Addr, place: &str, command: &[OsString], progress: ProgressArgs) -> Self {
        Self {
            addr: addr.clone(),
            place: place.to_owned(),
            command: command.to_vec(),
            progress,
            many: false,
            verbose: false,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Says whether there are many connections.
    pub fn many(self, many: bool) -> Self {
        Self { many, ..self }
    }

    /// Says whether to report how a connection ends.
    pub fn verbose(self, verbose: bool) -> Self {
        Self { verbose, ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is served from now on.
    pub fn begin(&self) {
        self.state().open += 1;
    }

    /// It has ended.
    pub fn end(&self) {
        self.state().open -= 1;
        self.changed.notify_all();
    }

    /// Waits until no connection is served.
    pub fn wait(&self) {
        let mut state = self.state();
        while state.open > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until fewer connections than this are served, or a signal has come.
    pub fn wait_for_less_than(&self, most: usize) {
        let mut state = self.state();
        while state.open >= most && state.interrupted.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Breaks all connections off, and passes the signal on: but not Ctrl-C, which the terminal has sent to the command
    /// as well.
    pub fn interrupt(&self, signal: i32) {
        let mut state = self.state();
        state.interrupted = Some(signal);
        for (&pid, link) in &state.running {
            strike(pid, link, signal);
        }
        self.changed.notify_all();
    }

    /// Runs the command for a connection, to the end of both. The exit code is the command's.
    pub fn serve(&self, stream: Stream) -> Result<u8, Failure> {
        let peer = service::peer(&stream);
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
        let (result, status) = thread::scope(|scope| {
            // The process is no zombie for longer than a moment, whatever becomes of its pipes.
            let reaper = thread::Builder::new().name("reap".to_owned()).spawn_scoped(scope, || {
                let status = self.reap(pid, &mut child);
                let killed = status.as_ref().ok().and_then(|status| status.signal());
                link.note_program_end(killed.map(|signal| format!("was killed by signal {signal}")).as_deref());
                status
            });
            let result = match &reaper {
                Ok(_) => self.pass(&link),
                Err(error) => {
                    link.cut();
                    Err(io::Error::new(error.kind(), error.to_string()))
                }
            };
            if matches!(&result, Ok(Outcome { broken: Some(_), .. }) | Err(_)) {
                // An end of its input alone would look as if that was all.
                self.hang_up_if_running(pid);
            }
            link.close_program();
            (result, reaper.map(|reaper| reaper.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))))
        });
        let outcome = result.or_broken("could not start a thread");
        if status.is_err() {
            self.hang_up_if_running(pid);
        }
        let status = status.unwrap_or_else(|_| self.reap(pid, &mut child));
        let status = status.or_broken(format_args!("could not wait for {}", self.name()))?;
        let (moved, result) = (link.meter().read(), self.conclude(&outcome?, status));
        if self.verbose {
            let (sent, received, time) = (Bytes(moved.0), Bytes(moved.1), link.meter().elapsed().as_secs_f64());
            let (name, place) = (self.name(), &self.place);
            say(format_args!("{peer} at {place}: {name} sent {sent}, received {received} in {time:.2} s"));
        }
        result
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

    /// Tells a process that its connection is gone, unless it was waited for already.
    fn hang_up_if_running(&self, pid: Pid) {
        if self.state().running.contains_key(&pid) {
            hang_up(pid, Signal::HUP);
        }
    }

    fn name(&self) -> String {
        self.command.first().map_or_else(String::new, |name| printable(name.as_encoded_bytes()))
    }

    /// Starts the command.
    fn spawn(&self, stream: &Stream) -> Result<Child, Failure> {
        let (name, args) = self.command.split_first().ok_or_else(|| Failure::usage("there is no command"))?;
        let mut command = Command::new(name);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("SMSTREAM_ADDR", written(&self.addr)).env("SMSTREAM_PEER_PID", stream.peer().pid.to_string());
        command.spawn().map_err(|error| {
            let code = if error.kind() == io::ErrorKind::NotFound { Failure::NOT_FOUND } else { Failure::CANNOT_RUN };
            Failure::with_code(code, format!("could not run {}: {error}", self.name()))
        })
    }

    /// Moves the bytes.
    fn pass(&self, link: &Link) -> io::Result<Outcome> {
        let mut reports = Reports::start(self.progress, self.many);
        if reports.due().is_none() {
            return link.run();
        }
        let (tell, ended) = mpsc::channel();
        let result = thread::scope(|scope| {
            thread::Builder::new().name("pass".to_owned()).spawn_scoped(scope, move || tell.send(link.run()))?;
            loop {
                let due = reports.due().map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
                match ended.recv_timeout(due) {
                    Ok(result) => return result,
                    Err(RecvTimeoutError::Timeout) => reports.tick(link.meter()),
                    Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::Other.into()),
                }
            }
        });
        reports.finish(link.meter());
        result
    }

    /// The exit code; says what went wrong with the connection.
    fn conclude(&self, outcome: &Outcome, status: ExitStatus) -> Result<u8, Failure> {
        let mut parts = Vec::new();
        if let Some((side, error)) = &outcome.broken {
            parts.push(match side {
                Side::From => format!("{} {error}", self.name()),
                Side::To => error.to_string(),
            });
        }
        let lost = outcome.dropped[Side::From as usize];
        if lost > 0 && !outcome.cut {
            let bytes = if lost == 1 { "1 byte".to_owned() } else { format!("{lost} bytes") };
            parts.push(format!("the peer at {} did not read the last {bytes} that {} wrote", self.place, self.name()));
        }
        let left = outcome.dropped[Side::To as usize];
        if outcome.unheard == Some(Side::To) {
            let bytes = if left == 1 { "byte".to_owned() } else { format!("{left} bytes") };
            parts.push(format!("{} did not read the last {bytes} that the peer at {} sent", self.name(), self.place));
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
        (Some(stdin), Some(stdout)) => LinkEnd::program(stdin.into(), stdout.into()),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let program = match program {
        Ok(program) => program,
        Err(error) => {
            stream.abort();
            return Err(error);
        }
    };
    Link::new(program, LinkEnd::stream(stream), Arc::new(Meter::new())).map_err(|(ends, error)| {
        ends.iter().for_each(LinkEnd::reset);
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

/// Sends a signal to a process that was not waited for yet. To one that has ended it does nothing.
fn hang_up(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}
