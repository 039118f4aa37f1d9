//! What came of the plays, clause by clause.

use super::clauses::{ALL, Clause};
use super::plan::{Over, Play};
use super::trouble::Trouble;
use super::words::Speaks;
use crate::json::Json;
use crate::style::{Paint, Role};

/// What is known of a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// A play about it went well.
    Pass(&'static str),
    /// It was broken.
    Fail(String),
    /// No play got so far.
    Unreached(String),
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Outcome::Pass(_) => "pass",
            Outcome::Fail(_) => "fail",
            Outcome::Unreached(_) => "not reached",
        }
    }

    fn text(&self) -> &str {
        match self {
            Outcome::Pass(text) => text,
            Outcome::Fail(text) | Outcome::Unreached(text) => text,
        }
    }
}

/// What came of the plays so far.
#[derive(Debug)]
pub struct Report {
    lines: Vec<(Clause, Outcome)>,
}

impl Report {
    /// Nothing was played yet: the clauses of a level, over this kind of address, with a peer that echoes this.
    pub fn new(level: u8, over: Over, speaks: Speaks) -> Self {
        let due = ALL.iter().filter(|clause| clause.level <= level && clause.fits(over, speaks));
        let line = |clause: &Clause| {
            let why = match clause.unseen {
                "" if speaks == Speaks::Bytes && clause.is_of_records() => "the peer echoes bytes: try --records",
                "" => "no play for this role and kind of address",
                unseen => unseen,
            };
            (*clause, Outcome::Unreached(why.to_owned()))
        };
        Self { lines: due.map(line).collect() }
    }

    /// Notes what came of a play.
    pub fn note(&mut self, play: &Play, result: Result<(), Trouble>) {
        match result {
            Ok(()) => self.set(play.about, |was| match was {
                Outcome::Unreached(_) => Outcome::Pass(play.name),
                other => other,
            }),
            Err(trouble) if !trouble.reached => self.set(play.about, |was| match was {
                Outcome::Unreached(_) => Outcome::Unreached(trouble.text.clone()),
                other => other,
            }),
            Err(trouble) => {
                let named = self.lines.iter().any(|(clause, _)| trouble.clauses.contains(&clause.name));
                let broken = if named { &trouble.clauses[..] } else { play.about };
                let text = format!("{}: {}", play.name, trouble.text);
                self.set(broken, |was| match was {
                    Outcome::Fail(_) => was,
                    _ => Outcome::Fail(text.clone()),
                });
                self.set(play.about, |was| match was {
                    Outcome::Unreached(_) => Outcome::Unreached(format!("the play did not get so far: {}", play.name)),
                    other => other,
                });
            }
        }
    }

    fn set(&mut self, clauses: &[&str], change: impl Fn(Outcome) -> Outcome) {
        for (clause, outcome) in &mut self.lines {
            if clauses.contains(&clause.name) {
                *outcome = change(outcome.clone());
            }
        }
    }

    /// Keeps the lines of these clauses, if any are named, and of what is broken.
    pub fn keep(&mut self, only: &[&str]) {
        self.lines.retain(|(clause, outcome)| {
            only.is_empty() || only.contains(&clause.name) || matches!(outcome, Outcome::Fail(_))
        });
    }

    /// The clauses that are broken.
    pub fn failed(&self) -> usize {
        self.lines.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Fail(_))).count()
    }

    fn count(&self, name: &str) -> usize {
        self.lines.iter().filter(|(_, outcome)| outcome.name() == name).count()
    }

    /// A line for each clause, and how many there are of each.
    pub fn text(&self, quiet: bool, paint: Paint) -> String {
        let mut text = String::new();
        for (clause, outcome) in &self.lines {
            let role = match outcome {
                Outcome::Pass(_) if quiet => continue,
                Outcome::Pass(_) => Role::Good,
                Outcome::Fail(_) => Role::Bad,
                Outcome::Unreached(_) if quiet => continue,
                Outcome::Unreached(_) => Role::Faint,
            };
            text += &format!(
                "{} {:<4} {}\n",
                paint.text(role, format!("{:<11}", outcome.name())),
                clause.name,
                outcome.text()
            );
        }
        let failed = self.failed();
        let sum = format!("{} pass, {failed} fail, {} not reached", self.count("pass"), self.count("not reached"));
        text + &paint.text(if failed == 0 { Role::Good } else { Role::Bad }, sum) + "\n"
    }

    /// The clauses as JSON.
    pub fn json(&self) -> Json {
        let line = |(clause, outcome): &(Clause, Outcome)| {
            Json::Object(vec![
                ("clause", Json::text(clause.name)),
                ("level", Json::Whole(u64::from(clause.level))),
                ("verdict", Json::text(outcome.name())),
                ("text", Json::text(outcome.text())),
            ])
        };
        Json::List(self.lines.iter().map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::trouble::{broke, unreached};

    fn a_play(about: &'static [&'static str]) -> Play {
        Play { name: "a play", about, level: 1, over: Over::Both, role: None, speaks: Speaks::Bytes, run: |_| Ok(()) }
    }

    fn verdict<'a>(report: &'a Report, name: &str) -> &'a str {
        let line = report.lines.iter().find(|(clause, _)| clause.name == name).expect("a clause");
        line.1.name()
    }

    #[test]
    fn a_failure_stays_and_names_what_is_broken() {
        let mut report = Report::new(1, Over::File, Speaks::Bytes);
        report.note(&a_play(&["C5", "C8"]), Ok(()));
        report.note(&a_play(&["C5", "C6"]), Err(broke(&["C5"], "it went back")));
        report.note(&a_play(&["C5"]), Ok(()));
        assert_eq!(["C5", "C6", "C8"].map(|name| verdict(&report, name)), ["fail", "not reached", "pass"]);
        // What the play is about, where nothing is named.
        report.note(&a_play(&["X1", "X2"]), Err(broke(&[], "it hung")));
        report.note(&a_play(&["F12"]), Err(unreached("it may")));
        assert_eq!(["X1", "X2", "F12"].map(|name| verdict(&report, name)), ["fail", "fail", "not reached"]);
        assert_eq!(report.failed(), 3);
        let text = report.text(true, Paint::off());
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("it went back") && text.contains("3 fail"), "{text}");
    }

    #[test]
    fn only_what_is_due() {
        let names = |level, over| {
            Report::new(level, over, Speaks::Bytes).lines.into_iter().map(|(clause, _)| clause.name).collect::<Vec<_>>()
        };
        assert!(!names(1, Over::File).contains(&"K1") && names(2, Over::File).contains(&"K1"));
        assert!(!names(3, Over::File).contains(&"S1") && names(3, Over::Socket).contains(&"G1"));
    }
}
