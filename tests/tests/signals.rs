//! Signals beside wakes: they come where they were asked for, and nothing depends on them.

use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{Party, Scratch, until};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const SEEDS: [u64; 2] = [0x5161, 0x5162];

/// Signals that a party may ask for.
fn signals() -> [i32; 3] {
    [libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMAX()]
}

/// Two that are connected over a socket: a listener, and a connector that has asked for `signal` after `first`.
fn couple(first: &str, signal: i32) -> [Party; 2] {
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
    a.does(format!("seeds {} {}", SEEDS[0], SEEDS[1]));
    b.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    b.does(first);
    b.does(format!("wake-signal {signal}"));
    a.does(format!("bind {addr} 64 64 {NEAR_WRAP} 0"));
    a.tell("accept");
    b.does(format!("connect {addr} none 0"));
    a.hear().unwrap();
    [a, b]
}

fn counted(party: &mut Party) -> u64 {
    party.does("signals").parse().unwrap()
}

#[test]
fn a_sleeper_is_woken_and_signalled() {
    let _watchdog = Watchdog::new();
    for signal in signals() {
        let [mut a, mut b] = couple("handle-signals", signal);
        for round in 1..=50 {
            b.tell("read 10");
            b.is_asleep();
            assert_eq!(a.does("write 10"), "10");
            assert_eq!(b.hear().unwrap(), "10");
            until("the signal came", || counted(&mut b) == round);
        }
        // It did not ask for any, and gets none: it has no handler, and would die of one.
        a.tell("read 10");
        a.is_asleep();
        b.does("write 10");
        assert_eq!(a.hear().unwrap(), "10");
    }
}

#[test]
fn signals_that_are_lost_lose_nothing() {
    let _watchdog = Watchdog::new();
    for signal in signals() {
        let [mut a, mut b] = couple(&format!("ignore-signal {signal}"), signal);
        for _ in 0..200 {
            b.tell("read 50");
            a.does("write 50");
            assert_eq!(b.hear().unwrap(), "50");
            a.tell("read 50");
            b.does("write 50");
            assert_eq!(a.hear().unwrap(), "50");
        }
        b.does("close");
        assert_eq!(a.does("read 1"), "0", "the end of the stream");
    }
}

/// A peer that has gone is not signalled, and that is no error.
#[test]
fn the_dead_are_not_signalled() {
    let _watchdog = Watchdog::new();
    let [mut a, mut b] = couple("handle-signals", libc::SIGUSR1);
    b.tell("read 10");
    b.is_asleep();
    b.kill_and_reap();
    // The park word of the dead still says that it sleeps, and wants a signal.
    until("its death is known", || a.ask("write 0").is_err());
    assert_eq!(a.ask("write 10").unwrap_err().reason, "PeerGone");
}

/// A process that has the number of a dead peer is not signalled, by one who does not know yet that it died: all three are in a PID
/// namespace in which numbers are given out as the test wants.
#[test]
fn reused_pid_is_not_signalled() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    // Without a watcher it looks whether the other lives only when it would sleep.
    let mut a = Party::start_with(PARTY, &["--deny", "inotify_init1=EMFILE", "--namespace", "pid"]);
    let inside = a.pid_inside().to_string();
    let join = || Party::start_with(PARTY, &["--namespace", &inside]);
    let mut b = join();
    a.does(format!("seeds {} {}", SEEDS[0], SEEDS[1]));
    b.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    b.does("handle-signals");
    b.does(format!("wake-signal {}", libc::SIGUSR1));
    a.does(format!("bind {addr} 64 64 {NEAR_WRAP} 0"));
    a.tell("accept");
    b.does(format!("connect {addr} none 0"));
    let number = a.hear().unwrap();
    assert_eq!(b.does("pid"), number);
    // As long as it lives it is signalled.
    b.tell("read 10");
    b.is_asleep_inside();
    a.does("write 10");
    b.hear().unwrap();
    until("the signal came", || counted(&mut b) == 1);
    b.tell("read 10");
    b.is_asleep_inside();
    b.kill_inside_and_reap();
    a.does(format!("next-pid {number}"));
    let mut innocent = join();
    assert_eq!(innocent.does("pid"), number, "it has the number of the dead");
    innocent.does("handle-signals");
    let wakes = |a: &mut Party| a.does("stats").split(' ').nth(4).unwrap().parse::<u64>().unwrap();
    let before = wakes(&mut a);
    assert_eq!(a.does("write 10"), "10", "it knows of no death");
    assert_eq!(wakes(&mut a), before + 1, "it has woken the dead, as it thinks");
    assert_eq!(counted(&mut innocent), 0);
    assert_eq!(a.ask("read 1").unwrap_err().reason, "PeerGone");
}

#[test]
fn there_are_none_for_a_peer_that_is_not_attested() {
    let scratch = Scratch::new();
    let mut party = Party::start(PARTY);
    party.does("handle-signals");
    party.does(format!("wake-signal {}", libc::SIGUSR1));
    let refused = party.ask(format!("bind {} 64 64 0", scratch.addr())).unwrap_err();
    assert_eq!(refused.reason, "InvalidInput");
    assert!(refused.text.contains("use unix: or fd:"), "{}", refused.text);
    let refused = party.ask(format!("connect {}", scratch.addr())).unwrap_err();
    assert_eq!(refused.reason, "InvalidInput");
}

#[test]
fn a_signal_that_would_kill_is_refused() {
    let mut party = Party::start(PARTY);
    party.does(format!("wake-signal {}", libc::SIGUSR1));
    let refused = party.ask("bind unix:@smstream-test-signals 64 64 0").unwrap_err();
    assert!(refused.text.contains("install a handler"), "{}", refused.text);
    party.does("wake-signal 15");
    let refused = party.ask("bind unix:@smstream-test-signals 64 64 0").unwrap_err();
    assert!(refused.text.contains("SIGUSR1"), "{}", refused.text);
}
