//! What could not be seen.

use super::process::command;
use std::fmt;
use std::io;

/// What could not be seen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// Whether the system failed, rather than kept it from this user, or there is no way to know it.
    pub failed: bool,
}

impl Skipped {
    /// What gave an error.
    #[must_use]
    pub fn by_error(what: impl Into<String>, e: &io::Error) -> Self {
        let failed = e.kind() != io::ErrorKind::PermissionDenied;
        Self { what: what.into(), why: e.to_string(), failed }
    }

    /// What cannot be known, and why.
    pub(super) fn unknown(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), failed: false }
    }

    /// Something of a process gave an error.
    pub(super) fn process(pid: u32, e: &io::Error) -> Self {
        Self::by_error(format!("process {pid} ({})", command(pid)), e)
    }

    /// Some descriptors of a process, each with the error that it gave.
    pub(super) fn descriptors(pid: u32, errors: &[io::Error]) -> Option<Self> {
        let (first, rest) = errors.split_first()?;
        Some(match rest.len() {
            0 => Self::process(pid, first),
            others => {
                let failed = errors.iter().any(|e| e.kind() != io::ErrorKind::PermissionDenied);
                let why = format!("{first}, and {others} more of its descriptors");
                Self { why, failed, ..Self::process(pid, first) }
            }
        })
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_one_line_however_many_descriptors_are_hidden() {
        let hidden = |number| io::Error::other(format!("descriptor {number}: Permission denied"));
        let of = |count: u32| {
            let errors: Vec<_> = (0..count).map(hidden).collect();
            Skipped::descriptors(u32::MAX, &errors).map(|skipped| skipped.why)
        };
        assert_eq!(of(0), None);
        assert_eq!(of(1).unwrap(), "descriptor 0: Permission denied");
        assert_eq!(of(3).unwrap(), "descriptor 0: Permission denied, and 2 more of its descriptors");
    }
}
