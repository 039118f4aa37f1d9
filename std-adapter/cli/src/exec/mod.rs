//! `listen ADDR -- COMMAND` and `connect ADDR -- COMMAND`: a program with the stream as its standard input and output.
//!
//! The program gets pipes, as from a shell; what goes through them is passed on as a proxy does it.

mod runner;

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::thread;

use runner::Runner;

use crate::backoff::Backoff;
use crate::failure::{Context, Failure, say};
use crate::options::ProgressArgs;
use crate::service;
use crate::signals::{self, Interrupt};
use crate::transport::{Addr, Listener, Stream, in_options};

/// The help's part about it.
pub const HELP: &str = "\
With a command:
  -- COMMAND ARGS... runs a command for the connection, with the stream as its standard input
  and output. The end of the stream is the end of its input, and the end of its output is the end
  for the peer. If the peer dies, the command gets SIGHUP. Its environment has the address in
  SMSTREAM_ADDR, and in SMSTREAM_PEER_PID the peer's process, as the peer states it.
  With --keep-open there is a process for each connection, any number at once.
  The connection ends with the command, after everything that the command wrote. What a process
  that it left in the background writes later is not passed on.
  If a signal kills the command, or it ends without reading all that the peer sent, the
  connection is broken off, and both ends say so.
  Exit codes then: the command's own, 126 if it cannot be run, 127 if it is not found, 128 and
  the number of the signal that ended it; if that is 0, then 1 if the peer died, or not all was
  read on either side, and 128 and the number of the signal that ended smstream itself.";

/// A listener that runs a command for each connection.
pub struct Server<'a> {
    /// Where it listens.
    pub addr: &'a Addr,
    /// The same, for people.
    pub place: &'a str,
    /// The command.
    pub command: &'a [OsString],
    /// Whether it goes on after the first connection.
    pub keep_open: bool,
    /// How many connections are served at once, at most.
    pub most: Option<u32>,
    /// Whether to say who connects, and how it ends.
    pub verbose: bool,
    /// How to show what goes on.
    pub progress: ProgressArgs,
}

/// Serves the connections of a listener: one, or all that come, at once, until a signal ends it.
pub fn listen(
    server: &Server<'_>,
    interrupt: &Interrupt,
    bind: impl Fn() -> Result<Listener, Failure>,
) -> Result<u8, Failure> {
    let runner = Runner::new(server.addr, server.place, server.command, server.progress);
    let runner = Arc::new(runner.many(server.keep_open).verbose(server.verbose));
    let mut backoff = Backoff::default();
    let mut listener = Arc::new(bind()?);
    loop {
        interrupt.set({
            let (runner, listener) = (Arc::clone(&runner), Arc::downgrade(&listener));
            move |signal| {
                runner.interrupt(signal);
                if let Some(listener) = listener.upgrade() {
                    listener.shutdown();
                }
            }
        });
        if let Some(most) = server.most {
            runner.wait_for_less_than(most as usize);
        }
        let accepted = listener.accept().map_err(io::Error::from);
        if interrupt.signal().is_some() {
            break;
        }
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) if backoff.is_lost(&error) => {
                say(format_args!("{}: listening anew", in_options(&error)));
                service::stop_listening(listener);
                listener = Arc::new(bind()?);
                backoff.restore();
                continue;
            }
            Err(error) => {
                backoff.after(&server.place, &error);
                continue;
            }
        };
        backoff.restore();
        if server.verbose {
            service::log_accepted(&server.place, &stream);
        }
        if !server.keep_open {
            // The next connector shall not wait for an answer that never comes.
            service::stop_listening(listener);
            return runner.serve(stream).map(|code| own_or_signal(code, interrupt));
        }
        let this = Arc::clone(&runner);
        runner.begin();
        let served = thread::Builder::new().name("serve".to_owned()).spawn(move || {
            if let Err(failure) = this.serve(stream) {
                failure.tell();
            }
            this.end();
        });
        if let Err(error) = served {
            say(format_args!("could not start a thread for a connection at {}: {error}", server.place));
            runner.end();
        }
    }
    service::stop_listening(listener);
    runner.wait();
    Ok(own_or_signal(0, interrupt))
}

/// Serves one connection.
pub fn connected(
    stream: Stream,
    addr: &Addr,
    place: &str,
    command: &[OsString],
    progress: ProgressArgs,
) -> Result<u8, Failure> {
    let runner = Arc::new(Runner::new(addr, place, command, progress));
    let interrupt = Interrupt::install().or_broken("could not wait for signals")?;
    interrupt.set({
        let runner = Arc::clone(&runner);
        move |signal| runner.interrupt(signal)
    });
    runner.serve(stream).map(|code| own_or_signal(code, &interrupt))
}

/// The command's own exit code; if that is 0, then that of the signal which has asked this process to end.
fn own_or_signal(code: u8, interrupt: &Interrupt) -> u8 {
    match interrupt.signal() {
        Some(signal) if code == 0 => signals::code(signal),
        _ => code,
    }
}
