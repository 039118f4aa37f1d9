//! A worker: it sees which calls a scenario makes, and makes each of them fail.

use crate::calls;
use crate::cell;
use crate::group::Group;
use crate::judge::Expected;
use crate::names;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::result::Line;
use crate::room::Room;
use crate::row::{self, Row};
use crate::rule::Rule;
use crate::scenario::{self, Kind, Scenario};
use crate::setup::Setup;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::time::{Duration, Instant};

/// How often each scenario runs without a fault, to see what it uses: threads may be faster or slower.
const LOOKS: usize = 2;
/// Up to this use each one fails; of more, each that is half as much again.
const EACH: usize = 12;
/// How many seconds a listener waits where no connection may ever come about.
const SHORT: &str = "2";
/// And otherwise: longer than a scenario may take.
const LONG: &str = "100";
/// How many environments, each with a scenario, a sample has.
const ROWS: usize = 60;

/// What a scenario does without a fault.
pub struct Looked {
    /// How it is done when calls fail.
    pub scenario: Scenario,
    /// What is open, or was said.
    pub usual: String,
    uses: BTreeMap<String, usize>,
}

/// One fault.
struct Fault {
    looked: usize,
    key: String,
    error: &'static str,
    nth: usize,
}

/// Works until all is done or the time since it has looked is over, and writes what comes of it to standard output.
pub fn work(options: &Options) -> io::Result<()> {
    let room = Room::enter()?;
    let mut looked = Vec::new();
    let (share, shares) = options.share;
    for (number, scenario) in scenario::all(&room).into_iter().enumerate() {
        if number % shares == share && options.only.as_ref().is_none_or(|only| scenario.name.contains(only)) {
            looked.push(look(scenario, &room)?);
        }
    }
    // A slow machine takes long to look, and has something to do all the same.
    let began = Instant::now();
    let rows = if options.cell.is_some() { Vec::new() } else { rows(&looked, options) };
    for (row, scenario) in &rows {
        // The other half is for the faults.
        if options.time.is_some_and(|time| began.elapsed() > time / 2) {
            break;
        }
        match in_row(row, scenario, &room)? {
            Some(line) => println!("{line}"),
            None => println!("{} cannot be made here, and is not tried", row.name),
        }
    }
    let mut faults = faults(&looked, options);
    faults.sort_by_cached_key(|fault| hash(&(options.seed, name(&looked, fault))));
    // Of each scenario as many as of any other, as long as there are some.
    let mut ranks = vec![0; looked.len()];
    faults.sort_by_cached_key(|fault| {
        ranks[fault.looked] += 1;
        ranks[fault.looked]
    });
    println!("{}", Line::Cells(faults.len()));
    for fault in &faults {
        if options.time.is_some_and(|time| began.elapsed() > time) {
            break;
        }
        let looked = &looked[fault.looked];
        let error = names::error(fault.error).unwrap_or(libc::EINVAL);
        let expected = Expected {
            usual: Some(&looked.usual),
            // A name of which the system says that it has gone, and has not, is in the way.
            lasting: ["unlink", "newfstatat"].iter().any(|key| fault.key.starts_with(key)) && fault.error == "ENOENT",
            gone: matches!(fault.error, "ENOENT" | "ESRCH"),
            mute: fault.key.starts_with("write"),
            no_reader: fault.key.starts_with("write") && fault.error == "EPIPE",
            hangs: None,
        };
        let rule = Rule::Once { key: fault.key.clone(), error, nth: fault.nth };
        let shown = cell::run(&looked.scenario, rule, &room, expected)?;
        unlisted(&looked.scenario, &shown.watched.unlisted);
        let (scenario, call) = (looked.scenario.name.clone(), fault.key.clone());
        let line = Line::Cell { scenario, call, error: fault.error.into(), nth: fault.nth, outcome: shown.outcome };
        println!("{line}");
    }
    Ok(())
}

