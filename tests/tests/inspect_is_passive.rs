//! An inspector looks at a connection all the time. The parties do not notice: no wake is lost, no byte is, and nothing is
//! done to the memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use smstream::inspect::{self, Follower, State};
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
/// Round trips. Each is a sleep and a wake on both sides, for no end spins.
const TRIPS: u64 = 3000;

/// A connection of two processes whose halves sleep at once, and the means to look at it.
fn scene(addr: &str) -> ([Party; 2], Follower) {
    let mut parties = [Party::start(PARTY), Party::start(PARTY)];
    let [listener, connector] = &mut parties;
    listener.does(format!("bind {addr} 4096 4096 {NEAR_WRAP} 0"));
    listener.tell("accept");
    connector.does(format!("connect {addr} none 0"));
    listener.hear().expect("a connection");
    listener.does("unlisten");
    let pids = [parties[0].pid(), parties[1].pid()];
    let scan = inspect::scan(false).expect("a look");
    let both =
        |it: &inspect::InspectedStream| (0..2).all(|party| it.of_party(party).any(|holder| holder.pid == pids[party]));
    let stream =
        scan.streams.into_iter().find(both).unwrap_or_else(|| panic!("{pids:?} are not among {:?}", scan.unseen));
    (parties, Follower::new(stream))
}

/// Does something while another thread looks, and says how often it has looked. What is done sees how often it was by then.
fn watched(mut watch: Follower, act: impl FnOnce(&AtomicU64)) -> (u64, Follower) {
    let (stop, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let report = watch.look().expect("a look");
                assert_eq!(report.look.state(), State::Connected, "{:?}", report.look.sample.lanes);
                looks.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
            watch
        });
        // The first look has been made before anything happens.
        while looks.load(Ordering::Relaxed) == 0 && !looking.is_finished() {
            thread::yield_now();
        }
        act(&looks);
        stop.store(true, Ordering::Relaxed);
        (looks.load(Ordering::Relaxed), looking.join().expect("looking"))
    })
}

/// No wake is lost: a single one would leave both asleep for ever.
#[test]
fn parties_that_sleep_all_the_time_are_woken_all_the_time() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    for addr in [scratch.addr(), format!("unix:{}", scratch.path().join("socket").display())] {
        let (mut parties, watch) = scene(&addr);
        let mut trips = 0;
        let (looks, mut watch) = watched(watch, |looks| {
            // On a machine with much to do the looks are few. The trips go on until there were enough.
            while trips == 0 || looks.load(Ordering::Relaxed) <= 10 {
                parties[0].tell(format!("ping {TRIPS}"));
                parties[1].does(format!("pong {TRIPS}"));
                parties[0].hear().expect("every answer");
                trips += TRIPS;
            }
        });
        assert!(looks > 10, "only {looks} looks");
        // What was seen in the end is what the parties say of themselves.
        let lanes = watch.look().expect("a look").look.sample.lanes;
        for (party, lane) in parties.iter_mut().zip(&lanes) {
            let stats = party.does("stats");
            let words: Vec<&str> = stats.split(' ').collect();
            let counts = lane.writes.expect("counters");
            assert_eq!(counts.bytes, trips);
            assert_eq!(words[1..6].join(" "), {
                let c = counts;
                [c.bytes, c.operations, c.parks, c.wakes_sent, c.wakes_avoided()].map(|n| n.to_string()).join(" ")
            });
            assert!(counts.wakes_sent > trips / 10, "they hardly slept: {counts:?}");
        }
        parties[0].does("close");
        parties[1].does("close");
    }
}

/// Parties that run find all their bytes, and no party finds the other corrupt.
#[test]
fn parties_that_run_do_not_notice() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let (mut parties, watch) = scene(&scratch.addr());
    let (looks, mut watch) = watched(watch, |_| {
        parties[0].tell("send 20000000 some");
        parties[1].does("receive 20000000 some");
        parties[0].hear().expect("all sent");
    });
    assert!(looks > 0);
    let report = watch.look().expect("a look");
    let lane = &report.look.sample.lanes[0];
    assert_eq!((lane.fill, lane.writes.expect("counters").bytes), (Some(0), 20_000_000));
}
