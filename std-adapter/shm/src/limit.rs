//! Limits on resources (`ulimit`), also where a filter of system calls denies the question.

use std::fs;
use std::io;

/// The limit that holds at present (the *soft* one): `None` if there is none, or it cannot be found out.
///
/// A filter may deny `prlimit64`, and then there is an answer in `/proc`.
pub(crate) fn soft_limit(resource: Limited) -> Option<u64> {
    let (number, row) = match resource {
        Limited::FileSize => (libc::RLIMIT_FSIZE, "Max file size"),
        #[cfg(feature = "sysv")]
        Limited::LockedMemory => (libc::RLIMIT_MEMLOCK, "Max locked memory"),
    };
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it writes to the struct, which outlives the call.
    if unsafe { libc::getrlimit64(number, &raw mut limit) } == 0 {
        return Some(limit.rlim_cur).filter(|&limit| limit != libc::RLIM64_INFINITY);
    }
    from_table(&fs::read_to_string("/proc/self/limits").ok()?, row)
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    FileSize,
    #[cfg(feature = "sysv")]
    LockedMemory,
}

/// The soft limit in a table as `/proc/PID/limits` has it.
fn from_table(table: &str, row: &str) -> Option<u64> {
    let rest = table.lines().find_map(|line| line.strip_prefix(row))?;
    // `unlimited` is no number.
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// Refuses a size that `RLIMIT_FSIZE` forbids: the kernel would not return an error, it would kill with SIGXFSZ.
///
/// Where the limit cannot be found out, because both `prlimit64` and `/proc` are denied, every size passes.
#[doc(hidden)]
pub fn check_file_size_limit(len: u64) -> io::Result<()> {
    match soft_limit(Limited::FileSize) {
        Some(limit) if len > limit => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the limit on file sizes (RLIMIT_FSIZE, `ulimit -f`) is {limit} bytes; raise it or ask for less"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_kernel_is_read() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max cpu time              unlimited            unlimited            seconds   \n\
                     Max file size             4096                 unlimited            bytes     \n\
                     Max locked memory         unlimited            8388608              bytes     \n";
        assert_eq!(from_table(table, "Max file size"), Some(4096));
        assert_eq!(from_table(table, "Max locked memory"), None);
        assert_eq!(from_table(table, "Max of nothing"), None);
        assert_eq!(from_table("", "Max file size"), None);
    }

    #[test]
    fn the_table_and_the_call_agree() {
        let table = fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(from_table(&table, "Max file size"), soft_limit(Limited::FileSize));
    }

    /// In a process of its own, where the question is forbidden.
    #[test]
    fn helper_denied_limit() {
        let Some(role) = crate::testing::role() else { return };
        let limit = libc::rlimit64 { rlim_cur: 1 << 20, rlim_max: libc::RLIM64_INFINITY };
        // SAFETY: it reads from the struct, which outlives the call.
        assert_eq!(unsafe { libc::setrlimit64(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
        match role.as_str() {
            "denied-limit" => {
                crate::testing::deny(&[libc::SYS_prlimit64]);
                let e = crate::memory::memfd("limit-test", (1 << 20) + 1).unwrap_err();
                assert_eq!(e.kind(), io::ErrorKind::FileTooLarge, "{e}");
                assert!(e.to_string().contains("is 1048576 bytes"), "{e}");
            }
            "denied-limit-and-files" => {
                crate::testing::deny(&[
                    libc::SYS_prlimit64,
                    libc::SYS_openat,
                    // The one that musl uses.
                    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
                    libc::SYS_open,
                ]);
                assert_eq!(soft_limit(Limited::FileSize), None);
            }
            _ => return,
        }
        crate::memory::memfd("limit-test", 1 << 20).unwrap();
    }

    #[test]
    fn a_sandbox_that_denies_the_question_is_answered_by_proc() {
        for role in ["denied-limit", "denied-limit-and-files"] {
            // Several times: what memory holds that was not written can be right by chance.
            for _ in 0..3 {
                let status = crate::testing::helper("limit::tests::helper_denied_limit", role).status().unwrap();
                assert!(status.success(), "{role}: {status}");
            }
        }
    }
}
