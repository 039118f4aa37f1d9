//! The seven codes that SMStreams had, where the other tests of errors, death and rendezvous do not provoke them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use smstream::{Builder, Error, ErrorCode, Reason, Stream};
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP};
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const CAPACITY: usize = 64;
const SEEDS: [u64; 2] = [0xc0de_0001, 0xc0de_0002];

/// A stream from this process to a party. This process listens.
fn meet() -> (Stream, Party) {
    let scratch = Scratch::new();
    let listener = Builder::new().capacity(CAPACITY).start_cursor(NEAR_WRAP).bind(scratch.addr()).unwrap();
    let mut party = Party::start(PARTY);
    party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    party.tell(format!("connect {}", scratch.addr()));
    let stream = listener.accept_timeout(PATIENCE).unwrap();
    party.hear().unwrap();
    (stream, party)
}

#[test]
fn numbers_names_and_texts() {
    let codes = [
        ("MRingError", "the listener's lane cannot be used"),
        ("SRingError", "the connector's lane cannot be used"),
        ("PartnerNotAliveError", "the peer is not alive"),
        ("WriteAfterCloseError", "write to a stream whose peer takes no more"),
        ("DeadlockError", "both parties wait for each other"),
        ("NotAloneError", "another process has this end already"),
        ("ConnectionNotReadyError", "no process listens there"),
    ];
    for (number, (name, text)) in (0..).zip(codes) {
        let code = ErrorCode::from_number(number).unwrap();
        assert_eq!((code.number(), code.name(), code.to_string().as_str()), (number, name, text));
        assert_eq!(code, ErrorCode::ALL[number as usize]);
    }
    assert_eq!(ErrorCode::from_number(7), None);
    assert_eq!(ErrorCode::ALL.len(), codes.len());
}

/// How a write of 1000 bytes through a small lane is brought to an end, after the peer has read 100 of them.
#[test]
fn a_blocked_writer_learns_how_much_went() {
    let _watchdog = Watchdog::new();
    type End = (&'static str, fn(&mut Party), Reason, Option<ErrorCode>, ErrorKind);
    let ends: [End; 3] = [
        (
            "the peer closes",
            |p| drop(p.does("close")),
            Reason::WriteAfterClose,
            Some(ErrorCode::WriteAfterClose),
            ErrorKind::BrokenPipe,
        ),
        (
            "the peer takes no more",
            |p| drop(p.does("shutdown read")),
            Reason::WriteAfterClose,
            Some(ErrorCode::WriteAfterClose),
            ErrorKind::BrokenPipe,
        ),
        (
            "the peer dies",
            Party::kill_and_reap,
            Reason::PeerGone,
            Some(ErrorCode::PartnerNotAlive),
            ErrorKind::ConnectionReset,
        ),
    ];
    for (what, end, reason, code, kind) in ends {
        let (mut stream, mut party) = meet();
        let mut bytes = [0; 1000];
        Flow::new(SEEDS[0], CAPACITY).fill(&mut bytes);
        let me = std::process::id();
        std::thread::scope(|scope| {
            let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
            let other = scope.spawn(move || {
                party.does("receive 100 all");
                smstream_tests::party::asleep(me, thread);
                end(&mut party);
                party
            });
            let e = stream.write_all(&bytes).unwrap_err();
            let inner = Error::from_io(&e).unwrap();
            assert_eq!((inner.reason(), inner.code(), e.kind()), (reason, code, kind), "{what}: {e}");
            let written = inner.written().unwrap();
            assert!(e.to_string().contains(&format!("{written} of 1000 bytes were written before")), "{e}");
            // What went is what the peer has read, and what it never will.
            assert_eq!(written - stream.undelivered().unwrap(), 100, "{what}");
            other.join().unwrap();
        });
        // One more byte does not go at all, and says the same.
        let e = stream.write(b"x").unwrap_err();
        assert_eq!((Error::from_io(&e).unwrap().code(), Error::from_io(&e).unwrap().written()), (code, None), "{what}");
        assert_eq!(Error::from_io(&stream.write_all(b"xy").unwrap_err()).unwrap().written(), Some(0));
    }
}

/// `write` goes as far as there is room, says how far, and then gives the error.
#[test]
fn a_short_count_and_then_the_error() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet();
    assert_eq!(stream.write(&[0; 1000]).unwrap(), CAPACITY);
    party.does("close");
    let e = stream.write(&[0; 1000]).unwrap_err();
    assert_eq!(Error::from_io(&e).unwrap().code(), Some(ErrorCode::WriteAfterClose), "{e}");
    assert_eq!(stream.undelivered(), Some(CAPACITY));
}

