//! Two processes wait for each other: exactly one gets `Deadlock`, the other goes on as soon as it can, and none gets it for
//! nothing.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smstream::{Builder, Error, ErrorCode, Pollable, Reason, Stream};
use smstream_tests::flow::{Flow, NEAR_WRAP, Random};
use smstream_tests::kinds::{Kind, Place};
use smstream_tests::party::{Party, Refusal, Reply, Scratch, asleep};
use smstream_tests::watchdog::{PATIENCE, Watchdog};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const SEEDS: [u64; 2] = [0xdead_10c1, 0xdead_10c2];

/// What proves that a party lives: a lock, or a socket.
const PROOFS: [Kind; 2] = [Kind::File, Kind::Unix];

/// Listener and connector. `listener` and `connector` are the words after the address in `bind` and `connect`.
fn couple(kind: Kind, listener: &str, connector: &str) -> [Party; 2] {
    let place = Place::new(kind);
    let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
    a.does(format!("bind {} {listener}", place.addr()));
    a.does(format!("seeds {} {}", SEEDS[0], SEEDS[1]));
    b.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    a.tell("accept");
    b.does(format!("connect {} {connector}", place.addr()));
    a.hear().unwrap();
    [a, b]
}

/// Two with lanes of 64 bytes that sleep at once.
fn two() -> [Party; 2] {
    couple(Kind::File, &format!("64 64 {NEAR_WRAP} 0"), "none 0")
}

#[track_caller]
fn is_deadlock(reply: Reply) -> Refusal {
    let e = reply.unwrap_err();
    assert_eq!([e.kind.as_str(), e.reason.as_str(), e.code.as_str()], ["Deadlock", "Deadlock", "Deadlock"], "{e:?}");
    e
}

/// This process is one of two, a party the other. `here` is 0 if this process listens. Both sleep at once.
fn meet(kind: Kind, here: usize) -> (Stream, Party) {
    let place = Place::new(kind);
    let builder = Builder::new().capacity(64).start_cursor(NEAR_WRAP).spin(Duration::ZERO);
    let mut party = Party::start(PARTY);
    party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    let stream = if here == 0 {
        let listener = builder.bind(place.addr()).unwrap();
        party.tell(format!("connect {} none 0", place.addr()));
        listener.accept_timeout(PATIENCE).unwrap()
    } else {
        party.does(format!("bind {} 64 64 {NEAR_WRAP} 0", place.addr()));
        party.tell("accept");
        builder.connect(place.addr()).unwrap()
    };
    party.hear().unwrap();
    (stream, party)
}

/// Stops one or the other for a moment, again and again, until one of them has replied. Each `hear`s its reply later.
fn stop_and_go(parties: &mut [Party; 2], random: &mut Random) -> [Reply; 2] {
    let mut replies = [None, None];
    while replies.iter().any(Option::is_none) {
        let which = random.below(2) as usize;
        parties[which].signal(libc::SIGSTOP);
        thread::sleep(Duration::from_micros(random.below(1500)));
        parties[which].signal(libc::SIGCONT);
        thread::sleep(Duration::from_micros(random.below(1500)));
        for (reply, party) in replies.iter_mut().zip(parties.iter_mut()) {
            if reply.is_none() {
                *reply = party.reply();
            }
        }
    }
    replies.map(|reply| reply.expect("both have replied"))
}

/// Ten thousand deadlocks, of both kinds, with lanes of many sizes and cursors that begin anywhere; either party may be the
/// first to wait. One half of them is over `file:` and the other over `unix:`. In each, party 0 gets `Deadlock`, exactly once, while party 1 is in its call, and party 1 goes on.
#[test]
fn ten_thousand_deadlocks_are_each_reported_once() {
    const CONNECTIONS: u64 = 20;
    const ROUNDS: u64 = 500;
    let _watchdog = Watchdog::new();
    let mut random = Random::new(0x1_0000);
    let (mut reported, mut second) = (0, 0);
    for connection in 0..CONNECTIONS {
        let scratch = Scratch::new();
        let kind = PROOFS[usize::from(connection >= CONNECTIONS / 2)];
        let capacities = [1 << random.below(9), 1 << random.below(9)];
        let start = if connection % 4 == 0 { NEAR_WRAP } else { random.draw() as u32 };
        let spins = [0, 0, 20, 50];
        let [ours, theirs] = [0; 2].map(|_| spins[random.below(4) as usize]);
        let listener = format!("{} {} {start} {ours}", capacities[0], capacities[1]);
        let mut parties = couple(kind, &listener, &format!("none {theirs}"));
        let seed = random.draw() >> 1;
        let witness = scratch.path().join("witness");
        for (party, process) in parties.iter_mut().enumerate() {
            process.tell(format!("deadlocks {party} {ROUNDS} {seed} {}", witness.display()));
        }
        // In a part of them, one or the other is stopped at any moment.
        let replies = if connection % 5 == 4 {
            stop_and_go(&mut parties, &mut random)
        } else {
            parties.each_mut().map(Party::hear)
        };
        let context = format!("connection {connection}: {kind:?} {listener}, spin {theirs}");
        let [first, other] = replies.map(|reply| reply.unwrap_or_else(|e| panic!("{context}: {e:?}")));
        let (times, early) = first.split_once(' ').unwrap();
        assert_eq!((times, other.as_str()), ("500", "0 0"), "{context}");
        reported += times.parse::<u64>().unwrap();
        second += early.parse::<u64>().unwrap();
    }
    assert_eq!(reported, CONNECTIONS * ROUNDS);
    // Both ways to get there: party 1 was waiting already, or came later.
    println!("party 1 was there first in {second} of {reported}");
    assert!(second > reported / 50 && second < reported - reported / 50, "{second} of {reported}");
}

