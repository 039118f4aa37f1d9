//! Life and death of a stream, over every kind of address: closing, half-closing, and all the ways in which a peer can
//! die, while the survivor does all that it can be doing.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use smstream::{Builder, ErrorCode, Reason, Stream};
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP};
use smstream_tests::kinds::{Kind, Place, meet_prepared};
use smstream_tests::party::{Party, asleep, until};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const CAPACITY: usize = 4096;
/// Of what this process sends, and of what the party sends.
const SEEDS: [u64; 2] = [0x11fe_0001, 0x11fe_0002];

fn builder() -> Builder {
    Builder::new().capacity(CAPACITY).start_cursor(NEAR_WRAP)
}

/// A stream from this process to a party.
fn meet_with(kind: Kind, arguments: &[&str]) -> (Stream, Party) {
    meet_prepared(kind, &builder(), PARTY, arguments, |party| {
        party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    })
}

fn meet(kind: Kind) -> (Stream, Party) {
    meet_with(kind, &[])
}

fn into() -> Flow {
    Flow::new(SEEDS[1], CAPACITY)
}

fn out() -> Flow {
    Flow::new(SEEDS[0], CAPACITY)
}

#[track_caller]
fn is(e: &io::Error, reason: Reason, code: ErrorCode) {
    let inner = e.get_ref().and_then(|e| e.downcast_ref::<smstream::Error>()).unwrap_or_else(|| panic!("{e:?}"));
    assert_eq!((inner.reason(), inner.code()), (reason, Some(code)), "{e}");
}

#[track_caller]
fn is_gone(e: &io::Error) {
    is(e, Reason::PeerGone, ErrorCode::PartnerNotAlive);
    assert_eq!(e.kind(), ErrorKind::ConnectionReset);
}

#[track_caller]
fn is_closed(e: &io::Error) {
    is(e, Reason::WriteAfterClose, ErrorCode::WriteAfterClose);
    assert_eq!(e.kind(), ErrorKind::BrokenPipe);
}

/// Whatever is tried, and however often.
#[track_caller]
fn stays_gone(stream: &Stream) {
    for _ in 0..2 {
        is_gone(&(&mut &*stream).read(&mut [0; 8]).unwrap_err());
        is_gone(&(&mut &*stream).write(&[0; 8]).unwrap_err());
        is_gone(&(&mut &*stream).write_all(&[0; 8]).unwrap_err());
    }
    assert!(stream.wait_peer_closed(None));
}

/// Runs `work` in a thread, and returns what `then` does with the thread once that sleeps.
fn while_asleep<T: Send>(work: impl FnOnce() -> T + Send, then: impl FnOnce()) -> T {
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let thread = scope.spawn(move || {
            sender.send(rustix::thread::gettid()).expect("the test waits for it");
            work()
        });
        asleep(std::process::id(), receiver.recv().expect("a thread").as_raw_nonzero().get().unsigned_abs());
        then();
        thread.join().expect("no panic")
    })
}

#[test]
fn a_close_is_read_to_the_end_and_then_is_the_end() {
    let _watchdog = Watchdog::new();
    for kind in Kind::ALL {
        for sent in [0, 1, CAPACITY] {
            let (mut stream, mut party) = meet(kind);
            party.does(format!("send {sent} all"));
            party.does("close");
            let mut into = into();
            assert!(into.drain(&mut stream).is_none(), "{kind:?}");
            assert_eq!(into.at(), sent as u64, "{kind:?}");
            for _ in 0..3 {
                assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "the end stays");
            }
            is_closed(&stream.write(&[0]).unwrap_err());
            assert!(stream.wait_peer_closed(None));
            // The process lives on; nothing but the stream has ended.
            party.does("pid");
        }
    }
}

/// What was sent before the peer closed, and how much of it will never be read.
#[test]
fn a_write_after_the_close_tells_what_went_before() {
    let _watchdog = Watchdog::new();
    for kind in Kind::ALL {
        let (mut stream, mut party) = meet(kind);
        let mut out = out();
        out.send(&mut stream, 3000, Manner::All).unwrap();
        party.does("receive 1000 all");
        party.does("close");
        is_closed(&out.send(&mut stream, 3100, Manner::Some).unwrap_err());
        assert_eq!(out.at(), 3000, "{kind:?}: nothing was sent after the close");
        assert_eq!(stream.undelivered(), Some(2000), "{kind:?}");
        // In the midst of a write that waits for room: all that fitted counts, and no more.
        let (stream, mut party) = meet(kind);
        let mut flow = self::out();
        let end = while_asleep(
            || flow.send(&mut &stream, u64::MAX, Manner::Some),
            || {
                party.does("receive 500 all");
                party.does("close");
            },
        );
        is_closed(&end.unwrap_err());
        let undelivered = stream.undelivered().unwrap() as u64;
        assert_eq!(flow.at() - undelivered, 500, "{kind:?}: {} went before", flow.at());
        is_closed(&(&mut &stream).write(&[0]).unwrap_err());
        // All at once: the error has the count.
        let (stream, mut party) = meet(kind);
        let mut bytes = vec![0; 10 * CAPACITY];
        self::out().fill(&mut bytes);
        let end = while_asleep(
            || (&mut &stream).write_all(&bytes),
            || {
                party.does("read 500");
                party.does("close");
            },
        );
        let e = end.unwrap_err();
        is_closed(&e);
        let inner = e.get_ref().and_then(|e| e.downcast_ref::<smstream::Error>()).unwrap();
        let undelivered = stream.undelivered().unwrap();
        assert_eq!(inner.written(), Some(500 + undelivered), "{kind:?}: {e}");
        assert!(undelivered > 0, "{kind:?}: the lane was full");
    }
}