/// A `write_all` that may not wait, or not for ever, says how far it came, too.
#[test]
fn time_or_room_runs_out_midway() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet();
    stream.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
    let e = stream.write_all(&[0; 1000]).unwrap_err();
    assert_eq!((e.kind(), Error::from_io(&e).unwrap().written()), (ErrorKind::TimedOut, Some(CAPACITY)), "{e}");
    party.does("close");
    let (mut stream, _party) = meet();
    stream.set_nonblocking(true).unwrap();
    let e = stream.write_all(&[0; 1000]).unwrap_err();
    assert_eq!((e.kind(), Error::from_io(&e).unwrap().written()), (ErrorKind::WouldBlock, Some(CAPACITY)), "{e}");
    let e = stream.write_all(&[0; 1000]).unwrap_err();
    assert!(e.kind() == ErrorKind::WouldBlock && Error::from_io(&e).is_none(), "nothing went, nothing to tell: {e}");
}

#[test]
fn a_write_after_ones_own_close() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet();
    Flow::new(SEEDS[0], CAPACITY).send(&mut stream, 4, Manner::All).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..2 {
        let e = stream.write_all(b"x").unwrap_err();
        let inner = Error::from_io(&e).unwrap();
        assert_eq!((inner.code(), e.kind()), (Some(ErrorCode::WriteAfterClose), ErrorKind::BrokenPipe));
        assert!(e.to_string().contains("this end was shut down"), "{e}");
    }
    assert_eq!(party.does("read 9"), "4");
}

/// Neither a peer that is dead nor one that does nothing holds up a close, however full the lane.
#[test]
fn a_close_does_not_wait() {
    let _watchdog = Watchdog::new();
    for signal in [libc::SIGKILL, libc::SIGSTOP] {
        let (mut stream, mut party) = meet();
        Flow::new(SEEDS[0], CAPACITY).send(&mut stream, CAPACITY as u64, Manner::All).unwrap();
        party.signal(signal);
        party.is_in_state(if signal == libc::SIGKILL { 'Z' } else { 'T' });
        stream.shutdown(Shutdown::Both).unwrap();
        drop(stream);
        if signal == libc::SIGSTOP {
            party.signal(libc::SIGCONT);
            assert_eq!(party.does("drain"), format!("{CAPACITY} eof"), "what was written is there to be read");
        }
    }
}

/// What the peer had not read when it was closed is lost; what it had sent itself is still read.
#[test]
fn a_close_with_bytes_unread() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet();
    stream.write_all(&[0; 40]).unwrap();
    party.does("send 30 all");
    party.does("close");
    let mut flow = Flow::new(SEEDS[1], CAPACITY);
    assert!(flow.drain(&mut stream).is_none());
    assert_eq!((flow.at(), stream.undelivered()), (30, Some(40)));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// Two do something at the same moment; the first of them is let go first.
fn at_once(parties: [&mut Party; 2], commands: [&str; 2]) {
    for party in &parties {
        party.signal(libc::SIGSTOP);
        party.is_in_state('T');
    }
    let mut parties = parties;
    for (party, command) in parties.iter_mut().zip(commands) {
        party.tell(command);
    }
    for party in parties {
        party.signal(libc::SIGCONT);
    }
}

