//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::size::{self, Capacity};
use crate::transport::Addr;
use crate::{bench, demo, doctor, exec, gc, ls, manners, proxy, stat};
use crate::{msg, sem, shm, sysv};

/// The exit codes, as every help text shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the peer died, the stream is corrupt, bytes were not delivered,
     or local input or output failed
  2  the command line is wrong
  3  no connection: could not listen, accept or connect
  4  it would have had to wait (sem, msg)";

const EXAMPLES: &str = "\
Examples:
  smstream demo                                see it work on this machine, and how fast
  smstream listen file:/dev/shm/x > copy       in one terminal
  smstream connect file:/dev/shm/x < data      in another
  smstream ls                                  see who talks with whom";

const LISTEN_EXAMPLES: &str = "\
The command ends when both directions have ended: the end of standard input ends one,
the peer the other. When the peer has closed both, it ends at once.

Examples:
  smstream listen file:/dev/shm/x > copy       receive a file
  smstream listen file:/dev/shm/x < data       offer a file to whoever connects
  smstream listen -k file:/dev/shm/x >> log    one connection after another
  smstream listen --capacity 4MiB file:/dev/shm/x | tar -x
  smstream listen -k file:/dev/shm/x -- wc -c  a program for each connection";

const CONNECT_EXAMPLES: &str = "\
The command ends when both directions have ended: the end of standard input ends one,
the peer the other. When the peer has closed both, it ends at once.

Examples:
  smstream connect file:/dev/shm/x < data      send a file
  smstream connect --wait 10 file:/dev/shm/x   talk; Ctrl-D ends what you say
  tar -c dir | smstream connect --progress file:/dev/shm/x
  smstream connect file:/dev/shm/x -- sh -c 'echo hello; read answer; echo $answer >&2'";

const DEMO_MORE: &str = "\
Examples:
  smstream demo
  smstream demo --capacity 4MiB                a larger lane
  smstream demo --json > figures.json

How it measures:
  Two processes, pinned to two processors. Every round measures every contestant once;
  shown are the median of the rounds and their spread. A ratio is the median of the
  rounds' ratios, each to the pipe or to the floor of the same round. The floors are what
  this machine needs at least: a cache line handed over and another one handed back, or
  the bare futex calls. 'near' means that the cache line floor is below 250 ns, else 'far'.

Targets (one that is missed is shown, and does not change the exit code):
  throughput      near: 3 x pipe, with a lane of 4 MiB or more 5 x pipe; far: 1 x pipe
  both busy       at most 2.5 x floor
  both asleep     at most 1.2 x floor

Keys of --json:
  verification
    verified, bytes_each_way, seconds
    over          file or unix
  capacity        bytes of a lane
  pipe_buffer     bytes of a pipe's buffer
  measurements
    regime        near, far or unknown
    near_rounds, rounds
    cpus          two numbers, or null
    targets_met
    rows          a list:
      test        throughput, round_trip_busy or round_trip_asleep
      contestant  smstream, pipe, socket or floor
      name        the same for people
      unit        bytes_per_second or nanoseconds
      median, min, max
      rounds      the figure of every round
      p99         over all trips (asleep only, else null)
      ratio       to what ratio_to names, or null
      ratio_to    pipe or floor
      target      of the ratio, or null
      target_met  true, false, or null";

/// Byte streams between processes through shared memory.
#[derive(Debug, Parser)]
#[command(name = "smstream", version, about, max_term_width = 100)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Wait for a connection; then standard input goes in and what comes goes to standard output
    #[command(after_help = format!("{LISTEN_EXAMPLES}\n\n{}\n\n{EXIT_CODES}", exec::HELP))]
    Listen(ListenArgs),
    /// Connect to a listener; then standard input goes in and what comes goes to standard output
    #[command(after_help = format!("{CONNECT_EXAMPLES}\n\n{}\n\n{EXIT_CODES}", exec::HELP))]
    Connect(ConnectArgs),
    /// Pass connections on: from streams to sockets, from sockets to streams, or between two of a kind
    #[command(after_help = proxy::more())]
    Proxy(proxy::ProxyArgs),
    /// Check on this machine that every byte arrives, and measure against pipes, sockets and the machine's floors
    #[command(after_help = format!("{DEMO_MORE}\n\n{EXIT_CODES}"))]
    Demo(DemoArgs),
    /// Measure streams beside pipes, sockets and message queues: throughput, round trips, CPU time, system calls
    #[command(after_help = bench::MORE)]
    Bench(bench::BenchArgs),
    /// Show who listens and who is connected with whom
    #[command(after_help = ls::MORE)]
    Ls(ls::LsArgs),
    /// Show both lanes of a stream: how full, how fast, who sleeps for what
    #[command(after_help = stat::MORE)]
    Stat(stat::StatArgs),
    /// Check every rule of a region, whatever its state, and say what is wrong
    #[command(after_help = doctor::MORE)]
    Doctor(doctor::DoctorArgs),
    /// Remove what a crash has left, if it is provably ours and dead
    #[command(after_help = gc::MORE)]
    Gc(gc::GcArgs),
    /// A text in System V shared memory, as Free Pascal's shmtool has it
    #[command(after_help = format!("{}\n\n{}", shm::MORE, sysv::EXIT_CODES))]
    Shm(shm::ShmArgs),
    /// A set of System V semaphores, as Free Pascal's semtool has it
    #[command(after_help = format!("{}\n\n{}", sem::MORE, sysv::EXIT_CODES))]
    Sem(sem::SemArgs),
    /// Texts in a System V message queue, as Free Pascal's msgtool has them
    #[command(after_help = format!("{}\n\n{}", msg::MORE, sysv::EXIT_CODES))]
    Msg(msg::MsgArgs),
    /// Write what a shell needs to complete command lines
    #[command(after_help = format!("{}\n\n{EXIT_CODES}", manners::COMPLETIONS_EXAMPLES))]
    Completions(manners::CompletionsArgs),
    /// Write the manual, as pages for man
    #[command(after_help = format!("{}\n\n{EXIT_CODES}", manners::MAN_EXAMPLES))]
    Man(manners::ManArgs),
    /// The demo's second process
    #[command(name = demo::PEER, hide = true)]
    DemoPeer {
        /// The first process
        parent: u32,
    },
    /// The second process of `bench`
    #[command(name = bench::PEER, hide = true)]
    BenchPeer {
        /// The first process
        parent: u32,
        /// The file with the words that both share
        memory: std::path::PathBuf,
    },
}

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

