//! Which calls fail, and the count of those that were made.

use crate::calls::Call;
use std::collections::{BTreeMap, BTreeSet};

/// What is to fail.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Nothing: the calls are counted.
    Count,
    /// The nth use, from 1.
    Once { key: String, error: i32, nth: usize },
    /// Every use, from the first instruction of `main`.
    Always(Vec<(String, i32)>),
}

/// Where the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The loader and the start of libc and std.
    Before,
    /// What is to be tried.
    Tried,
    /// What comes after it: the same once more, without a fault.
    After,
}

/// What a process is to be asked about, and what came of it.
#[derive(Debug)]
pub struct Watched {
    rule: Rule,
    /// Where it is.
    pub phase: Phase,
    /// How often each was used while it was tried.
    pub uses: BTreeMap<String, usize>,
    /// Calls that the table does not have.
    pub unlisted: BTreeSet<String>,
    /// How many were made to fail.
    pub failed: usize,
}

impl Watched {
    /// With this rule.
    pub fn new(rule: Rule) -> Self {
        Self { rule, phase: Phase::Before, uses: BTreeMap::new(), unlisted: BTreeSet::new(), failed: 0 }
    }

    /// The error that a call is to fail with, if it is.
    pub fn decide(&mut self, call: &Call) -> Option<i32> {
        if self.phase != Phase::Tried {
            return None;
        }
        let Some(key) = call.key() else {
            self.unlisted.insert(call.describe());
            return None;
        };
        let uses = self.uses.entry(key.clone()).or_default();
        *uses += 1;
        let error = match &self.rule {
            Rule::Count => None,
            Rule::Once { key: chosen, error, nth } => (*chosen == key && *nth == *uses).then_some(*error),
            Rule::Always(all) => {
                let name = key.split(':').next().unwrap_or("");
                all.iter().find(|(one, _)| *one == key || one == name).map(|(_, error)| *error)
            }
        };
        self.failed += usize::from(error.is_some());
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Call = Call { number: libc::SYS_read, arguments: [0; 6], own: true };

    #[test]
    fn the_nth_use_alone_fails() {
        let rule = Rule::Once { key: "read".into(), error: libc::EIO, nth: 2 };
        let mut watched = Watched::new(rule);
        assert_eq!(watched.decide(&READ), None, "not before it is tried");
        watched.phase = Phase::Tried;
        let errors: Vec<_> = (0..3).map(|_| watched.decide(&READ)).collect();
        assert_eq!(errors, [None, Some(libc::EIO), None]);
        assert_eq!((watched.uses["read"], watched.failed), (3, 1));
    }

    #[test]
    fn a_call_that_is_not_in_the_table_is_remembered() {
        let mut watched = Watched::new(Rule::Count);
        watched.phase = Phase::Tried;
        watched.decide(&Call { number: libc::SYS_reboot, ..READ });
        assert_eq!(watched.unlisted.len(), 1);
    }
}
