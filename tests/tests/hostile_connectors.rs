//! Hostile connectors around a live listener, while honest ones come and go: each of those is served, and none waits for a
//! hostile one. Then everything that the listener had for them is gone.

use std::any::Any;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals};
use rustix::process::{Resource, getrlimit, setrlimit};
use smstream::{Builder, Reason, Stream};
use smstream_core::geometry::{self, Config};
use smstream_core::layout::{FIELDS, HEADER_LEN};
use smstream_tests::bad_fds::{Lingering, memory, not_a_segment};
use smstream_tests::party::{Party, belongings, until};
use smstream_tests::privileges::is_root_to_show;
use smstream_tests::watchdog::{PATIENCE, Watchdog};
use smstream_tests::wire::{self, Message, Rig, Stage, Wire, feature, kind, segment, word};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
/// The bytes of a lane.
const CAPACITY: u32 = 4096;
/// The most descriptors that one packet can have (SCM_MAX_FD).
const MOST_FDS: usize = 253;
/// Users without rights. They need no names.
const OTHERS: [u32; 2] = [12345, 12346];

/// The reasons of a refusal.
mod refusal {
    pub const VERSION: u32 = 1;
    pub const USER: u32 = 2;
    pub const TOO_LARGE: u32 = 3;
    pub const MEMORY: u32 = 4;
    pub const PROTOCOL: u32 = 5;
    pub const RESOURCES: u32 = 6;
}

