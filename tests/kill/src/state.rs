//! What a process does and has, as the system shows it.

use std::fs;

/// System calls that wait for another process.
const WAITS: [i64; 9] = [
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_connect,
    libc::SYS_recvmsg,
];

/// Whether this system call can wait for another process.
pub fn waits(call: u64) -> bool {
    WAITS.contains(&(call as i64))
}

/// Whether the first thread of a process sleeps in a system call, in which it waits for another process.
pub fn sleeps(pid: i32) -> bool {
    let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/task/{pid}/{what}")).unwrap_or_default();
    let asleep = read("stat").rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'));
    asleep && read("syscall").split(' ').next().and_then(|n| n.parse().ok()).is_some_and(waits)
}

/// Where the first thread of a process is.
pub fn place(pid: i32) -> String {
    let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    format!("system call {}, {}", read("syscall").trim(), read("wchan").trim())
}

/// What this process has of everything that could leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belongings {
    descriptors: usize,
    shared_mappings: usize,
    threads: usize,
}

impl Belongings {
    pub fn now() -> Self {
        let entries = |what: &str| fs::read_dir(format!("/proc/self/{what}")).expect("this process").count();
        let maps = fs::read_to_string("/proc/self/maps").expect("this process");
        let shared = maps.lines().filter(|l| l.split(' ').nth(1).is_some_and(|flags| flags.ends_with('s'))).count();
        Belongings { descriptors: entries("fd"), shared_mappings: shared, threads: entries("task") }
    }

    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Belongings {
            descriptors: self.descriptors.max(other.descriptors),
            shared_mappings: self.shared_mappings.max(other.shared_mappings),
            threads: self.threads.max(other.threads),
        }
    }

    /// Whether there is no more of anything than there.
    pub fn is_within(&self, most: &Self) -> bool {
        self.max(*most) == *most
    }
}

/// The names in a directory, in order; what stands for chance in them as `*`.
pub fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the scratch directory");
    let mut names: Vec<_> = entries
        .map(|entry| {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            match name.strip_prefix(".smstream-").and_then(|rest| rest.split_once('.')) {
                Some((_, kind)) => format!(".smstream-*.{kind}"),
                None => name,
            }
        })
        .collect();
    names.sort();
    names
}

/// The code of this program in memory.
pub fn own_text() -> std::ops::Range<u64> {
    let own = fs::read_link("/proc/self/exe").expect("this program");
    let maps = fs::read_to_string("/proc/self/maps").expect("this process");
    let line = maps
        .lines()
        .find(|l| l.ends_with(&*own.to_string_lossy()) && l.split(' ').nth(1) == Some("r-xp"))
        .expect("this program is mapped");
    let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    number(from)..number(to)
}
