//! The other process dies, or goes in order: what the survivor learns, and what it still reads.

use std::io::{self, ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use smstream::{Builder, ErrorCode, Reason, Stream};
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP, Random};
use smstream_tests::party::{Party, Refusal, Scratch};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
/// Of what the first of two sends, and of what the second sends.
const SEEDS: [u64; 2] = [0xdead_0001, 0xdead_0002];

/// A stream from this process to a party. This process listens.
fn meet(capacity: usize) -> (Stream, Party) {
    let scratch = Scratch::new();
    let builder = Builder::new().capacity(capacity).start_cursor(NEAR_WRAP);
    let listener = builder.bind(scratch.addr()).unwrap();
    let mut party = Party::start(PARTY);
    party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    party.tell(format!("connect {}", scratch.addr()));
    let stream = listener.accept_timeout(PATIENCE).unwrap();
    party.hear().unwrap();
    (stream, party)
}

/// Two parties that are connected: listener and connector.
fn couple(capacity: usize) -> [Party; 2] {
    let scratch = Scratch::new();
    let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
    a.does(format!("bind {} {capacity} {capacity} {NEAR_WRAP}", scratch.addr()));
    a.does(format!("seeds {} {}", SEEDS[0], SEEDS[1]));
    b.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    a.tell("accept");
    b.does(format!("connect {}", scratch.addr()));
    a.hear().unwrap();
    a.does("unlisten");
    [a, b]
}

#[track_caller]
fn is_gone(e: &io::Error) {
    let inner = e.get_ref().and_then(|e| e.downcast_ref::<smstream::Error>()).unwrap_or_else(|| panic!("{e:?}"));
    assert_eq!(inner.reason(), Reason::PeerGone, "{e}");
    assert_eq!((e.kind(), inner.code()), (ErrorKind::ConnectionReset, Some(ErrorCode::PartnerNotAlive)));
    assert!(e.to_string().contains("died without closing the stream"), "{e}");
    assert!(e.to_string().contains("file:"), "{e} names the address");
}

#[track_caller]
fn says_gone(reply: Result<String, Refusal>) {
    let e = reply.unwrap_err();
    let words = [e.kind.as_str(), e.reason.as_str(), e.code.as_str()];
    assert_eq!(words, ["ConnectionReset", "PeerGone", "PartnerNotAlive"], "{e:?}");
}

/// Whatever is tried now and later, in both directions.
#[track_caller]
fn stays_gone(stream: &mut Stream) {
    for _ in 0..3 {
        is_gone(&stream.read(&mut [0; 8]).unwrap_err());
        is_gone(&stream.read_exact(&mut [0; 8]).unwrap_err());
        is_gone(&stream.write(&[0; 8]).unwrap_err());
        is_gone(&stream.write_all(&[0; 8]).unwrap_err());
    }
    assert!(stream.wait_peer_closed(None));
    stream.set_nonblocking(true).unwrap();
    is_gone(&stream.read(&mut [0; 8]).unwrap_err());
}

#[test]
fn killed_while_the_survivor_is_blocked_in_read() {
    let _watchdog = Watchdog::new();
    // Either side may be the one that dies.
    for dies in [0, 1] {
        let [a, b] = couple(4096);
        let (mut lives, mut dies) = if dies == 0 { (b, a) } else { (a, b) };
        lives.tell("read 10");
        lives.is_asleep();
        dies.kill_and_reap();
        says_gone(lives.hear());
        says_gone(lives.ask("write 10"));
        says_gone(lives.ask("read 10"));
    }
}

#[test]
fn killed_while_the_survivor_is_blocked_in_write() {
    let _watchdog = Watchdog::new();
    for dies in [0, 1] {
        let [a, b] = couple(4096);
        let (mut lives, mut dies) = if dies == 0 { (b, a) } else { (a, b) };
        lives.tell("send 100000 all");
        lives.is_asleep();
        dies.kill_and_reap();
        says_gone(lives.hear());
        says_gone(lives.ask("read 10"));
        says_gone(lives.ask("write 10"));
    }
}