#[test]
fn half_a_close_each_way() {
    let _watchdog = Watchdog::new();
    for kind in Kind::ALL {
        // The other way goes on.
        let (mut stream, mut party) = meet(kind);
        out().send(&mut stream, 700, Manner::All).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(party.does("drain"), "700 eof");
        party.does("send 800 all");
        let mut into = into();
        into.receive(&mut stream, 800, Manner::All).unwrap();
        is_closed(&stream.write(&[0]).unwrap_err());
        party.does("shutdown write");
        assert!(into.drain(&mut stream).is_none());
        assert!(!stream.wait_peer_closed(Some(Duration::from_millis(20))), "it is open still, only at its end");
        // Who takes no more says so to who writes, also if he waits.
        let (stream, mut party) = meet(kind);
        let mut flow = out();
        let end = while_asleep(
            || flow.send(&mut &stream, u64::MAX, Manner::All),
            || {
                party.does("shutdown read");
            },
        );
        is_closed(&end.unwrap_err());
        party.does("send 10 all");
        self::into().receive(&mut &stream, 10, Manner::All).unwrap();
        // A reader that waits for the end gets it.
        let n = while_asleep(
            || (&mut &stream).read(&mut [0; 8]).unwrap(),
            || {
                party.does("shutdown write");
            },
        );
        assert_eq!(n, 0, "{kind:?}");
    }
}

/// The ways to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Killed,
    /// It ends by itself, without a destructor.
    Exited,
    /// Its parent has not asked for its status.
    Zombie,
    KilledWhileStopped,
    /// Where its process ids mean something else.
    InAnotherPidNamespace,
    /// A child has its descriptors, and lives longer.
    WithAnHeir,
}

const DEATHS: [Death; 6] = [
    Death::Killed,
    Death::Exited,
    Death::Zombie,
    Death::KilledWhileStopped,
    Death::InAnotherPidNamespace,
    Death::WithAnHeir,
];

impl Death {
    fn meet(self, kind: Kind) -> (Stream, Party) {
        if self != Death::InAnotherPidNamespace {
            return meet(kind);
        }
        let (stream, mut party) = meet_with(kind, &["--namespace", "pid"]);
        assert_eq!(party.does("pid"), "1", "it is in a PID namespace of its own");
        (stream, party)
    }

    /// One that is to die so.
    fn start(self) -> Party {
        let inside = self == Death::InAnotherPidNamespace;
        Party::start_with(PARTY, if inside { &["--namespace", "pid"] } else { &[] })
    }

    fn strikes(self, party: &mut Party, stream: &Stream) {
        self.strikes_while(party, |_| {
            assert!(!stream.wait_peer_closed(Some(Duration::from_millis(30))), "the heir holds the end");
        });
    }

    /// The same; `inherited` is called while the process is dead and its heir is not, if it has one.
    fn strikes_while(self, party: &mut Party, inherited: impl FnOnce(&Party)) {
        match self {
            Death::Killed => party.kill_and_reap(),
            Death::InAnotherPidNamespace => party.kill_inside_and_reap(),
            Death::Exited => {
                party.tell("exit 3");
                assert_eq!(party.reap().code(), Some(3));
            }
            Death::Zombie => {
                party.kill();
                party.is_zombie();
            }
            Death::KilledWhileStopped => {
                party.signal(libc::SIGSTOP);
                party.is_in_state('T');
                party.kill_and_reap();
            }
            Death::WithAnHeir => {
                party.does("fork");
                party.kill();
                party.is_in_state('Z');
                inherited(party);
                // The end of the commands is the end of the heir.
                party.reap();
            }
        }
    }
}

