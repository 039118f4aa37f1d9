//! `smstream connect`: one connection to a listener.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::backoff;
use crate::exec;
use crate::failure::Failure;
use crate::options::{EXIT_CODES, ProgressArgs, parse_seconds};
use crate::pump;
use crate::transport::{self, Addr, Options, Stream};

/// The help's last part.
pub fn more() -> String {
    format!("{EXAMPLES}\n\n{}\n\n{EXIT_CODES}", exec::HELP)
}

const EXAMPLES: &str = "\
The command ends when both directions have ended: the end of standard input ends one,
the peer the other. When the peer has closed both, it ends at once.

Examples:
  smstream connect file:/dev/shm/x < data      send a file
  smstream connect --wait 10 file:/dev/shm/x   talk; Ctrl-D ends what you say
  tar -c dir | smstream connect --progress file:/dev/shm/x
  smstream connect file:/dev/shm/x -- sh -c 'echo hello; read answer; echo $answer >&2'";

/// `smstream connect`.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Where the listener is, such as file:/dev/shm/NAME
    pub addr: Addr,
    /// Keep trying for so long while nobody listens (fractions are allowed)
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub wait: Option<Duration>,
    /// How to show what goes on.
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// A program to run, with the stream as its standard input and output
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandName)]
    pub command: Vec<OsString>,
}

/// Connects and serves that connection.
pub fn run(args: &ConnectArgs) -> Result<u8, Failure> {
    if !args.command.is_empty() {
        let stream = reach(&args.addr, args.wait)?;
        return exec::connected(stream, &args.addr, &args.command, args.progress.progress);
    }
    let feed = pump::standard_input(false)?;
    let stream = reach(&args.addr, args.wait)?;
    pump::conclude(pump::run(stream, &args.addr, &feed, args.progress.progress)?)
}

/// Connects, if need be again and again until the time is up.
fn reach(addr: &Addr, wait: Option<Duration>) -> Result<Stream, Failure> {
    backoff::keep_trying(wait, |limit| transport::connect(addr, Options::default(), limit))
        .map_err(|(error, hint)| Failure::no_connection(format!("could not connect to {addr}: {error}{hint}")))
}
