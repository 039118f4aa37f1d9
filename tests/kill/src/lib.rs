//! Death at every instruction. `tests/kill/run` builds and starts this, and says how it is used.
//!
//! It steps through the code of x86-64, so on other machines there is nothing here.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod cue;
mod exchange;
mod exchanges;
mod lanes;
mod mark;
mod meeting;
mod operation;
mod plan;
mod state;
mod table;
mod tracee;
mod trial;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use operation::{Kind, Operation};
use plan::{Extent, Row};

/// What was asked for.
#[derive(Debug)]
struct Asked {
    extent: Extent,
    only: String,
    write: bool,
    list: bool,
}

/// The points of each operation in a sample.
const SAMPLE: usize = 24;

/// Does what the arguments of this process ask for.
pub fn run() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("tests/kill: {why}; see tests/kill/run --help");
            return ExitCode::from(2);
        }
    };
    let operations = operations();
    if asked.list {
        operations.iter().for_each(|operation| println!("{}", operation.name()));
        return ExitCode::SUCCESS;
    }
    match try_out(&asked, &operations) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("tests/kill: {why}");
            ExitCode::FAILURE
        }
    }
}

fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { extent: Extent::Whole { every: false }, only: String::new(), write: false, list: false };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--sample" => {
                let seed = value()?.parse().map_err(|e| format!("a seed is a number: {e}"))?;
                asked.extent = Extent::Sample { seed, points: SAMPLE };
            }
            "--minutes" => {
                let minutes: f64 = value()?.parse().map_err(|e| format!("minutes are a number: {e}"))?;
                println!("seed {now}");
                asked.extent =
                    Extent::Until { seed: now, end: Instant::now() + Duration::from_secs_f64(60.0 * minutes) };
            }
            "--only" => asked.only = value()?,
            "--every" => asked.extent = Extent::Whole { every: true },
            "--table" => asked.write = true,
            "--list" => asked.list = true,
            other => return Err(format!("{other:?} is no option")),
        }
    }
    if asked.write && !matches!(asked.extent, Extent::Whole { .. }) {
        return Err("--table is for every point of an operation".into());
    }
    Ok(asked)
}

fn operations() -> Vec<Box<dyn Operation>> {
    let mut all: Vec<Box<dyn Operation>> = Vec::new();
    for &exchange in exchanges::ALL {
        for kind in [Kind::File, Kind::Unix] {
            all.push(Box::new(exchange::Over(exchange, kind)));
        }
    }
    all.extend(lanes::OnLane::ALL.map(|operation| Box::new(operation) as Box<dyn Operation>));
    all.extend(meeting::all().into_iter().map(|operation| Box::new(operation) as Box<dyn Operation>));
    all
}

fn try_out(asked: &Asked, operations: &[Box<dyn Operation>]) -> Result<(), String> {
    if !asked.write && asked.only.is_empty() {
        table::check(operations)?;
    }
    tracee::interrupt_waits();
    let chosen: Vec<_> = operations.iter().enumerate().filter(|(_, o)| o.name().contains(&asked.only)).collect();
    if chosen.is_empty() {
        return Err(format!("no operation has {:?} in its name", asked.only));
    }
    let mut rows = Vec::new();
    for (turn, (number, operation)) in chosen.iter().enumerate() {
        let begun = Instant::now();
        let part = 1.0 / (chosen.len() - turn) as f64;
        let row = plan::try_out(&***operation, *number, asked.extent, part);
        print(&row, begun.elapsed());
        rows.push(row);
    }
    let wrong: usize = rows.iter().map(|row| row.wrong.len()).sum();
    let kills: usize = rows.iter().flat_map(|row| &row.saw).map(|(_, n)| n).sum();
    let went_on: usize = rows.iter().map(|row| row.went_on).sum();
    let astray: usize = rows.iter().map(|row| row.not_reached).sum();
    println!(
        "{} operations, {kills} killed, {went_on} stopped and gone on, {astray} went another way, {wrong} wrong",
        rows.len()
    );
    if wrong > 0 {
        return Err(format!("{wrong} outcomes that no truth names"));
    }
    if asked.write { table::write(&rows, operations) } else { Ok(()) }
}

fn print(row: &Row, took: Duration) {
    let (code, calls) = (row.instructions, row.calls + row.asleep);
    println!("{}: {code} instructions, {calls} at system calls; {:.1} s", row.name, took.as_secs_f64());
    for (outcome, n) in &row.saw {
        println!("    killed, {outcome}: {n}");
    }
    println!("    stopped, went on: {}; went another way: {}", row.went_on, row.not_reached);
    for wrong in &row.wrong {
        println!("    WRONG: {wrong}");
    }
}