#[test]
fn death_while_the_survivor_reads() {
    let _watchdog = Watchdog::new();
    for (kind, death) in pairs() {
        let (stream, mut party) = death.meet(kind);
        let end = while_asleep(|| (&mut &stream).read(&mut [0; 8]), || death.strikes(&mut party, &stream));
        is_gone(&end.unwrap_err());
        stays_gone(&stream);
    }
}

#[test]
fn death_while_the_survivor_writes() {
    let _watchdog = Watchdog::new();
    for (kind, death) in pairs() {
        let (stream, mut party) = death.meet(kind);
        let mut flow = out();
        let end =
            while_asleep(|| flow.send(&mut &stream, u64::MAX, Manner::Some), || death.strikes(&mut party, &stream));
        is_gone(&end.unwrap_err());
        assert_eq!(stream.undelivered(), Some(CAPACITY), "{kind:?} {death:?}");
        stays_gone(&stream);
    }
}

#[test]
fn death_with_data_in_flight_while_the_survivor_does_nothing() {
    let _watchdog = Watchdog::new();
    for (kind, death) in pairs() {
        let (mut stream, mut party) = death.meet(kind);
        party.does("send 1000 all");
        death.strikes(&mut party, &stream);
        let mut into = into();
        is_gone(&into.drain(&mut stream).unwrap());
        assert_eq!(into.at(), 1000, "{kind:?} {death:?}: what was sent is read first");
        stays_gone(&stream);
    }
}

/// What was closed before the death is closed, and what was not has died.
#[test]
fn death_after_half_a_close() {
    let _watchdog = Watchdog::new();
    for (kind, death) in pairs() {
        let (mut stream, mut party) = death.meet(kind);
        party.does("send 10 all");
        party.does("shutdown write");
        death.strikes(&mut party, &stream);
        assert!(stream.wait_peer_closed(None));
        let mut into = into();
        assert!(into.drain(&mut stream).is_none(), "{kind:?} {death:?}");
        assert_eq!(into.at(), 10);
        is_gone(&stream.write(&[0; 8]).unwrap_err());
    }
}

/// A close needs no peer: the lanes are full both ways, and the peer is stopped, or dead.
#[test]
fn closing_never_blocks() {
    let _watchdog = Watchdog::new();
    for kind in Kind::ALL {
        let (mut stream, mut party) = meet(kind);
        party.does(format!("send {CAPACITY} all"));
        out().send(&mut stream, CAPACITY as u64, Manner::All).unwrap();
        party.signal(libc::SIGSTOP);
        party.is_in_state('T');
        drop(stream);
        party.signal(libc::SIGCONT);
        // What was sent before is there, and what the peer takes no more is an error.
        assert_eq!(party.does("drain"), format!("{CAPACITY} eof"), "{kind:?}");
        assert_eq!(party.ask("write 1").unwrap_err().kind, "BrokenPipe", "{kind:?}");
    }
    for (kind, death) in pairs() {
        let (mut stream, mut party) = death.meet(kind);
        out().send(&mut stream, CAPACITY as u64, Manner::All).unwrap();
        death.strikes(&mut party, &stream);
        let (reader, writer) = stream.split();
        drop(writer);
        drop(reader);
    }
}

/// The listener dies before it accepts. A connector gets an error, and the next listener there takes the name over. While a
/// forked heir has the listener's descriptors, the listener is not gone: connectors wait, and the name is in use.
#[test]
fn the_listener_dies_while_a_connector_waits() {
    let _watchdog = Watchdog::new();
    for (kind, death) in Kind::NAMED.into_iter().flat_map(|kind| DEATHS.map(|death| (kind, death))) {
        for waits in [false, true] {
            let place = Place::new(kind);
            let (mut a, mut b, mut c) = (death.start(), Party::start(PARTY), Party::start(PARTY));
            let bind = format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", place.addr());
            a.does(&bind);
            b.tell(format!("connect {}", place.addr()));
            if waits {
                waits_for_another(b.pid());
            }
            death.strikes_while(&mut a, |_| {
                waits_for_another(b.pid());
                thread::sleep(Duration::from_millis(30));
                assert_eq!(b.has_replied(), None, "{kind:?}: the heir holds the listener's place");
                assert_eq!(c.ask(&bind).unwrap_err().kind, "AddrInUse", "{kind:?}");
            });
            let e = b.hear().unwrap_err();
            let words = [e.kind.as_str(), e.reason.as_str(), e.code.as_str()];
            let died = words == ["ConnectionRefused", "NotReady", "PartnerNotAlive"];
            // Who has not begun when the listener dies may find a socket that no process listens on, or no name at all.
            let no_listener = words[1..] == ["NotReady", "ConnectionNotReady"];
            assert!(died || !waits && no_listener, "{kind:?} {death:?}: {e:?}");
            // The name that is left is taken over.
            c.does(&bind);
            c.tell("accept");
            b.does(format!("connect {}", place.addr()));
            c.hear().unwrap();
        }
    }
}

