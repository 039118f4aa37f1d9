//! The first side: opens every transport, and gives each its turn in every round.

use std::io;
use std::path::Path;

use crate::channel::Runner;
use crate::control::{Control, Order};
use crate::cpus;
use crate::floor::{self, Floor, Words};
use crate::partner::Outcome;
use crate::plan::{Course, Pattern, Placement, Plan, is_possible};
use crate::transport::{Transport, Waiting, name_at};
use crate::usage::{Usage, now};

/// Below this round trip over two cache lines, in nanoseconds, the two CPUs share a cache.
const NEAR: f64 = 250.0;

/// The most round trips of a turn that are timed one by one.
const MOST_TIMED: u64 = 20_000;

/// Where the host has put the two CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regime {
    /// They share a cache: two cache lines go there and back in less than 250 ns.
    Near,
    /// They do not.
    Far,
    /// Both sides share one CPU: nothing can be said.
    OneCpu,
}

impl Regime {
    /// The name in text and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
            Self::OneCpu => "one CPU",
        }
    }
}

/// What a turn measured. Per message or round trip, and of both sides together where it is not said otherwise.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The regime of the round.
    pub regime: Regime,
    /// Nanoseconds.
    pub nanos: f64,
    /// Nanoseconds of CPU time.
    pub cpu: f64,
    /// How often the side slept that slept less.
    pub sleeps: f64,
    /// System calls, if they are known.
    pub calls: Option<f64>,
    /// How long single round trips took, in nanoseconds.
    pub times: Vec<f64>,
}

/// All turns of one transport, or of a floor, at one course.
#[derive(Debug)]
pub struct Row {
    /// What was done.
    pub course: Course,
    /// The transport's name, or the floor's.
    pub name: String,
    /// Whether it is a floor.
    pub is_floor: bool,
    /// One turn of each round.
    pub turns: Vec<Turn>,
    count: u64,
}

impl Row {
    /// A row with these turns.
    #[must_use]
    pub fn new(course: Course, name: &str, is_floor: bool, turns: Vec<Turn>) -> Self {
        Self {
            course,
            name: name.to_owned(),
            is_floor,
            turns,
            count: if course.waiting == Waiting::Asleep { 50 } else { 200 },
        }
    }
}

/// All that was measured.
#[derive(Debug)]
pub struct Results {
    /// One row for each transport and floor of each course.
    pub rows: Vec<Row>,
    /// What could not be opened, and why.
    pub skipped: Vec<(String, String)>,
    /// The CPUs of the two sides when they are pinned; `None` if there is only one.
    pub cpus: Option<(usize, usize)>,
    /// How many rounds were made.
    pub rounds: usize,
}

/// The first side.
pub struct Bench<'a> {
    /// To the second side.
    pub control: Control,
    /// What is measured.
    pub transports: &'a [&'a dyn Transport],
    /// The memory that both sides share for the floors.
    pub words: &'a Words,
    /// What names begin with.
    pub prefix: &'a Path,
}

/// An end of this side. Its place in the list is its number.
struct End {
    transport: &'static str,
    placement: Placement,
    waiting: Waiting,
    runner: Box<dyn Runner>,
}

impl End {
    fn is_for(&self, name: &str, course: Course) -> bool {
        self.transport == name && self.placement == course.placement && self.waiting == course.waiting
    }
}