/// Two connectors and one region: one has it, the other waits for its turn, which never comes.
#[test]
fn two_race_for_one_place() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
    let mut won = [0; 2];
    for round in 0..60 {
        let listener = Builder::new().capacity(CAPACITY).start_cursor(NEAR_WRAP).bind(scratch.addr()).unwrap();
        let connect = format!("connect {}", scratch.addr());
        let both = if round % 2 == 0 { [&mut a, &mut b] } else { [&mut b, &mut a] };
        at_once(both, [&connect; 2]);
        let mut stream = listener.accept_timeout(PATIENCE).unwrap();
        drop(listener);
        let winner = usize::from(stream.peer().pid == b.pid());
        won[winner] += 1;
        let [first, second] = if winner == 0 { [&mut a, &mut b] } else { [&mut b, &mut a] };
        assert_eq!(first.hear(), Ok(std::process::id().to_string()));
        let e = second.hear().unwrap_err();
        assert_eq!(e.reason, "NotReady", "{e:?}");
        assert!(["PartnerNotAlive", "ConnectionNotReady"].contains(&e.code.as_str()), "{e:?}");
        // The stream is between these two alone.
        assert_eq!(first.does("write 5"), "5");
        stream.read_exact(&mut [0; 5]).unwrap();
        first.does("close");
    }
    println!("won: {won:?}");
    assert!(won[0] > 0 && won[1] > 0, "the same one each time is no race: {won:?}");
}

/// One connects by the name, the other by a link to the same region. If the region goes to the first one, the second is
/// not alone; if it goes to the second, the first has the next one.
#[test]
fn a_kept_link_races_with_the_name() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut by_name, mut by_link] = [Party::start(PARTY), Party::start(PARTY)];
    let listener = Builder::new().capacity(CAPACITY).start_cursor(NEAR_WRAP).bind(scratch.addr()).unwrap();
    let link = scratch.path().join("link");
    let mut refused = 0;
    for round in 0..60 {
        fs::hard_link(scratch.name(), &link).unwrap();
        let commands = [format!("connect {}", scratch.addr()), format!("connect file:{}", link.display())];
        if round % 2 == 0 {
            at_once([&mut by_name, &mut by_link], [&commands[0], &commands[1]]);
        } else {
            at_once([&mut by_link, &mut by_name], [&commands[1], &commands[0]]);
        }
        let stream = listener.accept_timeout(PATIENCE).unwrap();
        let me = Ok(std::process::id().to_string());
        if stream.peer().pid == by_name.pid() {
            assert_eq!(by_name.hear(), me);
            let e = by_link.hear().unwrap_err();
            let words = [e.kind.as_str(), e.reason.as_str(), e.code.as_str()];
            assert_eq!(words, ["ResourceBusy", "Claimed", "NotAlone"], "{e:?}");
            refused += 1;
        } else {
            assert_eq!(stream.peer().pid, by_link.pid());
            assert_eq!(by_link.hear(), me);
            let next = listener.accept_timeout(PATIENCE).unwrap();
            assert_eq!(next.peer().pid, by_name.pid());
            assert_eq!(by_name.hear(), me);
            by_link.does("close");
        }
        by_name.does("close");
        fs::remove_file(&link).unwrap();
    }
    println!("{refused} of 60 were not alone");
    assert!((1..60).contains(&refused), "the same each time is no race");
}

#[test]
fn a_listener_that_was_released() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = Party::start(PARTY);
    party.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
    // One waits to be accepted, one comes later.
    let mut waiting = Party::start(PARTY);
    waiting.tell(format!("connect {}", scratch.addr()));
    waiting.is_asleep();
    party.does("unlisten");
    let e = waiting.hear().unwrap_err();
    assert_eq!([e.kind.as_str(), e.reason.as_str()], ["ConnectionRefused", "NotReady"], "{e:?}");
    let e = Stream::connect_timeout(scratch.addr(), PATIENCE).unwrap_err();
    let seen = (e.reason(), e.code(), e.kind());
    assert_eq!(seen, (Reason::NotReady, Some(ErrorCode::ConnectionNotReady), ErrorKind::NotFound), "{e}");
}

/// What keeps the name from being opened means that no listener can be reached there.
#[test]
fn a_connector_that_cannot_open_the_name() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = Party::start(PARTY);
    party.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
    let mut connector = Party::start(PARTY);
    connector.does("limit nofile 32");
    connector.does("use-up-descriptors 0");
    let e = connector.ask(format!("connect {}", scratch.addr())).unwrap_err();
    assert_eq!([e.reason.as_str(), e.code.as_str()], ["System", "ConnectionNotReady"], "{e:?}");
    assert!(e.text.contains("ulimit -n"), "{e:?}");
}