/// An address that no other process has, and that every user can reach.
fn fresh() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("unix:@smstream-test-crowd-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A party that serves all who come. No connector is evicted for being slow before a test ends.
fn server(addr: &str, patience: &str) -> Party {
    let mut party = Party::start(PARTY);
    party.does(format!("patience {patience}"));
    party.does(format!("bind {addr} {CAPACITY} {CAPACITY} 0"));
    party.does("serve-all");
    party
}

/// A connection as it should be, of one that would choose lanes of this size.
fn honest(addr: &str, capacity: usize) {
    let builder = Builder::new().capacity(capacity);
    let mut stream = builder.connect_timeout(addr, PATIENCE).expect("an honest connector is accepted");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (bytes, mut back) = ([7; 100], [0; 100]);
    stream.write_all(&bytes).unwrap();
    stream.read_exact(&mut back).unwrap();
    assert_eq!(bytes, back);
}

/// What is held on to while the honest ones must get on.
type Held = Box<dyn Any>;

/// Runs hostile ones, one after the other, amid honest ones: after each, each of the honest must have been served again,
/// and again. All that was `Held` stays until then.
fn amid(addr: &str, server: &mut Party, hostile: impl FnOnce(&mut dyn FnMut(&str, Held))) {
    // Two that propose what the server wants, and one that does not.
    const HONEST: [usize; 3] = [CAPACITY as usize, CAPACITY as usize, smstream::DEFAULT_CAPACITY];
    HONEST.iter().for_each(|&capacity| honest(addr, capacity));
    until("the first one is gone", || server.does("serving") == "0");
    // The first thread, the one that accepts, the watcher; the one that served is on its way out.
    until("its thread has ended", || belongings(server.pid()).2 == 3);
    let before = belongings(server.pid());
    let served = HONEST.map(|_| AtomicU64::new(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for (served, capacity) in served.iter().zip(HONEST) {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    honest(addr, capacity);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Whatever fails below, the honest ones have to end.
        let _end = SetOnDrop(&done);
        hostile(&mut |what, held| {
            let then = served.each_ref().map(|s| s.load(Ordering::Relaxed));
            until(&format!("the honest are served in spite of: {what}"), || {
                // One that was under way when the hostile one began does not count.
                served.iter().zip(then).all(|(now, then)| now.load(Ordering::Relaxed) >= then + 2)
            });
            drop(held);
        });
    });
    until("nothing of them is left", || belongings(server.pid()) == before);
    assert_eq!(server.does("serving"), "0");
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connector that has come so far and sends this: what it is refused for. `wire` stays with the caller.
fn refused(at: &Stage, bytes: &[u8]) -> u32 {
    at.wire.send(bytes, &[]).unwrap();
    at.wire.refusal().unwrap()
}

#[test]
fn the_silent_and_the_slow() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = server(&addr, "3600000");
    amid(&addr, &mut server, |then| {
        for stage in 0..=Stage::LAST {
            let crowd: Vec<_> = (0..20).map(|_| Stage::reach(&addr, stage).unwrap()).collect();
            then(&format!("twenty that stop at stage {stage}"), Box::new(crowd));
        }
        let at = Stage::reach(&addr, 0).unwrap();
        assert_eq!(refused(&at, b"s"), refusal::PROTOCOL);
        then("one byte, and then nothing", Box::new(at));
        let mut lingering = Lingering::new().unwrap();
        let at = Stage::reach(&addr, 0).unwrap();
        at.wire.say(&Message::hello(), &[lingering.fd()]).unwrap();
        lingering.give_away();
        then("a descriptor with HELLO that takes an hour to close", Box::new((at, lingering)));
        // As many as a packet can hold, and the last one is such.
        for (stage, message) in [(0, Message::hello()), (2, Message::new(kind::SEGMENT))] {
            let mut lingering = Lingering::new().unwrap();
            let harmless = File::open("/dev/null").unwrap();
            let at = Stage::reach(&addr, stage).unwrap();
            let mut fds = vec![harmless.as_fd(); MOST_FDS - 1];
            fds.push(lingering.fd());
            at.wire.say(&message, &fds).unwrap();
            lingering.give_away();
            then(&format!("{MOST_FDS} descriptors at stage {stage}"), Box::new((at, lingering)));
        }
        let mut lingering = Lingering::new().unwrap();
        let at = Stage::reach(&addr, 2).unwrap();
        at.wire.say(&Message::new(kind::SEGMENT), &[lingering.fd()]).unwrap();
        lingering.give_away();
        assert_eq!(at.wire.refusal().unwrap(), refusal::MEMORY);
        then("a segment that takes an hour to close", Box::new((at, lingering)));
        // It is refused for the first packet, and the second one is never looked at.
        let mut lingering = Lingering::new().unwrap();
        let at = Stage::reach(&addr, 0).unwrap();
        at.wire.say(&Message::new(kind::ACCEPTED), &[]).unwrap();
        let _ = at.wire.send(b"", &[lingering.fd()]);
        lingering.give_away();
        then("a descriptor that is not received and that takes an hour to close", Box::new((at, lingering)));
        // After the rendezvous nothing is read from the socket.
        let mut lingering = Lingering::new().unwrap();
        let at = Stage::reach(&addr, Stage::LAST).unwrap();
        at.wire.send(b"", &[lingering.fd()]).unwrap();
        lingering.give_away();
        drop(at);
        then("the same behind a stream", Box::new(lingering));
    });
}

#[test]
fn who_takes_too_long_is_turned_out() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = server(&addr, "20");
    amid(&addr, &mut server, |then| {
        for stage in [0, 1] {
            let at = Stage::reach(&addr, stage).unwrap();
            if stage == 1 {
                at.wire.expect(kind::WELCOME).unwrap();
            }
            assert_eq!(at.wire.refusal().unwrap(), refusal::PROTOCOL, "stage {stage}");
            then("one that was turned out", Box::new(at));
        }
    });
}

#[test]
fn liars() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = server(&addr, "3600000");
    let hello = Message::hello();
    let first: &[(&str, Vec<u8>, u32)] = &[
        ("no bytes", vec![], refusal::PROTOCOL),
        ("a byte too few", hello.bytes()[..63].to_vec(), refusal::PROTOCOL),
        ("a byte too many", [&hello.bytes()[..], b"!"].concat(), refusal::PROTOCOL),
        ("a large packet", vec![b's'; 100_000], refusal::PROTOCOL),
        ("another magic", hello.with(word::MAGIC, 0).bytes().to_vec(), refusal::PROTOCOL),
        ("another byte order", hello.with(word::BYTE_ORDER, 0x0403_0201).bytes().to_vec(), refusal::PROTOCOL),
        ("kind 0", hello.with(word::KIND, 0).bytes().to_vec(), refusal::PROTOCOL),
        ("an unknown kind", hello.with(word::KIND, 6).bytes().to_vec(), refusal::PROTOCOL),
        ("the largest kind", hello.with(word::KIND, u32::MAX).bytes().to_vec(), refusal::PROTOCOL),
        ("WELCOME", hello.with(word::KIND, kind::WELCOME).bytes().to_vec(), refusal::PROTOCOL),
        ("SEGMENT first", hello.with(word::KIND, kind::SEGMENT).bytes().to_vec(), refusal::PROTOCOL),
        ("ACCEPTED", hello.with(word::KIND, kind::ACCEPTED).bytes().to_vec(), refusal::PROTOCOL),
        ("REFUSED", hello.with(word::KIND, kind::REFUSED).bytes().to_vec(), refusal::PROTOCOL),
        ("no version", hello.with(word::LOWEST, 9).bytes().to_vec(), refusal::VERSION),
        ("later versions", hello.with(word::LOWEST, 2).with(word::HIGHEST, 9).bytes().to_vec(), refusal::VERSION),
        ("no lane is small enough", hello.with(word::CAPACITIES[0], 0).bytes().to_vec(), refusal::TOO_LARGE),
        ("half a lane", hello.with(word::CAPACITIES[0], CAPACITY / 2).bytes().to_vec(), refusal::TOO_LARGE),
    ];
    let config = wire::config(CAPACITY);
    amid(&addr, &mut server, |then| {
        for (what, bytes, why) in first {
            let at = Stage::reach(&addr, 0).unwrap();
            assert_eq!(refused(&at, bytes), *why, "{what}");
            then(what, Box::new(at));
        }
        for again in [kind::HELLO, kind::WELCOME, kind::ACCEPTED, kind::REFUSED] {
            let at = Stage::reach(&addr, 2).unwrap();
            assert_eq!(refused(&at, &Message::new(again).bytes()), refusal::PROTOCOL, "{again} where SEGMENT is due");
            then("another message where SEGMENT is due", Box::new(at));
        }
        for (what, fds) in not_a_segment(&config, 1).unwrap() {
            let at = Stage::reach(&addr, 2).unwrap();
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            at.wire.say(&Message::new(kind::SEGMENT), &fds).unwrap();
            assert_eq!(at.wire.refusal().unwrap(), refusal::MEMORY, "{what}");
            then(&what, Box::new(at));
        }
    });
}