/// The text for people, and that each try returns it as long as it is so.
#[test]
fn each_try_returns_it_again() {
    let _watchdog = Watchdog::new();
    let [mut a, mut b] = two();
    b.tell("read 8");
    b.is_asleep();
    for _ in 0..3 {
        let e = is_deadlock(a.ask("read 8"));
        assert!(e.text.contains("cannot read: the connector at file:"), "{e:?}");
        assert!(e.text.contains("waits to read, too") && e.text.contains("let one side write first"), "{e:?}");
    }
    assert_eq!(a.does("write 5"), "5");
    assert_eq!(b.hear(), Ok("5".into()));
    b.tell("send 65 all");
    b.is_asleep();
    a.does("send 69 all"); // 5 and as much as the lane holds.
    for _ in 0..3 {
        let e = is_deadlock(a.ask("write 1"));
        assert!(e.text.contains("cannot write: the connector at file:"), "{e:?}");
        assert!(e.text.contains("both lanes are full") && e.text.contains("let one side read first"), "{e:?}");
    }
    assert_eq!(a.does("read 1"), "1");
    b.hear().unwrap();
    // It writes no more, and may be waited for again.
    b.tell("read 100");
    assert_eq!(b.hear(), Ok("64".into()));
    a.does("receive 65 all");
    b.tell("read 1");
    b.is_asleep();
    is_deadlock(a.ask("read 1"));
    // Closing helps, too.
    a.does("close");
    assert_eq!(b.hear(), Ok("0".into()));
}

/// Either is the first to sleep.
#[test]
fn the_first_to_sleep_is_woken_to_report_it() {
    let _watchdog = Watchdog::new();
    let [mut a, mut b] = two();
    a.tell("read 1");
    a.is_asleep();
    b.tell("read 1");
    is_deadlock(a.hear());
    a.does("write 1");
    assert_eq!(b.hear(), Ok("1".into()));
    for party in [&mut a, &mut b] {
        party.does("nonblocking on");
        party.ask("send 1000 some").unwrap_err();
        party.does("nonblocking off");
    }
    a.tell("write 1");
    a.is_asleep();
    b.tell("write 1");
    is_deadlock(a.hear());
    a.does("read 1");
    assert_eq!(b.hear(), Ok("1".into()));
}

/// A party that sleeps may be stopped, and still sleeps. One that was stopped on the way there does not.
#[test]
fn a_stopped_peer_waits_only_if_it_had_come_to_that() {
    let _watchdog = Watchdog::new();
    let [mut a, mut b] = two();
    b.tell("read 1");
    b.is_asleep();
    b.signal(libc::SIGSTOP);
    b.is_in_state('T');
    is_deadlock(a.ask("read 1"));
    a.does("write 1");
    b.signal(libc::SIGCONT);
    assert_eq!(b.hear(), Ok("1".into()));

    // Stopped before its call.
    b.signal(libc::SIGSTOP);
    b.is_in_state('T');
    b.tell("write 1");
    a.tell("read 1");
    a.is_asleep();
    b.signal(libc::SIGCONT);
    assert_eq!((b.hear(), a.hear()), (Ok("1".into()), Ok("1".into())));

    // Stopped within it, while it still looks: it spins for a second.
    let [mut a, mut b] = couple(Kind::File, &format!("64 64 {NEAR_WRAP} 0"), "none 1000000");
    b.tell("read 1");
    b.is_in_state('R');
    b.signal(libc::SIGSTOP);
    b.is_in_state('T');
    a.tell("read 1");
    a.is_asleep();
    assert_eq!(a.has_replied(), None, "Deadlock for a peer that does not sleep yet");
    b.signal(libc::SIGCONT);
    is_deadlock(a.hear());
    a.does("write 1");
    assert_eq!(b.hear(), Ok("1".into()));
}

