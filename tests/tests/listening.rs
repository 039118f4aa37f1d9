//! Listening, connecting and accepting, with other processes on the other side.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use smstream::{Addr, Builder, Listener, Reason, Stream, wait_any};
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP, Random};
use smstream_tests::party::{Party, Scratch, asleep};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const SHORT: Duration = Duration::from_millis(30);

/// A party that listens, and serves this many connections.
fn server(scratch: &Scratch, capacity: usize, connections: usize) -> Party {
    let mut party = Party::start(PARTY);
    party.does(format!("bind {} {capacity} {capacity} {NEAR_WRAP}", scratch.addr()));
    party.tell(format!("serve {connections}"));
    party
}

/// Sends some bytes to a server and gets them back.
fn echoed(stream: &Stream, seed: u64, bytes: u64) {
    let capacity = stream.stats().capacities[0];
    thread::scope(|scope| {
        let sender = scope.spawn(|| Flow::new(seed, capacity).send(&mut &*stream, bytes, Manner::Mixed));
        Flow::new(seed, capacity).receive(&mut &*stream, bytes, Manner::Mixed).unwrap();
        sender.join().unwrap().unwrap();
    });
}

#[test]
fn a_thousand_one_after_the_other() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = server(&scratch, 4096, 1000);
    let mut random = Random::new(1);
    for seed in 0..1000 {
        let mut stream = Stream::connect(scratch.addr()).unwrap();
        let mut bytes = vec![0; 1 + random.below(4096) as usize];
        Flow::new(seed, 4096).fill(&mut bytes);
        stream.write_all(&bytes).unwrap();
        stream.read_exact(&mut bytes).unwrap();
        Flow::new(seed, 4096).check(&bytes);
    }
    party.hear().unwrap();
    party.does("unlisten");
    assert!(scratch.names().is_empty());
}

#[test]
fn thirty_two_at_once() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut listener = server(&scratch, 512, 32);
    let mut parties: Vec<_> = (0..32).map(|_| Party::start(PARTY)).collect();
    for (seed, party) in parties.iter_mut().enumerate() {
        party.does(format!("seeds {seed} {seed}"));
        party.tell(format!("connect {}", scratch.addr()));
        party.tell("both 20000 20000 mixed");
        party.tell("shutdown write");
        party.tell("drain");
    }
    for mut party in parties {
        assert_eq!(party.hear(), Ok(listener.pid().to_string()));
        assert_eq!([party.hear(), party.hear()], [Ok(String::new()), Ok(String::new())]);
        assert_eq!(party.hear(), Ok("20000 eof".into()));
    }
    assert_eq!(listener.hear(), Ok((32 * 20_000).to_string()));
}

#[test]
fn incoming_gives_one_after_the_other() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let listener = Builder::new().capacity(100).bind(scratch.addr()).unwrap();
    assert_eq!(listener.capacities(), [128, 128]);
    assert_eq!(listener.local_addr(), &Addr::File(scratch.name()));
    let mut parties: Vec<_> = (0..5).map(|_| Party::start(PARTY)).collect();
    for party in &mut parties {
        party.tell(format!("connect {}", scratch.addr()));
        party.tell("echo");
    }
    let mut seen: Vec<_> = listener.incoming().take(5).map(|s| s.unwrap()).collect();
    let mut pids: Vec<_> = seen.iter().map(|s| s.peer().pid).collect();
    pids.sort_unstable();
    let mut expected: Vec<_> = parties.iter().map(Party::pid).collect();
    expected.sort_unstable();
    assert_eq!(pids, expected);
    for stream in &mut seen {
        echoed(stream, 7, 1000);
    }
    // They live on without the listener.
    listener.close().unwrap();
    assert!(scratch.names().is_empty());
    for stream in &mut seen {
        echoed(stream, 8, 1000);
    }
    drop(seen);
    for party in &mut parties {
        party.hear().unwrap();
        assert_eq!(party.hear(), Ok("2000".into()));
    }
}

#[test]
fn no_connector_comes() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let listener = Listener::bind(scratch.addr()).unwrap();
    let begin = Instant::now();
    let e = listener.accept_timeout(SHORT).unwrap_err();
    assert!(begin.elapsed() >= SHORT);
    assert_eq!((e.reason(), e.kind()), (Reason::TimedOut, ErrorKind::TimedOut), "{e}");
    assert!(e.to_string().contains(scratch.name().to_str().unwrap()), "{e}");
    listener.set_nonblocking(true).unwrap();
    let e = listener.accept().unwrap_err();
    assert_eq!((e.reason(), e.kind()), (Reason::WouldBlock, ErrorKind::WouldBlock), "{e}");
    // A connector comes.
    let mut party = Party::start(PARTY);
    party.tell(format!("connect {}", scratch.addr()));
    let stream = loop {
        match listener.accept() {
            Ok(stream) => break stream,
            Err(e) => assert_eq!(e.reason(), Reason::WouldBlock),
        }
        thread::yield_now();
    };
    assert_eq!(stream.peer().pid, party.pid());
    party.hear().unwrap();
}

