//! The measurements: interleaved rounds, in each of which every contestant has its turn.

use std::time::{Duration, Instant};

use super::control::{Contestant, Order, Test};
use super::partner::Partner;
use super::scratch::Scratch;
use super::status::progress;
use super::workload::{BLOCK, Ends};
use super::{verify, watchdog};
use crate::failure::{Context, Failure};
use crate::size::Capacity;
use smstream_bench::cpus;
use smstream_bench::stats::{median, percentile};

/// How long one contestant's turn shall last.
const TURN: Duration = Duration::from_millis(70);

/// No further round begins after this time, once there are [`MIN_ROUNDS`].
const BUDGET: Duration = Duration::from_secs(16);

/// The fewest rounds that a median is taken of.
pub const MIN_ROUNDS: usize = 5;

/// The most bytes that a lane for round trips has: more has no use there.
const TRIP_CAPACITY: u64 = 1 << 20;

/// One test of one contestant.
pub struct Course {
    /// What is measured.
    pub test: Test,
    /// What carries the bytes.
    pub contestant: Contestant,
    /// One figure of each round: bytes a second, or nanoseconds a round trip.
    pub rounds: Vec<f64>,
    /// Every sample of every round, for the percentiles; a bulk test has none.
    pub samples: Vec<f64>,
    /// How many blocks or trips a turn has.
    count: u64,
}

/// All that was measured.
pub struct Results {
    /// Every test of every contestant.
    pub courses: Vec<Course>,
    /// The two processors; none if only one is allowed.
    pub cpus: Option<(usize, usize)>,
}

impl Results {
    /// The rounds of one test of one contestant.
    pub fn rounds(&self, test: Test, contestant: Contestant) -> &[f64] {
        let found = self.courses.iter().find(|course| course.test == test && course.contestant == contestant);
        found.map_or(&[], |course| &course.rounds)
    }

    /// The 99th percentile of one contestant's trips, where each trip was timed by itself.
    pub fn p99(&self, contestant: Contestant) -> Option<f64> {
        let mut courses = self.courses.iter();
        let found = courses.find(|course| course.test == Test::Asleep && course.contestant == contestant)?;
        percentile(&found.samples, 99.0)
    }
}

/// Measures everything.
pub fn run(
    partner: &mut Partner,
    ends: &mut Ends,
    scratch: &Scratch,
    capacity: Capacity,
    rounds: usize,
) -> Result<Results, Failure> {
    let cpus = cpus::pair().or_broken("could not find out which processors are allowed")?;
    let mut courses = courses(cpus.is_some());
    for test in [Test::Bulk, Test::Busy, Test::Asleep] {
        if courses.iter().any(|course| course.test == test) {
            let bytes = if test == Test::Bulk { capacity.bytes() } else { capacity.bytes().min(TRIP_CAPACITY) };
            let stream = verify::connect(partner, scratch, Some(test), Capacity::of(bytes))?;
            ends.set_stream(test, stream);
        }
    }
    if let Some((here, there)) = cpus {
        cpus::pin(here).or_broken(format_args!("could not stay on processor {here}"))?;
        partner.order(Order::Pin(there))?;
        partner.expect("pinned")?;
    }
    progress("measuring, a round to warm up");
    for course in &mut courses {
        warm_up(course, partner, ends)?;
    }
    let start = Instant::now();
    for round in 0..rounds {
        progress(&format!("measuring, round {} of {rounds}", round + 1));
        if round >= MIN_ROUNDS && start.elapsed() > BUDGET {
            break;
        }
        // Each round begins with another contestant, so that none always runs in the wake of the same one.
        let first = round % courses.len().max(1);
        for number in 0..courses.len() {
            let index = (first + number) % courses.len();
            if let Some(course) = courses.get_mut(index) {
                let (figure, samples) = turn(course, partner, ends)?;
                course.rounds.push(figure);
                if course.test != Test::Bulk {
                    course.samples.extend(samples);
                }
            }
        }
    }
    progress("");
    Ok(Results { courses, cpus })
}

/// What is measured: with one processor nothing that spins, since that would measure the scheduler.
fn courses(two_cpus: bool) -> Vec<Course> {
    let mut courses = Vec::new();
    for test in [Test::Bulk, Test::Busy, Test::Asleep] {
        for contestant in [Contestant::Smstream, Contestant::Pipe, Contestant::Socket, Contestant::Floor] {
            if (test == Test::Bulk && contestant == Contestant::Floor) || (test == Test::Busy && !two_cpus) {
                continue;
            }
            // For the first turn, which only tells how long the others take.
            let count = match test {
                Test::Bulk => 512,
                Test::Busy => 5000,
                Test::Asleep => 300,
            };
            courses.push(Course { test, contestant, rounds: Vec::new(), samples: Vec::new(), count });
        }
    }
    courses
}

/// One turn that does not count, after which the course is as long as a turn shall last.
fn warm_up(course: &mut Course, partner: &mut Partner, ends: &mut Ends) -> Result<(), Failure> {
    let count = course.count as f64;
    let (figure, _) = turn(course, partner, ends)?;
    let seconds = match course.test {
        Test::Bulk => count * BLOCK as f64 / figure.max(1.0),
        Test::Busy | Test::Asleep => count * figure * 1e-9,
    };
    let factor = TURN.as_secs_f64() / seconds.max(1e-6);
    // Not much shorter than the first turn: a slow start may be a hiccup of the machine.
    course.count = (count * factor.clamp(0.2, 200.0)).ceil() as u64;
    Ok(())
}

/// One turn of one contestant: the figure of the round, and the samples that it comes from.
fn turn(course: &Course, partner: &mut Partner, ends: &mut Ends) -> Result<(f64, Vec<f64>), Failure> {
    watchdog::beat();
    let Course { test, contestant, count, .. } = *course;
    partner.order(Order::Run(test, contestant, count))?;
    partner.expect("ready")?;
    let what = || format!("measuring {} failed", contestant.name());
    if test == Test::Bulk {
        let start = ends.send_blocks(contestant, count).or_broken(what())?;
        let end: u64 = partner.hear()?.parse().or_broken("could not hear the second process")?;
        let nanos = end.saturating_sub(start).max(1);
        return Ok(((count * BLOCK as u64) as f64 * 1e9 / nanos as f64, Vec::new()));
    }
    // A clock reading costs nothing beside a sleep, but it would show beside a cache line's way: there, batches.
    let batch = if test == Test::Asleep { 1 } else { 100 };
    let samples = ends.ping(test, contestant, count, batch).or_broken(what())?;
    Ok((median(&samples).unwrap_or(0.0), samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_one_processor_nothing_spins() {
        assert!(courses(false).iter().all(|course| course.test != Test::Busy));
        assert_eq!(courses(false).len() + 4, courses(true).len());
    }

    #[test]
    fn bulk_has_no_floor() {
        let bulk = courses(true).into_iter().filter(|course| course.test == Test::Bulk);
        assert_eq!(bulk.count(), 3);
    }
}