/// A connector dies before it is accepted: no accept returns it, and the next one is accepted.
///
/// A party in the middle of `connect` takes no command to exit or to fork. So these two ways are those of one that has
/// begun to connect and does something else meanwhile.
#[test]
fn a_connector_dies_before_it_is_accepted() {
    let _watchdog = Watchdog::new();
    for (kind, death) in Kind::NAMED.into_iter().flat_map(|kind| DEATHS.map(|death| (kind, death))) {
        // At some moment on the way, or when all that is missing is the listener's answer.
        for waits in [false, true] {
            let place = Place::new(kind);
            let (mut a, mut b, mut c) = (Party::start(PARTY), death.start(), Party::start(PARTY));
            a.does(format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", place.addr()));
            match death {
                Death::Exited | Death::WithAnHeir => {
                    b.does(format!("begin-connect {}", place.addr()));
                    if waits {
                        assert_eq!(b.does("finish"), "pending");
                    }
                }
                _ => {
                    b.tell(format!("connect {}", place.addr()));
                    if waits {
                        let inside = death == Death::InAnotherPidNamespace;
                        waits_for_another(if inside { b.pid_inside() } else { b.pid() });
                    }
                }
            }
            let mut met = false;
            death.strikes_while(&mut b, |b| {
                if matches!(kind, Kind::File | Kind::Shm) {
                    // The heir holds the claim, so the dead one is accepted, and is gone when its heir is.
                    assert_eq!(a.does("accept"), b.pid().to_string(), "{kind:?}");
                    a.tell("read 1");
                    a.is_asleep();
                } else {
                    // The heir holds a socket, and does not go on with the rendezvous. Others do.
                    a.tell("accept");
                    c.tell(format!("connect {}", place.addr()));
                    assert_eq!(
                        a.hear(),
                        Ok(c.pid().to_string()),
                        "{kind:?}: a silent heir does not hold up the listener"
                    );
                    c.hear().unwrap();
                    met = true;
                }
            });
            if death == Death::WithAnHeir && !met {
                assert_eq!(a.hear().unwrap_err().reason, "PeerGone", "{kind:?}");
            }
            if !met {
                a.tell("accept");
                c.tell(format!("connect {}", place.addr()));
                assert_eq!(a.hear(), Ok(c.pid().to_string()), "{kind:?} {death:?}: no accept returns the dead one");
                c.hear().unwrap();
            }
            c.does("send 100 all");
            a.does("read 1");
        }
    }
}

/// The listener of a stream dies, in a PID namespace and not: the connector learns it as the listener would.
#[test]
fn the_listener_of_a_stream_dies() {
    let _watchdog = Watchdog::new();
    for kind in Kind::NAMED {
        for arguments in [&[][..], &["--namespace", "pid"]] {
            let place = Place::new(kind);
            let mut party = Party::start_with(PARTY, arguments);
            party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
            party.does(format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", place.addr()));
            party.tell("accept");
            let mut stream = Stream::connect_timeout(place.addr(), PATIENCE).unwrap();
            party.hear().unwrap();
            party.does("send 10 all");
            if arguments.is_empty() {
                party.kill_and_reap();
            } else {
                party.kill_inside_and_reap();
            }
            let mut into = into();
            is_gone(&into.drain(&mut stream).unwrap());
            assert_eq!(into.at(), 10);
            stays_gone(&stream);
        }
    }
}

/// A listener that goes in order turns those away who wait, and does not wait for them.
#[test]
fn a_listener_is_dropped_while_a_connector_waits() {
    let _watchdog = Watchdog::new();
    for kind in Kind::NAMED {
        let place = Place::new(kind);
        let listener = builder().bind(place.addr()).unwrap();
        let mut party = Party::start(PARTY);
        party.tell(format!("connect {}", place.addr()));
        waits_for_another(party.pid());
        drop(listener);
        assert_eq!(party.hear().unwrap_err().reason, "NotReady", "{kind:?}");
    }
}

fn pairs() -> impl Iterator<Item = (Kind, Death)> {
    Kind::ALL.into_iter().flat_map(|kind| DEATHS.into_iter().map(move |death| (kind, death)))
}

/// Waits until a party, by its process number, sleeps in a system call other than the one for its next command.
fn waits_for_another(pid: u32) {
    let path = format!("/proc/{pid}/syscall");
    let read = libc::SYS_read.to_string();
    until("a party sleeps", || {
        let now = fs::read_to_string(&path).unwrap_or_default();
        now.split(' ').next().is_some_and(|call| call.parse::<i64>().is_ok() && call != read)
    });
}
