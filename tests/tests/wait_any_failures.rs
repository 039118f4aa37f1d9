//! Waits that meet trouble: death, corruption, alerts, signals, systems that lack something, regions that are cut short.
//! Each ends when it should, and not before.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use smstream::condition::MOST;
use smstream::{Reason, Stream};
use smstream::{try_wait, wait_all, wait_any};
use smstream_core::geometry::Config;
use smstream_core::layout::FIELDS;
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP, Random};
use smstream_tests::party::{Party, Scratch};
use smstream_tests::waits::{SEEDS, SHORT, builder, each_kind, meet, must_not_block, once_asleep, party, places};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");

#[test]
fn death_makes_ready_and_only_what_it_concerns() {
    each_kind(|addr| {
        let mut met: Vec<_> = (0..4).map(|i| meet(&format!("{addr}-{i}"), 512, PARTY)).collect();
        for (stream, _) in &met {
            must_not_block(stream);
            while (&*stream).write(&[0; 512]).is_ok() {}
        }
        let (streams, mut parties): (Vec<_>, Vec<_>) = met.drain(..).unzip();
        let set = |timeout| {
            let mut conditions: Vec<_> = streams.iter().flat_map(|s| [s.readable(), s.writable()]).collect();
            places(wait_any(&mut conditions, timeout).unwrap())
        };
        assert_eq!(set(Some(SHORT)), []);
        let ready = once_asleep(|| set(None), || parties[2].kill_and_reap());
        // The two halves are alerted one after the other.
        assert!(ready.iter().all(|place| [4, 5].contains(place)), "{addr}: {ready:?}");
        while set(None) != [4, 5] {}
        for e in [(&streams[2]).read(&mut [0]).unwrap_err(), (&streams[2]).write(&[0]).unwrap_err()] {
            assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{addr}: {e}");
        }
    });
}

/// What the peer sent before it died is read first.
#[test]
fn bytes_of_the_dead_are_readable() {
    each_kind(|addr| {
        let (mut stream, mut party) = meet(addr, 512, PARTY);
        must_not_block(&stream);
        party.does("send 100 all");
        party.kill_and_reap();
        let mut flow = Flow::new(SEEDS[1], 512);
        let mut bytes = [0; 30];
        let e = loop {
            assert!(wait_any(&mut [stream.readable()], None).unwrap().is_all());
            match stream.read(&mut bytes) {
                Ok(n) => flow.check(&bytes[..n]),
                Err(e) => break e,
            }
        };
        assert_eq!((flow.at(), e.kind()), (100, std::io::ErrorKind::ConnectionReset), "{addr}");
    });
}

/// A third process writes into the words of the peer.
#[test]
fn a_corrupt_peer_is_readable_and_writable() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let listener = builder(4096).bind(scratch.addr()).unwrap();
    let file = std::fs::File::options().write(true).open(scratch.name()).unwrap();
    let mut party = party(PARTY);
    party.tell(format!("connect {}", scratch.addr()));
    let mut stream = listener.accept().unwrap();
    party.hear().unwrap();
    must_not_block(&stream);
    while stream.write(&[0; 512]).is_ok() {}
    let field = FIELDS.iter().find(|field| field.name == "sent").unwrap();
    let align = rustix::param::page_size() as u32;
    let ([_, second], _) = Config { align, ..Config::new([4096; 2]) }.block();
    let ready = once_asleep(
        || wait_any(&mut [stream.readable(), stream.writable()], Some(Duration::from_millis(500))).unwrap(),
        || std::os::unix::fs::FileExt::write_all_at(&file, &[0x55; 4], (second + field.offset) as u64).unwrap(),
    );
    // No ring comes for that; a look finds it.
    assert!(ready.contains(0), "{ready:?}");
    assert!(try_wait(&mut [stream.readable(), stream.writable()]).unwrap().is_all(), "both halves are ready");
    for e in [stream.read(&mut [0]).unwrap_err(), stream.write(&[0]).unwrap_err()] {
        let e = e.get_ref().and_then(|e| e.downcast_ref::<smstream::Error>()).unwrap();
        assert_eq!(e.reason(), Reason::Corrupt, "{e}");
    }
}

