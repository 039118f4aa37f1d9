//! What the measurements mean: rows, ratios and targets.

use std::fmt;

use super::bench::{Course, Results};
use super::control::{Contestant, Test};
use crate::json::Json;
use crate::size::Bytes;
use smstream_bench::stats::{Summary, median_ratio};

/// Below this round trip of a cache line the two processors share a cache.
const NEAR: f64 = 250.0;

/// From this capacity on, lines have left the writer's own cache before they are read, and more is asked of the lane.
const LARGE_LANE: u64 = 4 << 20;

/// Where the host has put the two processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// They share a cache.
    Near,
    /// They do not.
    Far,
    /// With one processor there is nothing to tell.
    Unknown,
}

/// What a ratio shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// One contestant in one test.
pub struct Row {
    /// What was measured.
    pub test: Test,
    /// What carried the bytes.
    pub contestant: Contestant,
    /// What it is called.
    pub name: String,
    /// Median and spread of the rounds.
    pub summary: Option<Summary>,
    /// The figure of each round.
    pub rounds: Vec<f64>,
    /// The 99th percentile of all trips, where each was timed.
    pub p99: Option<f64>,
    /// The median of the rounds' ratios to the yardstick.
    pub ratio: Option<f64>,
    /// What the ratio shall be.
    pub target: Option<Target>,
}

/// The whole report.
pub struct Report {
    /// Where the two processors are.
    pub regime: Regime,
    /// In how many rounds they were near.
    pub near_rounds: usize,
    /// The two processors, if there are two.
    pub cpus: Option<(usize, usize)>,
    /// How many rounds were measured.
    pub rounds: usize,
    /// Everything that was measured.
    pub rows: Vec<Row>,
}

impl Regime {
    /// The name, in text and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
            Self::Unknown => "unknown",
        }
    }
}

impl Target {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => f.pad(&format!(">= {bound}")),
            Self::AtMost(bound) => f.pad(&format!("<= {bound}")),
        }
    }
}

impl Row {
    /// The verdict: whether the target is met, where there is one.
    pub fn met(&self) -> Option<bool> {
        Some(self.target?.is_met(self.ratio?))
    }
}

/// What a test's figures are compared with.
pub fn yardstick(test: Test) -> (Contestant, &'static str) {
    if test == Test::Bulk { (Contestant::Pipe, "pipe") } else { (Contestant::Floor, "floor") }
}

/// What smstream shall reach.
fn target(test: Test, regime: Regime, capacity: u64) -> Option<Target> {
    match (test, regime) {
        (Test::Bulk, Regime::Near) => Some(Target::AtLeast(if capacity >= LARGE_LANE { 5.0 } else { 3.0 })),
        (Test::Bulk, Regime::Far) => Some(Target::AtLeast(1.0)),
        // On one processor, where nothing can be busy at the same time, there are no targets.
        (_, Regime::Unknown) => None,
        (Test::Busy, _) => Some(Target::AtMost(2.5)),
        (Test::Asleep, _) => Some(Target::AtMost(1.2)),
    }
}

impl Report {
    /// Draws the conclusions.
    pub fn new(results: &Results, capacity: u64, pipe_buffer: usize) -> Self {
        let lines = results.rounds(Test::Busy, Contestant::Floor);
        let regime = match smstream_bench::stats::median(lines) {
            Some(nanos) if nanos < NEAR => Regime::Near,
            Some(_) => Regime::Far,
            None => Regime::Unknown,
        };
        let row = |course: &Course| {
            let (test, contestant) = (course.test, course.contestant);
            let (yardstick, _) = yardstick(test);
            let ours = contestant == Contestant::Smstream;
            Row {
                test,
                contestant,
                name: name(test, contestant, capacity, pipe_buffer),
                summary: Summary::of(&course.rounds),
                rounds: course.rounds.clone(),
                p99: (test == Test::Asleep).then(|| results.p99(contestant)).flatten(),
                ratio: median_ratio(&course.rounds, results.rounds(test, yardstick)),
                target: if ours { target(test, regime, capacity) } else { None },
            }
        };
        let rows = results.courses.iter().map(row).collect();
        let rounds = results.courses.first().map_or(0, |course| course.rounds.len());
        let near_rounds = lines.iter().filter(|nanos| **nanos < NEAR).count();
        Self { regime, near_rounds, cpus: results.cpus, rounds, rows }
    }

