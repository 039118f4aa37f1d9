//! Listeners and connectors on one name, killed at random moments.
//!
//! What each process checks while it lives is in the party's `storm`: never two listen at once, a connection is the same
//! on both sides and fresh, nothing waits for ever. A process that finds something wrong panics, and says
//! so here before it can be killed. `SMSTREAM_SOAK_SECONDS` says how long; `tests/soak SECONDS` sets it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use smstream::{Listener, Stream};
use smstream_tests::flow::{NEAR_WRAP, Random};
use smstream_tests::party::{Party, Scratch, belongings, until};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const LISTENERS: usize = 3;
const CONNECTORS: usize = 4;

fn soak() -> Duration {
    let seconds = std::env::var("SMSTREAM_SOAK_SECONDS").map_or(8, |s| s.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

/// How often the parties said what.
#[derive(Debug, Default)]
struct Count(BTreeMap<String, u64>);

impl Count {
    fn add(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            let what = line.strip_prefix("ok ").unwrap_or_else(|| panic!("a party says {line:?}"));
            *self.0.entry(what.to_owned()).or_default() += 1;
        }
    }

    fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

/// Starts the party number `i` of a storm: a listener or a connector.
fn start(i: usize, scratch: &Scratch, witness: &Path, random: &mut Random) -> Party {
    let mut party = Party::start(PARTY);
    let seed = random.draw();
    if i < LISTENERS {
        party.tell(format!("storm-listen {} {} {seed}", scratch.addr(), witness.display()));
    } else {
        party.tell(format!("storm-connect {} {seed}", scratch.addr()));
    }
    party
}

fn storm(scratch: &Scratch, seed: u64) {
    let time = soak();
    let _watchdog = Watchdog::after(time + 3 * PATIENCE);
    let outside = Scratch::new();
    let witness = outside.path().join("witness");
    fs::write(&witness, "").unwrap();
    let mut random = Random::new(seed);
    let mut parties: Vec<_> = (0..LISTENERS + CONNECTORS).map(|i| start(i, scratch, &witness, &mut random)).collect();
    let (mut heard, mut kills) = (Count::default(), [0_u64; 2]);
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::sleep(Duration::from_micros(random.below(12_000)));
        let i = random.below(parties.len() as u64) as usize;
        // One that has ended by itself has said why, and this fails.
        parties[i].kill_and_reap();
        heard.add(parties[i].last_replies());
        parties[i] = start(i, scratch, &witness, &mut random);
        kills[usize::from(i >= LISTENERS)] += 1;
    }
    // Those that are left still get on with each other.
    let before = heard.of("talked");
    until("the last ones talk", || {
        heard.add(parties.iter_mut().flat_map(|party| std::iter::from_fn(|| party.has_replied())));
        heard.of("talked") > before + 20
    });
    for party in &mut parties {
        party.kill_and_reap();
        heard.add(party.last_replies());
    }
    println!("{}: {} listeners and {} connectors killed; {:?}", scratch.path().display(), kills[0], kills[1], heard.0);
    assert!(kills[0] > 10 && kills[1] > 10 && heard.of("bound") > 20, "that was no storm");

    let names = scratch.names();
    assert!(names.iter().all(|name| ["name", "name.new"].contains(&name.as_str())), "{names:?} is left over");
    // The next one takes over whatever is left.
    let listener = Listener::bind(scratch.addr()).unwrap();
    thread::scope(|scope| {
        let connecting = scope.spawn(|| Stream::connect_timeout(scratch.addr(), PATIENCE).unwrap());
        listener.accept_timeout(PATIENCE).unwrap();
        connecting.join().unwrap();
    });
    listener.close().unwrap();
    assert!(scratch.names().iter().all(|name| name == "name.new"), "{:?}", scratch.names());
}

#[test]
fn killed_at_random_in_shared_memory() {
    storm(&Scratch::new(), 1);
}

#[test]
fn killed_at_random_on_a_disk() {
    storm(&Scratch::on_disk(), 2);
}

/// One connection after the other: a connector that is killed when it has been accepted, or one that goes in order.
fn serve(scratch: &Scratch, listener: &mut Party, connector: &mut Party, kill: bool, random: &mut Random) {
    connector.tell(format!("connect {}", scratch.addr()));
    listener.does("accept");
    if kill {
        thread::sleep(Duration::from_micros(random.below(300)));
        connector.kill_and_reap();
    } else {
        connector.hear().unwrap();
        connector.does("send 3000 mixed");
        connector.does("close");
    }
    let drained = listener.does("drain");
    assert!(drained.ends_with("eof") != kill, "{drained}");
    listener.does("close");
}

#[test]
fn a_long_lived_listener_leaks_nothing() {
    let _watchdog = Watchdog::after(soak() + 3 * PATIENCE);
    let scratch = Scratch::new();
    let [mut listener, mut steady] = [Party::start(PARTY), Party::start(PARTY)];
    listener.does(format!("bind {} 4096 4096 {NEAR_WRAP}", scratch.addr()));
    let mut random = Random::new(3);
    let (mut before, mut rounds) = (None, 0);
    let end = Instant::now() + soak() / 4;
    while Instant::now() < end {
        serve(&scratch, &mut listener, &mut steady, false, &mut random);
        serve(&scratch, &mut listener, &mut Party::start(PARTY), true, &mut random);
        rounds += 2;
        // The first connections make the watcher, its thread and its descriptors.
        let now = [belongings(listener.pid()), belongings(steady.pid())];
        assert_eq!(*before.get_or_insert(now), now, "descriptors, shared mappings, threads after {rounds} connections");
    }
    println!("{rounds} connections; descriptors, shared mappings, threads of listener and connector: {before:?}");
    assert!(rounds > 20);
}
