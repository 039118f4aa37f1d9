//! `proxy`: what comes in at one place goes on to another one, with all that can happen to either side.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use smstream::Listener;

use crate::command::{Dir, Running, noise, reach, smstream, within_time};

/// A proxy that listens: it has said so.
pub fn proxy(args: &[&str]) -> Running {
    start(smstream(["proxy"]).args(args)).0
}

/// A proxy that listens at a port that the system chose, and where that is.
fn tcp_proxy(args: &[&str]) -> (Running, String) {
    start(smstream(["proxy"]).args(args))
}

/// Starts a proxy and waits until it has said where it listens.
pub fn start(command: &mut Command) -> (Running, String) {
    let mut running = Running::start(command);
    running.expect_stderr("smstream: listening at ");
    let line = running.read_stderr(b'\n');
    let (place, _) = line.split_once(", connecting to ").expect("two places");
    (running, place.trim_start_matches("tcp:").to_owned())
}

/// A TCP server, and the place that it is at.
pub fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let place = format!("tcp:{}", listener.local_addr().expect("its address"));
    (listener, place)
}

/// Accepts one connection, in a thread.
pub fn accept(listener: TcpListener) -> thread::JoinHandle<TcpStream> {
    thread::spawn(move || listener.accept().expect("a connection").0)
}

/// Sends back to everybody what they say.
pub fn echo(listener: TcpListener) {
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