/// A segment whose header is wrong, or becomes wrong: the stream ends, or lives, and nothing else happens.
#[test]
fn liars_in_their_own_segment() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = server(&addr, "3600000");
    amid(&addr, &mut server, |then| {
        for field in FIELDS.iter().filter(|f| f.writer.starts_with("setup") && !f.meaning.contains("display only")) {
            if field.name == "features" {
                continue;
            }
            let at = Stage::reach(&addr, 2).unwrap();
            let (fd, mapping) = at.own.as_ref().unwrap();
            let place = mapping.as_mut_ptr().unwrap().wrapping_add(field.offset).cast::<u32>();
            // SAFETY: an aligned word inside of the mapping, which no other code has yet.
            unsafe { place.write_volatile(0x8000_0011) };
            at.wire.say(&Message::new(kind::SEGMENT), &[fd.as_fd()]).unwrap();
            assert_eq!(at.wire.refusal().unwrap(), refusal::MEMORY, "{}", field.name);
            assert!(at.wire.hear().unwrap().is_none(), "a stream was made with a wrong `{}`", field.name);
            then(field.name, Box::new(at));
        }
        for _ in 0..30 {
            let at = Stage::reach(&addr, 2).unwrap();
            let (fd, mapping) = at.own.as_ref().unwrap();
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let start = mapping.as_mut_ptr().unwrap().cast::<u32>();
                    for n in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                        let place = start.wrapping_add(n as usize * 7 % (HEADER_LEN as usize / 4));
                        // SAFETY: inside of the mapping, of which this process has no reference.
                        let old = unsafe { place.read_volatile() };
                        // SAFETY: as above.
                        unsafe { place.write_volatile(0xdead_beef_u32.rotate_left(n)) };
                        // SAFETY: as above.
                        unsafe { place.write_volatile(old) };
                    }
                });
                let _end = SetOnDrop(&done);
                at.wire.say(&Message::new(kind::SEGMENT), &[fd.as_fd()]).unwrap();
                // It is looked at before it is accepted, and what is seen of it may be good or bad.
                let (answer, _) = at.wire.hear().unwrap().unwrap();
                let refused = answer.kind() == kind::REFUSED && answer.0[word::REFUSAL] == refusal::MEMORY;
                assert!(answer.kind() == kind::ACCEPTED || refused, "{answer:?}");
                then("a header that changes while it is read", Box::new(()));
            });
        }
    });
}

