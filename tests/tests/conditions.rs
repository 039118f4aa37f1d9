//! Waiting for several things at once: over regions and sockets, with other processes on the other side.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use smstream::condition::MOST;
use smstream::liveness::WatchMode;
use smstream::{Addr, BufMode, Builder, Condition, Connecting, ReadySet, Reason, Stream, TryFinish};
use smstream::{try_wait, wait_all, wait_any};
use smstream_core::geometry::Config;
use smstream_core::layout::FIELDS;
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP, Random};
use smstream_tests::party::{Party, Scratch, asleep};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const SHORT: Duration = Duration::from_millis(30);
/// Of what this process sends, and of what parties send.
const SEEDS: [u64; 2] = [0xc0de, 0xbeef];

/// Runs a test at an address of each kind.
fn each_kind(test: impl Fn(&str)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    test(&scratch.addr());
    test(&format!("shm:/smstream-conditions-{}-{number}", std::process::id()));
    test(&format!("unix:{}/socket", scratch.path().display()));
    test(&format!("unix:@smstream-conditions-{}-{number}", std::process::id()));
}

fn builder(capacity: usize) -> Builder {
    Builder::new().capacity(capacity).start_cursor(NEAR_WRAP)
}

fn party() -> Party {
    let mut party = Party::start(PARTY);
    party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    party
}

/// A stream from this process, which listens, to a party.
fn meet(addr: &str, capacity: usize) -> (Stream, Party) {
    let listener = builder(capacity).bind(addr).unwrap();
    let mut party = party();
    party.tell(format!("connect {addr}"));
    let stream = listener.accept().unwrap();
    party.hear().unwrap();
    (stream, party)
}

fn places(ready: ReadySet) -> Vec<usize> {
    ready.iter().collect()
}

/// The calls return at once where a condition was ready, and say that they would wait where it was not.
fn must_not_block(stream: &Stream) {
    stream.set_nonblocking(true).unwrap();
}

/// Does something in another thread as soon as this one sleeps.
fn once_asleep<R>(wait: impl FnOnce() -> R, then: impl FnOnce() + Send) -> R {
    let me = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    thread::scope(|scope| {
        scope.spawn(move || {
            asleep(std::process::id(), me);
            then();
        });
        wait()
    })
}

#[test]
fn acceptable_means_that_accept_returns_at_once() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(try_wait(&mut [listener.acceptable()]).unwrap().is_empty(), "{addr}");
        assert!(wait_any(&mut [listener.acceptable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
        assert_eq!(listener.accept().unwrap_err().reason(), Reason::WouldBlock);
        // Two, one after the other, to see that it is armed again.
        for _ in 0..2 {
            let mut party = party();
            let ready = once_asleep(
                || wait_any(&mut [listener.acceptable()], None).unwrap(),
                || party.tell(format!("connect {addr}")),
            );
            assert!(ready.is_all(), "{addr}");
            assert!(try_wait(&mut [listener.acceptable()]).unwrap().is_all(), "it stays so");
            let mut stream = listener.accept().unwrap();
            party.hear().unwrap();
            assert!(try_wait(&mut [listener.acceptable()]).unwrap().is_empty(), "{addr}");
            party.does("send 3 all");
            let mut bytes = [0; 3];
            stream.read_exact(&mut bytes).unwrap();
            Flow::new(SEEDS[1], 4096).check(&bytes);
        }
    });
}

#[test]
fn an_accept_that_was_promised_does_not_wait_when_the_connector_dies() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut party = party();
        party.tell(format!("connect {addr}"));
        assert!(wait_any(&mut [listener.acceptable()], None).unwrap().is_all());
        party.kill_and_reap();
        let mut stream = listener.accept().unwrap();
        assert!(wait_any(&mut [stream.readable()], None).unwrap().is_all());
        must_not_block(&stream);
        let e = stream.read(&mut [0]).unwrap_err();
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{addr}: {e}");
        // It takes the place of nobody.
        let mut second = self::party();
        second.tell(format!("connect {addr}"));
        assert!(wait_any(&mut [listener.acceptable()], None).unwrap().is_all());
        drop(listener.accept().unwrap());
        second.hear().unwrap();
    });
}

#[test]
fn a_listener_that_is_shut_down_is_acceptable() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let ready = once_asleep(|| wait_any(&mut [listener.acceptable()], None).unwrap(), || listener.shutdown());
        assert!(ready.is_all(), "{addr}");
        let e: std::io::Error = listener.accept().unwrap_err().into();
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionAborted, "{addr}");
    });
}

