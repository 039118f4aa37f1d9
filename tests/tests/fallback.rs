//! Systems without `futex_waitv`, without `membarrier`, or without inotify: slower, and the same.

use std::time::Instant;

use smstream_core::layout::Features;
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const SEEDS: [u64; 2] = [0xfa11, 0xbac4];

/// What a party has to do without, and how it notices death then.
const WITHOUT: [(&[&str], &str); 10] = [
    (&[], "Watched"),
    (&["futex_waitv=ENOSYS"], "Watched"),
    (&["futex_waitv=EPERM"], "Watched"),
    // What sandboxes answer, and a kernel without memory.
    (&["futex_waitv=EACCES"], "Watched"),
    (&["futex_waitv=ENOMEM"], "Watched"),
    (&["membarrier=ENOSYS"], "Watched"),
    (&["membarrier=EPERM"], "Watched"),
    (&["inotify_init1=EMFILE"], "Timed"),
    (&["inotify_add_watch=ENOSPC"], "Timed"),
    (&["futex_waitv=ENOSYS", "inotify_init1=EMFILE"], "Timed"),
];

fn start(without: &[&str]) -> Party {
    let arguments: Vec<_> = without.iter().flat_map(|what| ["--deny", what]).collect();
    Party::start_with(PARTY, &arguments)
}

/// Two that are connected, listener and connector; both, or only one of them, without something.
fn couple(capacity: usize, without: [&[&str]; 2]) -> [Party; 2] {
    let scratch = Scratch::new();
    let [mut a, mut b] = without.map(start);
    a.does(format!("bind {} {capacity} {capacity} {NEAR_WRAP}", scratch.addr()));
    a.does(format!("seeds {} {}", SEEDS[0], SEEDS[1]));
    b.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    a.tell("accept");
    a.is_asleep();
    b.does(format!("connect {}", scratch.addr()));
    a.hear().unwrap();
    [a, b]
}

fn each(mut with: impl FnMut(&'static [&'static str], &str, [Party; 2])) {
    let _watchdog = Watchdog::new();
    for (without, watch) in WITHOUT {
        // Both; and one that has everything, with one that has not.
        with(without, watch, couple(512, [without, without]));
        if !without.is_empty() {
            with(without, watch, couple(512, [without, &[]]));
        }
    }
}

#[test]
fn bytes_both_ways() {
    each(|without, watch, [mut a, mut b]| {
        for party in [&mut a, &mut b] {
            party.tell("both 100000 100000 mixed");
        }
        a.hear().unwrap();
        b.hear().unwrap();
        let stats = a.does("stats");
        assert!(stats.starts_with(watch), "without {without:?}: {stats}");
        a.does("close");
        assert_eq!(b.does("drain"), "100000 eof");
    });
}

#[test]
fn a_close_wakes_the_sleeper() {
    each(|without, _, [mut a, mut b]| {
        a.tell("read 1");
        a.is_asleep();
        b.does("close");
        assert_eq!(a.hear(), Ok("0".into()), "{without:?}");
    });
}

#[test]
fn death_is_noticed_by_a_sleeper() {
    for command in ["read 1", "receive 5 all", "send 100000 all", "wait-closed"] {
        each(|without, _, [mut a, mut b]| {
            a.tell(command);
            a.is_asleep();
            b.kill_and_reap();
            match a.hear() {
                Ok(text) => assert_eq!((command, text.as_str()), ("wait-closed", "true")),
                Err(e) => assert_eq!(e.reason, "PeerGone", "{command} without {without:?}"),
            }
            assert_eq!(a.ask("read 1").unwrap_err().reason, "PeerGone");
            assert_eq!(a.ask("write 1").unwrap_err().reason, "PeerGone");
        });
    }
}

/// What the listener's segment says that its owner does.
fn features(without: &[&str]) -> u32 {
    let scratch = Scratch::new();
    let mut party = start(without);
    party.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
    let bytes = std::fs::read(scratch.name()).unwrap();
    u32::from_ne_bytes(bytes[0x10..0x14].try_into().unwrap())
}

/// A barrier is promised by who can issue it, and by no other party.
#[test]
fn without_membarrier_no_barrier_is_promised() {
    let _watchdog = Watchdog::new();
    let barrier = Features::BARRIER.bits();
    for without in ["membarrier=ENOSYS", "membarrier=EPERM"] {
        assert_eq!(features(&[without]) & barrier, 0, "{without}");
    }
    // SAFETY: `membarrier` takes two numbers and a third that this command, 0, does not look at.
    let known = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    assert_eq!(features(&[]) & barrier != 0, known > 0 && known & 6 == 6);
}

/// A filter of system calls that comes when the stream is there: the barrier was promised, so the sleeper does without it in
/// another way.
#[test]
fn a_barrier_that_is_refused_later_is_missed_by_neither_side() {
    let _watchdog = Watchdog::new();
    for denied in [[true, true], [true, false], [false, true]] {
        let [mut a, mut b] = couple(512, [&[], &[]]);
        for (party, denied) in [&mut a, &mut b].into_iter().zip(denied) {
            if denied {
                party.does("deny membarrier=EPERM");
            }
        }
        for _ in 0..20 {
            a.tell("read 1");
            a.is_asleep();
            b.does("write 1");
            a.hear().unwrap();
        }
        a.tell("ping 300");
        b.tell("pong 300");
        a.hear().unwrap();
        b.hear().unwrap();
    }
}