fn tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// The next byte that the party expects, which has read `n`.
fn next_byte(n: u64) -> [u8; 1] {
    let mut flow = Flow::new(SEEDS[0], 64);
    flow.skip(n);
    let mut byte = [0];
    flow.fill(&mut byte);
    byte
}

/// A thread waits to `read` by other means than a call on the whole stream, and the party in earnest; either of them is the
/// first. No call returns yet. When both sleep, this thread does `write`, which is what the party waits for.
fn while_one_reads(
    party: &mut Party,
    read: impl Fn(&mut [u8]) -> std::io::Result<()> + Send + Sync,
    write: impl Fn(&[u8]) -> std::io::Result<()>,
) {
    for round in 0..6 {
        let party_first = round % 2 == 0;
        if party_first {
            party.tell("read 1");
            party.is_asleep();
        }
        let (say, said) = channel();
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                say.send(tid()).unwrap();
                read(&mut [0])
            });
            asleep(std::process::id(), said.recv().unwrap());
            if !party_first {
                party.tell("read 1");
            }
            party.is_asleep();
            assert_eq!(party.has_replied(), None);
            write(&next_byte(round)).unwrap();
            assert_eq!(party.hear(), Ok("1".into()));
            assert_eq!(party.does("write 1"), "1");
            reading.join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_half_that_waits_is_no_deadlock() {
    let _watchdog = Watchdog::new();
    for here in [0, 1] {
        let (stream, mut party) = meet(Kind::File, here);
        let (reader, writer) = stream.split();
        let (reader, writer) = (Mutex::new(reader), Mutex::new(writer));
        while_one_reads(
            &mut party,
            |out| reader.lock().unwrap().read_exact(out),
            |bytes| writer.lock().unwrap().write_all(bytes),
        );
    }
}

#[test]
fn a_shared_stream_that_waits_is_no_deadlock() {
    let _watchdog = Watchdog::new();
    for here in [0, 1] {
        let (stream, mut party) = meet(Kind::File, here);
        while_one_reads(&mut party, |out| (&stream).read_exact(out), |bytes| (&stream).write_all(bytes));
    }
}

/// This process announces that it waits to read, without sleeping, and the party reads in earnest; either of them is the first.
/// The party waits until bytes come, and gets them. `announce` tries to read in vain; `write` gives the party its byte, and
/// `read` takes the one that the party sends then.
fn while_one_is_announced<S>(
    party: &mut Party,
    stream: &mut S,
    announce: impl Fn(&mut S),
    write: impl Fn(&mut S, &[u8]),
    read: impl Fn(&mut S),
) {
    for round in 0..6 {
        let party_first = round % 2 == 0;
        if party_first {
            party.tell("read 1");
            party.is_asleep();
        }
        announce(stream);
        if !party_first {
            party.tell("read 1");
        }
        party.is_asleep();
        // A mistaken report comes soon.
        thread::sleep(Duration::from_millis(20));
        assert_eq!(party.has_replied(), None);
        write(stream, &next_byte(round));
        assert_eq!(party.hear(), Ok("1".into()));
        assert_eq!(party.does("write 1"), "1");
        read(stream);
    }
}

/// A task that waits to read is a half that waits, whatever the other tasks do.
#[test]
fn a_task_that_waits_is_no_deadlock() {
    let _watchdog = Watchdog::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    for here in [0, 1] {
        let (stream, mut party) = meet(Kind::Unix, here);
        let _inside = runtime.enter();
        let mut halves = smstream::tokio::Stream::from_std(stream).unwrap().into_split();
        while_one_is_announced(
            &mut party,
            &mut halves,
            |(reader, _)| {
                // It does not spin, so that it has announced itself when it is pending.
                let mut byte = [0];
                let pending = pin!(reader.read(&mut byte)).poll(&mut Context::from_waker(Waker::noop())).is_pending();
                assert!(pending, "there is nothing to read");
            },
            |(_, writer), bytes| runtime.block_on(writer.write_all(bytes)).unwrap(),
            |(reader, _)| assert_eq!(runtime.block_on(reader.read(&mut [0])).unwrap(), 1),
        );
    }
}

/// A descriptor that is waited for takes part in no deadlock, though its owner may do nothing else.
#[test]
fn a_pollable_end_that_waits_is_no_deadlock() {
    let _watchdog = Watchdog::new();
    for here in [0, 1] {
        let (stream, mut party) = meet(Kind::Unix, here);
        let mut stream = Pollable::new(stream).unwrap();
        let ready = |stream: &Pollable, time: Option<Duration>| {
            let time = time.map(|time| Timespec::try_from(time).unwrap());
            poll(&mut [PollFd::new(stream, PollFlags::IN)], time.as_ref()).unwrap() == 1
        };
        while_one_is_announced(
            &mut party,
            &mut stream,
            |stream| {
                // As long as it is worth an attempt.
                while ready(stream, Some(Duration::ZERO)) {
                    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
                }
                assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            },
            |stream, bytes| {
                assert!(!ready(stream, Some(Duration::ZERO)), "nothing has come");
                stream.write_all(bytes).unwrap();
            },
            |stream| {
                assert!(ready(stream, None));
                assert_eq!(stream.read(&mut [0]).unwrap(), 1);
            },
        );
    }
}

