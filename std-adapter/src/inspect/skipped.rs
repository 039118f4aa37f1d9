//! What could not be seen.

use super::process::command;
use std::fmt;

/// What could not be seen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Skipped {
    /// Something of a process.
    pub(super) fn process(pid: u32, why: impl fmt::Display) -> Self {
        Self { what: format!("process {pid} ({})", command(pid)), why: why.to_string() }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}
