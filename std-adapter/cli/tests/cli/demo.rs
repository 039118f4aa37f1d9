//! `smstream demo`, from its first line to its last trace.

use std::fs;
use std::thread;

use rustix::process::Signal;

use crate::command::{Running, smstream};

/// The shortest demo: the figures do not matter here.
const SHORT: [&str; 5] = ["demo", "--bytes", "3000001", "--rounds", "5"];

/// What a demo of this process leaves behind.
fn traces(pid: u32) -> Vec<String> {
    let prefix = format!("smstream-demo-{pid}-");
    let places = ["/dev/shm".into(), std::env::temp_dir()];
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|it| it.starts_with(&prefix)).collect()
}

/// The second process, as soon as there is one.
fn second_process(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    loop {
        let children = fs::read_to_string(&path).expect("the demo still runs");
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().expect("a number");
        }
        thread::yield_now();
    }
}

#[test]
fn it_verifies_and_measures() {
    let demo = Running::start(&mut smstream(SHORT));
    let pid = demo.id();
    let ended = demo.end().expect(0);
    let text = String::from_utf8(ended.stdout).expect("text");
    for part in [
        "verified: XXH3",
        "interleaved rounds",
        "smstream, lane of 256 KiB",
        "pipe",
        "Unix socket",
        "floor: bare futex",
    ] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }
    assert!(!text.contains("FAILED"), "{text}");
    assert_eq!(traces(pid), Vec::<String>::new());
}

#[test]
fn json_is_all_that_comes_with_json() {
    let ended = Running::start(smstream(SHORT).args(["--json", "--capacity", "64k"])).end().expect(0);
    let text = String::from_utf8(ended.stdout).expect("text");
    assert!(text.starts_with(r#"{"verification":{"verified":true,"bytes_each_way":3000001,"#), "{text}");
    assert!(text.ends_with("]}}\n") && text.lines().count() == 1, "{text}");
    assert!(text.contains(r#""capacity":65536,"#), "{text}");
    let rows = text.matches(r#""contestant":"#).count();
    let one_processor = thread::available_parallelism().is_ok_and(|count| count.get() == 1);
    assert_eq!(rows, if one_processor { 7 } else { 11 }, "{text}");
}

#[test]
fn the_death_of_the_second_process_is_reported() {
    let mut command = smstream(["demo", "--bytes", "1TiB"]);
    let mut demo = Running::start(&mut command);
    let pid = demo.id();
    demo.expect_stdout(b"Two processes");
    let second = i32::try_from(second_process(pid)).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(second.expect("a process"), Signal::KILL).expect("killed");
    demo.end().expect(1).saying("the second process was killed by signal 9");
    assert_eq!(traces(pid), Vec::<String>::new());
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut demo = Running::start(&mut smstream(["demo", "--bytes", "1TiB"]));
        let pid = demo.id();
        demo.expect_stdout(b"Two processes");
        demo.signal(signal);
        let ended = demo.end();
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        assert_eq!(traces(pid), Vec::<String>::new());
    }
}

/// Over sockets too, with lanes of more than another user may offer.
#[test]
fn large_lanes_over_a_socket() {
    let demo = ["demo", "--over", "unix", "--capacity", "128MiB", "--bytes", "1", "--rounds", "5"];
    let ended = Running::start(&mut smstream(demo)).end().expect(0);
    let text = String::from_utf8(ended.stdout).expect("text");
    assert!(text.contains("(1 byte)") && !text.contains("1 bytes"), "{text}");
}

/// What a SIGKILL leaves is found by `gc`, over each kind of address.
#[test]
fn a_killed_demo_leaves_what_gc_removes() {
    for over in ["file", "unix"] {
        // Without the process that connects the listener would wait for ever; so it is killed while it does.
        let mut demo = Running::start(&mut smstream(["demo", "--bytes", "1TiB", "--over", over]));
        let pid = demo.id();
        demo.expect_stdout(b"Two processes");
        demo.kill();
        drop(demo);
        crate::command::in_the_end(|| {
            Running::start(&mut smstream(["gc", "/dev/shm", &std::env::temp_dir().display().to_string()])).end();
            traces(pid).is_empty().then_some(())
        });
    }
}

#[test]
fn output_that_fails_ends_it() {
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let demo = Running::start(smstream(SHORT).stdout(full));
    let pid = demo.id();
    demo.end().expect(1).saying("No space left");
    assert_eq!(traces(pid), Vec::<String>::new());
}
