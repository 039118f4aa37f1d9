//! Signals that interrupt every sleep, and a peer that is stopped and goes on: nothing surfaces, nothing is lost.

use std::fs;
use std::thread;
use std::time::Duration;

use smstream_tests::flow::{NEAR_WRAP, Random};
use smstream_tests::party::{Party, Scratch, until};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const SEEDS: [u64; 2] = [0x5101, 0x5102];

/// A party in which each signal interrupts a system call.
fn touchy() -> Party {
    let mut party = Party::start(PARTY);
    party.does("handle-signals");
    party
}

/// Two that are connected: listener and connector.
fn couple(capacity: usize) -> [Party; 2] {
    let scratch = Scratch::new();
    let [mut a, mut b] = [touchy(), touchy()];
    a.does(format!("bind {} {capacity} {capacity} {NEAR_WRAP}", scratch.addr()));
    a.does(format!("seeds {} {}", SEEDS[0], SEEDS[1]));
    b.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    a.tell("accept");
    b.does(format!("connect {}", scratch.addr()));
    a.hear().unwrap();
    [a, b]
}

/// Signals of each wait.
const TIMES: u64 = 1000;

/// Signals to a party that sleeps in whatever its command is, and must go on sleeping. Each is sent when the one before
/// has been handled and it sleeps again.
fn annoy(party: &mut Party) {
    let status = format!("/proc/{}/status", party.pid());
    party.is_asleep();
    for _ in 0..TIMES {
        party.signal(libc::SIGUSR1);
        until("the signal was taken", || {
            let status = fs::read_to_string(&status).unwrap();
            let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
            pending.trim().bytes().all(|digit| digit == b'0')
        });
        party.is_asleep();
    }
    assert_eq!(party.has_replied(), None, "a signal ended a wait");
}

fn signals(party: &mut Party) -> u64 {
    party.does("signals").parse().unwrap()
}

#[test]
fn signals_during_each_kind_of_wait() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut a, mut b, mut c] = [touchy(), touchy(), touchy()];
    a.does(format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr()));
    a.tell("accept");
    annoy(&mut a);
    b.does(format!("connect {}", scratch.addr()));
    a.hear().unwrap();
    // No listener accepts these: the first holds the region, the second waits for its turn.
    b.tell(format!("connect {} 100000", scratch.addr()));
    annoy(&mut b);
    c.tell(format!("connect {} 100000", scratch.addr()));
    annoy(&mut c);
    a.does("accept");
    b.hear().unwrap();
    a.does("accept");
    c.hear().unwrap();
    a.tell("read 10");
    annoy(&mut a);
    c.does("write 7");
    assert_eq!(a.hear(), Ok("7".into()));
    a.tell("receive 20 all");
    annoy(&mut a);
    c.does("write 13");
    a.hear().unwrap();
    c.tell("send 500 all");
    annoy(&mut c);
    a.does("receive 500 all");
    c.hear().unwrap();
    c.tell("wait-closed");
    annoy(&mut c);
    a.does("close");
    assert_eq!(c.hear(), Ok("true".into()));
    let all = [&mut a, &mut b, &mut c].map(signals);
    assert_eq!(all, [3 * TIMES, TIMES, 3 * TIMES], "each signal interrupted a wait of its own");
}

/// A wait with a time does not begin anew with each signal.
#[test]
fn a_timeout_in_spite_of_signals() {
    let _watchdog = Watchdog::new();
    let [mut a, mut b] = couple(64);
    a.does("timeout read 200");
    b.does("timeout write 200");
    b.does("alarm-every 500");
    a.does("alarm-every 500");
    a.tell("read 1");
    b.tell("send 100 all");
    assert_eq!(a.hear(), Ok("1".into()));
    assert_eq!(b.hear().unwrap_err().kind, "TimedOut");
    a.does("receive 65 all");
    assert_eq!(a.ask("read 1").unwrap_err().kind, "TimedOut");
    a.does("alarm-every 0");
    b.does("alarm-every 0");
    assert!(signals(&mut a) > 20 && signals(&mut b) > 20);
}

/// Both are hit all the time while bytes go both ways, until each has handled many signals.
#[test]
fn signals_during_a_transfer() {
    let _watchdog = Watchdog::new();
    const ENOUGH: u64 = 300;
    for capacity in [16, 4096] {
        let mut both = couple(capacity);
        let (mut bytes, mut sent, mut handled) = (0, 0, [0; 2]);
        while handled.iter().any(|n| *n < ENOUGH) {
            bytes += 100 * capacity;
            for party in &mut both {
                party.does("alarm-every 70");
                party.tell(format!("both {bytes} {bytes} mixed"));
            }
            for i in 0..2 {
                let reply = loop {
                    both.iter().for_each(|party| party.signal(libc::SIGUSR1));
                    sent += 1;
                    if let Some(reply) = both[i].has_replied() {
                        break reply;
                    }
                };
                assert_eq!(reply.trim(), "ok");
            }
            for (party, handled) in both.iter_mut().zip(&mut handled) {
                party.does("alarm-every 0");
                *handled = signals(party);
            }
        }
        println!("{bytes} bytes, {sent} signals sent to each, {handled:?} handled");
        let [a, b] = &mut both;
        a.does("close");
        assert_eq!(b.does("drain"), format!("{bytes} eof"));
    }
}

/// One of them is stopped for a while, at any moment, again and again.
#[test]
fn stopped_and_continued_during_a_transfer() {
    let _watchdog = Watchdog::new();
    let mut random = Random::new(0x570b);
    let mut stops = 0;
    for capacity in [16, 4096] {
        let [mut a, mut b] = couple(capacity);
        let bytes = 1500 * capacity;
        a.tell(format!("both {bytes} {bytes} mixed"));
        b.tell(format!("both {bytes} {bytes} mixed"));
        loop {
            let victim = if random.below(2) == 0 { &a } else { &b };
            victim.signal(libc::SIGSTOP);
            victim.is_in_state('T');
            thread::sleep(Duration::from_micros(random.below(3000)));
            victim.signal(libc::SIGCONT);
            stops += 1;
            thread::sleep(Duration::from_micros(random.below(3000)));
            if let Some(reply) = a.has_replied() {
                assert_eq!(reply.trim(), "ok");
                break;
            }
        }
        b.hear().unwrap();
    }
    println!("{stops} stops");
    assert!(stops > 10);
}
