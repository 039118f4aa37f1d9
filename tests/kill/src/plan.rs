//! Which points are tried, and what came of them.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::operation::{Operation, Rig};
use crate::state;
use crate::trial::{Outcome, Place, Point, Trial};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// Every point of each operation; in a loop only the first and the last visits, if not `every` one is asked for.
    Whole { every: bool },
    /// So many points of each operation to kill at, and a part of them to stop at, chosen by a seed.
    Sample { seed: u64, points: usize },
    /// As much as can be done until then, chosen by a seed.
    Until { seed: u64, end: Instant },
}

/// What came of one operation.
#[derive(Debug, Default)]
pub struct Row {
    pub name: String,
    /// The points that there are: before an instruction of ours, at a system call, asleep in one.
    pub instructions: usize,
    pub calls: usize,
    pub asleep: usize,
    /// What the survivors of killed subjects saw, and how often: in the order of the truth.
    pub saw: Vec<(&'static str, usize)>,
    /// How many subjects were stopped, and went on to what is right.
    pub went_on: usize,
    /// How many went another way before the point.
    pub not_reached: usize,
    /// What is wrong.
    pub wrong: Vec<String>,
}

/// Numbers by chance, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The places of `points`, in an order by chance.
    fn shuffled(&mut self, points: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..points).collect();
        for i in (1..points).rev() {
            order.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
        order
    }
}

/// How many wrong outcomes of one operation are enough.
const ENOUGH: usize = 5;
/// Of so many points that a sample has, subjects are stopped at one.
const STOPPED: usize = 3;

/// Tries an operation. `part`: its share of the time that is left, if there is an end.
pub fn try_out(operation: &dyn Operation, number: usize, extent: Extent, part: f64) -> Row {
    let rig = Rig::new(format!("/dev/shm/smstream-kill-{}-{number}", std::process::id()).into());
    let mut trial = Trial::new(operation, &rig);
    let mut row = Row { name: operation.name(), ..Row::default() };
    let points = match trial.points(matches!(extent, Extent::Whole { every: true })) {
        Ok(points) => points,
        Err(why) => {
            row.wrong.push(why);
            return row;
        }
    };
    for point in &points {
        match point.place {
            Place::Code => row.instructions += 1,
            Place::BeforeCall | Place::AfterCall => row.calls += 1,
            Place::Asleep => row.asleep += 1,
        }
    }
    row.saw = operation.after_a_kill().iter().map(|&outcome| (outcome, 0)).collect();
    let (order, end) = chosen(&points, number, extent, part);
    let mut seen = BTreeMap::new();
    for (turn, &at) in order.iter().enumerate() {
        if row.wrong.len() >= ENOUGH || end.is_some_and(|end| Instant::now() > end) {
            break;
        }
        let point = &points[at];
        match trial.kill_at(point) {
            Outcome::NotReached => row.not_reached += 1,
            Outcome::Wrong(why) => row.wrong.push(format!("killed at {point:?}: {why}")),
            Outcome::Saw(saw) => match row.saw.iter().position(|(outcome, _)| *outcome == saw) {
                Some(n) => {
                    row.saw[n].1 += 1;
                    seen.insert(at, n);
                }
                None => row.wrong.push(format!("killed at {point:?}: {saw}")),
            },
        }
        let stops = matches!(extent, Extent::Whole { .. }) || turn % STOPPED == 0;
        if stops && !operation.shape().never_ends {
            match trial.stop_at(point) {
                Outcome::NotReached => row.not_reached += 1,
                Outcome::Saw(saw) if saw == operation.whole() => row.went_on += 1,
                Outcome::Saw(saw) | Outcome::Wrong(saw) => row.wrong.push(format!("stopped at {point:?}: {saw}")),
            }
        }
    }
    if operation.ordered() {
        row.wrong.extend(out_of_order(&seen, &points, operation.after_a_kill()));
    }
    drop(trial);
    let left = state::names(rig.directory());
    if left.iter().any(|name| name != "name" && name != "name.lock") {
        row.wrong.push(format!("there is {left:?} in the end"));
    }
    row
}

/// The points in the order in which they are tried, and when to stop.
fn chosen(points: &[Point], number: usize, extent: Extent, part: f64) -> (Vec<usize>, Option<Instant>) {
    let by = |seed: u64| Chance(seed ^ (number as u64) << 32).shuffled(points.len());
    match extent {
        Extent::Whole { .. } => ((0..points.len()).collect(), None),
        Extent::Sample { seed, points } => (by(seed).into_iter().take(points).collect(), None),
        Extent::Until { seed, end } => {
            let now = Instant::now();
            (by(seed), Some(now + end.saturating_duration_since(now).mul_f64(part)))
        }
    }
}

/// Two points of which the later one shows less.
fn out_of_order(seen: &BTreeMap<usize, usize>, points: &[Point], outcomes: &[&str]) -> Option<String> {
    let in_order: Vec<_> = seen.iter().collect();
    in_order.windows(2).find(|pair| pair[0].1 > pair[1].1).map(|pair| {
        let said = |(at, n): (&usize, &usize)| format!("{:?}: {}", points[*at], outcomes[*n]);
        format!("what was seen goes back, from {} to {}", said(pair[0]), said(pair[1]))
    })
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Chance, Place, Point, out_of_order};

    #[test]
    fn the_same_seed_gives_the_same_points() {
        let order = Chance(7).shuffled(100);
        assert_eq!(order, Chance(7).shuffled(100));
        assert_ne!(order, Chance(8).shuffled(100));
        let mut all = order;
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100), "each point once");
    }

    #[test]
    fn what_is_seen_must_not_go_back() {
        let points: Vec<_> = (0..4).map(|step| Point::new(step, step as u64, 1, Place::Code)).collect();
        let seen = |saw: [usize; 3]| BTreeMap::from([(0, saw[0]), (1, saw[1]), (3, saw[2])]);
        assert_eq!(out_of_order(&seen([0, 0, 1]), &points, &["nothing", "all"]), None);
        let said = out_of_order(&seen([0, 1, 0]), &points, &["nothing", "all"]).expect("all, then nothing");
        assert!(said.contains("all") && said.contains("step: 3"), "{said}");
    }
}