/// Whether to show progress.
#[derive(Debug, Args)]
pub struct ProgressArgs {
    /// Show on standard error how many bytes went each way
    ///
    /// By default that is so when standard error is a terminal and standard output is not one too.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "auto", default_missing_value = "always", hide_default_value = true)]
    pub progress: When,
}

/// When to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Where a person is likely to look
    Auto,
    /// In any case
    Always,
    /// In no case
    Never,
}

/// `smstream demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The bytes of the lane in each direction, a power of two from 4 KiB to 512 MiB
    ///
    /// Other sizes are rounded up. Suffixes: k, M, G (or KiB, MiB, GiB) count in 1024; kB, MB, GB in 1000.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = parse_demo_capacity)]
    pub capacity: Capacity,
    /// How much to send each way to verify that every byte arrives
    #[arg(long, value_name = "N", default_value = "1GiB", value_parser = size::parse)]
    pub bytes: u64,
    /// How many rounds to measure, at least 5; fewer are made if they take too long, but never fewer than 5
    #[arg(long, value_name = "N", default_value = "9", value_parser = parse_rounds)]
    pub rounds: usize,
    /// The kind of address over which the two processes meet; afterwards the bytes go the same way
    #[arg(long, value_name = "KIND", default_value = "file")]
    pub over: Over,
    /// Write one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Over {
    /// A region file and locks
    File,
    /// A Unix socket, and sealed memory
    Unix,
}

impl Over {
    /// As it stands in an address.
    pub fn kind(self) -> &'static str {
        match self {
            Over::File => "file",
            Over::Unix => "unix",
        }
    }
}

/// Reads a capacity that moves a gibibyte in reasonable time.
fn parse_demo_capacity(text: &str) -> Result<Capacity, String> {
    let capacity = size::parse_capacity(text)?;
    if capacity.bytes() < 4096 {
        return Err("the demo takes its time with so small a lane: give at least 4 KiB".to_owned());
    }
    Ok(capacity)
}

/// Reads a number of rounds.
fn parse_rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rounds) if (demo::MIN_ROUNDS..=1000).contains(&rounds) => Ok(rounds),
        _ => Err(format!("write a whole number from {} to 1000", demo::MIN_ROUNDS)),
    }
}

/// Reads a time in seconds.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds, such as 10 or 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if seconds <= 1e9 => Ok(time),
        _ => Err("write a number of seconds from 0 to 1000000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_demo_shows_the_default_capacity() {
        let Ok(Cli { command: Command::Demo(demo), .. }) = Cli::try_parse_from(["smstream", "demo"]) else {
            panic!("the demo needs no arguments");
        };
        assert_eq!(demo.capacity.bytes(), smstream::DEFAULT_CAPACITY as u64);
    }

    #[test]
    fn seconds() {
        assert_eq!(parse_seconds("0"), Ok(Duration::ZERO));
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for junk in ["", "-1", "NaN", "inf", "1e300", "ten"] {
            assert!(parse_seconds(junk).is_err(), "{junk}");
        }
    }

    #[test]
    fn progress_with_and_without_a_value() {
        let progress = |line: &str| match Cli::try_parse_from(line.split(' ')).map(|cli| cli.command) {
            Ok(Command::Connect(args)) => Some(args.progress.progress),
            _ => None,
        };
        assert_eq!(progress("smstream connect file:x"), Some(When::Auto));
        assert_eq!(progress("smstream connect --progress file:x"), Some(When::Always));
        assert_eq!(progress("smstream connect --progress=never file:x"), Some(When::Never));
        assert_eq!(progress("smstream connect --progress=what file:x"), None);
    }
}