#[test]
fn readable_means_that_read_returns_at_once() {
    each_kind(|addr| {
        let (mut stream, mut party) = meet(addr, 4096);
        let mut flow = Flow::new(SEEDS[1], 4096);
        must_not_block(&stream);
        for _ in 0..3 {
            assert!(try_wait(&mut [stream.readable()]).unwrap().is_empty(), "{addr}");
            assert!(wait_any(&mut [stream.readable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
            let at = flow.at();
            let ready = once_asleep(
                || wait_any(&mut [stream.readable()], None).unwrap(),
                || drop(party.does(format!("send {} all", at + 1000))),
            );
            assert!(ready.is_all());
            let mut bytes = [0; 1000];
            let mut got = 0;
            while got < 1000 {
                assert!(wait_any(&mut [stream.readable()], None).unwrap().is_all());
                let n = stream.read(&mut bytes[got..]).unwrap();
                flow.check(&bytes[got..got + n]);
                got += n;
            }
        }
        // The last bytes, and then the end: both without waiting.
        party.does(format!("send {} all", flow.at() + 5));
        party.does("close");
        let mut rest = Vec::new();
        while wait_any(&mut [stream.readable()], None).unwrap().is_all() {
            let mut bytes = [0; 8];
            match stream.read(&mut bytes).unwrap() {
                0 => break,
                n => rest.extend_from_slice(&bytes[..n]),
            }
        }
        flow.check(&rest);
        assert_eq!(rest.len(), 5);
        assert!(try_wait(&mut [stream.readable()]).unwrap().is_all(), "the end stays");
    });
}

#[test]
fn writable_means_that_write_returns_at_once() {
    each_kind(|addr| {
        let (mut stream, mut party) = meet(addr, 512);
        let mut flow = Flow::new(SEEDS[0], 512);
        must_not_block(&stream);
        assert!(try_wait(&mut [stream.writable()]).unwrap().is_all(), "{addr}");
        let e = flow.send(&mut stream, u64::MAX, Manner::Some).unwrap_err();
        assert_eq!((e.kind(), flow.at()), (std::io::ErrorKind::WouldBlock, 512));
        assert!(try_wait(&mut [stream.writable()]).unwrap().is_empty(), "{addr}");
        assert!(wait_any(&mut [stream.writable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
        let ready =
            once_asleep(|| wait_any(&mut [stream.writable()], None).unwrap(), || drop(party.does("receive 1 all")));
        assert!(ready.is_all());
        flow.send(&mut stream, 513, Manner::Some).unwrap();
        // The peer goes: that is ready, too, with an error.
        let ready = once_asleep(|| wait_any(&mut [stream.writable()], None).unwrap(), || drop(party.does("close")));
        assert!(ready.is_all());
        assert_eq!(stream.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe, "{addr}");
        // And so is a half that was shut down here.
        stream.shutdown(Shutdown::Both).unwrap();
        assert!(try_wait(&mut [stream.readable(), stream.writable()]).unwrap().is_all());
    });
}

/// A request that is held back goes out before its answer is waited for, and bytes that are there count though nobody was
/// asked to look.
#[test]
fn what_is_held_back_is_published_by_who_waits() {
    each_kind(|addr| {
        let (stream, mut party) = meet(addr, 4096);
        stream.set_buf_mode(BufMode::Full);
        Flow::new(SEEDS[0], 4096).send(&mut &stream, 5, Manner::All).unwrap();
        assert_eq!(stream.held_back(), 5);
        party.tell("receive 5 all");
        party.tell("send 3 all");
        assert!(try_wait(&mut [stream.writable()]).unwrap().is_all());
        assert_eq!(stream.held_back(), 5, "{addr}: who does not wait publishes nothing");
        assert!(wait_any(&mut [stream.readable()], None).unwrap().is_all(), "{addr}");
        assert_eq!(stream.held_back(), 0);
        party.hear().unwrap();
        party.hear().unwrap();
    });
}

/// A party that listens where this process connects.
fn listening(addr: &str) -> Party {
    let mut party = party();
    party.does(format!("bind {addr} 4096 4096 {NEAR_WRAP}"));
    party
}

#[track_caller]
fn pending(result: Result<Stream, TryFinish>) -> Connecting {
    match result {
        Err(TryFinish::Pending(connecting)) => connecting,
        other => panic!("{other:?}"),
    }
}

#[test]
fn connectable_means_that_the_attempt_is_over() {
    each_kind(|addr| {
        let mut party = listening(addr);
        let connecting = Stream::begin_connect(addr).unwrap();
        assert_eq!(connecting.addr(), &addr.parse::<Addr>().unwrap());
        let mut connecting = pending(connecting.try_finish());
        assert!(try_wait(&mut [connecting.connectable()]).unwrap().is_empty(), "{addr}");
        let mut connecting = pending(connecting.wait(Some(SHORT)));
        let ready =
            once_asleep(|| wait_any(&mut [connecting.connectable()], None).unwrap(), || drop(party.does("accept")));
        assert!(ready.is_all(), "{addr}");
        assert!(try_wait(&mut [connecting.connectable()]).unwrap().is_all(), "it stays so");
        let mut stream = connecting.try_finish().unwrap();
        assert_eq!(
            stream.stats().watch,
            WatchMode::Watched,
            "{addr}: the watcher has let go of what it watched before"
        );
        let mut bytes = [0; 10];
        party.does("send 10 all");
        stream.read_exact(&mut bytes).unwrap();
        Flow::new(SEEDS[1], 4096).check(&bytes);
    });
}

/// Several at once: those behind the first find out by themselves when it is their turn.
#[test]
fn attempts_that_wait_for_their_turn_get_it() {
    each_kind(|addr| {
        let mut party = listening(addr);
        let mut all: Vec<_> = (0..5).map(|_| Stream::begin_connect(addr).unwrap()).collect();
        let mut streams = Vec::new();
        for round in 1..=5 {
            party.tell("accept");
            // At a socket several may be done at once, and the next accepts then have them already.
            while streams.len() < round {
                let mut conditions: Vec<_> = all.iter_mut().map(Connecting::connectable).collect();
                let ready = wait_any(&mut conditions, None).unwrap();
                drop(conditions);
                for place in places(ready).into_iter().rev() {
                    streams.push(all.remove(place).try_finish().unwrap());
                }
            }
            party.hear().unwrap();
        }
        assert_eq!((streams.len(), all.len()), (5, 0), "{addr}");
    });
}

#[test]
fn connectable_is_true_also_of_an_attempt_that_failed() {
    each_kind(|addr| {
        // Nobody is there.
        let mut connecting = Stream::begin_connect(addr).unwrap();
        assert!(wait_any(&mut [connecting.connectable()], None).unwrap().is_all());
        let Err(TryFinish::Failed(e)) = connecting.try_finish() else { panic!("{addr}: whose stream?") };
        assert_eq!(e.reason(), Reason::NotReady, "{e}");
        assert!(e.to_string().contains("nobody listens"), "{e}");
        // The listener dies while it is waited for.
        let mut party = listening(addr);
        let mut connecting = pending(Stream::begin_connect(addr).unwrap().try_finish());
        let ready = once_asleep(|| wait_any(&mut [connecting.connectable()], None).unwrap(), || party.kill_and_reap());
        assert!(ready.is_all());
        let Err(TryFinish::Failed(e)) = connecting.try_finish() else { panic!("{addr}: whose stream?") };
        assert_eq!(e.reason(), Reason::NotReady, "{e}");
        let e = std::io::Error::from(TryFinish::Failed(e));
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionRefused, "{e}");
    });
    // What is no address is said at once.
    assert_eq!(Stream::begin_connect("nonsense").unwrap_err().reason(), Reason::InvalidInput);
    let mut connecting = Stream::begin_connect("fd:2000000").unwrap();
    assert!(try_wait(&mut [connecting.connectable()]).unwrap().is_all());
    assert!(matches!(connecting.try_finish(), Err(TryFinish::Failed(_))));
}

/// An attempt that is given up leaves the listener as it was.
#[test]
fn an_attempt_can_be_given_up() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let connecting = pending(Stream::begin_connect(addr).unwrap().try_finish());
        let e = std::io::Error::from(TryFinish::Pending(connecting));
        assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock);
        assert!(wait_any(&mut [listener.acceptable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
        let mut party = party();
        party.tell(format!("connect {addr}"));
        assert!(wait_any(&mut [listener.acceptable()], None).unwrap().is_all());
        drop(listener.accept().unwrap());
        party.hear().unwrap();
    });
}

/// All kinds of conditions of all kinds of addresses in one wait; one after the other becomes ready, and no other is said
/// to be.
#[test]
fn a_mixed_set_says_which() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let file = scratch.addr();
    let socket = format!("unix:{}/socket", scratch.path().display());
    let there = format!("unix:{}/there", scratch.path().display());
    let far = format!("file:{}/far", scratch.path().display());
    let (first, mut first_party) = meet(&format!("{file}-1"), 512);
    let (second, mut second_party) = meet(&format!("{socket}-2"), 512);
    let (mut reader, mut writer) = Stream::pair().unwrap().0.split();
    let listeners = [&file, &socket].map(|addr| builder(512).bind(addr).unwrap());
    let mut listening = [&there, &far].map(|addr| self::listening(addr));
    let [mut near, mut distant] = [&there, &far].map(|addr| Stream::begin_connect(addr.as_str()).unwrap());
    // Fill what is to be written to.
    must_not_block(&second);
    let mut flow = Flow::new(SEEDS[0], 512);
    flow.send(&mut &second, u64::MAX, Manner::Some).unwrap_err();
    // `reader` and `writer` lost their peer when the pair was made.
    let mut set = |timeout| {
        let mut conditions = [
            first.readable(),
            second.readable(),
            second.writable(),
            listeners[0].acceptable(),
            listeners[1].acceptable(),
            near.connectable(),
            distant.connectable(),
        ];
        places(wait_any(&mut conditions, timeout).unwrap())
    };
    assert_eq!(set(Some(SHORT)), []);
    first_party.does("send 1 all");
    assert_eq!(set(None), [0]);
    assert_eq!((&first).read(&mut [0; 8]).unwrap(), 1);
    assert_eq!(once_asleep(|| set(None), || second_party.tell("receive 1 all")), [2]);
    second_party.hear().unwrap();
    flow.send(&mut &second, u64::MAX, Manner::Some).unwrap_err();
    let mut parties = [party(), party()];
    for (i, addr) in [&file, &socket].into_iter().enumerate() {
        let party = &mut parties[i];
        assert_eq!(once_asleep(|| set(None), || party.tell(format!("connect {addr}"))), [3 + i]);
        drop(listeners[i].accept().unwrap());
        party.hear().unwrap();
    }
    let [near_party, far_party] = &mut listening;
    assert_eq!(once_asleep(|| set(None), || near_party.tell("accept")), [5]);
    near_party.hear().unwrap();
    far_party.does("accept");
    assert_eq!(set(None), [5, 6], "all that are ready are named");
    let ready = wait_all(&mut [reader.readable(), writer.writable()], None).unwrap();
    assert!(ready.is_all(), "the end, and an error");
}

#[test]
fn all_are_waited_for() {
    each_kind(|addr| {
        let (stream, mut party) = meet(addr, 4096);
        let (other, mut there) = Stream::pair().unwrap();
        let both = |timeout| {
            let mut conditions = [stream.readable(), other.readable(), other.writable()];
            wait_all(&mut conditions, timeout).unwrap()
        };
        assert_eq!(places(both(Some(SHORT))), [2], "what is ready when time is over");
        there.write_all(b"x").unwrap();
        assert_eq!(places(both(Some(SHORT))), [1, 2]);
        let ready = once_asleep(|| both(None), || drop(party.does("send 1 all")));
        assert!(ready.is_all(), "{addr}");
    });
}

#[test]
fn death_makes_ready_and_only_what_it_concerns() {
    each_kind(|addr| {
        let mut met: Vec<_> = (0..4).map(|i| meet(&format!("{addr}-{i}"), 512)).collect();
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
        // The two halves are told one after the other.
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
        let (mut stream, mut party) = meet(addr, 512);
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
    let mut party = party();
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
    // Nobody rings for that; whoever looks finds it.
    assert!(ready.contains(0), "{ready:?}");
    assert!(try_wait(&mut [stream.readable(), stream.writable()]).unwrap().is_all(), "both halves are told");
    for e in [stream.read(&mut [0]).unwrap_err(), stream.write(&[0]).unwrap_err()] {
        let e = e.get_ref().and_then(|e| e.downcast_ref::<smstream::Error>()).unwrap();
        assert_eq!(e.reason(), Reason::Corrupt, "{e}");
    }
}

#[test]
fn a_shutdown_by_another_thread_is_not_slept_through() {
    each_kind(|addr| {
        let (stream, _party) = meet(addr, 512);
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

/// An alert comes at every moment of a wait for many: also after the half was looked at, and before the thread sleeps.
#[test]
fn an_alert_while_a_wait_lies_down_is_not_missed() {
    let _watchdog = Watchdog::new();
    let builder = builder(16).spin(Duration::ZERO);
    let others: Vec<_> = (1..MOST).map(|_| builder.pair().unwrap()).collect();
    let (tell, told) = channel::<Arc<(Stream, Stream)>>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Random::new(SEEDS[0]);
            for pair in told {
                let end = Instant::now() + Duration::from_nanos(random.below(40_000));
                while Instant::now() < end {}
                pair.0.shutdown(Shutdown::Read).unwrap();
            }
        });
        for _ in 0..3000 {
            let pair = Arc::new(builder.pair().unwrap());
            let mut conditions = vec![pair.0.readable()];
            conditions.extend(others.iter().map(|(here, _)| here.readable()));
            tell.send(Arc::clone(&pair)).unwrap();
            assert_eq!(places(wait_any(&mut conditions, None).unwrap()), [0]);
        }
        drop(tell);
    });
}

/// As many as can be, and one more. The last of them wakes.
#[test]
fn as_many_as_the_kernel_takes() {
    let _watchdog = Watchdog::new();
    let pairs: Vec<_> = (0..=MOST).map(|_| builder(16).pair().unwrap()).collect();
    let mut conditions: Vec<_> = pairs.iter().map(|(here, _)| here.readable()).collect();
    for e in [wait_any(&mut conditions, None), wait_all(&mut conditions, None), try_wait(&mut conditions)] {
        let e = e.unwrap_err();
        assert_eq!(e.reason(), Reason::InvalidInput);
        assert!(e.to_string().contains("128 conditions") && e.to_string().contains("127"), "{e}");
    }
    conditions.pop();
    assert!(wait_any(&mut conditions, Some(SHORT)).unwrap().is_empty());
    for last in [MOST - 1, 0, 64] {
        let ready =
            once_asleep(|| wait_any(&mut conditions, None).unwrap(), || (&pairs[last].1).write_all(b"x").unwrap());
        assert_eq!(places(ready), [last]);
        assert_eq!((&pairs[last].0).read(&mut [0; 2]).unwrap(), 1);
    }
    let e = wait_any(&mut [], None).unwrap_err();
    assert_eq!(e.reason(), Reason::InvalidInput);
    assert!(wait_all(&mut [], None).unwrap().is_all());
    assert!(try_wait(&mut []).unwrap().is_all());
}

#[test]
fn the_same_condition_twice_is_one() {
    each_kind(|addr| {
        let (stream, mut party) = meet(addr, 512);
        let listener = builder(512).bind(format!("{addr}-other")).unwrap();
        let ready = once_asleep(
            || {
                let mut set = [
                    stream.readable(),
                    listener.acceptable(),
                    stream.readable(),
                    stream.writable(),
                    listener.acceptable(),
                ];
                wait_all(&mut set[..3], Some(SHORT)).unwrap();
                let (first, _) = set.split_at_mut(3);
                wait_any(first, None).unwrap()
            },
            || drop(party.does("send 1 all")),
        );
        assert_eq!(places(ready), [0, 2], "{addr}");
    });
}

/// What another thread is using is not ready, and is looked at again when that thread is done.
#[test]
fn what_another_thread_uses_is_not_ready() {
    each_kind(|addr| {
        let (stream, mut party) = meet(addr, 512);
        let (stream, scratch) = (&stream, Scratch::new());
        let listener = &builder(512).bind(format!("file:{}/x", scratch.path().display())).unwrap();
        thread::scope(|scope| {
            let (tell, told) = channel();
            let (tell_too, told_too) = channel();
            let reading = scope.spawn(move || {
                tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
                (&*stream).read(&mut [0; 1]).unwrap()
            });
            let accepting = scope.spawn(move || {
                tell_too.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
                drop(listener.accept());
            });
            for thread in [told.recv().unwrap(), told_too.recv().unwrap()] {
                asleep(std::process::id(), thread);
            }
            let set = || [stream.readable(), stream.readable(), stream.writable(), listener.acceptable()];
            assert_eq!(places(try_wait(&mut set()).unwrap()), [2], "{addr}");
            assert!(wait_any(&mut [stream.readable(), listener.acceptable()], Some(SHORT)).unwrap().is_empty());
            // The first byte is the reader's, the second one is ours.
            party.does("send 1 all");
            assert_eq!(reading.join().unwrap(), 1);
            let ready = once_asleep(|| wait_any(&mut set()[..2], None).unwrap(), || drop(party.does("send 2 all")));
            assert!(ready.is_all());
            // A thread that waits for them itself, and gives up, lets go of them.
            listener.shutdown();
            accepting.join().unwrap();
            assert!(wait_any(&mut [listener.acceptable()], None).unwrap().is_all());
        });
    });
}

/// Two threads name the same streams in opposite order, again and again.
#[test]
fn waits_do_not_wait_for_each_other() {
    let _watchdog = Watchdog::new();
    let pairs: Vec<_> = (0..2).map(|_| builder(16).pair().unwrap()).collect();
    let pairs = &pairs;
    const BYTES: usize = 300;
    thread::scope(|scope| {
        for order in [[0, 1], [1, 0]] {
            scope.spawn(move || {
                let mut left = BYTES;
                while left > 0 {
                    let mut set: [Condition<'_>; 2] = order.map(|i| pairs[i].0.readable());
                    for place in wait_any(&mut set, Some(Duration::from_millis(1))).unwrap() {
                        let stream = &pairs[order[place]].0;
                        stream.set_nonblocking(true).unwrap();
                        left -= (&*stream).read(&mut vec![0; left.min(1)]).unwrap_or(0);
                    }
                }
            });
        }
        for _ in 0..BYTES {
            for (_, there) in pairs {
                (&*there).write_all(b"x").unwrap();
            }
        }
    });
}

/// Many streams, each with a party that sends now and then: all arrives, and no wait sleeps for ever.
#[test]
fn nothing_is_lost_among_many() {
    const EACH: u64 = 20_000;
    each_kind(|addr| {
        let mut met: Vec<_> = (0..6).map(|i| meet(&format!("{addr}-{i}"), 64 << i)).collect();
        let mut flows: Vec<_> = (0..6).map(|i| Flow::new(SEEDS[1], 64 << i)).collect();
        for (stream, party) in &mut met {
            must_not_block(stream);
            party.tell(format!("send {EACH} mixed"));
        }
        let mut random = Random::new(SEEDS[0]);
        while flows.iter().any(|flow| flow.at() < EACH) {
            let open: Vec<_> = (0..6).filter(|&i| flows[i].at() < EACH).collect();
            let mut conditions: Vec<_> = open.iter().map(|&i| met[i].0.readable()).collect();
            let ready = match random.below(3) {
                // Even if that is for all of them, at once.
                0 => wait_all(&mut conditions, Some(Duration::from_micros(random.below(300)))).unwrap(),
                _ => wait_any(&mut conditions, None).unwrap(),
            };
            drop(conditions);
            for place in ready {
                let i = open[place];
                let mut bytes = vec![0; 1 + random.below(100) as usize];
                let n = (&met[i].0).read(&mut bytes).unwrap();
                assert_ne!(n, 0);
                flows[i].check(&bytes[..n]);
            }
        }
        for (_, party) in &mut met {
            party.hear().unwrap();
        }
    });
}

/// Signals interrupt a wait again and again; it goes on, and ends when there is something, or on time.
#[test]
fn signals_do_not_end_a_wait() {
    each_kind(|addr| {
        let (mut stream, mut party) = meet(addr, 512);
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
            let mut second = self::party();
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
            let mut peer = self::party();
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
        // Nobody is told that a file was shortened. Whoever closes it makes the watcher look.
        drop(file);
        for party in &mut parties {
            assert_eq!(party.hear().unwrap(), "readable", "without {without:?}");
            assert_eq!(party.ask("read 1").unwrap_err().reason, "Corrupt");
        }
    }
}

/// Both wait for each other, one of them for several things: it might get on by another of them, so nobody is told that
/// it is a deadlock.
#[test]
fn a_wait_for_several_is_no_deadlock() {
    each_kind(|addr| {
        for waits in [0, 1] {
            let mut parties = [party(), party()];
            let [a, b] = &mut parties;
            a.does(format!("bind {addr} 64 64 {NEAR_WRAP}"));
            a.tell("accept");
            b.does(format!("connect {addr}"));
            a.hear().unwrap();
            parties[waits].tell("wait any none readable");
            parties[waits].is_asleep();
            parties[1 - waits].tell("read 1");
            parties[1 - waits].is_asleep();
            parties[waits].kill_and_reap();
            let e = parties[1 - waits].hear().unwrap_err();
            assert_eq!(e.reason, "PeerGone", "{addr}: {e:?}");
        }
    });
}
