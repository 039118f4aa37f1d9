//! Two ends in a shell, as people type them: on a terminal, in a script, under nohup.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};

use crate::command::{Dir, Running, in_the_end, noise, reach, smstream, within_time};
use crate::terminal::Terminal;

/// The first example that README has for the shell.
fn readme() -> Vec<String> {
    let text = include_str!("../../../../README.md");
    let (_, section) = text.split_once("\n## From the shell\n").expect("the section");
    let (_, block) = section.split_once("```sh\n").expect("an example");
    let (block, _) = block.split_once("```").expect("its end");
    let lines: Vec<String> = block.lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("smstream listen") && lines[1].starts_with("smstream connect"), "{lines:?}");
    lines
}

/// The same in a directory of the test's own.
fn readme_in(dir: &Dir) -> Vec<String> {
    let chat = dir.path("chat").display().to_string();
    readme().iter().map(|line| line.replace("/tmp/chat", &chat)).collect()
}

#[test]
fn the_first_example_of_the_readme_in_an_interactive_shell() {
    let dir = Dir::new();
    fs::write(dir.path("sent"), noise(9, 3_000_000)).expect("a file");
    let mut shell = Terminal::shell(&dir.path(""));
    let lines = readme_in(&dir);
    shell.keys(&format!("{}\n", lines[0]));
    shell.keys(&format!("{}; echo \"connect: $?.\"\n", lines[1]));
    shell.shows("connect: 0.");
    shell.keys("wait $!; echo \"listen: $?.\"\n");
    shell.shows("listen: 0.");
    assert!(fs::read(dir.path("received")).expect("a file") == noise(9, 3_000_000));
    assert!(!dir.path("chat").exists(), "the name was left");
}

/// The example of this package's own README: what comes after the installation.
fn own_readme_in(dir: &Dir) -> Vec<String> {
    let (_, block) = include_str!("../../README.md").split_once("cargo install smstream-cli\n\n").expect("an example");
    let (block, _) = block.split_once("```").expect("its end");
    let chat = dir.path("chat").display().to_string();
    block.lines().map(|line| line.replace("/tmp/chat", &chat)).collect()
}

#[test]
fn the_first_example_of_each_readme_in_a_script() {
    for lines_in in [readme_in, own_readme_in] {
        let dir = Dir::new();
        in_a_script(&dir, &lines_in(&dir));
    }
}

fn in_a_script(dir: &Dir, lines: &[String]) {
    fs::write(dir.path("sent"), noise(9, 3_000_000)).expect("a file");
    let script = format!("set -e; PATH=\"$1:$PATH\"; {}\n{}\nwait $!", lines[0], lines[1]);
    let here = std::path::Path::new(env!("CARGO_BIN_EXE_smstream")).parent().expect("a directory");
    let mut sh = Command::new("sh");
    sh.args(["-c", &script, "sh"]).arg(here).current_dir(dir.path(""));
    sh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(&mut sh).end().expect(0);
    assert!(fs::read(dir.path("received")).expect("a file") == noise(9, 3_000_000));
}

#[test]
fn a_listener_under_nohup_ends_with_the_file() {
    let dir = Dir::new();
    fs::write(dir.path("sent"), noise(9, 300_000)).expect("a file");
    let mut shell = Terminal::shell(&dir.path(""));
    let lines = readme_in(&dir);
    shell.keys(&format!("nohup {}\n", lines[0]));
    shell.keys(&format!("{}; echo \"connect: $?.\"\n", lines[1]));
    shell.shows("connect: 0.");
    shell.keys("wait $!; echo \"listen: $?.\"\n");
    shell.shows("listen: 0.");
    assert!(fs::read(dir.path("received")).expect("a file") == noise(9, 300_000));
}

#[test]
fn keys_for_the_shell_do_not_stop_a_listener_in_the_background() {
    let dir = Dir::new();
    let mut shell = Terminal::shell(&dir.path(""));
    shell.keys(&format!("smstream listen {} > received &\n", dir.addr()));
    in_the_end(|| dir.path("stream").exists().then_some(()));
    let mut peer = reach(&dir.addr());
    peer.write_all(b"x").expect("written");
    in_the_end(|| fs::read(dir.path("received")).is_ok_and(|got| got == b"x").then_some(()));
    // Keys that no program reads for a while lie on the terminal, for all who look.
    shell.keys("sleep 1\nkeys that wait\necho \"jobs: $(jobs -s | wc -l).\"\n");
    shell.shows("jobs: 0.");
    peer.shutdown(Shutdown::Write).expect("shut down");
    within_time(move || assert_eq!(peer.read(&mut [0; 1]).expect("the end"), 0));
    shell.keys("wait; echo \"ended.\"\n");
    shell.shows("\r\nended.");
}

#[test]
fn a_terminal_that_shows_nothing_is_not_waited_for() {
    let dir = Dir::new();
    let mut shell = Terminal::shell(&dir.path(""));
    shell.keys(&format!("smstream listen {} > received; echo \"listen: $?.\"\n", dir.addr()));
    let mut peer = reach(&dir.addr());
    peer.write_all(b"that was all").expect("written");
    peer.shutdown(Shutdown::Write).expect("shut down");
    // It ends although this end lives on.
    let peer = within_time(move || {
        assert_eq!(peer.read(&mut [0; 1]).expect("the end"), 0);
        peer
    });
    drop(peer);
    shell.shows("listen: 0.");
    assert_eq!(fs::read(dir.path("received")).expect("a file"), b"that was all");
}

#[test]
fn a_person_may_go_on_talking_and_learns_how_to_end() {
    let dir = Dir::new();
    let mut terminal = Terminal::run(Command::new(env!("CARGO_BIN_EXE_smstream")).args(["listen", &dir.addr()]));
    let mut peer = reach(&dir.addr());
    peer.write_all(b"a question\n").expect("written");
    peer.shutdown(Shutdown::Write).expect("shut down");
    terminal.shows("a question");
    terminal.shows("Ctrl-D");
    terminal.keys("an answer\n\x04");
    let mut heard = String::new();
    within_time(move || {
        peer.read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "an answer\n");
    });
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn a_peer_that_has_closed_and_lives_on_ends_an_idle_connection() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        let (listener, input) = Running::start_with_input(&mut smstream(["listen", &addr]));
        let peer = reach(&addr);
        peer.shutdown(Shutdown::Both).expect("shut down");
        listener.end().expect(0);
        drop((input, peer));
    }
}

#[test]
fn a_listener_that_does_not_accept_is_mentioned() {
    let dir = Dir::new();
    let listener = smstream::Listener::bind(dir.addr()).expect("a listener");
    let mut terminal = Terminal::run(Command::new(env!("CARGO_BIN_EXE_smstream")).args(["connect", &dir.addr()]));
    terminal.shows("has not accepted yet");
    let peer = within_time(move || listener.accept().expect("a connection"));
    drop(peer);
    assert_eq!(terminal.code(), Some(0));
}