impl Bench<'_> {
    /// Measures. `progress` hears how many turns of how many are done, and may end it: then what is there is returned.
    pub fn run(mut self, plan: &Plan, mut progress: impl FnMut(usize, usize) -> bool) -> io::Result<Results> {
        let allowed = cpus::allowed()?;
        let cpus = cpus::pair()?;
        let mut skipped = Vec::new();
        let mut ends = self.open_all(plan, cpus, &allowed, &mut skipped)?;
        let mut rows = self.rows(plan, &ends, cpus.is_some());
        let total = rows.len() * (plan.rounds + 1);
        let mut done = 0;
        let mut rounds = 0;
        'rounds: for round in 0..=plan.rounds {
            for &placement in &plan.placements {
                self.place_sides(placement, cpus, &allowed)?;
                let regime = self.regime(cpus.is_some())?;
                let mut here: Vec<_> = rows.iter_mut().filter(|row| row.course.placement == placement).collect();
                // Each round begins with another row, so that none always runs in the wake of the same one.
                let middle = round % here.len().max(1);
                here.rotate_left(middle);
                for row in here {
                    let turn = self.turn(row, &mut ends, regime, round == 0)?;
                    if round == 0 {
                        // The first round does not count: it tells how long the others take.
                        let factor = plan.turn as f64 / (turn.nanos * row.count as f64).max(1.0);
                        row.count = (row.count as f64 * factor.clamp(0.05, 400.0)).ceil().max(2.0) as u64;
                    } else {
                        row.turns.push(turn);
                    }
                    done += 1;
                    if !progress(done, total) {
                        break 'rounds;
                    }
                }
            }
            rounds = round;
        }
        cpus::allow(&allowed)?;
        self.control.send(Order::End)?;
        Ok(Results { rows, skipped, cpus, rounds })
    }

    /// Opens every transport for every placement and way of waiting that the plan has. Both sides are where they are to
    /// run meanwhile: a transport may choose its ways by that.
    fn open_all(
        &mut self,
        plan: &Plan,
        cpus: Option<(usize, usize)>,
        allowed: &[usize],
        skipped: &mut Vec<(String, String)>,
    ) -> io::Result<Vec<End>> {
        let mut ends = Vec::new();
        let mut ways: Vec<_> = plan.courses().iter().map(|course| (course.placement, course.waiting)).collect();
        ways.sort_unstable();
        ways.dedup();
        for (placement, waiting) in ways {
            self.place_sides(placement, cpus, allowed)?;
            let prefix = name_at(self.prefix, placement.name());
            for transport in self.transports {
                let is_skipped = skipped.iter().any(|(name, _)| name == transport.name());
                if is_skipped || !transport.can_wait(waiting) {
                    continue;
                }
                let longest = plan.longest().min(transport.longest());
                match self.open(*transport, ends.len(), &prefix, longest, waiting) {
                    Ok(runner) => ends.push(End { transport: transport.name(), placement, waiting, runner }),
                    Err(error) => skipped.push((transport.name().to_owned(), error.to_string())),
                }
            }
        }
        Ok(ends)
    }

    fn open(
        &mut self,
        transport: &dyn Transport,
        end: usize,
        prefix: &Path,
        longest: usize,
        waiting: Waiting,
    ) -> io::Result<Box<dyn Runner>> {
        let opening = transport.begin(prefix, longest, waiting)?;
        let name = transport.name().to_owned();
        self.control.send(Order::Open { end, transport: name, waiting, longest, address: opening.address() })?;
        let runner = opening.finish();
        let there = self.control.expect("ok");
        match (runner, there) {
            (Ok(runner), Ok(())) => Ok(runner),
            // What the second side says is the cause, if it says something.
            (_, Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }

    /// The rows: what was opened, with the floors that belong to it.
    fn rows(&self, plan: &Plan, ends: &[End], two_cpus: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        for course in plan.courses() {
            if !two_cpus && (course.placement == Placement::Pinned || course.waiting == Waiting::Busy) {
                continue;
            }
            let row = |name: &str, is_floor| Row::new(course, name, is_floor, Vec::new());
            match (course.pattern, course.waiting) {
                (Pattern::Throughput, _) => rows.push(row("memcpy", true)),
                (Pattern::RoundTrip, Waiting::Asleep) => rows.push(row(Floor::Futex.name(), true)),
                (Pattern::RoundTrip, _) if two_cpus => {
                    rows.push(row(Floor::OneLine.name(), true));
                    rows.push(row(Floor::TwoLines.name(), true));
                }
                (Pattern::RoundTrip, _) => {}
            }
            for transport in self.transports {
                let opened = ends.iter().any(|end| end.is_for(transport.name(), course));
                if opened && is_possible(*transport, course) {
                    rows.push(row(transport.name(), false));
                }
            }
        }
        rows
    }

    /// Puts both sides where they are to run.
    fn place_sides(&mut self, at: Placement, cpus: Option<(usize, usize)>, allowed: &[usize]) -> io::Result<()> {
        let (here, there) = match (at, cpus) {
            (Placement::Pinned, Some((here, there))) => (vec![here], vec![there]),
            _ => (allowed.to_vec(), allowed.to_vec()),
        };
        cpus::allow(&here)?;
        self.control.send(Order::Cpus(there))?;
        self.control.expect("ok")
    }

    /// Where the host has the two CPUs now.
    fn regime(&mut self, two_cpus: bool) -> io::Result<Regime> {
        if !two_cpus {
            return Ok(Regime::OneCpu);
        }
        let (nanos, ..) = self.floor(Floor::TwoLines, 5000)?;
        Ok(if nanos < NEAR { Regime::Near } else { Regime::Far })
    }

    /// Nanoseconds of a turn of a floor, and what both sides used for all turns.
    fn floor(&mut self, floor: Floor, count: u64) -> io::Result<(f64, [Usage; 2])> {
        self.control.send(Order::Floor { name: floor.name().to_owned(), count })?;
        self.control.expect("ok")?;
        let (before, start) = (Usage::of_thread(), now());
        floor::ping(self.words, floor, count)?;
        let nanos = (now() - start) as f64 / count as f64;
        let usage = Usage::of_thread().since(before);
        let outcome = Outcome::parse(&self.control.receive()?)?;
        Ok((nanos, [usage, outcome.usage]))
    }

    fn turn(&mut self, row: &Row, ends: &mut [End], regime: Regime, is_first: bool) -> io::Result<Turn> {
        let (course, count) = (row.course, row.count);
        let per = |value: u64| value as f64 / count as f64;
        let both = |[here, there]: [Usage; 2]| (per(here.cpu + there.cpu), per(here.sleeps.min(there.sleeps)));
        if row.name == "memcpy" && row.is_floor {
            let nanos = floor::memcpy(course.size, count);
            return Ok(Turn { regime, nanos, cpu: nanos, sleeps: 0.0, calls: None, times: Vec::new() });
        }
        if let (true, Some(floor)) = (row.is_floor, Floor::named(&row.name)) {
            let (nanos, usage) = self.floor(floor, count)?;
            let (cpu, sleeps) = both(usage);
            return Ok(Turn { regime, nanos, cpu, sleeps, calls: None, times: Vec::new() });
        }
        let found = ends.iter_mut().enumerate().find(|(_, end)| end.is_for(&row.name, course));
        let (number, end) = found.ok_or_else(|| io::Error::other("a row without a transport"))?;
        let end = &mut end.runner;
        let context = |error: io::Error| io::Error::new(error.kind(), format!("measuring {}: {error}", row.name));
        let Course { pattern, size, .. } = course;
        let order = |count| Order::Run { end: number, pattern, size, count };
        self.control.send(order(count))?;
        self.control.expect("ok").map_err(context)?;
        let (before, calls) = (Usage::of_thread(), end.calls());
        let (nanos, outcome) = match pattern {
            Pattern::Throughput => {
                let start = end.send_messages(size, count).map_err(context)?;
                let outcome = Outcome::parse(&self.control.receive().map_err(context)?)?;
                (outcome.end.saturating_sub(start), outcome)
            }
            Pattern::RoundTrip => {
                let nanos = end.ping(size, count).map_err(context)?;
                (nanos, Outcome::parse(&self.control.receive().map_err(context)?)?)
            }
        };
        let usage = Usage::of_thread().since(before);
        let calls = end.calls().zip(calls).map(|(after, before)| after - before);
        let calls = calls.zip(outcome.calls).map(|(here, there)| per(here + there));
        let (cpu, sleeps) = both([usage, outcome.usage]);
        let mut times = Vec::new();
        if pattern == Pattern::RoundTrip && !is_first {
            let count = count.min(MOST_TIMED);
            self.control.send(order(count))?;
            self.control.expect("ok").map_err(context)?;
            end.ping_timed(size, count, &mut times).map_err(context)?;
            self.control.receive().map_err(context)?;
        }
        Ok(Turn { regime, nanos: nanos as f64 / count as f64, cpu, sleeps, calls, times })
    }
}
