//! `smstream demo`: shows on the user's own machine that the bytes arrive, and how fast.

mod bench;
mod control;
mod partner;
pub mod peer;
mod report;
pub mod scratch;
mod status;
mod table;
mod tuning;
mod verify;
mod watchdog;
mod workload;

use clap::{Args, ValueEnum};

use crate::failure::{Context, Failure, say};
use crate::json::Json;
use crate::options::EXIT_CODES;
use crate::size::{self, Bytes, Capacity};
use crate::stdio::Output;
use crate::style;
use bench::{MIN_ROUNDS, Results};
use partner::Partner;
use report::Report;
use scratch::Scratch;
use verify::Outcome;

pub use control::PEER;
pub use peer::run as run_peer;

/// The help's last part.
pub fn more() -> String {
    format!("{MORE}\n\n{EXIT_CODES}")
}

const MORE: &str = "\
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
    pub over: Transport,
    /// Write one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// A region file and locks
    File,
    /// A Unix socket, and sealed memory
    Unix,
}

impl Transport {
    /// As it stands in an address.
    pub fn kind(self) -> &'static str {
        match self {
            Transport::File => "file",
            Transport::Unix => "unix",
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
        Ok(rounds) if (MIN_ROUNDS..=1000).contains(&rounds) => Ok(rounds),
        _ => Err(format!("write a whole number from {} to 1000", MIN_ROUNDS)),
    }
}

/// Runs the demo.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    if let Some(note) = args.capacity.note() {
        say(note);
    }
    scratch::remove_on_signals().or_broken("could not prepare to be interrupted")?;
    watchdog::start().or_broken("could not start a thread")?;
    let scratch = Scratch::create(args.over.kind());
    let (mut partner, mut ends) = Partner::start()?;
    let mut act = || {
        let outcome = verify(args, &mut partner, &scratch)?;
        let results = bench::run(&mut partner, &mut ends, &scratch, args.capacity, args.rounds)?;
        Ok((outcome, results))
    };
    match act() {
        Ok((outcome, results)) => {
            let buffer = partner.pipe_buffer;
            partner.finish()?;
            conclude(args, &outcome, &results, buffer)
        }
        Err(failure) => {
            partner.settle();
            Err(failure)
        }
    }
}

/// The first part: every byte arrives.
fn verify(args: &DemoArgs, partner: &mut Partner, scratch: &Scratch) -> Result<Outcome, Failure> {
    let mut output = Output::new();
    if !args.json {
        let (bytes, capacity) = (Bytes(args.bytes), Bytes(args.capacity.bytes()));
        let text = format!(
            "Two processes send each other {bytes} at once, through lanes of {capacity}, over {}: ...",
            args.over.kind()
        );
        output.print(&(style::folded(&text, style::columns(), "").join("\n") + "\n"))?;
    }
    let outcome = verify::run(partner, scratch, args.capacity, args.bytes)?;
    if !args.json {
        output.print(&format!("{}\n", outcome.text(args.bytes, style::columns())))?;
    }
    Ok(outcome)
}

/// The second part's result, and the exit code of all.
fn conclude(args: &DemoArgs, outcome: &Outcome, results: &Results, pipe_buffer: usize) -> Result<(), Failure> {
    let report = Report::new(results, args.capacity.bytes(), pipe_buffer);
    let good = outcome.is_good(args.bytes);
    let text = if args.json {
        let verification = Json::Object(vec![
            ("verified", Json::Bool(good)),
            ("bytes_each_way", Json::Whole(args.bytes)),
            ("seconds", Json::Number(outcome.elapsed.as_secs_f64())),
            ("over", Json::Text(args.over.kind().to_owned())),
        ]);
        let members = vec![
            ("verification", verification),
            ("capacity", Json::Whole(args.capacity.bytes())),
            ("pipe_buffer", Json::Whole(pipe_buffer as u64)),
            ("measurements", report.json()),
        ];
        format!("{}\n", Json::Object(members))
    } else {
        table::table(&report, style::columns())
    };
    Output::new().print(&text)?;
    if good { Ok(()) } else { Err(Failure::broken("what was received is not what was sent")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// A command line of the demo alone.
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: DemoArgs,
    }

    #[test]
    fn the_demo_shows_the_default_capacity() {
        let Ok(Line { demo }) = Line::try_parse_from(["demo"]) else {
            panic!("the demo needs no arguments");
        };
        assert_eq!(demo.capacity.bytes(), smstream::DEFAULT_CAPACITY as u64);
    }
}