#[test]
fn a_shutdown_by_another_thread_is_not_slept_through() {
    each_kind(|addr| {
        let (stream, _party) = meet(addr, 512, PARTY);
        must_not_block(&stream);
        while (&stream).write(&[0; 512]).is_ok() {}
        let set = || places(wait_any(&mut [stream.readable(), stream.writable()], None).unwrap());
        assert_eq!(once_asleep(set, || stream.shutdown(Shutdown::Write).unwrap()), [1], "{addr}");
        let ready = once_asleep(
            || wait_any(&mut [stream.readable()], None).unwrap(),
            || stream.shutdown(Shutdown::Read).unwrap(),
        );
        assert!(ready.is_all());
        assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
    });
}

/// The same for one who waits for all: it goes on sleeping while one of two is shut down, and not when both are.
#[test]
fn a_shutdown_by_another_thread_ends_a_wait_for_all() {
    each_kind(|addr| {
        let (stream, _party) = meet(addr, 512, PARTY);
        must_not_block(&stream);
        while (&stream).write(&[0; 512]).is_ok() {}
        let all = || wait_all(&mut [stream.readable(), stream.writable()], None).unwrap();
        let ready = once_asleep(all, || {
            stream.shutdown(Shutdown::Write).unwrap();
            stream.shutdown(Shutdown::Read).unwrap();
        });
        assert!(ready.is_all(), "{addr}");
        assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        assert_eq!((&stream).write(&[0]).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    });
}

/// An alert comes at every moment of a wait for many: also after the half was looked at, and before the thread sleeps.
#[test]
fn an_alert_while_a_wait_lies_down_is_not_missed() {
    let _watchdog = Watchdog::new();
    let builder = builder(16).spin(Duration::ZERO);
    let others: Vec<_> = (1..MOST).map(|_| builder.pair().unwrap()).collect();
    let (sender, receiver) = channel::<Arc<(Stream, Stream)>>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Random::new(SEEDS[0]);
            for pair in receiver {
                let end = Instant::now() + Duration::from_nanos(random.below(40_000));
                while Instant::now() < end {}
                pair.0.shutdown(Shutdown::Read).unwrap();
            }
        });
        for _ in 0..3000 {
            let pair = Arc::new(builder.pair().unwrap());
            let mut conditions = vec![pair.0.readable()];
            conditions.extend(others.iter().map(|(here, _)| here.readable()));
            sender.send(Arc::clone(&pair)).unwrap();
            assert_eq!(places(wait_any(&mut conditions, None).unwrap()), [0]);
        }
        drop(sender);
    });
}

/// Signals interrupt a wait again and again; it goes on, and ends when there is something, or on time.
#[test]
fn signals_do_not_end_a_wait() {
    each_kind(|addr| {
        let (mut stream, mut party) = meet(addr, 512, PARTY);
        party.does("handle-signals");
        party.does("alarm-every 1000");
        assert_eq!(party.does("wait any 100 readable"), "");
        party.tell("wait all none readable writable");
        thread::sleep(SHORT);
        stream.write_all(&[0]).unwrap();
        assert_eq!(party.hear().unwrap(), "readable writable", "{addr}");
        party.does("alarm-every 0");
        assert_ne!(party.does("signals"), "0");
    });
}

/// What a party has to do without.
const WITHOUT: [&[&str]; 5] = [
    &[],
    &["futex_waitv=ENOSYS"],
    &["futex_waitv=EPERM"],
    &["inotify_add_watch=ENOSPC"],
    &["futex_waitv=ENOSYS", "inotify_init1=EMFILE"],
];

