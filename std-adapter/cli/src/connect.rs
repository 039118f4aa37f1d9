//! `smstream connect`: one connection to a listener.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::backoff;
use crate::exec;
use crate::failure::{Context, Failure, say};
use crate::options::{EXIT_CODES, StreamArgs, TransferArgs, parse_seconds};
use crate::probe;
use crate::pump::{self, Pump};
use crate::service;
use crate::signals::{self, Interrupt};
use crate::transport::{self, Addr, Stream, addr_parser, in_options, shown};

/// The help's last part.
pub fn more() -> String {
    format!("{EXAMPLES}\n\n{}\n\n{EXIT_CODES}", exec::HELP)
}

const EXAMPLES: &str = "\
When it ends:
  When both directions have ended and the peer has closed: the end of standard input ends one
  direction, the peer ends the other. When the peer has closed both, the command ends at once. It
  does not wait for a terminal as standard input when the peer has sent everything and standard
  output is no terminal. It waits 5 seconds for a peer that has ended both directions to close.

Examples:
  smstream connect unix:/tmp/x < data          send a file
  smstream connect --wait 10 unix:/tmp/x       talk; Ctrl-D ends what you say
  smstream connect -d unix:/tmp/x > copy       receive only
  smstream connect -z unix:/tmp/x && echo up   is there a listener?
  tar -c dir | smstream connect --progress unix:/tmp/x
  smstream connect unix:/tmp/x -- sh -c 'echo hello; read answer; echo $answer >&2'";

/// How long to wait for a listener that does not answer before that is said.
const PATIENCE: Duration = Duration::from_secs(2);

/// `smstream connect`.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Where the listener is, such as unix:/tmp/NAME
    #[arg(value_parser = addr_parser())]
    pub addr: Addr,
    /// Keep trying for so long while there is no listener, or it lacks memory or descriptors for this connection (fractions are
    /// allowed)
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub wait: Option<Duration>,
    /// Only see whether there is a listener: exit code 0 or 3. Nothing is sent, and the listener notices nothing
    #[arg(short = 'z', long, conflicts_with = "command")]
    pub probe: bool,
    /// What the stream is to be like.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// What goes where.
    #[command(flatten)]
    pub transfer: TransferArgs,
    /// A program to run, with the stream as its standard input and output
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandName)]
    pub command: Vec<OsString>,
}

/// Connects and serves that connection.
pub fn run(args: &ConnectArgs) -> Result<u8, Failure> {
    args.stream.notes().for_each(say);
    args.stream.check([&args.addr])?;
    let place = shown(&args.addr);
    if args.probe {
        backoff::keep_trying(args.wait, |_| probe::listener(&args.addr)).map_err(|why| cannot(&place, why))?;
        if args.transfer.verbose {
            say(format_args!("there is a listener at {place}"));
        }
        return Ok(0);
    }
    if !args.command.is_empty() {
        let stream = reach(args, &place)?;
        return exec::connected(stream, &args.addr, &place, &args.command, args.transfer.progress);
    }
    let feed = pump::prepare(&args.transfer, false)?;
    let stream = reach(args, &place)?;
    let interrupt = Interrupt::install().or_broken("could not wait for signals")?;
    let pump = Pump { place: &place, args: &args.transfer, feed, interrupt };
    let trouble = pump.run(stream)?;
    match pump.interrupt.signal() {
        Some(signal) => Ok(signals::code(signal)),
        None => pump::conclude(trouble),
    }
}

/// Connects, if need be again and again until the time is up.
fn reach(args: &ConnectArgs, place: &str) -> Result<Stream, Failure> {
    let options = args.stream.options();
    let stream = backoff::keep_trying(args.wait, |limit| {
        let (_done, is_done) = mpsc::channel::<()>();
        if args.transfer.verbose || io::stderr().is_terminal() {
            let place = place.to_owned();
            // Without a thread it is not said, and that is all.
            let _ = thread::Builder::new().name("patience".to_owned()).spawn(move || {
                if is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    say(format_args!(
                        "the listener at {place} has not accepted yet: perhaps it serves another connection"
                    ));
                }
            });
        }
        transport::connect(&args.addr, &options, limit)
    });
    let stream = stream.map_err(|why| cannot(place, why))?;
    if args.transfer.verbose {
        say(format_args!("connected to {} at {place}", service::peer(&stream)));
    }
    Ok(stream)
}

fn cannot(place: &str, (error, hint): (io::Error, &'static str)) -> Failure {
    Failure::no_connection(format!("could not connect to {place}: {}{hint}", in_options(&error)))
}
