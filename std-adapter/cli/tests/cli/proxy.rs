//! `proxy`: what comes in at one place goes on to another one, with all that can happen to either side.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use smstream::Listener;

use crate::command::{Dir, Running, noise, reach, smstream, within_time};

/// A proxy that listens: it has said so.
fn proxy(args: &[&str]) -> Running {
    start(smstream(["proxy"]).args(args)).0
}

/// A proxy that listens at a port that the system chose, and where that is.
fn tcp_proxy(args: &[&str]) -> (Running, String) {
    start(smstream(["proxy"]).args(args))
}

/// Starts a proxy and waits until it has said where it listens.
fn start(command: &mut Command) -> (Running, String) {
    let mut running = Running::start(command);
    running.expect_stderr("smstream: listening at ");
    let line = running.read_stderr(b'\n');
    let (place, _) = line.split_once(", connecting to ").expect("two places");
    (running, place.trim_start_matches("tcp:").to_owned())
}

/// A TCP server, and the place that it is at.
fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let place = format!("tcp:{}", listener.local_addr().expect("its address"));
    (listener, place)
}

/// Accepts one connection, in a thread.
fn accept(listener: TcpListener) -> thread::JoinHandle<TcpStream> {
    thread::spawn(move || listener.accept().expect("a connection").0)
}

/// Sends back to everybody what they say.
fn echo(listener: TcpListener) {
    thread::spawn(move || {
        for socket in listener.incoming() {
            thread::spawn(move || {
                let mut socket = socket.expect("a connection");
                let mut bytes = [0; 1000];
                while let Ok(count @ 1..) = socket.read(&mut bytes) {
                    // A client that has gone does not want it.
                    let _ = socket.write_all(&bytes[..count]);
                }
            });
        }
    });
}

#[test]
fn both_ways_at_once_from_tcp_through_a_stream_to_tcp() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        let (listener, place) = server();
        let far = proxy(&["--json", &addr, &place]);
        let (near, door) = tcp_proxy(&["--wait", "60", "tcp:127.0.0.1:0", &addr]);
        let (there, back) = (noise(1, 5_000_001), noise(2, 7_000_003));
        let (sent, answer) = (there.clone(), back.clone());
        within_time(move || {
            let mut client = TcpStream::connect(door).expect("a connection");
            let mut server = listener.accept().expect("a connection").0;
            thread::scope(|scope| {
                let client_end = client.try_clone().expect("a handle");
                let server_end = server.try_clone().expect("a handle");
                let send = |mut socket: TcpStream, bytes: Vec<u8>| {
                    move || {
                        socket.write_all(&bytes).expect("written");
                        socket.shutdown(Shutdown::Write).expect("shut down");
                    }
                };
                scope.spawn(send(client_end, there));
                scope.spawn(send(server_end, back));
                let heard = scope.spawn(|| {
                    let mut bytes = Vec::new();
                    server.read_to_end(&mut bytes).expect("read");
                    bytes
                });
                let mut bytes = Vec::new();
                client.read_to_end(&mut bytes).expect("read");
                assert!(bytes == answer, "the answer is another one");
                assert!(heard.join().expect("a thread") == sent, "what was asked is something else");
            });
        });
        near.end().expect(0).saying("1 connection; 4.77 MiB there, 6.68 MiB back, in ");
        let ended = far.end().expect(0);
        let json = String::from_utf8(ended.stdout).expect("text");
        let counts =
            r#"{"connections":1,"failed":0,"interrupted":0,"from_to":5000001,"to_from":7000003,"dropped":0,"seconds":"#;
        assert!(json.starts_with(counts) && json.ends_with("}\n"), "{json}");
    }
}

#[test]
fn each_direction_ends_on_its_own() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        let (listener, place) = server();
        let proxy = proxy(&[&addr, &place]);
        within_time(move || {
            let server = accept(listener);
            let mut client = reach(&addr);
            client.write_all(b"the question").expect("written");
            client.shutdown(Shutdown::Write).expect("shut down");
            let mut server = server.join().expect("a thread");
            let mut question = String::new();
            // Only the end of this direction lets it return, while the other one has not begun.
            server.read_to_string(&mut question).expect("read");
            server.write_all(b"the answer to ").expect("written");
            server.write_all(question.as_bytes()).expect("written");
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("read");
            assert_eq!(answer, "the answer to the question");
        });
        proxy.end().expect(0);
    }
}

