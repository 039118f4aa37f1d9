//! `listen ADDR -- COMMAND` and `connect ADDR -- COMMAND`: a program with the stream as its standard input and output.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use rustix::process::Signal;
use smstream::Listener;

use crate::command::{Dir, Running, noise, reach, smstream, within_time};

/// `smstream listen ADDR -- sh -c SCRIPT`.
fn listen(dir: &Dir, script: &str) -> Running {
    Running::start(&mut smstream(["listen", &dir.addr(), "--", "sh", "-c", script]))
}

#[test]
fn a_program_on_either_side() {
    let dir = Dir::new();
    let listener = listen(&dir, "read question; echo \"$question?\"; cat");
    let script = "echo why; read answer; echo \"$answer\" >&2; echo because; exec >&-; cat >&2";
    let connector = Running::start(&mut smstream(["connect", "--wait=60", &dir.addr(), "--", "sh", "-c", script]));
    let ended = connector.end();
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), "why?\nbecause\n"));
    listener.end().expect(0);
}

#[test]
fn much_goes_through_a_program() {
    let dir = Dir::new();
    let listener = Running::start(&mut smstream(["listen", &dir.addr(), "--", "cat"]));
    let stream = reach(&dir.addr());
    let bytes = noise(5, 8_000_001);
    within_time(move || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(&bytes).expect("written");
                stream.shutdown(Shutdown::Write).expect("shut down");
            });
            let mut back = Vec::new();
            (&stream).read_to_end(&mut back).expect("read");
            assert!(back == bytes, "what comes back is something else");
        });
    });
    listener.end().expect(0);
}

#[test]
fn exit_codes() {
    for (script, code) in [("cat >&2; exit 42", 42), ("kill -KILL $$", 128 + 9), ("true", 0)] {
        let dir = Dir::new();
        let listener = listen(&dir, script);
        drop(reach(&dir.addr()));
        assert_eq!(listener.end().status.code(), Some(code), "{script}");
    }
}

#[test]
fn what_cannot_be_run_is_reported_to_both() {
    let dir = Dir::new();
    std::fs::write(dir.path("text"), "no program").expect("a file");
    let text = dir.path("text").display().to_string();
    for (command, code) in [("/no/such/program", 127), (text.as_str(), 126)] {
        let listener = Running::start(&mut smstream(["listen", &dir.addr(), "--", command]));
        let mut peer = reach(&dir.addr());
        let result = within_time(move || peer.read(&mut [0; 1]));
        assert_eq!(result.expect_err("no end of stream").kind(), ErrorKind::ConnectionReset);
        listener.end().expect(code).saying(&format!("could not run {command}: "));
    }
}

