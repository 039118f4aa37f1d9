//! What a signal does: one rule for all commands.

use std::io::{ErrorKind, Read, Write};

use rustix::process::Signal;

use crate::command::{Dir, Running, in_the_end, reach, smstream, within_time};

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

/// Every command that listens, at an address.
fn servers(addr: &str) -> [Vec<&str>; 6] {
    let proxy = ["tcp:127.0.0.1:1"];
    [
        vec!["listen", addr],
        vec!["listen", "-k", addr],
        vec!["listen", addr, "--", "cat"],
        vec!["listen", "-k", addr, "--", "cat"],
        vec!["proxy", addr, proxy[0]],
        vec!["proxy", "-k", addr, proxy[0]],
    ]
}

/// Whether a process catches a signal: then it can be ended in order.
fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its state");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).expect("a mask");
    u64::from_str_radix(mask, 16).expect("a number") & (1 << (signal.as_raw() - 1)) != 0
}

#[test]
fn a_listener_that_waits_leaves_no_name() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        for args in servers(&addr) {
            for (signal, code) in SIGNALS {
                let listener = Running::start(&mut smstream(&args));
                in_the_end(|| dir.path("stream").exists().then_some(()));
                in_the_end(|| catches(listener.id(), signal).then_some(()));
                listener.signal(signal);
                assert_eq!(listener.end().status.code(), Some(code), "{args:?}");
                let left: Vec<_> = std::fs::read_dir(dir.path("")).expect("a directory").collect();
                assert!(left.is_empty(), "{args:?} leaves {left:?}");
            }
        }
    }
}

#[test]
fn a_connection_is_broken_off() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        for args in &servers(&addr)[..4] {
            let (listener, input) = Running::start_with_input(&mut smstream(args));
            let mut peer = reach(&addr);
            peer.write_all(b"x").expect("written");
            let mut listener = listener;
            if args.contains(&"cat") {
                let mut echo = [0];
                peer = within_time(move || {
                    peer.read_exact(&mut echo).expect("read");
                    peer
                });
            } else {
                listener.expect_stdout(b"x");
            }
            listener.signal(Signal::TERM);
            let error = within_time(move || peer.read(&mut [0; 1])).expect_err("no end of stream");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{args:?}");
            assert_eq!(listener.end().status.code(), Some(143), "{args:?}");
            assert!(!dir.path("stream").exists(), "{args:?} leaves its name");
            drop(input);
        }
    }
}

#[test]
fn a_connector_is_ended_by_the_same_rule() {
    let dir = Dir::new();
    for (signal, code) in SIGNALS {
        for command in [&[][..], &["--", "sh", "-c", "cat >/dev/null"]] {
            let addr = dir.addr();
            let listener = smstream::Listener::bind(&addr).expect("a listener");
            let args = [&["connect", &addr][..], command].concat();
            let (connector, input) = Running::start_with_input(&mut smstream(args));
            let mut peer = within_time(move || listener.accept().expect("a connection"));
            in_the_end(|| catches(connector.id(), signal).then_some(()));
            connector.signal(signal);
            let error = within_time(move || peer.read(&mut [0; 1])).expect_err("no end of stream");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(connector.end().status.code(), Some(code));
            drop(input);
        }
    }
}
