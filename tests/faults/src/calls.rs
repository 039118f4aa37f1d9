//! What can be made to fail: a system call, or one operation of a call that has many, and the errors it is given.

use crate::names;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The errors that the manual names, and where a line is by hand, from where.
const ERRORS: &str = include_str!("../errors.txt");

/// One call of a process: its number, its arguments, and whether it was made by the program's own code, not in a library.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub number: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// The instruction lies in the program.
    pub own: bool,
}

impl Call {
    /// Its name, with its operation where that decides what can go wrong. `None`: it is not in the table.
    pub fn key(&self) -> Option<String> {
        let name = names::call(self.number)?;
        let key = match name {
            "futex" => format!("futex:{}{}", futex(self.arguments[1]), if self.own { "" } else { "-libc" }),
            // glibc and std need memory for their own, and answer its want in their own way.
            "mmap" | "munmap" | "mprotect" | "madvise" if !self.own => format!("{name}:libc"),
            _ => name.to_owned(),
        };
        table().contains_key(key.as_str()).then_some(key)
    }

    /// For a message, where it has no key.
    pub fn describe(&self) -> String {
        match names::call(self.number) {
            Some(name) => format!("{name}{:x?}", self.arguments),
            None => format!("the call of number {}", self.number),
        }
    }
}

fn futex(operation: u64) -> &'static str {
    const WAIT_BITSET: u64 = 9;
    const WAKE_BITSET: u64 = 10;
    match operation & 0x7f {
        0 | WAIT_BITSET => "wait",
        1 | WAKE_BITSET => "wake",
        _ => "other",
    }
}

/// The errors of each key, by name.
pub fn table() -> &'static BTreeMap<&'static str, Vec<&'static str>> {
    static TABLE: OnceLock<BTreeMap<&'static str, Vec<&'static str>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let lines = ERRORS.lines().map(|line| line.split('#').next().unwrap_or(""));
        lines
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, words.collect()))
            })
            .collect()
    })
}

/// The errors that a key is given.
pub fn errors(key: &str) -> &'static [&'static str] {
    table().get(key).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_every_error_is_known() {
        for (key, errors) in table() {
            for error in errors {
                assert!(names::error(error).is_some(), "{key}: {error}");
            }
        }
    }

    #[test]
    fn a_call_that_is_not_in_the_table_has_no_key() {
        let call = |number| Call { number, arguments: [0; 6], own: true };
        assert_eq!(call(libc::SYS_openat).key().as_deref(), Some("openat"));
        assert_eq!(call(libc::SYS_reboot).key(), None);
    }
}