/// The channel that the server would choose, proposed.
fn proposal() -> Config {
    Config { start: 0, channel: 0x1234_5678_9abc_def0, ..wire::config(CAPACITY) }
}

/// A connector that sends its segment with HELLO.
#[test]
fn proposals() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = server(&addr, "3600000");
    let config = proposal();
    amid(&addr, &mut server, |then| {
        let mut rig = Rig::propose(&addr, &config).unwrap();
        let mut back = [0; 9000];
        rig.write_all(b"a question").unwrap();
        rig.read_exact(&mut back[..10]).unwrap();
        assert_eq!(&back[..10], b"a question");
        // SAFETY: the mapping is valid for reads of its length, and no other code changes what this reads.
        let described = unsafe { geometry::inspect(rig.peer.as_ptr(), rig.peer.len()) }.unwrap();
        assert_eq!(described.channel, config.channel);
        then("an honest one", Box::new(rig));
        // What the listener would not choose it answers with what it would.
        let good = Message::proposal(&config);
        let declined = [
            ("another capacity", good.with(word::PROPOSED[0], 2 * CAPACITY)),
            ("another capacity for us", good.with(word::PROPOSED[1], CAPACITY / 2)),
            ("no capacity", good.with(word::PROPOSED[0], 0).with(word::PROPOSED[1], 0)),
            ("all bytes there are", good.with(word::PROPOSED[1], u32::MAX)),
            ("another alignment", good.with(word::ALIGN, 2 * config.align)),
            ("no alignment", good.with(word::ALIGN, 0)),
            ("another start", good.with(word::START, 1)),
            ("a start that is none", good.with(word::START, u32::MAX)),
            ("no number", good.with(word::CHANNEL[0], 0).with(word::CHANNEL[1], 0)),
            ("a later layout", good.with(word::VERSION, 2)),
            ("no layout", good.with(word::VERSION, 0)),
            ("and wants signals", good.with(word::FEATURES, feature::PROPOSES | feature::WANTS_SIGNAL)),
            ("says that it does not", good.with(word::FEATURES, 0)),
        ];
        for (what, hello) in declined {
            let (wire, own) = (Wire::connect(&addr).unwrap(), segment(&config, 1).unwrap());
            wire.say(&hello, &[own.0.as_fd()]).unwrap();
            let (welcome, given) = wire.expect(kind::WELCOME).unwrap();
            assert_eq!((welcome.config().capacities, welcome.config().start, given.len()), ([CAPACITY; 2], 0, 1));
            let own = segment(&welcome.config(), 1).unwrap();
            wire.say(&Message::new(kind::SEGMENT), &[own.0.as_fd()]).unwrap();
            wire.expect(kind::ACCEPTED).unwrap();
            then(what, Box::new((wire, own, given)));
        }
        // What the connector does not accept itself is refused as ever.
        let at = Stage::reach(&addr, 0).unwrap();
        let hello = good.with(word::CAPACITIES[0], CAPACITY / 2);
        at.wire.say(&hello, &[segment(&config, 1).unwrap().0.as_fd()]).unwrap();
        assert_eq!(at.wire.refusal().unwrap(), refusal::TOO_LARGE);
        then("more than it accepts", Box::new(at));
    });
}