#[test]
fn a_program_that_reads_no_more_is_reported_to_the_peer() {
    let dir = Dir::new();
    let listener = Running::start(&mut smstream(["listen", &dir.addr(), "--", "head", "-c", "3"]));
    let mut peer = reach(&dir.addr());
    within_time(move || {
        let error = loop {
            if let Err(error) = peer.write(b"abc") {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let mut heard = String::new();
        peer.read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "abc");
    });
    // That is the program's right.
    listener.end().expect(0);
}

#[test]
fn a_program_learns_that_the_peer_died() {
    let dir = Dir::new();
    // The end of its input alone would have it say that all is well.
    let listener = listen(&dir, "trap 'echo hung up >&2; exit 7' HUP; cat >&2; echo all is well >&2");
    let (mut connector, mut input) = Running::start_with_input(&mut smstream(["connect", "--wait=60", &dir.addr()]));
    input.write_all(b"half a line\n").expect("written");
    let mut listener = listener;
    listener.expect_stderr("half a line\n");
    connector.kill();
    let ended = listener.end();
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    assert!(ended.stderr.starts_with("hung up\n"), "{ended:?}");
    ended.saying("died without closing");
}

#[test]
fn a_success_is_none_if_the_peer_did_not_take_all() {
    let dir = Dir::new();
    let listener = Listener::bind(dir.addr()).expect("a listener");
    // It ends after the peer.
    let script = "echo hello; cat";
    let connector = Running::start(&mut smstream(["connect", &dir.addr(), "--", "sh", "-c", script]));
    within_time(move || {
        let mut peer = listener.accept().expect("a connection");
        peer.read_exact(&mut [0; 1]).expect("read");
    });
    connector.end().expect(1).saying("did not read the last 5 bytes that sh wrote");
}

#[test]
fn it_knows_where_and_who() {
    let dir = Dir::new();
    let listener = listen(&dir, "echo $SMSTREAM_ADDR $SMSTREAM_PEER_PID");
    let mut peer = reach(&dir.addr());
    let mut heard = String::new();
    within_time(move || {
        peer.read_to_string(&mut heard).expect("read");
        assert_eq!(heard, format!("{} {}\n", dir.addr(), std::process::id()));
        drop(dir);
    });
    listener.end().expect(0);
}

#[test]
fn many_at_once_and_no_zombies() {
    let dir = Dir::new();
    let listener = Running::start(&mut smstream(["listen", "-k", &dir.addr(), "--", "cat"]));
    let addr = dir.addr();
    let streams = within_time(move || {
        // All of them are open at once, and each has a program of its own.
        let mut streams: Vec<_> = (0..10).map(|_| reach(&addr)).collect();
        for round in 0..2 {
            for (number, stream) in (round..).zip(&mut streams) {
                stream.write_all(&[number]).expect("written");
                let mut back = [0];
                stream.read_exact(&mut back).expect("read");
                assert_eq!(back, [number]);
            }
        }
        streams
    });
    let children = format!("/proc/{0}/task/{0}/children", listener.id());
    let all_children = move || {
        // A child belongs to the thread that made it.
        let tasks = std::path::Path::new(&children).parent().and_then(|task| task.parent()).expect("a directory");
        let lists = std::fs::read_dir(tasks).expect("its threads").filter_map(|task| {
            // A thread may end meanwhile.
            std::fs::read_to_string(task.ok()?.path().join("children")).ok()
        });
        lists.collect::<String>().split_whitespace().count()
    };
    assert_eq!(all_children(), 10);
    within_time(move || {
        drop(streams);
        while all_children() > 0 {
            std::thread::yield_now();
        }
    });
    listener.signal(Signal::TERM);
    assert_eq!(listener.end().status.code(), Some(128 + 15));
    assert!(!dir.path("stream").exists(), "the name was left");
}

#[test]
fn a_signal_is_passed_on_and_breaks_the_connection_off() {
    let dir = Dir::new();
    let mut listener =
        listen(&dir, "trap 'echo asked to end >&2; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    let mut peer = reach(&dir.addr());
    let mut peer = within_time(move || {
        peer.read_exact(&mut [0; 6]).expect("read");
        peer
    });
    listener.signal(Signal::TERM);
    listener.expect_stderr("asked to end");
    let result = within_time(move || peer.read(&mut [0; 1]));
    assert_eq!(result.expect_err("no end of stream").kind(), ErrorKind::ConnectionReset);
    assert_eq!(listener.end().status.code(), Some(3));
}

#[test]
fn an_interrupt_without_a_connection() {
    for (keep, code) in [(None, 128 + 15), (Some("-k"), 128 + 15)] {
        let dir = Dir::new();
        let addr = dir.addr();
        let args = ["listen"].into_iter().chain(keep).chain([addr.as_str(), "--", "cat"]);
        let listener = Running::start(&mut smstream(args));
        within_time({
            let path = dir.path("stream");
            let handled = format!("/proc/{}/status", listener.id());
            move || {
                // It catches signals before it can be interrupted in order.
                let catches = || {
                    let status = std::fs::read_to_string(&handled).expect("its state");
                    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).expect("a mask");
                    u64::from_str_radix(mask, 16).expect("a number") & 1 << 14 != 0
                };
                while !(path.exists() && catches()) {
                    std::thread::yield_now();
                }
            }
        });
        listener.signal(Signal::TERM);
        assert_eq!(listener.end().status.code(), Some(code));
        assert!(!dir.path("stream").exists(), "the name was left");
    }
}
