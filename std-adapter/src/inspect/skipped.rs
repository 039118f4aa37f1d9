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
}

impl Skipped {
    /// Something of a process.
    pub(super) fn process(pid: u32, why: impl fmt::Display) -> Self {
        Self { what: format!("process {pid} ({})", command(pid)), why: why.to_string() }
    }

    /// Some descriptors of a process, each with the error that it gave.
    pub(super) fn descriptors(pid: u32, errors: &[io::Error]) -> Option<Self> {
        let (first, rest) = errors.split_first()?;
        Some(match rest.len() {
            0 => Self::process(pid, first),
            others => Self::process(pid, format_args!("{first}, and {others} more of its descriptors")),
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