#[test]
fn no_listener_accepts() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = Party::start(PARTY);
    party.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
    // The first says that it waits; the second finds the region taken.
    for _ in 0..2 {
        let begin = Instant::now();
        let e = Stream::connect_timeout(scratch.addr(), SHORT).unwrap_err();
        assert!(begin.elapsed() >= SHORT);
        assert_eq!((e.reason(), e.kind()), (Reason::TimedOut, ErrorKind::TimedOut), "{e}");
    }
    // Those who gave up are in no other's way.
    party.tell("accept");
    let stream = Stream::connect_timeout(scratch.addr(), PATIENCE).unwrap();
    assert_eq!(party.hear(), Ok(std::process::id().to_string()));
    assert_eq!(stream.peer().pid, party.pid());
}

#[test]
fn a_blocked_accept_is_ended_from_another_thread() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let listener = Listener::bind(scratch.addr()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            sender.send(rustix::thread::gettid()).unwrap();
            listener.accept().unwrap_err()
        });
        asleep(std::process::id(), receiver.recv().unwrap().as_raw_nonzero().get() as u32);
        listener.shutdown();
        let e = waiting.join().unwrap();
        assert_eq!(e.kind(), ErrorKind::ConnectionAborted, "{e}");
    });
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::ConnectionAborted, "it stays so");
    assert_eq!(scratch.names(), ["name"], "the name stays until the listener is dropped");
    drop(listener);
    assert!(scratch.names().is_empty());
}

/// What people and programs do to a name: systemd-tmpfiles removes old ones.
#[test]
fn a_listener_that_sleeps_learns_that_its_name_is_gone() {
    let _watchdog = Watchdog::new();
    for kind in ["file", "unix"] {
        for deny in [None, Some("inotify_init1=EMFILE"), Some("inotify_add_watch=ENOSPC"), Some("futex_waitv=ENOSYS")] {
            for how in ["removed", "moved", "replaced"] {
                let scratch = Scratch::new();
                let (path, other) = (scratch.name(), scratch.path().join("other"));
                let arguments: Vec<_> = deny.iter().flat_map(|what| ["--deny", what]).collect();
                let mut party = Party::start_with(PARTY, &arguments);
                party.does(format!("bind {kind}:{} 64 64 {NEAR_WRAP}", path.display()));
                // One is accepted, and the name goes on.
                party.tell("accept");
                let stream = Stream::connect(format!("{kind}:{}", path.display())).unwrap();
                party.hear().unwrap();
                party.tell("accept");
                match (deny, kind) {
                    (None, "file") => party.is_asleep(),
                    (None, _) => party.is_polling(),
                    _ => {}
                }
                match how {
                    "removed" => std::fs::remove_file(&path).unwrap(),
                    "moved" => std::fs::rename(&path, &other).unwrap(),
                    _ => {
                        std::fs::write(&other, "a user's").unwrap();
                        std::fs::rename(&other, &path).unwrap();
                    }
                }
                let e = party.hear().unwrap_err();
                assert_eq!(e.kind, "AddrNotAvailable", "{kind}, {how}, without {deny:?}: {e:?}");
                let e = party.ask("accept 10000").unwrap_err();
                assert_eq!(e.kind, "AddrNotAvailable", "it stays so: {kind}, {how}, without {deny:?}: {e:?}");
                party.does("unlisten");
                if how == "replaced" {
                    assert_eq!(std::fs::read(&path).unwrap(), b"a user's");
                }
                drop(stream);
            }
        }
    }
}

/// The same for one that waits for several things, or is woken by `poll`.
#[test]
fn a_lost_name_makes_a_listener_ready() {
    let _watchdog = Watchdog::new();
    for kind in ["file", "unix"] {
        let scratch = Scratch::new();
        let listener = Listener::bind(format!("{kind}:{}", scratch.name().display())).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                sender.send(rustix::thread::gettid()).unwrap();
                wait_any(&mut [listener.acceptable()], Some(PATIENCE)).unwrap()
            });
            asleep(std::process::id(), receiver.recv().unwrap().as_raw_nonzero().get() as u32);
            std::fs::remove_file(scratch.name()).unwrap();
            assert!(!waiting.join().unwrap().is_empty(), "{kind}");
        });
        let e = listener.accept_timeout(PATIENCE).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::AddrNotAvailable, "{e}");
    }
}
