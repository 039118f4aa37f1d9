//! Waiting for several things at once: over regions and sockets, with other processes on the other side.

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use smstream::condition::MOST;
use smstream::{Condition, Reason, Stream};
use smstream::{try_wait, wait_all, wait_any};
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP, Random};
use smstream_tests::party::{Scratch, asleep};
use smstream_tests::waits::{
    SEEDS, SHORT, builder, each_kind, listening, meet, must_not_block, once_asleep, party, places,
};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");

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
    let (first, mut first_party) = meet(&format!("{file}-1"), 512, PARTY);
    let (second, mut second_party) = meet(&format!("{socket}-2"), 512, PARTY);
    let (mut reader, mut writer) = Stream::pair().unwrap().0.split();
    let listeners = [&file, &socket].map(|addr| builder(512).bind(addr).unwrap());
    let mut listening = [&there, &far].map(|addr| self::listening(addr, PARTY));
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
    let mut parties = [party(PARTY), party(PARTY)];
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
        let (stream, mut party) = meet(addr, 4096, PARTY);
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
        let (stream, mut party) = meet(addr, 512, PARTY);
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
        let (stream, mut party) = meet(addr, 512, PARTY);
        let (stream, scratch) = (&stream, Scratch::new());
        let listener = &builder(512).bind(format!("file:{}/x", scratch.path().display())).unwrap();
        thread::scope(|scope| {
            let (sender, receiver) = channel();
            let (send_too, received_too) = channel();
            let reading = scope.spawn(move || {
                sender.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
                (&*stream).read(&mut [0; 1]).unwrap()
            });
            let accepting = scope.spawn(move || {
                send_too.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
                drop(listener.accept());
            });
            for thread in [receiver.recv().unwrap(), received_too.recv().unwrap()] {
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
        let mut met: Vec<_> = (0..6).map(|i| meet(&format!("{addr}-{i}"), 64 << i, PARTY)).collect();
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

/// Both wait for each other, one of them for several things: it might get on by another of them, so no call reports that
/// it is a deadlock.
#[test]
fn a_wait_for_several_is_no_deadlock() {
    each_kind(|addr| {
        for waits in [0, 1] {
            let mut parties = [party(PARTY), party(PARTY)];
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
