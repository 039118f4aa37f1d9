//! `proxy` as a server: signals, names, who may connect, counts, and shortages.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;

use rustix::process::Signal;
use smstream::Listener;

use crate::command::{Dir, Running, reach, smstream, within_time};
use crate::proxy::{accept, echo, proxy, server, start};

#[test]
fn an_interrupt_breaks_off_and_counts() {
    let dir = Dir::new();
    for (keep, code) in [("--keep-open", 128 + 15), ("--wait=1", 128 + 15)] {
        let (listener, place) = server();
        let mut running = proxy(&[keep, &dir.addr(), &place]);
        let server = accept(listener);
        let mut client = reach(&dir.addr());
        let mut server = within_time(move || server.join().expect("a thread"));
        client.write_all(b"x").expect("written");
        server.read_exact(&mut [0; 1]).expect("read");
        running.signal(Signal::TERM);
        running.expect_stderr("1 connection, 1 interrupted; 1 byte there, 0 bytes back");
        for result in [within_time(move || client.read(&mut [0; 1])), within_time(move || server.read(&mut [0; 1]))] {
            assert_eq!(result.expect_err("no end of stream").kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(running.end().status.code(), Some(code));
        assert!(!dir.path("stream").exists(), "the name was left");
    }
}

#[test]
fn an_interrupt_without_a_connection() {
    let dir = Dir::new();
    let sockets = ["tcp:127.0.0.1:0".to_owned(), format!("uds:{}", dir.path("socket").display())];
    for place in dir.addrs().into_iter().chain(sockets) {
        for (option, code) in [("--keep-open", 128 + 2), ("--wait=1", 128 + 2)] {
            let running = proxy(&[option, &place, "tcp:127.0.0.1:1"]);
            running.signal(Signal::INT);
            assert_eq!(running.end().status.code(), Some(code), "{place}");
        }
    }
    assert!(!dir.path("socket").exists() && !dir.path("stream").exists(), "a name was left");
}

#[test]
fn only_addresses_that_are_allowed_connect() {
    let (listener, place) = server();
    echo(listener);
    let args = ["-k", "-v", "--allow-address", "127.0.0.1", "--allow-address", "10.0.0.0/8", "tcp:127.0.0.1:0", &place];
    let (mut running, door) = start(smstream(["proxy"]).args(args));
    let mut client = TcpStream::connect(&door).expect("a connection");
    client.write_all(b"?").expect("written");
    within_time(move || client.read_exact(&mut [0; 1]).expect("read"));
    running.expect_stderr("connection 1: tcp:127.0.0.1:");
    let args = ["-k", "-v", "--allow-address", "10.0.0.0/8", "tcp:127.0.0.1:0", &place];
    let (mut refusing, door) = start(smstream(["proxy"]).args(args));
    let mut client = TcpStream::connect(&door).expect("a connection");
    let result = within_time(move || client.read(&mut [0; 1]));
    assert_eq!(result.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    refusing.expect_stderr("--allow-address");
}

/// The timer of a TCP socket with this local port, as the kernel shows it: proc_net_tcp.txt; 2 is keepalive.
fn timer(port: u16) -> Option<u8> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let of_it = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1).is_some_and(|local| local.ends_with(&format!(":{port:04X}"))) && words.get(3) == Some(&"01")
    };
    let line = table.lines().skip(1).find(of_it)?;
    u8::from_str_radix(line.split_whitespace().nth(5)?.split(':').next()?, 16).ok()
}

#[test]
fn a_tcp_client_that_vanishes_is_asked_after() {
    let dir = Dir::new();
    for (options, expected) in [(&[][..], 2), (&["--keepalive", "5"], 2), (&["--keepalive", "0"], 0)] {
        let there = Listener::bind(dir.addr()).expect("a listener");
        let addr = dir.addr();
        let args = [&["-k"][..], options, &["tcp:127.0.0.1:0", &addr]].concat();
        let (_running, door) = start(smstream(["proxy"]).args(args));
        let _client = TcpStream::connect(&door).expect("a connection");
        let port = door.rsplit_once(':').expect("a port").1.parse().expect("a number");
        // By now it has both of its sides, and has set them up.
        let _peer = within_time(move || there.accept().expect("a connection"));
        let found = crate::command::in_the_end(|| timer(port));
        assert_eq!(found, expected, "{options:?}");
    }
}

#[test]
fn counts_while_it_goes_on() {
    let dir = Dir::new();
    let (listener, place) = server();
    echo(listener);
    let (mut running, _) = start(smstream(["proxy"]).args(["--json", "--counts", "0.05", &dir.addr(), &place]));
    let mut client = reach(&dir.addr());
    client.write_all(b"?").expect("written");
    let client = within_time(move || {
        client.read_exact(&mut [0; 1]).expect("read");
        client
    });
    let line = |running: &mut Running| -> serde_json::Value {
        serde_json::from_str(&running.read_stdout(b'\n')).expect("JSON")
    };
    let seen = crate::command::in_the_end(|| Some(line(&mut running)).filter(|line| line["to_from"] == 1));
    assert_eq!((&seen["open"], &seen["connections"]), (&1.into(), &1.into()));
    drop(client);
    crate::command::in_the_end(|| (line(&mut running)["open"] == 0).then_some(()));
    running.end();
}

#[test]
fn a_client_that_breaks_off_is_no_line_of_a_quiet_proxy() {
    let dir = Dir::new();
    let (listener, place) = server();
    echo(listener);
    let quiet = Running::start(&mut smstream(["proxy", "-k", "-q", &dir.addr(), &place]));
    for _ in 0..3 {
        let mut client = reach(&dir.addr());
        client.write_all(b"?").expect("written");
        within_time(move || {
            client.read_exact(&mut [0; 1]).expect("read");
            client.abort();
        });
    }
    quiet.signal(Signal::TERM);
    assert_eq!(quiet.end().stderr, "");
}

#[test]
fn without_a_descriptor_left_it_tries_again() {
    let dir = Dir::new();
    let (listener, place) = server();
    // As many as the proxy needs for itself, and a few more.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 24; exec \"$0\" proxy -k tcp:127.0.0.1:0 \"$1\"",
        env!("CARGO_BIN_EXE_smstream"),
        &place,
    ]);
    command.stderr(std::process::Stdio::piped());
    let (mut running, door) = start(&mut command);
    let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(&door).expect("a connection")).collect();
    running.expect_stderr("trying again");
    // They go away, and then others are served. One that comes too early finds no descriptor for its other side.
    clients.clear();
    echo(listener);
    within_time(move || {
        let served = || {
            let mut client = TcpStream::connect(&door)?;
            client.write_all(b"?")?;
            client.read_exact(&mut [0; 1])
        };
        while served().is_err() {
            thread::yield_now();
        }
    });
    running.signal(Signal::TERM);
    assert_eq!(running.end().status.code(), Some(128 + 15));
    drop(dir);
}
