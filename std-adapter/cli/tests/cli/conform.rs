//! `smstream conform`: this command is found to keep the layout, and a peer that does not is found out.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use smstream::{Builder, Stream};

use crate::command::{Dir, Running, smstream};

/// This command as the peer, in the shell's words.
fn own(role: &str) -> Vec<String> {
    let this = env!("CARGO_BIN_EXE_smstream");
    let words: &[&str] = if role == "listen" { &["listen", "-k", "{addr}"] } else { &["connect", "{addr}"] };
    [this].iter().chain(words).chain(&["--", "cat"]).map(|word| (*word).to_owned()).collect()
}

fn conform(addr: &str, role: &str, options: &[&str], peer: &[String]) -> Command {
    let mut args: Vec<&str> = vec!["conform", "--json", addr, "--as", role];
    if !options.contains(&"-w") {
        args.extend(["-w", "30"]);
    }
    args.extend(options);
    if !peer.is_empty() {
        args.push("--");
        args.extend(peer.iter().map(String::as_str));
    }
    smstream(args)
}

fn report(command: &mut Command, code: i32) -> Value {
    let ended = Running::start(command).end().expect(code);
    serde_json::from_str(&String::from_utf8(ended.stdout).expect("text")).expect("JSON")
}

/// The verdict on each of these clauses.
fn verdicts<'a>(report: &'a Value, names: &[&str]) -> Vec<&'a str> {
    let clauses = report["clauses"].as_array().expect("a list");
    let verdict = |name: &&str| {
        let line = clauses.iter().find(|it| it["clause"] == **name).unwrap_or_else(|| panic!("no line for {name}"));
        line["verdict"].as_str().expect("text")
    };
    names.iter().map(verdict).collect()
}

fn passes(report: &Value) -> usize {
    report["clauses"].as_array().expect("a list").iter().filter(|it| it["verdict"] == "pass").count()
}

#[test]
fn this_command_keeps_the_layout_as_a_listener() {
    for kind in 0..2 {
        let dir = Dir::new();
        let addr = &dir.addrs()[kind];
        let found = report(&mut conform(addr, "connector", &["--level", "3"], &own("listen")), 0);
        assert_eq!(found["conforms"], true, "{found}");
        assert!(passes(&found) > 50, "{found}");
        assert_eq!(verdicts(&found, &["W4", "K1", "K6", "C8", "X1", "A7"]), ["pass"; 6], "{found}");
    }
}

#[test]
fn this_command_keeps_the_layout_as_a_connector() {
    for kind in 0..2 {
        let dir = Dir::new();
        let addr = &dir.addrs()[kind];
        let found = report(&mut conform(addr, "listener", &["--level", "3"], &own("connect")), 0);
        assert_eq!(found["conforms"], true, "{found}");
        assert!(passes(&found) > 33, "{found}");
        assert_eq!(verdicts(&found, &["W4", "K1", "K6", "C8", "X1"]), ["pass"; 5], "{found}");
    }
}

/// A listener that is there already, and breaks a rule of its own: it takes, and gives nothing back. Then one that does not close.
#[test]
fn a_peer_that_does_not_echo_is_found_out() {
    let addr = format!("unix:@smstream-test-conform-{}", std::process::id());
    let listener = Builder::new().bind(addr.as_str()).expect("a listener");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok(mut stream) = listener.accept() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let mut bytes = Vec::new();
                // What comes is taken, and other bytes are given back.
                while let Ok(n @ 1..) = stream.read(&mut [0; 4096]) {
                    bytes.resize(n, 0xee);
                    if stream.write_all(&bytes).is_err() {
                        break;
                    }
                }
            }
        });
        let options = ["--only", "P1,X3"];
        let found = report(&mut conform(&addr, "connector", &options, &[]), 1);
        assert_eq!(found["conforms"], false);
        assert_eq!(verdicts(&found, &["P1"]), ["fail"], "{found}");
        let text = found.to_string();
        assert!(text.contains("came back as another one"), "{text}");
        over.store(true, Ordering::Relaxed);
        drop(Stream::connect(addr.as_str()));
    });
}

/// With records; then a peer that does not say that it has them.
#[test]
fn records_are_played_with_a_peer_that_echoes_them() {
    for (says, code, verdict) in [(true, 0, "pass"), (false, 1, "fail")] {
        let addr = format!("unix:@smstream-test-conform-records-{says}-{}", std::process::id());
        let listener = Builder::new().records(says).bind(addr.as_str()).expect("a listener");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Ok(stream) = listener.accept() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let Ok(mut records) = stream.into_records() else { continue };
                    let mut buffer = vec![0; 1 << 18];
                    while let Ok(Some(n)) = records.recv(&mut buffer) {
                        if records.send(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                }
            });
            let found = report(&mut conform(&addr, "connector", &["--records", "-w", "5"], &[]), code);
            assert_eq!(verdicts(&found, &["R3"]), [verdict], "{found}");
            if says {
                assert_eq!(verdicts(&found, &["R1", "R2", "R4"]), ["pass"; 3], "{found}");
            }
            over.store(true, Ordering::Relaxed);
            drop(Stream::connect(addr.as_str()));
        });
    }
}

#[test]
fn what_it_cannot_do_it_says() {
    let dir = Dir::new();
    let [addr, _] = dir.addrs();
    for (args, code, text) in [
        (&["conform", addr.as_str(), "--as", "connector"][..], 3, "no listener is there"),
        (&["conform", "fd:3", "--as", "connector"], 2, "use a file:, shm: or unix: address"),
        (&["conform", addr.as_str()], 2, "--as"),
        (&["conform", addr.as_str(), "--as", "listener", "--level", "4"], 2, "4 is not in 1..=3"),
        (&["conform", addr.as_str(), "--as", "listener", "--only", "Z9"], 2, "no such clause"),
        (&["conform", addr.as_str(), "--as", "connector", "--", "false"], 3, "does not listen"),
        (
            &["conform", addr.as_str(), "--as", "connector", "--", "/no/such/program"],
            3,
            "cannot start /no/such/program",
        ),
    ] {
        let mut command = smstream(args.iter().copied());
        if code == 3 {
            command = smstream([&args[..2], &["-w", "1"], &args[2..]].concat());
        }
        Running::start(&mut command).end().expect(code).saying(text);
    }
}
