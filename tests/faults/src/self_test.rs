//! Shows that the harness notices: programs that are broken on purpose, each where one certain call of its own fails, and what
//! must be said of each. What is not broken must be said to be right.

use crate::cell;
use crate::judge::Expected;
use crate::names;
use crate::outcome::{Outcome, Wrong};
use crate::report::Report;
use crate::result::Line;
use crate::room::Room;
use crate::rule::Rule;
use crate::scenario::{self, Scenario};
use crate::work;
use std::io;

/// The call, which neither the library nor the command makes, and its error.
const CALL: &str = "getcwd";
const ERROR: &str = "ENOENT";

/// What must be said.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Wrong(Wrong),
    Unlisted,
    Error,
    Success,
}

/// Of which scenario the tried program is broken, in what way, and what must be said, with these words in it.
type Case = (&'static str, &'static str, Verdict, &'static str);

const CASES: [Case; 31] = [
    ("connect unix both", "hang", Verdict::Wrong(Wrong::Hang), "it does not end"),
    ("connect unix both", "panic", Verdict::Wrong(Wrong::Panic), "on purpose"),
    ("connect unix both", "quits", Verdict::Wrong(Wrong::Panic), "it has not said how it ended"),
    ("connect unix both", DEAF, Verdict::Wrong(Wrong::Hang), "the partner does not notice that it has ended"),
    ("connect unix both", "process", Verdict::Wrong(Wrong::Hang), "what it has started does not end"),
    ("connect unix both", "descriptor", Verdict::Wrong(Wrong::Leak), "there is open"),
    ("connect unix both", "mapping", Verdict::Wrong(Wrong::Leak), "there is open"),
    ("connect unix both", "file", Verdict::Wrong(Wrong::Leak), "forgotten is left"),
    ("connect unix both", "loses-bytes", Verdict::Wrong(Wrong::Lie), "the partner has not got all"),
    ("connect unix both", "other-bytes", Verdict::Wrong(Wrong::Lie), "other bytes"),
    ("connect unix both", "unclear", Verdict::Wrong(Wrong::Unclear), "os error"),
    ("connect unix both", "stuck", Verdict::Wrong(Wrong::Stuck), "the second time failed"),
    ("connect unix both", "unlisted", Verdict::Unlisted, "number 121"),
    ("connect unix both", "error", Verdict::Error, "cannot find the directory"),
    ("connect unix both", "goes-on", Verdict::Success, ""),
    ("smstream connect unix", "hang", Verdict::Wrong(Wrong::Hang), "it does not end, and gives no reason"),
    ("smstream connect unix", "loses-bytes", Verdict::Wrong(Wrong::Lie), "bytes are lost"),
    ("smstream connect unix", "does-nothing", Verdict::Wrong(Wrong::Lie), "bytes are lost"),
    ("smstream connect unix", "process", Verdict::Wrong(Wrong::Hang), "what it has started does not end"),
    ("smstream connect unix", "file", Verdict::Wrong(Wrong::Leak), "forgotten is left"),
    ("smstream connect unix", "error", Verdict::Error, "cannot find the directory"),
    ("smstream connect unix", "goes-on", Verdict::Success, ""),
    ("smstream proxy unix", "does-nothing", Verdict::Wrong(Wrong::Lie), "the parties do not"),
    ("smstream ls", "panic", Verdict::Wrong(Wrong::Panic), "on purpose"),
    ("smstream ls", "abort", Verdict::Wrong(Wrong::Panic), "ended by signal 6"),
    ("smstream ls", "shows-less", Verdict::Wrong(Wrong::Lie), "does not say why"),
    ("smstream ls", "file", Verdict::Wrong(Wrong::Leak), "forgotten is left"),
    ("smstream ls", "mute", Verdict::Wrong(Wrong::Unclear), "no message"),
    ("smstream ls", "unclear", Verdict::Wrong(Wrong::Unclear), "os error"),
    ("smstream ls", "error", Verdict::Error, "cannot find the directory"),
    ("smstream ls", "goes-on", Verdict::Success, ""),
];

/// Not the tried party is broken, which ends at once, but its partner: it does not notice that.
const DEAF: &str = "deaf";

/// Does this worker's share of them, and writes what comes of each to standard output.
pub fn work(share: (usize, usize)) -> io::Result<()> {
    let room = Room::enter()?;
    let scenarios = scenario::all(&room);
    let error = names::error(ERROR).unwrap_or(libc::ENOENT);
    for (number, (of, wrong, verdict, words)) in
        CASES.into_iter().enumerate().filter(|(number, _)| number % share.1 == share.0)
    {
        let scenario = scenarios.iter().find(|scenario| scenario.name == of);
        let scenario = scenario.ok_or_else(|| io::Error::other(format!("no scenario is called {of}")))?;
        let mut looked = work::look(broken(scenario, wrong, &room), &room)?;
        if wrong == DEAF {
            looked.scenario.partner.iter_mut().for_each(|partner| DEAF.clone_into(&mut partner.arguments[0]));
        }
        let hangs = matches!(verdict, Verdict::Wrong(Wrong::Hang)).then_some(words);
        let expected = Expected { usual: Some(&looked.usual), hangs, ..Expected::default() };
        let rule = Rule::Once { key: CALL.into(), error, nth: 1 };
        let shown = cell::run(&looked.scenario, rule, &room, expected)?;
        let scenario = looked.scenario.name;
        for call in shown.watched.unlisted {
            println!("{}", Line::Unlisted { scenario: scenario.clone(), call });
        }
        let (call, error) = (CALL.to_owned(), ERROR.to_owned());
        println!("{}", Line::Cell { scenario, call, error, nth: number, outcome: shown.outcome });
    }
    Ok(())
}

/// The same scenario with a program that is broken.
fn broken(scenario: &Scenario, wrong: &str, room: &Room) -> Scenario {
    let mut broken = scenario.clone();
    let arguments = &mut broken.tried.arguments;
    if broken.tried.file.ends_with("smstream") {
        arguments.insert(0, wrong.to_owned());
        broken.tried.file = room.programs.join("faults-broken");
    } else {
        arguments[0] = format!("broken-{}", if wrong == DEAF { "quits" } else { wrong });
    }
    broken.name = format!("{}, broken: {wrong}", scenario.name);
    broken
}

/// Whether of each was said what must be said. It says so.
pub fn judge(lines: &[Line]) -> bool {
    let mut well = true;
    for (number, (of, wrong, verdict, words)) in CASES.into_iter().enumerate() {
        let name = format!("{of}, broken: {wrong}");
        let fits = |line: &&Line| match line {
            Line::Cell { nth, .. } => *nth == number,
            Line::Unlisted { scenario, .. } => *scenario == name,
            _ => false,
        };
        let of_it: Vec<&Line> = lines.iter().filter(fits).collect();
        // A run in which this came would fail, or pass.
        let mut report = Report::default();
        let said: Vec<String> = of_it.iter().filter_map(|line| report.add((*line).clone())).collect();
        let is_right = is_right(verdict, words, &of_it) && report.is_well() != is_wrong(verdict) && of_it.len() <= 2;
        let mark = if is_right { "as it must be" } else { "NOT AS IT MUST BE" };
        let said: String = if is_right { said.join("; ").chars().take(120).collect() } else { format!("{of_it:?}") };
        println!("{name}: {mark}, {verdict:?}: {said}");
        well &= is_right;
    }
    println!(
        "self-test: {} programs, {}",
        CASES.len(),
        if well { "all as they must be" } else { "NOT all as they must be" }
    );
    well
}

fn is_wrong(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Wrong(_) | Verdict::Unlisted)
}

fn is_right(verdict: Verdict, words: &str, lines: &[&Line]) -> bool {
    let outcomes =
        lines.iter().filter_map(|line| if let Line::Cell { outcome, .. } = line { Some(outcome) } else { None });
    let outcomes: Vec<&Outcome> = outcomes.collect();
    let is_listed = !lines.iter().any(|line| matches!(line, Line::Unlisted { .. }));
    match (verdict, &outcomes[..]) {
        (Verdict::Wrong(kind), [Outcome::Wrong(said, text)]) => is_listed && kind == *said && text.contains(words),
        (Verdict::Error, [Outcome::Error(text)]) => is_listed && text.contains(words),
        (Verdict::Success, [Outcome::Success]) => is_listed,
        (Verdict::Unlisted, [Outcome::Success]) => {
            lines.iter().any(|line| matches!(line, Line::Unlisted { call, .. } if call.contains(words)))
        }
        _ => false,
    }
}