/// This process waits with a timeout, again and again. The party goes to sleep before, between, and in the middle.
#[test]
fn a_wait_with_a_timeout_is_no_deadlock() {
    let _watchdog = Watchdog::new();
    for here in [0, 1] {
        let (mut stream, mut party) = meet(Kind::File, here);
        for round in 0..6 {
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let (say, said) = channel();
            let enough = AtomicBool::new(false);
            thread::scope(|scope| {
                let reading = scope.spawn(|| {
                    say.send(tid()).unwrap();
                    while !enough.load(Relaxed) {
                        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
                    }
                });
                asleep(std::process::id(), said.recv().unwrap());
                party.tell("read 1");
                party.is_asleep();
                assert_eq!(party.has_replied(), None);
                enough.store(true, Relaxed);
                reading.join().unwrap();
            });
            stream.set_read_timeout(None).unwrap();
            stream.set_nonblocking(true).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            stream.set_nonblocking(false).unwrap();
            assert_eq!(party.has_replied(), None);
            stream.write_all(&next_byte(round)).unwrap();
            assert_eq!(party.hear(), Ok("1".into()));
        }
    }
}

/// Whichever of the two wants to know nothing of it: both sleep until the other is killed.
#[test]
fn either_party_can_switch_it_off() {
    let _watchdog = Watchdog::new();
    for here in [0, 1] {
        for off_here in [true, false] {
            let scratch = Scratch::new();
            let builder = Builder::new().capacity(64).start_cursor(NEAR_WRAP).spin(Duration::ZERO);
            let builder = builder.deadlock_detection(!off_here);
            let mut party = Party::start(PARTY);
            let off_there = if off_here { "on" } else { "off" };
            party.does(format!("deadlock-detection {off_there}"));
            let mut stream = if here == 0 {
                let listener = builder.bind(scratch.addr()).unwrap();
                party.tell(format!("connect {} none 0", scratch.addr()));
                listener.accept_timeout(PATIENCE).unwrap()
            } else {
                party.does(format!("bind {} 64 64 {NEAR_WRAP} 0", scratch.addr()));
                party.tell("accept");
                builder.connect(scratch.addr()).unwrap()
            };
            party.hear().unwrap();
            party.tell("read 1");
            party.is_asleep();
            let (say, said) = channel();
            thread::scope(|scope| {
                let reading = scope.spawn(move || {
                    say.send(tid()).unwrap();
                    stream.read(&mut [0])
                });
                asleep(std::process::id(), said.recv().unwrap());
                party.is_asleep();
                assert_eq!(party.has_replied(), None);
                party.kill_and_reap();
                let e = reading.join().unwrap().unwrap_err();
                let inner = e.get_ref().and_then(|e| e.downcast_ref::<Error>()).unwrap();
                assert_eq!(inner.reason(), Reason::PeerGone, "{e}");
            });
        }
    }
}

/// A peer that died in its sleep still says that it sleeps. The kernel has closed its files when it can be reaped, so that
/// it can be known to be dead, by its lock or by its socket, and no call reports that it waits.
#[test]
fn a_dead_peer_is_no_deadlock() {
    let _watchdog = Watchdog::new();
    for round in 0..100 {
        let kind = PROOFS[round % 2];
        let (mut stream, mut party) = meet(kind, 0);
        party.tell("read 1");
        party.is_asleep();
        party.kill_and_reap();
        let e = stream.read(&mut [0]).unwrap_err();
        let inner = e.get_ref().and_then(|e| e.downcast_ref::<Error>()).unwrap();
        let seen = (inner.reason(), inner.code());
        assert_eq!(seen, (Reason::PeerGone, Some(ErrorCode::PartnerNotAlive)), "{kind:?}: {e}");
    }
}

/// One process with both ends is no exception.
#[test]
fn two_threads_with_a_pair() {
    let _watchdog = Watchdog::new();
    for round in 0..200 {
        let (mut here, mut there) = Builder::new().capacity(1 << (round % 8)).pair().unwrap();
        let other = thread::spawn(move || {
            let mut byte = [0];
            there.read_exact(&mut byte).unwrap();
            there.write_all(&byte).unwrap();
        });
        let e = here.read_exact(&mut [0; 4]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Deadlock, "{e}");
        assert!(e.to_string().contains("the other end of the pair"), "{e}");
        here.write_all(b"x").unwrap();
        let mut byte = [0];
        here.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        other.join().unwrap();
    }
}