#[test]
fn killed_while_both_halves_of_the_survivor_are_blocked() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet(4096);
    let (mut reader, mut writer) = stream.split();
    party.does("send 100 all");
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut flow = Flow::new(SEEDS[1], 4096);
            (flow.drain(&mut reader), flow.at())
        });
        let writing = scope.spawn(|| Flow::new(SEEDS[0], 4096).send(&mut writer, u64::MAX, Manner::All));
        party.kill_and_reap();
        let (end, read) = reading.join().unwrap();
        is_gone(&end.unwrap());
        assert_eq!(read, 100, "what was sent is read first");
        is_gone(&writing.join().unwrap().unwrap_err());
    });
    is_gone(&reader.read(&mut [0]).unwrap_err());
    is_gone(&writer.write(&[0]).unwrap_err());
}

#[test]
fn killed_while_two_threads_share_the_survivors_end() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet(4096);
    thread::scope(|scope| {
        let reading = scope.spawn(|| (&stream).read(&mut [0; 8]));
        let writing = scope.spawn(|| Flow::new(SEEDS[0], 4096).send(&mut &stream, u64::MAX, Manner::All));
        party.kill_and_reap();
        is_gone(&reading.join().unwrap().unwrap_err());
        is_gone(&writing.join().unwrap().unwrap_err());
    });
    stays_gone(&mut stream);
}

#[test]
fn the_listener_is_killed_before_it_accepts() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
    a.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
    b.tell(format!("connect {}", scratch.addr()));
    b.is_asleep();
    a.kill_and_reap();
    let e = b.hear().unwrap_err();
    let words = [e.kind.as_str(), e.reason.as_str(), e.code.as_str()];
    assert_eq!(words, ["ConnectionRefused", "NotReady", "PartnerNotAlive"], "{e:?}");
    assert!(e.text.contains("the listener died"), "{e:?}");
}

/// The connector that waits for its turn behind another one.
#[test]
fn the_listener_is_killed_before_it_accepts_the_second() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Party::start(PARTY));
    a.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
    b.tell(format!("connect {}", scratch.addr()));
    b.is_asleep();
    c.tell(format!("connect {}", scratch.addr()));
    c.is_asleep();
    a.kill_and_reap();
    assert_eq!([b.hear().unwrap_err().reason, c.hear().unwrap_err().reason], ["NotReady", "NotReady"]);
}

/// The connector dies while it waits to be accepted: the next one is accepted, and no accept returns the dead one.
#[test]
fn a_connector_is_killed_before_it_is_accepted() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Party::start(PARTY));
    a.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
    b.tell(format!("connect {}", scratch.addr()));
    b.is_asleep();
    b.kill_and_reap();
    a.tell("accept");
    c.does(format!("connect {}", scratch.addr()));
    assert_eq!(a.hear(), Ok(c.pid().to_string()));
}

#[test]
fn killed_while_the_survivor_is_idle() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet(4096);
    party.kill_and_reap();
    assert!(stream.wait_peer_closed(None));
    stays_gone(&mut stream);
}

#[test]
fn killed_with_data_in_flight() {
    let _watchdog = Watchdog::new();
    for sent in [1, 4095, 4096] {
        let (mut stream, mut party) = meet(4096);
        party.does(format!("send {sent} all"));
        party.kill_and_reap();
        // Whether the survivor knows already or not.
        if sent != 1 {
            assert!(stream.wait_peer_closed(None));
        }
        let mut flow = Flow::new(SEEDS[1], 100);
        is_gone(&flow.drain(&mut stream).unwrap());
        assert_eq!(flow.at(), sent);
        stays_gone(&mut stream);
    }
}

#[test]
fn killed_while_it_is_stopped() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet(4096);
    party.does("send 10 all");
    party.signal(libc::SIGSTOP);
    party.is_in_state('T');
    // A process that is stopped is alive.
    assert!(!stream.wait_peer_closed(Some(Duration::from_millis(100))));
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut flow = Flow::new(SEEDS[1], 100);
    assert_eq!(flow.drain(&mut stream).unwrap().kind(), ErrorKind::TimedOut);
    assert_eq!(flow.at(), 10);
    stream.set_read_timeout(None).unwrap();
    party.kill_and_reap();
    stays_gone(&mut stream);
}

#[test]
fn a_zombie_is_dead() {
    let _watchdog = Watchdog::new();
    let (mut stream, party) = meet(4096);
    party.kill();
    party.is_in_state('Z');
    stays_gone(&mut stream);
    party.is_in_state('Z');
}

