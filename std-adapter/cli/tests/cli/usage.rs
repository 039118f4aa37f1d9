//! Wrong command lines, and help.

use std::fs::File;

use crate::command::{Dir, Running, smstream, through_shell};

#[test]
fn wrong_command_lines() {
    let wrong: &[&[&str]] = &[
        &[],
        &["fly"],
        &["listen"],
        &["listen", "x/"],
        &["listen", "file:"],
        &["listen", "file:x", "file:y"],
        &["listen", "--capacity", "0", "file:x"],
        &["listen", "--capacity", "lots", "file:x"],
        &["listen", "--capacity", "513MiB", "file:x"],
        &["listen", "--capacity", "99999999999999999999", "file:x"],
        &["listen", "--capacity", "-1", "file:x"],
        &["listen", "--wait", "1", "file:x"],
        &["listen", "--max-capacity", "0", "file:x"],
        &["listen", "--mode", "888", "unix:x"],
        &["listen", "--spin", "5", "file:x"],
        &["listen", "--idle", "0", "file:x"],
        &["listen", "--max-connections", "2", "file:x"],
        &["listen", "--recv-only", "--send-only", "file:x"],
        &["connect", "-z", "file:x", "--", "true"],
        &["connect", "--allow-user", "1", "--allow-any-user", "unix:x"],
        &["proxy", "unix:x", "unix:./x"],
        &["proxy", "shm:/x", "file:/dev/shm/x"],
        &["proxy", "--allow-address", "1.2.3.4/40", "tcp:127.0.0.1:0", "file:x"],
        &["proxy", "--keepalive", "soon", "file:x", "uds:x"],
        &["connect"],
        &["connect", "--wait", "soon", "file:x"],
        &["connect", "--wait", "-1", "file:x"],
        &["connect", "--progress=maybe", "file:x"],
        &["listen", "file:x", "cat"],
        &["proxy"],
        &["proxy", "file:x"],
        &["proxy", "file:x", "file:x"],
        &["proxy", "file:x", "http://x"],
        &["proxy", "tcp:80", "file:x"],
        &["proxy", "file:x", "uds:"],
        &["completions"],
        &["completions", "csh"],
        &["demo", "file:x"],
        &["demo", "--capacity", "1GiB"],
        &["demo", "--capacity", "1k"],
        &["demo", "--rounds", "4"],
        &["demo", "--bytes", "many"],
    ];
    for args in wrong {
        let ended = Running::start(&mut smstream(*args)).end().expect(2);
        assert!(ended.stdout.is_empty() && ended.stderr.starts_with("smstream: "), "{args:?}: {ended:?}");
    }
}

#[test]
fn every_help_shows_examples_and_exit_codes() {
    let commands = ["listen", "connect", "proxy", "demo", "completions", "man"].map(|command| [command, "--help"]);
    for args in [&["--help"][..]].into_iter().chain(commands.iter().map(|args| &args[..])) {
        let ended = Running::start(&mut smstream(args)).end().expect(0);
        let text = String::from_utf8(ended.stdout).expect("text");
        for part in ["Usage: smstream", "Examples:", "Exit codes:"] {
            assert!(text.contains(part), "no '{part}' in the help of {args:?}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(!text.contains("demo-peer"));
    }
    let ended = Running::start(&mut smstream(["--version"])).end().expect(0);
    assert!(ended.stdout.starts_with(b"smstream "));
}

#[test]
fn help_that_cannot_be_written_is_no_panic() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    Running::start(smstream(["--help"]).stdout(full)).end().expect(1).saying("No space left");
    Running::start(&mut through_shell(">&-", &["--help"])).end().expect(1).saying("it is not open");
}

#[test]
fn the_hidden_command_is_no_way_in() {
    let dir = Dir::new();
    let file = File::create(dir.path("x")).expect("a file");
    drop(file);
    let file = File::open(dir.path("x")).expect("a file");
    Running::start(smstream(["demo-peer", "1"]).stdin(file)).end().expect(1);
}
