//! The same loss gives the same exit code, every time and on both sides.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::process::Stdio;

use rustix::process::Signal;

use crate::command::{Dir, Running, feed, in_the_end, reach, smstream, through_shell, within_time};

/// How often each is tried: some went well by chance.
const TIMES: usize = 10;

/// `smstream connect` that says one line.
fn say_hello(addr: &str) -> Running {
    let (connector, input) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", addr]));
    feed(input, b"hello\n".to_vec()).join().expect("fed");
    connector
}

#[test]
fn a_command_that_leaves_bytes_unread() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        let listener = Running::start(&mut smstream(["listen", "-k", &addr, "--", "true"]));
        for _ in 0..TIMES {
            say_hello(&addr).end().expect(1);
        }
        listener.signal(Signal::TERM);
        listener.end();
        // One that lives until the bytes have arrived, and reads none of them.
        let listener = Running::start(&mut smstream(["listen", &addr, "--", "sleep", "1"]));
        say_hello(&addr).end().expect(1).saying("died without closing");
        listener.end().expect(1).saying("sleep did not read the last 6 bytes");
    }
}

#[test]
fn a_command_that_takes_all_or_was_sent_nothing() {
    let dir = Dir::new();
    let listener = Running::start(&mut smstream(["listen", "-k", &dir.addr(), "--", "sh", "-c", "cat >&2"]));
    for _ in 0..TIMES {
        say_hello(&dir.addr()).end().expect(0);
        Running::start(&mut smstream(["connect", "--wait", "60", &dir.addr()])).end().expect(0);
    }
    listener.signal(Signal::TERM);
    assert_eq!(listener.end().stderr, "hello\n".repeat(TIMES));
}

#[test]
fn a_command_that_a_signal_kills() {
    let dir = Dir::new();
    for script in ["kill -KILL $$", "cat >&2; kill -KILL $$", "echo half an answer; kill -KILL $$"] {
        for _ in 0..TIMES {
            let listener = Running::start(&mut smstream(["listen", &dir.addr(), "--", "sh", "-c", script]));
            let connector = Running::start(&mut smstream(["connect", "--wait", "60", &dir.addr()]));
            connector.end().expect(1);
            let ended = listener.end();
            assert_eq!(ended.status.code(), Some(128 + 9), "{script}: {ended:?}");
            assert!(ended.stderr.contains("sh was killed by signal 9"), "{script}: {ended:?}");
        }
    }
}

#[test]
fn an_output_that_takes_nothing() {
    let dir = Dir::new();
    for _ in 0..TIMES {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let listener = Running::start(smstream(["listen", &dir.addr()]).stdout(full));
        say_hello(&dir.addr()).end().expect(1).saying("died without closing");
        listener.end().expect(1).saying("No space left");
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let (listener, input) = Running::start_with_input(&mut smstream(["listen", &dir.addr()]));
        feed(input, b"hello\n".to_vec()).join().expect("fed");
        let connect = ["connect", "--wait", "60", &dir.addr()];
        Running::start(smstream(connect).stdout(full)).end().expect(1).saying("No space left");
        listener.end().expect(1).saying("died without closing");
    }
}

#[test]
fn a_closed_output_is_refused_before_there_is_a_connection() {
    let dir = Dir::new();
    for command in ["listen", "connect"] {
        let ended = Running::start(&mut through_shell(">&-", &[command, &dir.addr()])).end().expect(1);
        ended.saying("standard output is not open").saying("--send-only");
        assert!(!dir.path("stream").exists(), "it listened");
    }
    // Who only sends needs none.
    let listener = Running::start(through_shell(">&-", &["listen", "--send-only", &dir.addr()]).stdin(Stdio::null()));
    drop(reach(&dir.addr()));
    listener.end().expect(0);
}

#[test]
fn a_process_that_the_command_leaves_behind_holds_nothing_up() {
    let dir = Dir::new();
    let listener = Running::start(&mut smstream(["listen", &dir.addr(), "--", "sh", "-c", "sleep 60 & echo done"]));
    let mut peer = reach(&dir.addr());
    let start = std::time::Instant::now();
    let mut heard = String::new();
    within_time(move || {
        peer.read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "done\n");
    });
    assert_eq!(listener.end_of_process(), Some(0));
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "it waited for the process in the background");
}

#[test]
fn all_that_a_command_has_written_arrives() {
    let dir = Dir::new();
    let script = "head -c 300000 /dev/zero; exec sh -c 'exit 5'";
    let listener = Running::start(&mut smstream(["listen", &dir.addr(), "--", "sh", "-c", script]));
    let mut peer = reach(&dir.addr());
    within_time(move || {
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).expect("read");
        assert_eq!(heard.len(), 300_000);
    });
    listener.end().expect(5);
}

#[test]
fn input_that_cannot_be_asked_is_no_closed_one() {
    let dir = Dir::new();
    // Every fcntl(F_GETFD) of the first descriptors fails, with another error than that they are not open.
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "trace=fcntl", "-e", "inject=fcntl:error=EINTR:when=1..2"]);
    if strace.arg("true").output().is_err() {
        // Without strace, which CI installs, there is no such error.
        return;
    }
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "trace=fcntl", "-e", "inject=fcntl:error=EINTR:when=1..2"]);
    strace.arg(env!("CARGO_BIN_EXE_smstream")).args(["connect", "--wait", "60", &dir.addr()]);
    strace.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (connector, input) = Running::start_with_input(&mut strace);
    let listener = smstream::Listener::bind(dir.addr()).expect("a listener");
    let fed = feed(input, b"hello\n".to_vec());
    within_time(move || {
        let mut heard = String::new();
        listener.accept().expect("a connection").read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "hello\n");
    });
    fed.join().expect("fed");
    connector.end().expect(0);
}

#[test]
fn a_region_cut_short_is_an_error_and_no_crash() {
    let dir = Dir::new();
    let (listener, _input) = Running::start_with_input(&mut smstream(["listen", "-k", &dir.addr()]));
    let path = dir.path("stream");
    in_the_end(|| path.exists().then_some(()));
    let region = File::options().write(true).open(&path).expect("the region");
    let mut peer = reach(&dir.addr());
    peer.write_all(b"x").expect("written");
    let mut listener = listener;
    listener.expect_stdout(b"x");
    // SIGBUS here would kill the test.
    std::mem::forget(peer);
    region.set_len(0).expect("cut");
    listener.expect_stderr("smstream: ");
    listener.signal(Signal::TERM);
    assert_eq!(listener.end().status.code(), Some(128 + 15));
}

#[test]
fn an_idle_connection_is_broken_off_and_both_say_so() {
    let dir = Dir::new();
    let (listener, input) = Running::start_with_input(&mut smstream(["listen", "-w", "0.2", &dir.addr()]));
    let mut peer = reach(&dir.addr());
    let error = within_time(move || peer.read(&mut [0; 1])).expect_err("no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    listener.end().expect(1).saying("nothing has gone either way").saying("--idle");
    drop(input);
}
