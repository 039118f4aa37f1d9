//! What a worker says, a line each.

use crate::outcome::{Outcome, Wrong};
use std::fmt;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// How many cells there are in the worker's share.
    Cells(usize),
    /// A call that the table does not have.
    Unlisted { scenario: String, call: String },
    /// What came of a scenario in an environment.
    Row { row: String, scenario: String, outcome: Outcome },
    /// What came of a cell.
    Cell { scenario: String, call: String, error: String, nth: usize, outcome: Outcome },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flat = |text: &str| text.replace(['\n', '\t'], " ");
        match self {
            Line::Cells(n) => write!(f, "cells\t{n}"),
            Line::Unlisted { scenario, call } => write!(f, "unlisted\t{scenario}\t{call}"),
            Line::Row { row, scenario, outcome } => {
                let (kind, message) = words(outcome);
                write!(f, "row\t{row}\t{scenario}\t{kind}\t{}", flat(message))
            }
            Line::Cell { scenario, call, error, nth, outcome } => {
                let (kind, message) = words(outcome);
                write!(f, "cell\t{scenario}\t{call}\t{error}\t{nth}\t{kind}\t{}", flat(message))
            }
        }
    }
}

impl Line {
    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split('\t').collect();
        match words.as_slice() {
            ["cells", n] => Some(Line::Cells(n.parse().ok()?)),
            ["unlisted", scenario, call] => {
                Some(Line::Unlisted { scenario: (*scenario).to_owned(), call: (*call).to_owned() })
            }
            ["row", row, scenario, kind, message] => {
                let outcome = outcome(kind, message)?;
                Some(Line::Row { row: (*row).to_owned(), scenario: (*scenario).to_owned(), outcome })
            }
            ["cell", scenario, call, error, nth, kind, message] => {
                let outcome = outcome(kind, message)?;
                let [scenario, call, error] = [scenario, call, error].map(|text| (*text).to_owned());
                Some(Line::Cell { scenario, call, error, nth: nth.parse().ok()?, outcome })
            }
            _ => None,
        }
    }
}

/// An outcome as two words.
fn words(outcome: &Outcome) -> (String, &str) {
    match outcome {
        Outcome::NotReached => ("not reached".to_owned(), ""),
        Outcome::Success => ("success".to_owned(), ""),
        Outcome::Error(text) => ("error".to_owned(), text.as_str()),
        Outcome::Ended(text) => ("ended".to_owned(), text.as_str()),
        Outcome::Wrong(wrong, text) => (wrong.to_string(), text.as_str()),
    }
}

/// And back.
fn outcome(kind: &str, message: &str) -> Option<Outcome> {
    let message = message.to_owned();
    let wrongs = [Wrong::Hang, Wrong::Panic, Wrong::Leak, Wrong::Lie, Wrong::Unclear, Wrong::Stuck];
    Some(match kind {
        "not reached" => Outcome::NotReached,
        "success" => Outcome::Success,
        "error" => Outcome::Error(message),
        "ended" => Outcome::Ended(message),
        kind => Outcome::Wrong(wrongs.into_iter().find(|wrong| wrong.to_string() == kind)?, message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let cell =
            |outcome| Line::Cell { scenario: "a b".into(), call: "c".into(), error: "E".into(), nth: 3, outcome };
        let lines = [
            Line::Cells(7),
            Line::Unlisted { scenario: "a b".into(), call: "c".into() },
            cell(Outcome::Success),
            Line::Row { row: "no /proc".into(), scenario: "a b".into(), outcome: Outcome::Ended("memory".into()) },
            cell(Outcome::Error("it failed".into())),
            cell(Outcome::Wrong(Wrong::Lie, "it lied".into())),
        ];
        for line in lines {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
    }
}