    /// Whether every target that applies is met.
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met() != Some(false))
    }

    /// For programs.
    pub fn json(&self) -> Json {
        let rows = self.rows.iter().map(Row::json).collect();
        let cpus = self
            .cpus
            .map_or(Json::Null, |(here, there)| Json::List(vec![Json::Whole(here as u64), Json::Whole(there as u64)]));
        Json::Object(vec![
            ("regime", Json::text(self.regime.name())),
            ("near_rounds", Json::Whole(self.near_rounds as u64)),
            ("rounds", Json::Whole(self.rounds as u64)),
            ("cpus", cpus),
            ("targets_met", Json::Bool(self.all_met())),
            ("rows", Json::List(rows)),
        ])
    }
}

impl Row {
    fn json(&self) -> Json {
        let test = match self.test {
            Test::Bulk => "throughput",
            Test::Busy => "round_trip_busy",
            Test::Asleep => "round_trip_asleep",
        };
        let unit = if self.test == Test::Bulk { "bytes_per_second" } else { "nanoseconds" };
        let target = self.target.map(|target| match target {
            Target::AtLeast(bound) | Target::AtMost(bound) => bound,
        });
        Json::Object(vec![
            ("test", Json::text(test)),
            ("contestant", Json::text(self.contestant.name())),
            ("name", Json::text(self.name.clone())),
            ("unit", Json::text(unit)),
            ("median", Json::maybe(self.summary.map(|it| it.median))),
            ("min", Json::maybe(self.summary.map(|it| it.min))),
            ("max", Json::maybe(self.summary.map(|it| it.max))),
            ("rounds", Json::List(self.rounds.iter().map(|it| Json::Number(*it)).collect())),
            ("p99", Json::maybe(self.p99)),
            ("ratio", Json::maybe(self.ratio)),
            ("ratio_to", Json::text(yardstick(self.test).1)),
            ("target", Json::maybe(target)),
            ("target_met", self.met().map_or(Json::Null, Json::Bool)),
        ])
    }
}

/// What a contestant is called in a test.
fn name(test: Test, contestant: Contestant, capacity: u64, pipe_buffer: usize) -> String {
    match (contestant, test) {
        (Contestant::Smstream, Test::Bulk) => format!("smstream, lane of {}", Bytes(capacity)),
        (Contestant::Smstream, _) => "smstream".to_owned(),
        (Contestant::Pipe, Test::Bulk) => format!("pipe, buffer of {}", Bytes(pipe_buffer as u64)),
        (Contestant::Pipe, Test::Busy) => "pipe, non-blocking".to_owned(),
        (Contestant::Pipe, Test::Asleep) => "pipe".to_owned(),
        (Contestant::Socket, Test::Busy) => "Unix socket, non-blocking".to_owned(),
        (Contestant::Socket, _) => "Unix socket".to_owned(),
        (Contestant::Floor, Test::Asleep) => "floor: bare futex".to_owned(),
        (Contestant::Floor, _) => "floor: two cache lines".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_depend_on_regime_and_ring() {
        let bulk = |regime, capacity| target(Test::Bulk, regime, capacity);
        assert_eq!(bulk(Regime::Near, 1 << 20), Some(Target::AtLeast(3.0)));
        assert_eq!(bulk(Regime::Near, 4 << 20), Some(Target::AtLeast(5.0)));
        assert_eq!(bulk(Regime::Far, 4 << 20), Some(Target::AtLeast(1.0)));
        assert_eq!(bulk(Regime::Unknown, 4 << 20), None);
    }

    #[test]
    fn targets_are_met_at_the_bound() {
        assert!(Target::AtLeast(3.0).is_met(3.0) && !Target::AtLeast(3.0).is_met(2.99));
        assert!(Target::AtMost(2.5).is_met(2.5) && !Target::AtMost(2.5).is_met(2.51));
    }
}
