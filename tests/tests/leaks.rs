//! Nothing is left behind: connects and accepts over every kind of address, a third of them killed on the way, and
//! afterwards there are as many names, descriptors, mappings, threads and processes as before. Where a process listens, one
//! connector makes more than half of the connections, and has in the end what it had.
//!
//! One test, because it counts what its process has. `tests/leaks 10000` does it that often for each kind.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::thread;
use std::time::Duration;

use smstream::{Builder, Listener, Reason, Stream};
use smstream_tests::flow::{NEAR_WRAP, Random};
use smstream_tests::kinds::{Kind, Place};
use smstream_tests::party::{Party, belongings, until};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const CAPACITY: usize = 8192;

/// What a process has, and what the system has because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Having {
    /// In the file system and in the table of sockets.
    names: Vec<String>,
    descriptors: usize,
    /// Of shared memory.
    mappings: usize,
    threads: usize,
    processes: usize,
}

impl Having {
    fn now(place: &Place) -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let count = |path: &str| fs::read_dir(path).unwrap().count();
        let me = std::process::id().to_string();
        let is_child = |name: String| {
            let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&me))
        };
        Having {
            names: place.names(),
            descriptors: count("/proc/self/fd"),
            // The fourth letter of the permissions says that it is shared.
            mappings: maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|p| p.ends_with('s'))).count(),
            threads: count("/proc/self/task"),
            processes: fs::read_dir("/proc")
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .filter(|name| name.bytes().all(|b| b.is_ascii_digit()) && is_child(name.clone()))
                .count(),
        }
    }
}

/// What came of the connections.
#[derive(Debug, Default)]
struct Tally {
    closed: u32,
    killed_connecting: u32,
    killed_connected: u32,
    killed_listening: u32,
}

#[test]
fn nothing_is_left_behind() {
    let rounds: u32 = std::env::var("SMSTREAM_ROUNDS").map_or(240, |text| text.parse().expect("a number of rounds"));
    let _watchdog = Watchdog::after(PATIENCE + Duration::from_millis(100) * rounds);
    for kind in Kind::ALL {
        let place = Place::new(kind);
        // The first connection starts the watcher, which stays.
        run(kind, &place, 12);
        let before = settled(|| Having::now(&place));
        let tally = run(kind, &place, rounds);
        let after = as_soon_as(&before, || Having::now(&place));
        println!("{kind:?}: {rounds} connections, {tally:?}");
        println!("  before {before:?}\n  after  {after:?}");
        assert_eq!(before, after, "{kind:?}");
        let killed = tally.killed_connecting + tally.killed_connected + tally.killed_listening;
        assert_eq!(tally.closed + killed, rounds);
        assert!(killed * 4 > rounds && killed * 5 < rounds * 2, "about a third is killed: {tally:?}");
    }
}

/// What there is, once nothing changes any more.
fn settled<T: PartialEq>(now: impl Fn() -> T) -> T {
    let mut last = now();
    until("nothing changes any more", || {
        thread::sleep(Duration::from_millis(50));
        let now = now();
        let same = now == last;
        last = now;
        same
    });
    last
}