#[test]
fn a_forked_child_keeps_the_end_alive() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet(4096);
    party.does("send 10 all");
    party.does("fork");
    party.kill();
    party.is_in_state('Z');
    assert!(!stream.wait_peer_closed(Some(Duration::from_millis(200))), "the child holds the end");
    let mut flow = Flow::new(SEEDS[1], 100);
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(flow.drain(&mut stream).unwrap().kind(), ErrorKind::TimedOut);
    stream.set_read_timeout(None).unwrap();
    // The end of the commands is the end of the child.
    party.reap();
    stays_gone(&mut stream);
    assert_eq!(flow.at(), 10);
}

#[test]
fn leaving_without_a_drop_is_death() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet(4096);
    party.does("send 10 all");
    party.tell("exit 0");
    assert_eq!(party.reap().code(), Some(0));
    let mut flow = Flow::new(SEEDS[1], 100);
    is_gone(&flow.drain(&mut stream).unwrap());
    assert_eq!(flow.at(), 10);
    stays_gone(&mut stream);
}

#[test]
fn a_drop_is_an_end() {
    let _watchdog = Watchdog::new();
    for exits in [false, true] {
        let (mut stream, mut party) = meet(4096);
        party.does("send 4096 all");
        // Main returns when the commands end, and drops the stream.
        if exits {
            assert_eq!(party.reap().code(), Some(0));
        } else {
            party.does("close");
        }
        let mut flow = Flow::new(SEEDS[1], 100);
        assert!(flow.drain(&mut stream).is_none());
        assert_eq!(flow.at(), 4096);
        assert!(stream.wait_peer_closed(None));
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "the end stays");
        let e = stream.write(&[0; 8]).unwrap_err();
        let inner = e.get_ref().and_then(|e| e.downcast_ref::<smstream::Error>()).unwrap();
        assert_eq!((e.kind(), inner.code()), (ErrorKind::BrokenPipe, Some(ErrorCode::WriteAfterClose)), "{e}");
    }
}

#[test]
fn half_a_close_and_then_death() {
    let _watchdog = Watchdog::new();
    // What was closed in order is at its end; the other direction died.
    let (mut stream, mut party) = meet(4096);
    party.does("send 10 all");
    party.does("shutdown write");
    party.kill_and_reap();
    assert!(stream.wait_peer_closed(None));
    let mut flow = Flow::new(SEEDS[1], 100);
    assert!(flow.drain(&mut stream).is_none());
    assert_eq!(flow.at(), 10);
    is_gone(&stream.write(&[0; 8]).unwrap_err());
    let (mut stream, mut party) = meet(4096);
    party.does("shutdown read");
    party.kill_and_reap();
    assert!(stream.wait_peer_closed(None));
    is_gone(&stream.read(&mut [0; 8]).unwrap_err());
    assert_eq!(stream.write(&[0; 8]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

/// Kills a peer at a random moment of a transfer both ways, again and again.
#[test]
fn killed_at_random_moments() {
    let _watchdog = Watchdog::after(4 * PATIENCE);
    const ROUNDS: u64 = 300;
    let mut random = Random::new(0x5eed);
    let mut most = 0;
    for round in 0..ROUNDS {
        let capacity = 1 << random.below(14);
        let (stream, mut party) = meet(capacity);
        let (mut reader, mut writer) = stream.split();
        party.tell("both 1000000000 1000000000 mixed");
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut flow = Flow::new(SEEDS[1], capacity);
                // It checks each byte: what was read is a beginning of what was sent.
                (flow.drain(&mut reader), flow.at())
            });
            let writing = scope.spawn(|| Flow::new(SEEDS[0], capacity).send(&mut writer, u64::MAX, Manner::Mixed));
            thread::sleep(Duration::from_micros(random.below(5000)));
            party.kill_and_reap();
            let (end, read) = reading.join().unwrap();
            is_gone(&end.unwrap_or_else(|| panic!("round {round}: an end after {read} bytes")));
            is_gone(&writing.join().unwrap().unwrap_err());
            most = most.max(read);
        });
        is_gone(&reader.read(&mut [0]).unwrap_err());
    }
    println!("{ROUNDS} kills; the most that was read before one: {most} bytes");
    assert!(most > 1 << 14, "the kills came before anything was sent");
}
