//! Hostile listeners, and a connector that is another process: each lie is an error with a reason, never a stream, and
//! nothing of it is left.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use smstream::Builder;
use smstream_core::geometry::Config;
use smstream_tests::bad_fds::{Lingering, not_a_segment};
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{Party, Refusal, belongings, until};
use smstream_tests::watchdog::Watchdog;
use smstream_tests::wire::{self, Message, Rig, Wire, door, kind, segment, word};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const CAPACITY: u32 = 4096;
/// Milliseconds: longer than any test takes.
const LONG: &str = "600000";

fn fresh() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("unix:@smstream-test-liars-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// What a connector meets that listens here, and what becomes of it.
struct Trap {
    addr: String,
    door: OwnedFd,
    victim: Party,
    before: (usize, usize, usize),
}

impl Trap {
    fn new() -> Self {
        let addr = fresh();
        let mut trap = Trap { door: door(&addr).unwrap(), addr, victim: Party::start(PARTY), before: (0, 0, 0) };
        // Whatever a process has that has connected once.
        trap.victim.tell(format!("connect {} {LONG}", trap.addr));
        let honest = Rig::accept(&trap.door, &config()).unwrap();
        trap.victim.hear().unwrap();
        drop(honest);
        trap.victim.does("close");
        trap.before = belongings(trap.victim.pid());
        trap
    }

    /// Lets the victim come and say HELLO, and does something to it. How it fails.
    fn catch(&mut self, lie: impl FnOnce(&Wire)) -> Refusal {
        self.victim.tell(format!("connect {} {LONG}", self.addr));
        let wire = Wire::accept(&self.door).unwrap();
        wire.expect(kind::HELLO).unwrap();
        lie(&wire);
        self.victim.hear().expect_err("no stream can come of it")
    }

    fn fails(&mut self, what: &str, reason: &str, lie: impl FnOnce(&Wire)) -> String {
        let refused = self.catch(lie);
        println!("{what}: {}: {}", refused.reason, refused.text);
        assert_eq!(refused.reason, reason, "{what}: {refused:?}");
        let (pid, before) = (self.victim.pid(), self.before);
        until(&format!("nothing is left of: {what}"), || belongings(pid) == before);
        refused.text
    }
}

fn config() -> Config {
    wire::config(CAPACITY)
}

/// WELCOME with an honest segment.
fn welcome(wire: &Wire, message: &Message) {
    let (fd, _) = segment(&config(), 0).unwrap();
    wire.say(message, &[fd.as_fd()]).unwrap();
}

#[test]
fn lies_in_messages() {
    let _watchdog = Watchdog::new();
    let mut trap = Trap::new();
    let good = Message::welcome(&config());
    let lies = [
        ("another version than was offered", "Corrupt", good.with(word::VERSION, 2)),
        ("no capacity", "Corrupt", good.with(word::CAPACITIES[0], 0).with(word::CAPACITIES[1], 0)),
        ("a capacity that is no power of two", "Corrupt", good.with(word::CAPACITIES[0], 4097)),
        ("no alignment", "Corrupt", good.with(word::ALIGN, 0)),
        ("less alignment than a page", "Corrupt", good.with(word::ALIGN, 128)),
        ("a huge alignment", "Corrupt", good.with(word::ALIGN, 1 << 31)),
        ("a start that is none", "Corrupt", good.with(word::START, u32::MAX)),
        ("a lane of 512 MiB", "Capacity", good.with(word::CAPACITIES[0], 1 << 29)),
        ("a lane of 512 MiB for us", "Capacity", good.with(word::CAPACITIES[1], 1 << 29)),
        ("a lane of all bytes there are", "Capacity", good.with(word::CAPACITIES[0], u32::MAX)),
        ("longer than its segment", "Corrupt", good.with(word::CAPACITIES[0], 8192)),
        ("HELLO", "Corrupt", good.with(word::KIND, kind::HELLO)),
        ("SEGMENT", "Corrupt", good.with(word::KIND, kind::SEGMENT)),
        ("ACCEPTED of another channel than was proposed", "Corrupt", good.with(word::KIND, kind::ACCEPTED)),
        ("no kind", "Corrupt", good.with(word::KIND, 0)),
        ("another magic", "Corrupt", good.with(word::MAGIC, 0)),
        ("another byte order", "Corrupt", good.with(word::BYTE_ORDER, 0x0403_0201)),
    ];
    for (what, reason, lie) in lies {
        let text = trap.fails(what, reason, |wire| welcome(wire, &lie));
        assert!(reason != "Capacity" || text.contains("max_peer_capacity"), "{text}");
    }
    for (why, reason) in [
        (1, "Version"),
        (2, "Denied"),
        (3, "Capacity"),
        (4, "Corrupt"),
        (5, "Corrupt"),
        (6, "NotReady"),
        (77, "Corrupt"),
    ] {
        let refused = Message::new(kind::REFUSED).with(word::REFUSAL, why);
        trap.fails(&format!("REFUSED for {why}"), reason, |wire| wire.say(&refused, &[]).unwrap());
    }
    for bytes in [&b""[..], b"s", &[b's'; 65], &[0; 100_000]] {
        trap.fails(&format!("{} bytes", bytes.len()), "Corrupt", |wire| wire.send(bytes, &[]).unwrap());
    }
    trap.fails("WELCOME twice", "Corrupt", |wire| {
        welcome(wire, &good);
        wire.expect(kind::SEGMENT).unwrap();
        welcome(wire, &good);
    });
    trap.fails("a hang-up after WELCOME", "NotReady", |wire| {
        welcome(wire, &good);
        wire.expect(kind::SEGMENT).unwrap();
        rustix::net::shutdown(&wire.0, rustix::net::Shutdown::Both).unwrap();
    });
    trap.fails("a hang-up at once", "NotReady", |wire| {
        rustix::net::shutdown(&wire.0, rustix::net::Shutdown::Both).unwrap();
    });
}

#[test]
fn lies_in_segments() {
    let _watchdog = Watchdog::new();
    let mut trap = Trap::new();
    let good = Message::welcome(&config());
    for (what, fds) in not_a_segment(&config(), 0).unwrap() {
        trap.fails(&what, "Corrupt", |wire| {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            wire.say(&good, &fds).unwrap();
        });
    }
    let mut lingering = Lingering::new().unwrap();
    let refused = trap.catch(|wire| {
        wire.say(&good, &[lingering.fd()]).unwrap();
        lingering.give_away();
    });
    assert_eq!(refused.reason, "Corrupt", "a segment that takes an hour to close: {refused:?}");
    drop(lingering);
    // The header is another channel's: that is seen before anything is handed out.
    let other = Config { start: 5, ..config() };
    trap.fails("the segment of another channel", "Corrupt", |wire| {
        let (fd, _) = segment(&other, 0).unwrap();
        wire.say(&good, &[fd.as_fd()]).unwrap();
        assert!(wire.hear().unwrap().is_none(), "a segment was handed out");
    });
    trap.fails("the segment of a connector", "Corrupt", |wire| {
        let (fd, _) = segment(&config(), 1).unwrap();
        wire.say(&good, &[fd.as_fd()]).unwrap();
        assert!(wire.hear().unwrap().is_none(), "a segment was handed out");
    });
}

/// The channel that a connector proposes to which no listener has said anything.
fn usual() -> Config {
    Config { start: 0, ..wire::config(smstream::DEFAULT_CAPACITY as u32) }
}

/// ACCEPTED in answer to a proposal.
fn accept(wire: &Wire, segment: &[BorrowedFd<'_>]) {
    wire.say(&Message::new(kind::ACCEPTED), segment).unwrap();
}

#[test]
fn lies_about_a_proposal() {
    let _watchdog = Watchdog::new();
    let mut trap = Trap::new();
    for (what, fds) in not_a_segment(&usual(), 0).unwrap() {
        trap.fails(&what, "Corrupt", |wire| accept(wire, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>()));
    }
    let mut lingering = Lingering::new().unwrap();
    let refused = trap.catch(|wire| {
        accept(wire, &[lingering.fd()]);
        lingering.give_away();
    });
    assert_eq!(refused.reason, "Corrupt", "a segment that takes an hour to close: {refused:?}");
    drop(lingering);
    let others = [
        ("another start", Config { start: 5, ..usual() }, 0),
        ("another capacity", Config { capacities: [usual().capacities[0], 4096], ..usual() }, 0),
        ("a connector's", usual(), 1),
    ];
    for (what, config, party) in others {
        trap.fails(what, "Corrupt", |wire| accept(wire, &[segment(&config, party).unwrap().0.as_fd()]));
    }
    // Its own segment.
    trap.victim.tell(format!("connect {} {LONG}", trap.addr));
    let wire = Wire::accept(&trap.door).unwrap();
    let (_, fds) = wire.expect(kind::HELLO).unwrap();
    accept(&wire, &[fds[0].as_fd()]);
    assert_eq!(trap.victim.hear().unwrap_err().reason, "Corrupt");
    drop((wire, fds));
    // Nothing was proposed.
    trap.victim.does(format!("ignore-signal {}", libc::SIGUSR1));
    trap.victim.does(format!("wake-signal {}", libc::SIGUSR1));
    for with in [&[][..], &[segment(&usual(), 0).unwrap().0.as_fd()]] {
        trap.fails("ACCEPTED, and nothing was proposed", "Corrupt", |wire| accept(wire, with));
    }
}

/// A listener and a connector that are not ours, and keep to the table.
#[test]
fn an_honest_proposal_is_all_it_takes() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let door = door(&addr).unwrap();
    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    for start in [0, NEAR_WRAP] {
        std::thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                let mut stream =
                    Builder::new().capacities(1 << 16, 4096).start_cursor(start).connect(addr.as_str()).unwrap();
                stream.write_all(&bytes).unwrap();
                let mut back = vec![0; bytes.len()];
                stream.read_exact(&mut back).unwrap();
                assert!(back == bytes);
            });
            let mut rig = Rig::accept_as_proposed(&door).unwrap();
            let mut through = vec![0; bytes.len()];
            rig.read_exact(&mut through).unwrap();
            rig.write_all(&through).unwrap();
            connecting.join().unwrap();
        });
    }
    let listener = Builder::new().capacities(1 << 16, 4096).start_cursor(NEAR_WRAP).bind(fresh().as_str()).unwrap();
    let config = Config { capacities: [1 << 16, 4096], channel: 1, ..usual() };
    let config = Config { start: NEAR_WRAP, ..config };
    std::thread::scope(|scope| {
        let accepting = scope.spawn(|| {
            let mut stream = listener.accept().unwrap();
            let mut through = vec![0; bytes.len()];
            stream.read_exact(&mut through).unwrap();
            stream.write_all(&through).unwrap();
        });
        let mut rig = Rig::propose(&listener.local_addr().to_string(), &config).unwrap();
        rig.write_all(&bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        rig.read_exact(&mut back).unwrap();
        assert!(back == bytes);
        accepting.join().unwrap();
    });
}

#[test]
fn silence() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let door = door(&addr).unwrap();
    let mut victim = Party::start(PARTY);
    for stage in ["no accept", "no answer to HELLO", "no answer to SEGMENT"] {
        victim.tell(format!("connect {addr} 50"));
        let wire = (stage != "no accept").then(|| Wire::accept(&door).unwrap());
        if let Some(wire) = &wire {
            let _ = wire.expect(kind::HELLO).unwrap();
            if stage == "no answer to SEGMENT" {
                welcome(wire, &Message::welcome(&config()));
                wire.expect(kind::SEGMENT).unwrap();
            }
        }
        let refused = victim.hear().unwrap_err();
        assert_eq!((refused.reason.as_str(), refused.kind.as_str()), ("TimedOut", "TimedOut"), "{stage}: {refused:?}");
        if wire.is_none() {
            drop(Wire::accept(&door).unwrap());
        }
    }
}