#[test]
fn many_at_once() {
    const MANY: usize = 20;
    let dir = Dir::new();
    let (listener, place) = server();
    let mut far = proxy(&["--keep-open", &dir.addr(), &place]);
    let (mut near, door) = tcp_proxy(&["-k", "tcp:127.0.0.1:0", &dir.addr()]);
    // No client goes on before all have got their first byte back: so all are open at once.
    let all = Arc::new(Barrier::new(MANY));
    echo(listener);
    let clients: Vec<_> = (0..MANY)
        .map(|number| {
            let (door, all) = (door.clone(), Arc::clone(&all));
            thread::spawn(move || {
                let mut socket = TcpStream::connect(door).expect("a connection");
                for round in [0, 100] {
                    let said = [u8::try_from(number + round).expect("a small number"); 10];
                    socket.write_all(&said).expect("written");
                    let mut heard = [0; 10];
                    socket.read_exact(&mut heard).expect("read");
                    assert_eq!(heard, said);
                    all.wait();
                }
            })
        })
        .collect();
    within_time(move || clients.into_iter().for_each(|client| client.join().expect("a thread")));
    // The last ends travel through both of them before the counts are complete.
    for proxy in [&mut near, &mut far] {
        within_time_of_threads(proxy);
        proxy.signal(Signal::TERM);
    }
    near.end().expect(143).saying("20 connections; 400 bytes there, 400 bytes back, in ");
    far.end().expect(143).saying("20 connections; 400 bytes there, 400 bytes back, in ");
}

/// Waits until a proxy serves no connection any more.
fn within_time_of_threads(proxy: &Running) {
    let tasks = format!("/proc/{}/task", proxy.id());
    within_time(move || {
        let serves = |task: std::io::Result<std::fs::DirEntry>| {
            let name = task.ok().and_then(|task| std::fs::read_to_string(task.path().join("comm")).ok());
            name.is_some_and(|name| name == "serve\n")
        };
        while std::fs::read_dir(&tasks).expect("its threads").any(serves) {
            thread::yield_now();
        }
    });
}

#[test]
fn a_peer_that_dies_is_a_reset_for_tcp() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        let (listener, place) = server();
        let proxy = proxy(&[&addr, &place]);
        let server = accept(listener);
        let (mut client, mut input) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &addr]));
        input.write_all(b"half a quest").expect("written");
        let mut server = within_time(move || server.join().expect("a thread"));
        let mut heard = [0; 12];
        server.read_exact(&mut heard).expect("read");
        client.kill();
        let result = within_time(move || server.read(&mut [0; 1]));
        assert_eq!(result.expect_err("no end of stream").kind(), ErrorKind::ConnectionReset);
        proxy.end().expect(1).saying("from ").saying("died without closing").saying("1 connection, 1 failed");
    }
}

#[test]
fn a_tcp_reset_is_a_death_for_a_stream() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        let (listener, place) = server();
        let proxy = proxy(&[&addr, &place]);
        let server = accept(listener);
        let mut client = reach(&addr);
        // What lies there unread makes the close of a socket a reset.
        client.write_all(b"a question").expect("written");
        let result = within_time(move || {
            let mut server = server.join().expect("a thread");
            server.peek(&mut [0; 1]).expect("a byte");
            server.write_all(b"half an ans").expect("written");
            let mut heard = [0; 11];
            client.read_exact(&mut heard).expect("read");
            drop(server);
            client.read(&mut [0; 1])
        });
        assert_eq!(result.expect_err("no end of stream").kind(), ErrorKind::ConnectionReset);
        proxy.end().expect(1).saying(&format!("to {place}: ")).saying("reset");
    }
}

#[test]
fn what_was_sent_before_a_death_arrives() {
    let dir = Dir::new();
    let listener = UnixListener::bind(dir.path("socket")).expect("a listener");
    let proxy = proxy(&[&dir.addr(), &format!("uds:{}", dir.path("socket").display())]);
    let client = reach(&dir.addr());
    let mut server = within_time(move || listener.accept().expect("a connection").0);
    // More than lies in the socket's buffer: most of it is in the lane and in the proxy when its author is gone.
    let bytes = noise(3, 400_000);
    let sent = within_time(move || {
        let (mut client, mut count) = (client, 0);
        client.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        while let Some(rest) = bytes.get(count..).filter(|rest| !rest.is_empty()) {
            match client.write(rest) {
                Ok(more) => count += more,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    break;
                }
            }
        }
        client.abort();
        bytes[..count].to_vec()
    });
    let mut heard = Vec::new();
    within_time(move || {
        // A Unix socket cannot say that its partner broke off.
        server.read_to_end(&mut heard).expect("read");
        assert!(heard == sent, "{} of {} bytes", heard.len(), sent.len());
    });
    proxy.end().expect(1).saying("from file:").saying("died without closing");
}