/// Without `futex_waitv`, or without a watcher: slower, and the same.
#[test]
fn systems_that_lack_something_are_waited_on_as_well() {
    each_kind(|addr| {
        for without in WITHOUT {
            let arguments: Vec<_> = without.iter().flat_map(|what| ["--deny", what]).collect();
            let mut party = Party::start_with(PARTY, &arguments);
            party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
            let mut flow = Flow::new(SEEDS[0], 64);
            // An attempt, a listener, and a stream in one wait.
            let listener = builder(64).bind(addr).unwrap();
            party.does(format!("begin-connect {addr}"));
            party.does(format!("bind {addr}-there 64 64 {NEAR_WRAP}"));
            assert_eq!(party.does("wait try connectable acceptable"), "", "{without:?}");
            assert_eq!(party.does("wait any 60 connectable acceptable"), "");
            party.tell("wait any none connectable acceptable");
            party.is_asleep();
            let mut stream = listener.accept().unwrap();
            assert_eq!(party.hear().unwrap(), "connectable", "{addr} without {without:?}");
            assert_ne!(party.does("finish"), "pending");
            must_not_block(&stream);
            for _ in 0..2 {
                party.tell("wait any none readable acceptable");
                party.is_asleep();
                let next = flow.at() + 1;
                flow.send(&mut stream, next, Manner::All).unwrap();
                assert_eq!(party.hear().unwrap(), "readable", "{addr} without {without:?}");
                party.does("read 1");
            }
            party.tell("wait any none readable acceptable");
            party.is_asleep();
            let mut second = self::party(PARTY);
            second.tell(format!("connect {addr}-there"));
            assert_eq!(party.hear().unwrap(), "acceptable", "{addr} without {without:?}");
            party.tell("wait any none readable");
            party.is_asleep();
            drop(stream);
            assert_eq!(party.hear().unwrap(), "readable", "{addr} without {without:?}");
        }
    });
}

/// The same of a peer that is killed.
#[test]
fn systems_that_lack_something_notice_death_in_a_wait() {
    each_kind(|addr| {
        for without in WITHOUT {
            let arguments: Vec<_> = without.iter().flat_map(|what| ["--deny", what]).collect();
            let mut party = Party::start_with(PARTY, &arguments);
            let mut peer = self::party(PARTY);
            peer.does(format!("bind {addr} 64 64 {NEAR_WRAP}"));
            peer.tell("accept");
            party.does(format!("connect {addr}"));
            peer.hear().unwrap();
            party.tell("wait any none readable");
            party.is_asleep();
            peer.kill_and_reap();
            assert_eq!(party.hear().unwrap(), "readable", "{addr} without {without:?}");
            assert_eq!(party.ask("read 1").unwrap_err().reason, "PeerGone");
        }
    });
}

/// A third process shortens the file under a wait for a stream, or for a connector.
#[test]
fn a_region_that_is_cut_short_ends_a_guarded_wait() {
    let _watchdog = Watchdog::new();
    for without in WITHOUT {
        let arguments: Vec<_> = without.iter().flat_map(|what| ["--deny", what]).chain(["--guard", "on"]).collect();
        let scratch = Scratch::new();
        let mut parties = [(); 2].map(|()| Party::start_with(PARTY, &arguments));
        let [a, b] = &mut parties;
        a.does(format!("bind {} 4096 4096 {NEAR_WRAP}", scratch.addr()));
        let file = std::fs::File::options().write(true).open(scratch.name()).unwrap();
        a.tell("accept");
        b.does(format!("connect {}", scratch.addr()));
        a.hear().unwrap();
        for party in &mut parties {
            party.tell("wait any none readable");
            party.is_asleep();
        }
        file.set_len(0).unwrap();
        // No event says that a file was shortened. A process that closes it makes the watcher look.
        drop(file);
        for party in &mut parties {
            assert_eq!(party.hear().unwrap(), "readable", "without {without:?}");
            assert_eq!(party.ask("read 1").unwrap_err().reason, "Corrupt");
        }
    }
}