/// What a proposal brings may be no segment, or a wrong one, or become one; and who sent it may be gone.
#[test]
fn hostile_proposals() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = server(&addr, "3600000");
    let config = proposal();
    amid(&addr, &mut server, |then| {
        for (what, fds) in not_a_segment(&config, 1).unwrap() {
            for (hello, expected) in
                [(Message::proposal(&config), kind::REFUSED), (Message::proposal(&wire::config(1)), kind::WELCOME)]
            {
                let at = Stage::reach(&addr, 0).unwrap();
                at.wire.say(&hello, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>()).unwrap();
                let (answer, _) = at.wire.expect(expected).unwrap();
                assert!(expected != kind::REFUSED || answer.0[word::REFUSAL] == refusal::MEMORY, "{what}: {answer:?}");
                then(&what, Box::new(at));
            }
        }
        // What is given up without being mapped may be the last one of much memory, or take an hour to close.
        let much = memory(64 << 20, MemfdFlags::empty(), SealFlags::empty()).unwrap();
        fallocate(&much, FallocateFlags::empty(), 0, 64 << 20).unwrap();
        fcntl_add_seals(&much, wire::SEALS).unwrap();
        let at = Stage::reach(&addr, 0).unwrap();
        at.wire.say(&Message::proposal(&wire::config(1)), &[much.as_fd()]).unwrap();
        drop(much);
        at.wire.expect(kind::WELCOME).unwrap();
        then("much memory that is not wanted", Box::new(at));
        for hello in [Message::proposal(&config), Message::proposal(&wire::config(1))] {
            let mut lingering = Lingering::new().unwrap();
            let at = Stage::reach(&addr, 0).unwrap();
            at.wire.say(&hello, &[lingering.fd()]).unwrap();
            lingering.give_away();
            then("a proposal that takes an hour to close", Box::new((at, lingering)));
        }
        for field in FIELDS.iter().filter(|f| f.writer.starts_with("setup") && !f.meaning.contains("display only")) {
            if field.name == "features" {
                continue;
            }
            let (wire, (fd, mapping)) = (Wire::connect(&addr).unwrap(), segment(&config, 1).unwrap());
            let place = mapping.as_mut_ptr().unwrap().wrapping_add(field.offset).cast::<u32>();
            // SAFETY: an aligned word inside of the mapping, which no other code has yet.
            unsafe { place.write_volatile(0x8000_0011) };
            wire.say(&Message::proposal(&config), &[fd.as_fd()]).unwrap();
            assert_eq!(wire.refusal().unwrap(), refusal::MEMORY, "{}", field.name);
            assert!(wire.hear().unwrap().is_none(), "a stream was made with a wrong `{}`", field.name);
            then(field.name, Box::new(wire));
        }
        for again in [kind::HELLO, kind::WELCOME, kind::SEGMENT, kind::ACCEPTED, kind::REFUSED] {
            let at = Stage::propose(&addr, &config).unwrap();
            // It comes before or after the answer, and no party reads it.
            at.wire.say(&Message::new(again), &[at.own.as_ref().unwrap().0.as_fd()]).unwrap();
            at.wire.expect(kind::ACCEPTED).unwrap();
            then("another message after a proposal", Box::new(at));
        }
        for _ in 0..10 {
            drop(Stage::propose(&addr, &config).unwrap());
        }
        then("ten that hang up after a proposal", Box::new(()));
        let mut victim = Party::start(PARTY);
        victim.does(format!("rig-propose {addr} {CAPACITY}"));
        victim.kill_and_reap();
        then("one that is killed after a proposal", Box::new(()));
        let crowd: Vec<_> = (0..20).map(|_| Stage::propose(&addr, &config).unwrap()).collect();
        then("twenty that propose and do nothing else", Box::new(crowd));
    });
}

#[test]
fn those_who_hang_up_and_those_who_are_killed() {
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = server(&addr, "3600000");
    amid(&addr, &mut server, |then| {
        for stage in 0..=Stage::LAST {
            for _ in 0..10 {
                drop(Stage::reach(&addr, stage).unwrap());
            }
            then(&format!("ten that hang up at stage {stage}"), Box::new(()));
            let mut victim = Party::start(PARTY);
            victim.does(format!("rig-stage {addr} {stage}"));
            victim.kill_and_reap();
            then(&format!("one that is killed at stage {stage}"), Box::new(()));
        }
    });
}