#[test]
fn a_slow_reader_slows_the_writer_down() {
    let dir = Dir::new();
    let listener = UnixListener::bind(dir.path("socket")).expect("a listener");
    let place = format!("uds:{}", dir.path("socket").display());
    let proxy = proxy(&["--capacity", "4096", &dir.addr(), &place]);
    let mut client = reach(&dir.addr());
    let mut server = within_time(move || listener.accept().expect("a connection").0);
    client.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let (mut client, sent) = within_time(move || {
        let mut sent = 0;
        loop {
            match client.write(&[7; 4096]) {
                Ok(count) => sent += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    return (client, sent);
                }
            }
            // What buffers hold is far less.
            assert!(sent < 64 << 20, "nothing slows it down");
        }
    });
    let heard = within_time(move || {
        let reader = thread::spawn(move || {
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).expect("read");
            heard.len()
        });
        client.shutdown(Shutdown::Write).expect("shut down");
        assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
        reader.join().expect("a thread")
    });
    assert_eq!(heard, sent);
    proxy.end().expect(0);
}

#[test]
fn a_peer_that_takes_no_more_is_reported_to_the_other() {
    let dir = Dir::new();
    let there = Listener::bind(dir.path("there")).expect("a listener");
    let proxy = proxy(&[&dir.addr(), &format!("file:{}", dir.path("there").display())]);
    let mut client = reach(&dir.addr());
    let mut server = within_time(move || there.accept().expect("a connection"));
    server.shutdown(Shutdown::Read).expect("shut down");
    let (error, mut client) = within_time(move || {
        let bytes = [0; 1000];
        loop {
            if let Err(error) = client.write(&bytes) {
                return (error, client);
            }
        }
    });
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    // The opposite direction goes on.
    server.write_all(b"I have heard enough").expect("written");
    drop(server);
    let mut heard = String::new();
    within_time(move || {
        client.read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "I have heard enough");
    });
    proxy.end().expect(1).saying("did not take");
}

#[test]
fn a_peer_that_has_gone_ends_an_idle_connection() {
    let dir = Dir::new();
    let place = format!("uds:{}", dir.path("socket").display());
    // From either side, and of either kind.
    for from_goes in [true, false] {
        let listener = UnixListener::bind(dir.path("socket")).expect("a listener");
        let proxy = proxy(&[&dir.addr(), &place]);
        let client = reach(&dir.addr());
        let server = within_time(move || listener.accept().expect("a connection").0);
        let mut answer = [0; 1];
        if from_goes {
            drop(client);
            let mut server = server;
            assert_eq!(within_time(move || server.read(&mut answer)).expect("the end"), 0);
        } else {
            drop(server);
            let mut client = client;
            assert_eq!(within_time(move || client.read(&mut answer)).expect("the end"), 0);
        }
        // The other one has not closed, and says nothing.
        proxy.end().expect(0);
        std::fs::remove_file(dir.path("socket")).expect("removed");
    }
}

#[test]
fn the_errors_of_the_two_sides_differ() {
    let dir = Dir::new();
    let (listener, place) = server();
    drop(listener);
    let proxy = proxy(&[&dir.addr(), &place]);
    let mut client = reach(&dir.addr());
    let result = within_time(move || client.read(&mut [0; 1]));
    assert_eq!(result.expect_err("no end of stream").kind(), ErrorKind::ConnectionReset);
    proxy.end().expect(3).saying(&format!("to {place}: could not connect: ")).saying("--wait");

    let _taken = Listener::bind(dir.addr()).expect("a listener");
    let ended = Running::start(&mut smstream(["proxy", &dir.addr(), &place])).end().expect(3);
    ended.saying(&format!("could not listen at {}", dir.addr()));
    let (_listener, place) = server();
    Running::start(&mut smstream(["proxy", &place, &dir.addr()])).end().expect(3).saying("could not listen at tcp:");
}

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
fn the_name_of_a_socket_without_a_listener_is_taken_over() {
    let dir = Dir::new();
    let path = dir.path("socket");
    let place = format!("uds:{}", path.display());
    // A socket's name outlives it.
    drop(UnixListener::bind(&path).expect("a listener"));
    let running = proxy(&[&place, &dir.addr()]);
    let ended = Running::start(&mut smstream(["proxy", &place, &dir.addr()])).end().expect(3);
    ended.saying(&format!("could not listen at {place}"));
    let listener = Listener::bind(dir.addr()).expect("a listener");
    let mut client = UnixStream::connect(&path).expect("a connection");
    client.write_all(b"hello").expect("written");
    drop(client);
    let mut heard = String::new();
    within_time(move || {
        listener.accept().expect("a connection").read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "hello");
    });
    running.end().expect(0);
    assert!(!path.exists(), "the name was left");

    std::fs::write(&path, "a user's letter").expect("a file");
    Running::start(&mut smstream(["proxy", &place, &dir.addr()])).end().expect(3);
    assert_eq!(std::fs::read(&path).expect("a file"), b"a user's letter");
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
