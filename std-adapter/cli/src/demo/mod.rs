//! `smstream demo`: shows on the user's own machine that the bytes arrive, and how fast.

mod bench;
mod control;
pub mod json;
mod partner;
pub mod peer;
mod report;
pub mod scratch;
mod table;
mod trade;
mod verify;
mod watchdog;

use std::time::Duration;

use crate::args::DemoArgs;
use crate::failure::{Context, Failure, say};
use crate::size::{Bytes, Capacity, Rate};
use crate::stdio::Output;
use crate::transport::Options;
use bench::Results;
use control::Test;
use json::Json;
use partner::Partner;
use report::Report;
use scratch::Scratch;
use verify::Outcome;

pub use bench::MIN_ROUNDS;
pub use peer::run as run_peer;

/// The hidden subcommand that the second process runs.
pub const PEER: &str = "demo-peer";

/// How long an end that shall stay awake looks before it sleeps.
const STAY_AWAKE: Duration = Duration::from_millis(100);

/// How a stream for a test waits.
fn stream_options(test: Option<Test>) -> Options {
    let spin = match test {
        None | Some(Test::Bulk) => None,
        Some(Test::Busy) => Some(STAY_AWAKE),
        Some(Test::Asleep) => Some(Duration::ZERO),
    };
    Options { capacity: None, spin }
}

/// The same with a capacity, which the listener chooses.
fn with_capacity(options: Options, capacity: Capacity) -> Options {
    Options { capacity: Some(capacity.bytes()), ..options }
}

/// Runs the demo.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    if let Some(note) = args.capacity.note() {
        say(note);
    }
    scratch::remove_on_signals().or_broken("could not prepare to be interrupted")?;
    watchdog::start().or_broken("could not start a thread")?;
    let scratch = Scratch::create(args.over.kind()).or_broken("could not make a temporary directory")?;
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
        output.print(&format!(
            "Two processes send each other {bytes} at once, through lanes of {capacity}, over {}: ...\n",
            args.over.kind()
        ))?;
    }
    let outcome = verify::run(partner, scratch, args.capacity, args.bytes)?;
    let verdict = if outcome.is_good(args.bytes) { "verified" } else { "FAILED" };
    if !args.json {
        let (here, there) = (outcome.here, outcome.there);
        let rate = Rate(2.0 * args.bytes as f64 / outcome.elapsed.as_secs_f64().max(1e-9));
        output.print(&format!(
            "  to the second process:   sent {:016x}, received {:016x} ({} bytes)\n  \
               from the second process: sent {:016x}, received {:016x} ({} bytes)\n  \
             {verdict}: XXH3 of every byte, {:.2} s, {rate} in both directions together, making the data included\n\n",
            here.sent.hash,
            there.received.hash,
            there.received.bytes,
            there.sent.hash,
            here.received.hash,
            here.received.bytes,
            outcome.elapsed.as_secs_f64(),
        ))?;
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
        table::table(&report)
    };
    Output::new().print(&text)?;
    if good { Ok(()) } else { Err(Failure::broken("what was received is not what was sent")) }
}
