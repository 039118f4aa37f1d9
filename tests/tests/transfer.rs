//! Bytes from process to process: all of them, in order, in every manner and size.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use smstream::WatchMode;
use smstream::{Builder, ErrorCode, Reason, Stream};
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP};
use smstream_tests::party::{Party, Scratch, asleep};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
/// Of what the test sends, and of what the party sends.
const SEEDS: [u64; 2] = [0x5eed_0001, 0x5eed_0002];

/// A stream from this process to a party, and the party. This process listens.
fn meet(capacities: [usize; 2]) -> (Stream, Party) {
    let scratch = Scratch::new();
    let builder = Builder::new().capacities(capacities[0], capacities[1]).start_cursor(NEAR_WRAP);
    let listener = builder.bind(scratch.addr()).unwrap();
    let mut party = Party::start(PARTY);
    party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    party.tell(format!("connect {}", scratch.addr()));
    let stream = listener.accept_timeout(PATIENCE).unwrap();
    assert_eq!(party.hear(), Ok(std::process::id().to_string()), "the peer of the connector is the listener");
    assert_eq!(stream.peer().pid, party.pid());
    (stream, party)
}

fn error_of(e: &std::io::Error) -> &smstream::Error {
    e.get_ref().and_then(|e| e.downcast_ref()).unwrap_or_else(|| panic!("{e:?} is not of this crate"))
}

/// Two parties, both ways at once: this many bytes to the connector, and to the listener.
fn exchange(capacities: [usize; 2], bytes: [u64; 2], manner: &str, halves: bool) {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
    a.does(format!("bind {} {} {} {NEAR_WRAP}", scratch.addr(), capacities[0], capacities[1]));
    a.does(format!("seeds {} {}", SEEDS[0], SEEDS[1]));
    b.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    a.tell("accept");
    b.does(format!("connect {}", scratch.addr()));
    a.hear().unwrap();
    let command = if halves { "halves" } else { "both" };
    a.tell(format!("{command} {} {} {manner}", bytes[0], bytes[1]));
    b.tell(format!("{command} {} {} {manner}", bytes[1], bytes[0]));
    a.hear().unwrap();
    b.hear().unwrap();
    if !halves {
        // What one says it has sent the other says it has received.
        let stats = [a.does("stats"), b.does("stats")];
        let counts = |i: usize, at: usize| stats[i].split(' ').nth(at).unwrap().parse::<u64>().unwrap();
        assert_eq!([counts(0, 1), counts(0, 6)], bytes, "{stats:?}");
        assert_eq!([counts(1, 6), counts(1, 1)], bytes, "{stats:?}");
        a.does("close");
        assert_eq!(b.does("drain"), format!("{} eof", bytes[0]));
    }
}

#[test]
fn capacity_1() {
    exchange([1, 1], [3_000, 2_000], "mixed", false);
    exchange([1, 1], [2_000, 3_000], "mixed", true);
}

#[test]
fn capacity_2() {
    exchange([2, 2], [5_000, 4_000], "mixed", false);
    exchange([2, 2], [4_000, 5_000], "mixed", true);
}

#[test]
fn capacity_4096() {
    for manner in ["some", "all", "vectored", "mixed"] {
        exchange([4096, 4096], [1 << 20, (1 << 20) + 1], manner, false);
        exchange([4096, 4096], [(1 << 20) + 7, 1 << 20], manner, true);
    }
}

#[test]
fn capacity_256_kib() {
    exchange([1 << 18, 1 << 18], [12 << 20, 11 << 20], "mixed", false);
    exchange([1 << 18, 1 << 18], [11 << 20, 12 << 20], "mixed", true);
}

#[test]
fn unequal_capacities() {
    exchange([1, 1 << 16], [2_000, 4 << 20], "mixed", false);
    exchange([1 << 16, 2], [4 << 20, 2_000], "mixed", true);
}

#[test]
fn one_way() {
    exchange([4096, 0], [1 << 20, 0], "mixed", false);
    exchange([0, 4096], [0, 1 << 20], "mixed", true);
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet([0, 16]);
    let e = stream.write(b"x").unwrap_err();
    assert_eq!((e.kind(), error_of(&e).code()), (ErrorKind::BrokenPipe, Some(ErrorCode::WriteAfterClose)), "{e}");
    assert_eq!(party.does("drain"), "0 eof", "a lane of capacity 0 ends at once");
    assert_eq!(party.does("write 20"), "16");
    Flow::new(SEEDS[1], 16).receive(&mut stream, 16, Manner::All).unwrap();
}

