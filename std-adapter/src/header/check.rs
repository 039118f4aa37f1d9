//! One rule, and whether it holds.

use std::fmt;

/// Whether a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Ok,
    /// It does not: no party that follows the rules brings this about.
    Bad,
    /// Nothing is wrong, but a person who looks for a fault wants to know it.
    Note,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Bad => "bad",
            Self::Note => "note",
        }
    }
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The file that holds a region or a segment.
    File,
    /// The segment of a party, 0 or 1.
    Segment(usize),
    /// Both segments together.
    Channel,
    /// The lane that a party sends, 0 or 1.
    Lane(usize),
    /// The lock bytes.
    Locks,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.pad("file"),
            Self::Segment(party) => f.pad(&format!("segment {party}")),
            Self::Channel => f.pad("channel"),
            Self::Lane(party) => f.pad(&format!("lane {party}")),
            Self::Locks => f.pad("locks"),
        }
    }
}

/// One rule, what was found, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// Whether it holds.
    pub verdict: Verdict,
    /// What it is about.
    pub part: Part,
    /// The name of the rule.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
    /// What that means, and what to do about it.
    pub meaning: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, part, rule, found, meaning } = self;
        write!(f, "{:<4}  {part:<9}  {rule:<13}  {found}: {meaning}", verdict.name())
    }
}

/// Checks, in the order they were made.
#[derive(Debug, Default)]
pub(crate) struct Checks(pub(crate) Vec<Check>);

impl Checks {
    pub(crate) fn push(
        &mut self,
        verdict: Verdict,
        part: Part,
        rule: &'static str,
        found: impl Into<String>,
        meaning: impl Into<String>,
    ) {
        self.0.push(Check { verdict, part, rule, found: found.into(), meaning: meaning.into() });
    }

    /// A rule that holds or not, with what either means.
    pub(crate) fn holds(
        &mut self,
        holds: bool,
        (part, rule): (Part, &'static str),
        found: impl Into<String>,
        fine: &str,
        wrong: &str,
    ) {
        let (verdict, meaning) = if holds { (Verdict::Ok, fine) } else { (Verdict::Bad, wrong) };
        self.push(verdict, part, rule, found, meaning);
    }

    /// Whether one of them is bad.
    pub(crate) fn any_bad(&self) -> bool {
        self.0.iter().any(|check| check.verdict == Verdict::Bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_of_columns() {
        let mut checks = Checks::default();
        assert!(!checks.any_bad());
        checks.holds(true, (Part::Segment(1), "party"), "1", "fine", "wrong");
        checks.push(Verdict::Note, Part::Locks, "locks", "none", "an observation");
        assert!(!checks.any_bad());
        checks.holds(false, (Part::Lane(0), "sent_fence"), "2", "fine", "wrong");
        assert!(checks.any_bad());
        let lines = checks.0.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            lines,
            [
                "ok    segment 1  party          1: fine",
                "note  locks      locks          none: an observation",
                "bad   lane 0     sent_fence     2: wrong",
            ]
        );
        assert_eq!((Part::File.to_string(), Part::Channel.to_string()), ("file".into(), "channel".into()));
    }
}
