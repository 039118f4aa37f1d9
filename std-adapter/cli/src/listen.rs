//! `smstream listen`: one connection, or one after another.

use std::ffi::OsString;

use clap::{Args, ValueHint};

use crate::exec;
use crate::failure::{Failure, say};
use crate::options::{EXIT_CODES, ProgressArgs};
use crate::pump;
use crate::size::{self, Capacity};
use crate::transport::{self, Addr, Options};

/// The help's last part.
pub fn more() -> String {
    format!("{EXAMPLES}\n\n{}\n\n{EXIT_CODES}", exec::HELP)
}

const EXAMPLES: &str = "\
The command ends when both directions have ended: the end of standard input ends one,
the peer the other. When the peer has closed both, it ends at once.

Examples:
  smstream listen file:/dev/shm/x > copy       receive a file
  smstream listen file:/dev/shm/x < data       offer a file to whoever connects
  smstream listen -k file:/dev/shm/x >> log    one connection after another
  smstream listen --capacity 4MiB file:/dev/shm/x | tar -x
  smstream listen -k file:/dev/shm/x -- wc -c  a program for each connection";

/// `smstream listen`.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Where to listen, such as file:/dev/shm/NAME
    pub addr: Addr,
    /// Serve one connection after another, until interrupted
    ///
    /// Standard input goes to the connection of the moment. What was read of it and could not be sent any more goes to
    /// the next one.
    #[arg(short, long)]
    pub keep_open: bool,
    /// The bytes of the lane in each direction, a power of two up to 512 MiB
    ///
    /// Other sizes are rounded up. Suffixes: k, M, G (or KiB, MiB, GiB) count in 1024; kB, MB, GB in 1000.
    #[arg(long, value_name = "BYTES", value_parser = size::parse_capacity)]
    pub capacity: Option<Capacity>,
    /// How to show what goes on.
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// A program to run, with the stream as its standard input and output
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandName)]
    pub command: Vec<OsString>,
}

/// Serves one connection, or one after another.
pub fn run(args: &ListenArgs) -> Result<u8, Failure> {
    let addr = &args.addr;
    if let Some(note) = args.capacity.and_then(|capacity| capacity.note()) {
        say(note);
    }
    let options = Options { capacity: args.capacity.map(|capacity| capacity.bytes()), spin: None };
    let listener = transport::bind(addr, options)
        .map_err(|error| Failure::no_connection(format!("could not listen at {addr}: {error}")))?;
    if !args.command.is_empty() {
        return exec::listen(listener, addr, &args.command, args.keep_open, args.progress.progress);
    }
    let feed = pump::standard_input(args.keep_open)?;
    let accept = || {
        let stream = listener.accept();
        stream.map_err(|error| Failure::no_connection(format!("could not accept a connection at {addr}: {error}")))
    };
    if !args.keep_open {
        let stream = accept()?;
        // Whoever comes next shall not wait for an answer that never comes.
        drop(listener);
        return pump::conclude(pump::run(stream, addr, &feed, args.progress.progress)?);
    }
    loop {
        if let Some(trouble) = pump::run(accept()?, addr, &feed, args.progress.progress)? {
            say(trouble);
        }
    }
}