/// What there is, as soon as it is what there was `before`. Threads that read what a dead party had to say, and the
/// watcher's questions about it, take a moment.
fn as_soon_as<T: PartialEq>(before: &T, now: impl Fn() -> T) -> T {
    for _ in 0..100 {
        if now() == *before {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    now()
}

/// Connects `rounds` times. Every third time a party is killed.
fn run(kind: Kind, place: &Place, rounds: u32) -> Tally {
    let mut random = Random::new(0x1eac5 + u64::from(rounds));
    let mut tally = Tally::default();
    if kind == Kind::Fd {
        for round in 0..rounds {
            inherit(round, &mut random, &mut tally);
        }
        return tally;
    }
    let builder = Builder::new().capacity(CAPACITY).start_cursor(NEAR_WRAP);
    let mut listener = Some(builder.bind(place.addr()).unwrap());
    let mut lasting = Party::start(PARTY);
    // Its first connection starts its watcher.
    for _ in 0..2 {
        accept_lasting(listener.as_ref().unwrap(), place, &mut lasting, &mut random);
    }
    let before = settled(|| belongings(lasting.pid()));
    for round in 0..rounds {
        let it = listener.take().unwrap_or_else(|| builder.bind(place.addr()).unwrap());
        match round % 30 {
            // The listener is the one that dies: another one has listened here meanwhile, and is followed.
            29 => {
                it.close().unwrap();
                dies_listening(place, &mut random);
                tally.killed_listening += 1;
                continue;
            }
            n if n % 3 == 2 => dies_connecting(&it, place, &mut random, &mut tally),
            _ => {
                accept_lasting(&it, place, &mut lasting, &mut random);
                tally.closed += 1;
            }
        }
        listener = Some(it);
    }
    // The name of a listener that was killed is left, as documented; the next one takes it over, and removes it.
    listener.take().unwrap_or_else(|| builder.bind(place.addr()).unwrap()).close().unwrap();
    let after = as_soon_as(&before, || belongings(lasting.pid()));
    println!("{kind:?}: descriptors, mappings and threads of the connector: before {before:?}, after {after:?}");
    assert_eq!(before, after, "{kind:?}: of the connector, after {tally:?}");
    assert_eq!(lasting.reap().code(), Some(0));
    tally
}

/// One more connection of the connector that lasts.
fn accept_lasting(listener: &Listener, place: &Place, lasting: &mut Party, random: &mut Random) {
    lasting.tell(format!("connect {}", place.addr()));
    let mut stream = listener.accept_timeout(PATIENCE).unwrap();
    lasting.hear().unwrap();
    talk(&mut stream, lasting, random);
}

/// Bytes both ways, and a close from either side.
fn talk(stream: &mut Stream, party: &mut Party, random: &mut Random) {
    party.does("send 100 all");
    stream.read_exact(&mut [0; 100]).unwrap();
    if random.below(2) == 0 {
        party.does("close");
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    } else {
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(party.does("drain"), "0 eof");
        party.does("close");
    }
}

/// A connector is killed, somewhere between its first step and the midst of a transfer.
fn dies_connecting(listener: &Listener, place: &Place, random: &mut Random, tally: &mut Tally) {
    let mut party = Party::start(PARTY);
    party.tell(format!("connect {}", place.addr()));
    if random.below(2) == 0 {
        thread::sleep(Duration::from_micros(random.below(3000)));
        party.kill_and_reap();
        tally.killed_connecting += 1;
        // It may have come so far that there is something to accept, or not.
        match listener.accept_timeout(Duration::from_millis(1)) {
            Ok(mut stream) => is_gone(&mut stream),
            Err(e) => assert_eq!(e.reason(), Reason::TimedOut, "{e}"),
        }
    } else {
        let mut stream = listener.accept_timeout(PATIENCE).unwrap();
        party.hear().unwrap();
        dies_connected(&mut stream, party, random);
        tally.killed_connected += 1;
    }
}

fn dies_connected(stream: &mut Stream, mut party: Party, random: &mut Random) {
    party.tell(format!("send {} all", 3 * CAPACITY));
    let _ = stream.read(&mut [0; 64]).unwrap();
    thread::sleep(Duration::from_micros(random.below(300)));
    party.kill_and_reap();
    is_gone(stream);
}

/// Reads what is left of a dead peer.
fn is_gone(stream: &mut Stream) {
    let e = loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => panic!("no peer has closed this"),
            Ok(_) => {}
            Err(e) => break e,
        }
    };
    assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{e}");
    assert_eq!(stream.write(&[0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

/// A listener is killed while it listens, before it accepts, or afterwards.
fn dies_listening(place: &Place, random: &mut Random) {
    let mut party = Party::start(PARTY);
    party.does(format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", place.addr()));
    if random.below(2) == 0 {
        party.tell("accept");
        let mut stream = Stream::connect_timeout(place.addr(), PATIENCE).unwrap();
        party.hear().unwrap();
        dies_connected(&mut stream, party, random);
    } else {
        thread::scope(|scope| {
            let connecting = scope.spawn(|| Stream::connect_timeout(place.addr(), PATIENCE).map(drop));
            thread::sleep(Duration::from_micros(random.below(1000)));
            party.kill_and_reap();
            assert_eq!(connecting.join().unwrap().unwrap_err().reason(), Reason::NotReady);
        });
    }
}

/// A child inherits its end, and closes it or is killed.
fn inherit(round: u32, random: &mut Random, tally: &mut Tally) {
    let mut command = Command::new(PARTY);
    let handover = Builder::new().capacity(CAPACITY).start_cursor(NEAR_WRAP).hand_over(&mut command).unwrap();
    let addr = handover.addr();
    let mut party = Party::start_as(command, &[]);
    if round % 6 == 5 {
        // It may have connected by then or not.
        party.tell(format!("connect {addr}"));
        thread::sleep(Duration::from_micros(random.below(3000)));
        party.kill_and_reap();
        match handover.accept_timeout(PATIENCE) {
            Ok(mut stream) => is_gone(&mut stream),
            Err(e) => assert_eq!(e.reason(), Reason::NotReady, "{e}"),
        }
        tally.killed_connecting += 1;
        return;
    }
    party.tell(format!("connect {addr}"));
    let mut stream = handover.accept_timeout(PATIENCE).unwrap();
    party.hear().unwrap();
    if round % 6 == 2 {
        dies_connected(&mut stream, party, random);
        tally.killed_connected += 1;
    } else {
        talk(&mut stream, &mut party, random);
        assert_eq!(party.reap().code(), Some(0));
        tally.closed += 1;
    }
}
