//! What a process does and has, as the system shows it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::watchdog::PATIENCE;

/// A sleeper at `file:` whose watch is younger than two seconds asks for itself, at times that double. By then it has stopped doing so.
pub const OLD_WATCH: Duration = Duration::from_secs(4);

/// Waits until `it` is so.
///
/// # Panics
/// If that takes too long.
pub fn until(what: &str, mut it: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !it() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until a thread sleeps on a futex.
pub fn asleep(process: u32, thread: u32) {
    sleeps_in(process, thread, "sleeps on a futex", &[libc::SYS_futex, libc::SYS_futex_waitv]);
}

/// Waits until a thread sleeps for something to come: on a futex, or on descriptors.
pub fn waits(process: u32, thread: u32) {
    let descriptors = [libc::SYS_ppoll, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
    #[cfg(target_arch = "x86_64")]
    let descriptors = [descriptors.as_slice(), &[libc::SYS_poll, libc::SYS_epoll_wait]].concat();
    sleeps_in(process, thread, "waits", &[&[libc::SYS_futex, libc::SYS_futex_waitv], &descriptors[..]].concat());
}

/// Waits until a thread is in one of these system calls.
pub(super) fn sleeps_in(process: u32, thread: u32, what: &str, calls: &[libc::c_long]) {
    let path = format!("/proc/{process}/task/{thread}/syscall");
    until(&format!("thread {thread} of process {process} {what}"), || {
        let now = fs::read_to_string(&path).unwrap_or_default();
        now.split(' ').next().and_then(|n| n.parse::<libc::c_long>().ok()).is_some_and(|n| calls.contains(&n))
    });
}

/// What a process has of everything that could leak: descriptors, shared mappings, threads.
///
/// # Panics
/// If it is gone, or another user's.
#[must_use]
pub fn belongings(pid: u32) -> (usize, usize, usize) {
    let entries = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).expect("a process of ours").count();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process of ours");
    let shared = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|flags| flags.ends_with('s'))).count();
    (entries("fd"), shared, entries("task"))
}