#[test]
fn nothing_is_written_and_read_at_once() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet([8, 8]);
    assert_eq!(stream.read(&mut []).unwrap(), 0);
    assert_eq!(stream.write(&[]).unwrap(), 0);
    stream.write_all(&[]).unwrap();
    stream.read_exact(&mut []).unwrap();
    assert_eq!(party.does("read 0"), "0");
    assert_eq!(party.does("write 0"), "0");
    stream.flush().unwrap();
}

#[test]
fn writing_is_shut_down_then_drained_then_at_its_end() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet([4096, 4096]);
    Flow::new(SEEDS[0], 4096).send(&mut stream, 3000, Manner::All).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(party.does("drain"), "3000 eof");
    assert_eq!(party.does("read 5"), "0", "the end stays");
    // The other direction goes on.
    party.does("send 2000 all");
    party.does("shutdown write");
    let mut flow = Flow::new(SEEDS[1], 4096);
    assert!(flow.drain(&mut stream).is_none());
    assert_eq!(flow.at(), 2000);
    for e in [stream.write(b"x").unwrap_err(), stream.write_all(b"x").unwrap_err()] {
        assert_eq!((e.kind(), error_of(&e).code()), (ErrorKind::BrokenPipe, Some(ErrorCode::WriteAfterClose)), "{e}");
    }
    let e = party.ask("write 1").unwrap_err();
    assert_eq!((e.kind.as_str(), e.code.as_str()), ("BrokenPipe", "WriteAfterClose"), "{e:?}");
}

#[test]
fn a_writer_learns_that_reading_was_shut_down() {
    let _watchdog = Watchdog::new();
    for blocked in [false, true] {
        let (mut stream, mut party) = meet([64, 64]);
        if blocked {
            party.tell("send 1000 all");
            party.is_asleep();
        }
        stream.shutdown(Shutdown::Read).unwrap();
        let e = if blocked { party.hear() } else { party.ask("write 1") }.unwrap_err();
        assert_eq!(
            (e.kind.as_str(), e.reason.as_str(), e.code.as_str()),
            ("BrokenPipe", "WriteAfterClose", "WriteAfterClose")
        );
        assert!(e.text.contains("listener"), "{e:?}");
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "reading is at its end here");
        // The other direction goes on.
        Flow::new(SEEDS[0], 64).send(&mut stream, 30, Manner::All).unwrap();
        party.does("receive 30 all");
    }
}

/// What a thread that shares the stream does, while another shuts it down.
#[test]
fn a_blocked_thread_is_released_by_shutdown() {
    let _watchdog = Watchdog::new();
    let me = std::process::id();
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        let (stream, mut party) = meet([64, 64]);
        thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let (sender, stream) = (&sender, &stream);
            let reader = (how != Shutdown::Write).then(|| {
                let sender = sender.clone();
                scope.spawn(move || {
                    sender.send(rustix::thread::gettid()).unwrap();
                    (&*stream).read(&mut [0; 10])
                })
            });
            let writer = (how != Shutdown::Read).then(|| {
                let sender = sender.clone();
                scope.spawn(move || {
                    sender.send(rustix::thread::gettid()).unwrap();
                    Flow::new(SEEDS[0], 64).send(&mut &*stream, 1000, Manner::All)
                })
            });
            for _ in 0..usize::from(reader.is_some()) + usize::from(writer.is_some()) {
                asleep(me, receiver.recv().unwrap().as_raw_nonzero().get() as u32);
            }
            stream.shutdown(how).unwrap();
            if let Some(reader) = reader {
                assert_eq!(reader.join().unwrap().unwrap(), 0);
                assert_eq!(party.ask("write 1").unwrap_err().kind, "BrokenPipe");
            }
            if let Some(writer) = writer {
                let e = writer.join().unwrap().unwrap_err();
                assert_eq!(e.kind(), ErrorKind::BrokenPipe, "{e}");
                assert_eq!(party.does("drain"), "64 eof", "what was written arrives");
            }
        });
    }
}

