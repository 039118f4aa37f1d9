//! All results together: the table.

use crate::judge::plain;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::result::Line;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;

/// Where the table is, from the directory of the repository.
const DOCUMENT: &str = "docs/FAULTS.md";
const BEGIN: &str = "<!-- faults: begin, by tests/faults/run --write -->\n";
const END: &str = "<!-- faults: end -->\n";

/// What programs have written may be bytes of any kind.
fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER, ".")
}

/// What came of the cells of one error of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    success: usize,
    error: usize,
    ended: usize,
    wrong: usize,
}

/// All that the workers say.
#[derive(Debug, Default)]
pub struct Report {
    cells: usize,
    done: usize,
    not_reached: usize,
    counts: BTreeMap<String, BTreeMap<String, Counts>>,
    unlisted: BTreeSet<String>,
    wrong: Vec<String>,
    rows: Vec<(String, String, Outcome)>,
    messages: BTreeMap<String, String>,
    scenarios: BTreeSet<String>,
}

impl Report {
    /// Adds a line. What is wrong, if it is.
    pub fn add(&mut self, line: Line) -> Option<String> {
        let (scenario, call, error, nth, outcome) = match line {
            Line::Cells(n) => {
                self.cells += n;
                return None;
            }
            Line::Unlisted { scenario, call } => {
                let is_new = self.unlisted.insert(format!("{scenario}: {call}"));
                return is_new.then(|| format!("not in the table of errors: {call}, in the scenario \"{scenario}\""));
            }
            Line::Row { row, scenario, outcome } => {
                return self.add_row(row, scenario, outcome);
            }
            Line::Cell { scenario, call, error, nth, outcome } => (scenario, call, error, nth, outcome),
        };
        self.done += 1;
        self.scenarios.insert(scenario.clone());
        let name = format!("{scenario}|{call}|{error}|{nth}");
        let counts = self.counts.entry(call).or_default().entry(error).or_default();
        match outcome {
            Outcome::NotReached => self.not_reached += 1,
            Outcome::Success => counts.success += 1,
            Outcome::Error(text) => {
                counts.error += 1;
                self.messages.entry(plain(&text)).or_insert(name);
            }
            Outcome::Ended(text) => {
                counts.ended += 1;
                self.messages.entry(plain(&text)).or_insert(name);
            }
            Outcome::Wrong(wrong, text) => {
                counts.wrong += 1;
                let said = format!("{wrong}: {name}: {}", printable(&text));
                self.wrong.push(name);
                return Some(said);
            }
        }
        None
    }

    fn add_row(&mut self, row: String, scenario: String, outcome: Outcome) -> Option<String> {
        let name = format!("{row}|{scenario}");
        let mut said = None;
        match &outcome {
            Outcome::Wrong(wrong, text) => {
                said = Some(format!("{wrong}: {name}: {}", printable(text)));
                self.wrong.push(name);
            }
            Outcome::Error(text) | Outcome::Ended(text) => {
                self.messages.entry(plain(text)).or_insert(name);
            }
            Outcome::Success | Outcome::NotReached => {}
        }
        self.rows.push((row, scenario, outcome));
        said
    }

    /// Whether nothing is wrong, and something was done.
    pub fn is_well(&self) -> bool {
        self.wrong.is_empty() && self.unlisted.is_empty() && (self.done > self.not_reached || !self.rows.is_empty())
    }

    /// Says how it went.
    pub fn show(&self, options: &Options) {
        if options.messages {
            for (message, name) in &self.messages {
                println!("{name}\n    {message}");
            }
        }
        println!("{} scenarios in environments with something missing", self.rows.len());
        println!(
            "{} of {} cells in {} scenarios, seed {}: {} wrong, {} calls not in the table, {} uses were not reached",
            self.done,
            self.cells,
            self.scenarios.len(),
            options.seed,
            self.wrong.len(),
            self.unlisted.len(),
            self.not_reached
        );
    }

    /// Puts the table into the document.
    pub fn write(&self) -> io::Result<()> {
        let text = std::fs::read_to_string(DOCUMENT)?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) =
            parts.ok_or_else(|| io::Error::other(format!("{DOCUMENT} has no place for the table")))?;
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{}{END}{after}", self.table()))
    }

    /// A row for each call: which errors are survived always, sometimes, never.
    fn table(&self) -> String {
        let mut text = String::from(
            "| call | faults | goes on | goes on, or an error, by where it is | an error | the process ends | wrong |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for (call, errors) in &self.counts {
            let all = errors.values().map(|c| c.success + c.error + c.ended + c.wrong).sum::<usize>();
            let list = |fits: &dyn Fn(&Counts) -> bool| {
                let names = errors.iter().filter(|(_, counts)| fits(counts)).map(|(name, _)| name.as_str());
                names.collect::<Vec<_>>().join(" ")
            };
            let columns = [
                list(&|c| c.success > 0 && c.error == 0 && c.ended == 0),
                list(&|c| c.success > 0 && c.error > 0),
                list(&|c| c.success == 0 && c.error > 0),
                list(&|c| c.ended > 0),
                list(&|c| c.wrong > 0),
            ];
            let _ = writeln!(text, "| `{call}` | {all} | {} |", columns.join(" | "));
        }
        let sum = |of: &dyn Fn(&Counts) -> usize| {
            self.counts.values().flat_map(BTreeMap::values).map(of).sum::<usize>().to_string()
        };
        text.push('\n');
        text.push_str(&self.environments());
        let _ = writeln!(
            text,
            "\n{} faults in {} scenarios: {} went on, {} gave an error, {} ended the process, {} were wrong.",
            self.done - self.not_reached,
            self.scenarios.len(),
            sum(&|c| c.success),
            sum(&|c| c.error),
            sum(&|c| c.ended),
            sum(&|c| c.wrong),
        );
        text
    }

    /// A row for each environment.
    fn environments(&self) -> String {
        let mut text = String::from(
            "| environment | scenarios | all goes well | an error | the process ends | wrong |\n|---|---|---|---|---|---|\n",
        );
        let mut names: Vec<&str> = Vec::new();
        for (row, ..) in &self.rows {
            if !names.contains(&row.as_str()) {
                names.push(row);
            }
        }
        names.sort_by_key(|name| (plain(name), name.len()));
        for name in names {
            let of = |fits: &dyn Fn(&Outcome) -> bool| {
                self.rows.iter().filter(|(row, _, outcome)| row == name && fits(outcome)).count()
            };
            let counts = [
                of(&|_| true),
                of(&|o| matches!(o, Outcome::Success | Outcome::NotReached)),
                of(&|o| matches!(o, Outcome::Error(_))),
                of(&|o| matches!(o, Outcome::Ended(_))),
                of(&|o| matches!(o, Outcome::Wrong(..))),
            ];
            let _ = writeln!(text, "| {name} | {} |", counts.map(|n| n.to_string()).join(" | "));
        }
        text
    }
}