#[test]
fn a_flood() {
    const FLOOD: usize = 1000;
    let _watchdog = Watchdog::new();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }).unwrap();
    assert!(limit.maximum.is_none_or(|most| most > FLOOD as u64 + 500), "this needs more descriptors: {limit:?}");
    let addr = fresh();
    let mut server = server(&addr, "3600000");
    let (pid, before) = (server.pid(), belongings(server.pid()).0);
    amid(&addr, &mut server, |then| {
        let flood: Vec<_> = (0..FLOOD).map(|_| Wire::connect(&addr).unwrap()).collect();
        // The first ones have been turned out.
        assert_eq!(flood[0].refusal().unwrap(), refusal::RESOURCES);
        then("a thousand that say nothing", Box::new(()));
        let during = belongings(pid).0;
        assert!(during < before + 200, "{during} descriptors, {before} before");
        then("the same", Box::new(flood));
    });
}

/// Only root can show it.
#[test]
fn users() {
    if !is_root_to_show("that other users are refused") {
        return;
    }
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = Party::start(PARTY);
    server.does(format!("allow {}", OTHERS[0]));
    server.does(format!("bind {addr} {CAPACITY} {CAPACITY} 0"));
    server.does("serve-all");
    let [mut allowed, mut stranger] = OTHERS.map(|user| {
        let mut party = Party::start(PARTY);
        party.does(format!("become {user}"));
        party.does("allow 0");
        party
    });
    amid(&addr, &mut server, |then| {
        let refused = stranger.ask(format!("connect {addr} 60000")).unwrap_err();
        assert_eq!((refused.reason.as_str(), refused.kind.as_str()), ("Denied", "PermissionDenied"), "{refused:?}");
        then("a user who is not allowed", Box::new(()));
        allowed.does(format!("connect {addr} 60000"));
        allowed.does("close");
    });
    server.does("serve-no-more");
    // And the other way round: nothing is said to a listener that is not allowed.
    let addr = fresh();
    stranger.does(format!("rig-listen {addr}"));
    stranger.tell("rig-hear");
    let refused = Stream::connect_timeout(addr.as_str(), PATIENCE).unwrap_err();
    assert_eq!(refused.reason(), Reason::Denied, "{refused}");
    assert_eq!(stranger.hear(), Ok("nothing".into()));
    stranger.tell("rig-hear");
    let refused = Builder::new().allow_uid(OTHERS[0]).connect(addr.as_str()).unwrap_err();
    assert_eq!(refused.reason(), Reason::Denied, "{refused}");
    assert_eq!(stranger.hear(), Ok("nothing".into()));
    stranger.tell("rig-hear");
    thread::scope(|scope| {
        let connecting = scope.spawn(|| Builder::new().allow_any().connect(addr.as_str()).unwrap_err());
        assert_eq!(stranger.hear(), Ok(kind::HELLO.to_string()));
        assert_eq!(connecting.join().unwrap().reason(), Reason::NotReady);
    });
}

/// A user who is not allowed and does not ask the library.
#[test]
fn a_stranger_is_refused_whatever_it_says() {
    if !is_root_to_show("that other users are refused") {
        return;
    }
    let _watchdog = Watchdog::new();
    let addr = fresh();
    let mut server = Party::start(PARTY);
    server.does(format!("become {}", OTHERS[0]));
    server.does(format!("bind {addr} {CAPACITY} {CAPACITY} 0"));
    server.tell("accept 60000");
    // Root is another user, too.
    let wire = Wire::connect(&addr).unwrap();
    // The listener may have refused already, and hung up.
    let said = wire.say(&Message::hello(), &[]);
    assert!(said.is_ok() || said.is_err_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe));
    assert_eq!(wire.refusal().unwrap(), refusal::USER);
    let mut friend = Party::start(PARTY);
    friend.does(format!("become {}", OTHERS[0]));
    friend.does(format!("connect {addr} 60000"));
    assert_eq!(server.hear(), Ok(friend.pid().to_string()));
}
