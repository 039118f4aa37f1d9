//! What could not be seen.

use super::process::command;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What could not be seen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// Whether the system failed, rather than kept what is another user's from this one, or there is no way to know it.
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

    /// What is open here, or is every user's to see, gave an error.
    pub(super) fn failure(what: impl Into<String>, e: &io::Error) -> Self {
        Self { failed: true, ..Self::by_error(what, e) }
    }

    /// A directory gave an error. The system shows a user all that is the user's own.
    pub(super) fn directory(path: &Path, what: impl Into<String>, e: &io::Error) -> Self {
        let skipped = Self::by_error(what, e);
        Self { failed: skipped.failed || is_own(path), ..skipped }
    }

    /// Something that a process has gave an error.
    pub(super) fn of_process(pid: u32, what: impl Into<String>, e: &io::Error) -> Self {
        let skipped = Self::by_error(what, e);
        Self { failed: skipped.failed || is_own_process(pid), ..skipped }
    }

    /// Something of a process gave an error.
    pub(super) fn process(pid: u32, e: &io::Error) -> Self {
        Self::of_process(pid, format!("process {pid} ({})", command(pid)), e)
    }

    /// The list of what a process has open gave an error.
    pub(super) fn all_descriptors(pid: u32, e: &io::Error) -> Self {
        match Self::process(pid, e) {
            failed if failed.failed => failed,
            kept => Self::unknown(kept.what, "its descriptors are not shown to this user"),
        }
    }

    /// Some descriptors of a process, each with the error that it gave.
    pub(super) fn descriptors(pid: u32, errors: &[io::Error]) -> Option<Self> {
        let (first, rest) = errors.split_first()?;
        Some(match rest.len() {
            0 => Self::process(pid, first),
            others => {
                let failed = errors.iter().any(|e| Self::process(pid, e).failed);
                let why = format!("{first}, and {others} more of its descriptors");
                Self { why, failed, ..Self::process(pid, first) }
            }
        })
    }
}

/// Whether a process is this user's, and one into which its user may look: what lies below the directory of one that gives nothing
/// away of itself (`PR_SET_DUMPABLE`) belongs to root.
///
/// # References
/// [proc_pid(5)](https://man7.org/linux/man-pages/man5/proc_pid.5.html)
fn is_own_process(pid: u32) -> bool {
    ["", "/fd"].iter().all(|below| is_own(Path::new(&format!("/proc/{pid}{below}"))))
}

/// Whether it is this user's. What has gone, or cannot be asked, is not.
fn is_own(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.uid() == rustix::process::geteuid().as_raw())
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

    #[test]
    fn what_the_system_keeps_from_the_own_user_is_a_failure() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        for own in
            [Skipped::process(std::process::id(), &denied), Skipped::all_descriptors(std::process::id(), &denied)]
        {
            assert!(own.failed && own.why == denied.to_string(), "{own}");
        }
        let hidden = Skipped::descriptors(std::process::id(), &[denied, io::ErrorKind::PermissionDenied.into()]);
        assert!(hidden.unwrap().failed);
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let other = Skipped::all_descriptors(u32::MAX, &denied);
        assert!(!other.failed && other.why.ends_with("not shown to this user"), "{other}");
        let broken = Skipped::all_descriptors(u32::MAX, &io::Error::other("no"));
        assert!(broken.failed, "{broken}");
    }
}
