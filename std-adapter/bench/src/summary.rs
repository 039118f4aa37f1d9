//! What the turns of a row come to, regime by regime: rounds of different regimes are never put together.

use crate::plan::{Course, Pattern};
use crate::rounds::{Regime, Results, Row, Turn};
use crate::stats::{Summary, median, median_ratio, percentile};
use crate::transport::Waiting;

/// From this share of trips in which both sides slept on, a turn counts as asleep.
const ASLEEP: f64 = 0.9;

/// One row in one regime.
#[derive(Clone, Debug)]
pub struct Line {
    /// What was done.
    pub course: Course,
    /// The transport's name, or the floor's.
    pub name: String,
    /// Whether it is a floor.
    pub is_floor: bool,
    /// Where the two CPUs were.
    pub regime: Regime,
    /// How many rounds count.
    pub rounds: usize,
    /// How many rounds were left out, because a side did not sleep that was to sleep.
    pub awake: usize,
    /// Median and spread, over the rounds, of nanoseconds a message or round trip.
    pub nanos: Option<Summary>,
    /// The figure of each round.
    pub each: Vec<f64>,
    /// The 50th, 99th and 99.9th percentile, and the maximum, of single round trips.
    pub percentiles: Option<[f64; 4]>,
    /// CPU time of both sides, in nanoseconds a message or round trip.
    pub cpu: Option<f64>,
    /// System calls of both sides a message or round trip, if they are known.
    pub calls: Option<f64>,
    /// The median of the rounds' ratios to `smstream`: above 1 it is slower than that.
    pub to_smstream: Option<f64>,
    /// The same to the floor of the course.
    pub to_floor: Option<f64>,
}

impl Line {
    /// Bytes a second at the median.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.nanos.map(|nanos| self.course.size as f64 * 1e9 / nanos.median)
    }
}

/// Whether a turn is what it was meant to be.
fn counts(course: Course, turn: &Turn) -> bool {
    course.waiting != Waiting::Asleep || turn.sleeps >= ASLEEP
}

/// The figures of the rounds of one regime that count, by round: `None` for those that do not.
fn figures(row: &Row, regime: Regime) -> Vec<Option<f64>> {
    let good = |turn: &&Turn| turn.regime == regime && counts(row.course, turn);
    row.turns.iter().map(|turn| Some(turn).filter(good).map(|turn| turn.nanos)).collect()
}

/// The ratios of two rows, round by round.
fn ratio(row: &Row, to: &Row, regime: Regime) -> Option<f64> {
    let pairs = figures(row, regime).into_iter().zip(figures(to, regime)).filter_map(|(it, to)| it.zip(to));
    let (its, tos): (Vec<f64>, Vec<f64>) = pairs.unzip();
    median_ratio(&its, &tos)
}

/// Every row in every regime in which it has a round.
#[must_use]
pub fn lines(results: &Results) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in &results.rows {
        let of_course = || results.rows.iter().filter(|other| other.course == row.course);
        let floor = match (row.course.pattern, row.course.waiting) {
            (Pattern::Throughput, _) => "memcpy",
            (Pattern::RoundTrip, Waiting::Asleep) => "futex",
            (Pattern::RoundTrip, _) => "two_lines",
        };
        let mut regimes: Vec<Regime> = row.turns.iter().map(|turn| turn.regime).collect();
        regimes.sort_unstable();
        regimes.dedup();
        for regime in regimes {
            let turns: Vec<&Turn> = row.turns.iter().filter(|turn| turn.regime == regime).collect();
            let good: Vec<&Turn> = turns.iter().copied().filter(|turn| counts(row.course, turn)).collect();
            let of =
                |value: fn(&Turn) -> Option<f64>| -> Vec<f64> { good.iter().filter_map(|turn| value(turn)).collect() };
            let each = of(|turn| Some(turn.nanos));
            let times: Vec<f64> = good.iter().flat_map(|turn| turn.times.iter().copied()).collect();
            let at = |percent| percentile(&times, percent);
            let to = |name: &str| of_course().find(|it| it.name == name).and_then(|to| ratio(row, to, regime));
            lines.push(Line {
                course: row.course,
                name: row.name.clone(),
                is_floor: row.is_floor,
                regime,
                rounds: good.len(),
                awake: turns.len() - good.len(),
                nanos: Summary::of(&each),
                each,
                percentiles: (|| Some([at(50.0)?, at(99.0)?, at(99.9)?, at(100.0)?]))(),
                cpu: median(&of(|turn| Some(turn.cpu))),
                calls: median(&of(|turn| turn.calls)),
                to_smstream: to("smstream"),
                to_floor: to(floor),
            });
        }
    }
    lines
}

/// The regime in which most rounds of a placement were.
#[must_use]
pub fn usual_regime(results: &Results, course: Course) -> Option<Regime> {
    let row = results.rows.iter().find(|row| row.course.placement == course.placement)?;
    let count = |regime: Regime| row.turns.iter().filter(|turn| turn.regime == regime).count();
    row.turns.iter().map(|turn| turn.regime).max_by_key(|regime| count(*regime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Placement;

    fn turn(regime: Regime, nanos: f64, sleeps: f64) -> Turn {
        Turn { regime, nanos, cpu: nanos, sleeps, calls: None, times: vec![nanos] }
    }

    fn row(name: &str, waiting: Waiting, turns: Vec<Turn>) -> Row {
        let course = Course { placement: Placement::Pinned, pattern: Pattern::RoundTrip, waiting, size: 64 };
        Row::new(course, name, name != "smstream", turns)
    }

    #[test]
    fn regimes_are_kept_apart() {
        use Regime::{Far, Near};
        let results = Results {
            rows: vec![
                row("two_lines", Waiting::Default, vec![turn(Near, 100.0, 0.0), turn(Far, 500.0, 0.0)]),
                row("smstream", Waiting::Default, vec![turn(Near, 150.0, 0.0), turn(Far, 600.0, 0.0)]),
            ],
            skipped: Vec::new(),
            cpus: Some((0, 1)),
            rounds: 2,
        };
        let lines = lines(&results);
        let of = |name, regime| lines.iter().find(|line| line.name == name && line.regime == regime).unwrap();
        assert_eq!(of("smstream", Near).to_floor, Some(1.5));
        assert_eq!(of("smstream", Far).to_floor, Some(1.2));
        assert_eq!(of("two_lines", Far).to_smstream, Some(500.0 / 600.0));
    }

    #[test]
    fn a_turn_in_which_a_side_did_not_sleep_does_not_count_as_asleep() {
        let turns = vec![turn(Regime::Far, 48_000.0, 1.0), turn(Regime::Far, 300.0, 0.1)];
        let results =
            Results { rows: vec![row("futex", Waiting::Asleep, turns)], skipped: Vec::new(), cpus: None, rounds: 2 };
        let line = &lines(&results)[0];
        assert_eq!((line.rounds, line.awake), (1, 1));
        assert_eq!(line.nanos.map(|nanos| nanos.median), Some(48_000.0));
    }
}