/// Both directions at once: two sleepers in one process, each on a word of its own.
#[test]
fn death_is_noticed_by_both_halves() {
    each(|without, _, [mut a, mut b]| {
        a.tell("both 100000 1 all");
        a.is_asleep();
        b.kill_and_reap();
        assert_eq!(a.hear().unwrap_err().reason, "PeerGone", "{without:?}");
    });
}

#[test]
fn the_death_of_the_listener_is_noticed_by_a_connector() {
    let _watchdog = Watchdog::new();
    for (without, _) in WITHOUT {
        let scratch = Scratch::new();
        let [mut a, mut b, mut c] = [start(without), start(without), start(without)];
        a.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
        for party in [&mut b, &mut c] {
            party.tell(format!("connect {}", scratch.addr()));
            party.is_asleep();
        }
        a.kill_and_reap();
        for party in [&mut b, &mut c] {
            assert_eq!(party.hear().unwrap_err().reason, "NotReady", "{without:?}");
        }
    }
}

/// Without `futex_waitv` a shutdown has to find the sleeper where it sleeps.
#[test]
fn a_shutdown_wakes_a_thread_that_sleeps() {
    each(|without, _, [mut a, mut b]| {
        for how in ["read", "write"] {
            a.tell(format!("shut-under {how}"));
            let reply = a.hear().unwrap();
            assert_eq!(reply, if how == "read" { "0" } else { "BrokenPipe" }, "{without:?}");
        }
        assert_eq!(b.does("drain"), "512 eof");
    });
}

/// Sleepers ask for themselves where nothing tells them. An end that never sleeps has to ask as well.
#[test]
fn death_is_noticed_by_an_end_that_does_not_block() {
    each(|without, _, [mut a, mut b]| {
        a.does("nonblocking on");
        b.does("send 10 all");
        assert_eq!(a.does("read 100"), "10");
        assert_eq!(a.ask("read 1").unwrap_err().kind, "WouldBlock");
        b.kill_and_reap();
        let end = Instant::now() + PATIENCE;
        let e = loop {
            let e = a.ask("read 1").unwrap_err();
            if e.kind != "WouldBlock" {
                break e;
            }
            assert!(Instant::now() < end, "without {without:?} death is never noticed");
        };
        assert_eq!(e.reason, "PeerGone", "{without:?}");
        assert_eq!(a.ask("write 1").unwrap_err().reason, "PeerGone");
    });
}

/// After a fork the watcher is the parent's. A child that goes on with the stream, and never sleeps, learns it all the same.
#[test]
fn death_is_noticed_by_a_forked_child_that_does_not_block() {
    each(|without, _, [mut a, mut b]| {
        a.tell("fork-and-poll");
        // The child has read this when the lane has room again.
        b.does("send 2000 all");
        b.kill_and_reap();
        assert_eq!(a.hear(), Ok("PeerGone after 2000".into()), "{without:?}");
    });
}

/// Party 0 sleeps on party 1's park word as well, which takes `futex_waitv`, or a look now and then.
#[test]
fn a_deadlock_is_reported_to_one_party() {
    each(|without, _, [mut a, mut b]| {
        for round in 0..20 {
            if round % 2 == 0 {
                a.tell("read 1");
                a.is_asleep();
                b.tell("read 1");
            } else {
                b.tell("read 1");
                b.is_asleep();
                a.tell("read 1");
            }
            assert_eq!(a.hear().unwrap_err().reason, "Deadlock", "{without:?}");
            a.does("write 1");
            assert_eq!(b.hear(), Ok("1".into()), "{without:?}");
        }
    });
}

/// Whatever the system answers, a wait ends at its deadline: also where the answer changes after the stream was made.
#[test]
fn a_wait_ends_at_its_deadline() {
    let _watchdog = Watchdog::new();
    for error in ["ENOSYS", "EPERM", "EACCES", "EINVAL", "ENOMEM"] {
        for late in [false, true] {
            let what = format!("futex_waitv={error}");
            let deny: &[&str] = if late { &[] } else { &[&what] };
            let [mut a, mut b] = couple(512, [deny, &[]]);
            if late {
                a.does(format!("deny {what}"));
            }
            a.does("timeout read 20");
            assert_eq!(a.ask("read 1").unwrap_err().reason, "TimedOut", "{what}");
            assert_eq!(a.does("wait-closed 20"), "false", "{what}");
            a.does("timeout write 20");
            assert_eq!(a.does("write 512"), "512");
            assert_eq!(a.ask("write 1").unwrap_err().reason, "TimedOut", "{what}");
            // And what comes in time is there.
            a.does("timeout read 20000");
            a.tell("read 3");
            b.does("write 3");
            assert_eq!(a.hear(), Ok("3".into()), "{what}");
            b.kill_and_reap();
            assert_eq!(a.ask("read 1").unwrap_err().reason, "PeerGone", "{what}");
            let scratch = Scratch::new();
            a.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
            assert_eq!(a.ask("accept 20").unwrap_err().reason, "TimedOut", "{what}");
        }
    }
}

/// A sandbox that does not tell limits: there is none, as far as one knows.
#[test]
fn without_a_word_about_limits() {
    let _watchdog = Watchdog::new();
    for error in ["EPERM", "ENOSYS", "EACCES"] {
        let deny = format!("prlimit64={error}");
        let [mut a, mut b] = couple(512, [&[&deny], &[&deny]]);
        a.does("write 7");
        assert_eq!(b.does("read 7"), "7");
    }
}