#[test]
fn a_timeout_loses_nothing() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet([64, 64]);
    stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
    let begin = Instant::now();
    let e = stream.read(&mut [0; 10]).unwrap_err();
    assert!(begin.elapsed() >= Duration::from_millis(30));
    assert_eq!((e.kind(), error_of(&e).reason()), (ErrorKind::TimedOut, Reason::TimedOut));
    assert!(e.to_string().contains("the connector at file:") && e.to_string().contains("30ms"), "{e}");
    let mut out = Flow::new(SEEDS[0], 64);
    // Each piece is written as far as there is room, then there is none.
    let e = out.send(&mut stream, u64::MAX, Manner::Some).unwrap_err();
    assert_eq!((e.kind(), out.at()), (ErrorKind::TimedOut, 64), "{e}");
    party.does("receive 10 all");
    let e = out.send(&mut stream, u64::MAX, Manner::Some).unwrap_err();
    assert_eq!((e.kind(), out.at()), (ErrorKind::TimedOut, 74));
    party.does("receive 74 all");
    party.does("send 50 all");
    let mut into = Flow::new(SEEDS[1], 64);
    into.receive(&mut stream, 50, Manner::All).unwrap();
    assert_eq!(stream.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::TimedOut);
    // Without a timeout it waits until something comes.
    stream.set_read_timeout(None).unwrap();
    party.does("send 60 all");
    into.receive(&mut stream, 60, Manner::All).unwrap();
    assert_eq!(stream.set_read_timeout(Some(Duration::ZERO)).unwrap_err().reason(), Reason::InvalidInput);
    assert_eq!(stream.write_timeout(), Some(Duration::from_millis(30)));
}

#[test]
fn a_stream_that_does_not_block() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet([64, 64]);
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut out = Flow::new(SEEDS[0], 64);
    assert_eq!(out.send(&mut stream, u64::MAX, Manner::Some).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(out.at(), 64);
    party.does("receive 64 all");
    party.does("send 64 all");
    Flow::new(SEEDS[1], 64).receive(&mut stream, 64, Manner::All).unwrap();
    party.does("shutdown write");
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "an end is no waiting");
    stream.set_nonblocking(false).unwrap();
    out.send(&mut stream, 100, Manner::All).unwrap();
    party.does("receive 100 all");
}

/// Both look for as long as it takes, so that this is about the protocol and not about who else runs on this machine.
#[test]
fn two_ends_that_run_never_wake() {
    let _watchdog = Watchdog::new();
    const MESSAGES: u64 = 1_000;
    const LONG: u64 = 60_000_000;
    let scratch = Scratch::new();
    let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
    a.does(format!("bind {} 4096 4096 {NEAR_WRAP} {LONG}", scratch.addr()));
    a.tell("accept");
    b.does(format!("connect {} none {LONG}", scratch.addr()));
    a.hear().unwrap();
    b.tell("echo");
    a.does(format!("ping {MESSAGES}"));
    let stats = a.does("stats");
    let counts = format!("{MESSAGES} {MESSAGES} 0 0 {MESSAGES}");
    assert_eq!(
        stats,
        format!("{:?} {counts} {counts}", WatchMode::Watched),
        "bytes, operations, parks, wakes, wakes avoided"
    );
    a.does("shutdown write");
    assert_eq!(b.hear(), Ok(MESSAGES.to_string()));
    let counts = format!("{MESSAGES} {MESSAGES} 0 0 {MESSAGES}");
    assert_eq!(b.does("stats"), format!("{:?} {counts} {counts}", WatchMode::Watched));
}

#[test]
fn a_pair_within_a_process() {
    let _watchdog = Watchdog::new();
    for (capacity, bytes) in [(1, 2_000), (100, 50_000), (1 << 16, 1_000_000)] {
        let (here, there) = Builder::new().capacity(capacity).start_cursor(NEAR_WRAP).pair().unwrap();
        assert_eq!(here.stats().capacities, [capacity.next_power_of_two(); 2]);
        assert_eq!(here.stats().watch, WatchMode::None);
        assert_eq!(here.peer().pid, std::process::id());
        thread::scope(|scope| {
            let mut ends = Vec::new();
            for (stream, seeds) in [(&here, SEEDS), (&there, [SEEDS[1], SEEDS[0]])] {
                ends.push(scope.spawn(move || Flow::new(seeds[0], capacity).send(&mut &*stream, bytes, Manner::Mixed)));
                ends.push(
                    scope.spawn(move || Flow::new(seeds[1], capacity).receive(&mut &*stream, bytes, Manner::Mixed)),
                );
            }
            for end in ends {
                end.join().unwrap().unwrap();
            }
        });
        assert!(!here.wait_peer_closed(Some(Duration::from_millis(1))));
        drop(there);
        assert_eq!((&here).read(&mut [0; 1]).unwrap(), 0);
        assert_eq!((&here).write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn closing_is_waited_for() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet([64, 64]);
    assert!(!stream.wait_peer_closed(Some(Duration::from_millis(10))));
    party.does("close");
    assert!(stream.wait_peer_closed(None));
    let (stream, mut party) = meet([64, 64]);
    party.tell("wait-closed");
    drop(stream);
    assert_eq!(party.hear(), Ok("true".into()));
}
