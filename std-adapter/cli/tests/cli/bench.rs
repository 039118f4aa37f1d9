//! `smstream bench`: its tables, its bad input, and what it leaves behind.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;

use crate::command::{Dir, Running, smstream};
use crate::terminal::Terminal;

/// The shortest measurement: the figures do not matter here.
const SHORT: [&str; 7] = ["bench", "--sizes", "8,4k", "--rounds", "1", "--turn", "1"];

/// A user has memory for so few POSIX message queues that two measurements at once do not get theirs.
static QUEUES: Mutex<()> = Mutex::new(());

/// What a measurement of this process leaves behind.
fn traces(pid: u32) -> Vec<String> {
    let prefix = format!("smstream-bench-{pid}-");
    let places = ["/dev/shm".into(), "/dev/mqueue".into(), std::env::temp_dir()];
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|it| it.starts_with(&prefix)).collect()
}

#[test]
fn every_transport_has_its_row() {
    let _alone = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Running::start(&mut smstream(SHORT));
    let pid = bench.id();
    let text = String::from_utf8(bench.end().expect(0).stdout).expect("text");
    for part in [
        "Throughput one way, default settings",
        "Round trip, both sides sleep",
        "floor: memcpy",
        "floor: futex",
        "smstream-unix",
        "pipe",
        "unix-stream",
        "unix-seqpacket",
        "tcp",
        "posix-queue",
        "sysv-queue",
        "4 KiB",
    ] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }
    assert!(!text.contains("was left out"), "{text}");
    assert_eq!(traces(pid), Vec::<String>::new());
}

#[test]
fn the_long_table_has_percentiles_and_calls() {
    let bench = Running::start(smstream(SHORT).args(["--long", "--only", "smstream,pipe", "--pattern", "round-trip"]));
    let text = String::from_utf8(bench.end().expect(0).stdout).expect("text");
    for part in ["Round trip of 4 KiB", "p99.9", "longest", "CPU", "calls", "x smstream"] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }
}

#[test]
fn the_picture_shows_what_was_measured() {
    let dir = Dir::new();
    let path = dir.path("figures.svg");
    let mut command = smstream(SHORT);
    command.args(["--only", "smstream,pipe", "--plot"]).arg(&path);
    Running::start(&mut command).end().expect(0);
    let text = fs::read_to_string(path).expect("a picture");
    assert!(text.starts_with("<svg") && text.contains("smstream") && text.contains("GB/s"), "{text}");
}

#[test]
fn sizes_and_names_that_cannot_be_are_refused() {
    for (option, value, says) in [
        ("--sizes", "0", "give at least 1"),
        ("--sizes", "257M", "at most 256 MiB"),
        ("--sizes", "x", "a size starts with a digit"),
        ("--only", "carrier-pigeon", "possible values"),
        ("--rounds", "0", "1..=1000"),
    ] {
        Running::start(&mut smstream(["bench", option, value])).end().expect(2).saying(says);
    }
}

/// With one CPU nothing spins, and the tables are shorter.
#[test]
fn one_cpu_is_enough() {
    let mut command = Command::new("taskset");
    command.args(["1", env!("CARGO_BIN_EXE_smstream")]).args(SHORT).args(["--only", "smstream,pipe"]);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let text = String::from_utf8(Running::start(&mut command).end().expect(0).stdout).expect("text");
    assert!(text.contains("Only one CPU is allowed here") && !text.contains("pinned"), "{text}");
}

/// The first signal ends it with what there is, the second at once; neither leaves anything.
#[test]
fn an_interrupted_measurement_leaves_nothing_behind() {
    let long = ["bench", "--sizes", "64", "--rounds", "1000", "--turn", "50", "--only", "smstream,pipe"];
    let bench = Running::start(&mut smstream(long));
    let pid = bench.id();
    // It handles signals before it starts its second process.
    crate::command::in_the_end(|| second_process(pid));
    bench.signal(Signal::INT);
    bench.signal(Signal::INT);
    let ended = bench.end();
    // With a table, without one if no round was over, or at once.
    assert!(matches!(ended.status.code(), Some(0 | 1 | 130)), "{ended:?}");
    assert_eq!(traces(pid), Vec::<String>::new());
}

/// Ctrl-C reaches all that runs on the terminal; the second process is not meant, and goes on till the first one has its turn.
#[test]
fn ctrl_c_on_a_terminal_shows_what_there_is() {
    let long = ["bench", "--sizes", "64", "--rounds", "1000", "--turn", "5", "--only", "smstream,pipe"];
    let mut terminal = Terminal::run(Command::new(env!("CARGO_BIN_EXE_smstream")).args(long));
    // Past the first round, which does not count: there is something to show.
    terminal.shows("  1 %");
    terminal.keys("\x03");
    terminal.shows("Throughput one way");
    assert_eq!(terminal.code(), Some(0));
}

/// Killed while it measures: no names are left, and the queues that have none go with the second process.
#[test]
fn a_killed_measurement_leaves_nothing_behind() {
    let _alone = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    let long = ["bench", "--sizes", "64", "--rounds", "1000", "--turn", "1", "--pattern", "round-trip"];
    let bench = Running::start(&mut smstream(long));
    let pid = bench.id();
    let second = crate::command::in_the_end(|| second_process(pid));
    // All kinds are open when there is traffic over the one that was opened last.
    crate::command::in_the_end(|| (!queues(&[pid, second]).is_empty()).then_some(()));
    bench.signal(Signal::KILL);
    bench.end();
    crate::command::in_the_end(|| (!Path::new(&format!("/proc/{second}")).exists()).then_some(()));
    assert_eq!(queues(&[pid, second]), Vec::<String>::new());
    assert_eq!(traces(pid), Vec::<String>::new());
}

/// The number of the measurement's second process, once it is there.
fn second_process(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The System V message queues that these processes were the last to use.
fn queues(users: &[u32]) -> Vec<String> {
    let table = fs::read_to_string("/proc/sysvipc/msg").expect("the system's message queues");
    let is_theirs = |line: &&str| {
        let last: Vec<_> = line.split_whitespace().skip(5).take(2).collect();
        last.iter().any(|pid| users.iter().any(|user| user.to_string() == **pid))
    };
    table.lines().skip(1).filter(is_theirs).map(str::to_owned).collect()
}