/// The environments, each with each scenario.
fn rows(looked: &[Looked], options: &Options) -> Vec<(Row, Scenario)> {
    let each = row::all().into_iter().flat_map(|row| looked.iter().map(move |one| (row.clone(), one.scenario.clone())));
    let mut each: Vec<_> = each.filter(|(row, scenario)| row.fits(scenario)).collect();
    each.retain(|(row, _)| options.row.as_ref().is_none_or(|text| row.name.contains(text)));
    if options.time.is_some() {
        each.sort_by_cached_key(|(row, scenario)| hash(&(options.seed, &row.name, &scenario.name)));
    }
    if options.time.is_some_and(|time| time <= SAMPLE) {
        each.truncate(ROWS / options.share.1);
    }
    each
}

/// One scenario in one environment.
fn in_row(row: &Row, scenario: &Scenario, room: &Room) -> io::Result<Option<Line>> {
    let mut scenario = scenario.clone();
    let group = match row.memory.map(Group::with_memory).transpose()? {
        None => None,
        Some(Some(group)) => Some(group),
        Some(None) => return Ok(None),
    };
    scenario.tried.setup.extend(group.as_ref().map(|group| Setup::Group(group.members())));
    scenario.tried.setup.extend(row.setup.iter().cloned());
    if scenario.kind == Kind::Party {
        scenario.tried.arguments.truncate(4);
        scenario.tried.arguments.push(SHORT.to_owned());
    }
    if let Some(pages) = row.pages {
        room.fill(pages)?;
    }
    let shown = cell::run(&scenario, row.rule.clone(), room, Expected { lasting: true, ..Expected::default() });
    room.empty()?;
    Ok(Some(Line::Row { row: row.name.clone(), scenario: scenario.name, outcome: shown?.outcome }))
}

fn unlisted(scenario: &Scenario, calls: &BTreeSet<String>) {
    for call in calls {
        println!("{}", Line::Unlisted { scenario: scenario.name.clone(), call: call.clone() });
    }
}

/// Without a fault, several times.
pub fn look(scenario: Scenario, room: &Room) -> io::Result<Looked> {
    let mut looked = Looked { scenario, usual: String::new(), uses: BTreeMap::new() };
    for _ in 0..LOOKS {
        let shown = cell::run(&looked.scenario, Rule::Count, room, Expected::default())?;
        unlisted(&looked.scenario, &shown.watched.unlisted);
        if shown.outcome != Outcome::NotReached {
            let text = format!("{} fails without a fault: {:?}", looked.scenario.name, shown.outcome);
            return Err(io::Error::other(text));
        }
        looked.usual = shown.usual;
        for (key, uses) in shown.watched.uses {
            let most = looked.uses.entry(key).or_default();
            *most = uses.max(*most);
        }
    }
    if looked.scenario.kind == Kind::Party {
        // So that it waits for what is closed in the background.
        looked.scenario.tried.arguments.extend([LONG.to_owned(), looked.usual.clone()]);
    }
    Ok(looked)
}

/// All faults.
fn faults(looked: &[Looked], options: &Options) -> Vec<Fault> {
    let mut all = Vec::new();
    if options.row.is_some() {
        return all;
    }
    for (index, one) in looked.iter().enumerate() {
        for (key, uses) in &one.uses {
            for error in calls::errors(key) {
                let each = nths(*uses).into_iter();
                all.extend(each.map(|nth| Fault { looked: index, key: key.clone(), error, nth }));
            }
        }
    }
    all.retain(|fault| options.cell.as_ref().is_none_or(|cell| name(looked, fault).starts_with(cell)));
    all
}

fn name(looked: &[Looked], fault: &Fault) -> String {
    format!("{}|{}|{}|{}", looked[fault.looked].scenario.name, fault.key, fault.error, fault.nth)
}

/// Which uses fail, of so many.
fn nths(uses: usize) -> BTreeSet<usize> {
    let mut some = BTreeSet::from([uses]);
    let mut nth = 1;
    while nth < uses {
        some.insert(nth);
        nth = if nth < EACH { nth + 1 } else { nth + nth / 2 };
    }
    some
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// How long a sample takes, after it has seen what there is, if nothing else is said.
pub const SAMPLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_uses_and_the_last_one() {
        assert_eq!(nths(3), BTreeSet::from([1, 2, 3]));
        let many = nths(100);
        assert!((1..=12).all(|n| many.contains(&n)));
        assert!(many.contains(&100) && many.len() < 20);
    }
}
