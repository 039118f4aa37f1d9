//! What a peer can do to a segment that is not its own: every way is tried, by a process that has what every peer gets.
//!
//! As root the parties become users without rights, also two different ones. Otherwise they stay the user that they are,
//! and what only different users can show is not shown; the test says so.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use smstream_tests::attacks::{CHANGES, Relation, WAYS, WRITES, Way};
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::Party;
use smstream_tests::privileges::is_root_to_show;
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
/// Users without rights. They need no names.
const USERS: [u32; 2] = [12345, 12346];

/// An address that no other process has, and that every user can reach.
fn fresh() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("unix:@smstream-test-security-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What the machine restricts beyond the rules of the kernel: `ptrace_scope` of the Yama module.
fn yama() -> bool {
    fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").is_ok_and(|scope| scope.trim() != "0")
}

/// An owner, and an attacker that is its peer.
fn meet(relation: Relation, owner_listens: bool) -> [Party; 2] {
    let [mut owner, mut attacker] = [(); 2].map(|()| Party::start(PARTY));
    if is_root() {
        owner.does(format!("become {}", USERS[0]));
        attacker.does(format!("become {}", USERS[usize::from(relation == Relation::Other)]));
        owner.does(format!("allow {}", USERS[1]));
    }
    // A change of the user takes it away.
    owner.does(format!("dumpable {}", u8::from(relation != Relation::SameUndumpable)));
    attacker.does("dumpable 1");
    let addr = fresh();
    if owner_listens {
        owner.does(format!("bind {addr} 8192 8192 {NEAR_WRAP}"));
        owner.tell("accept");
        attacker.does(format!("rig-connect {addr}"));
    } else {
        attacker.does(format!("rig-listen {addr}"));
        owner.tell(format!("connect {addr}"));
        attacker.does("rig-accept 8192");
    }
    owner.hear().unwrap();
    [owner, attacker]
}

/// Both ways, up to this place of both flows.
fn exchange(owner: &mut Party, attacker: &mut Party, to: u64) {
    owner.does(format!("send {to} all"));
    attacker.does(format!("rig-receive {to}"));
    attacker.does(format!("rig-send {to}"));
    owner.does(format!("receive {to} all"));
}

/// What is to come of a way.
fn expected(way: &Way, relation: Relation) -> &'static str {
    let seen = way.seen[relation as usize];
    if seen == WRITES && yama() {
        return if way.name == "proc-mem" { "EACCES" } else { "EPERM" };
    }
    seen.trim_matches('*')
}

fn attack(relation: Relation) {
    let _watchdog = Watchdog::new();
    for owner_listens in [true, false] {
        let [mut owner, mut attacker] = meet(relation, owner_listens);
        exchange(&mut owner, &mut attacker, 5000);
        let before = owner.does("segment");
        let words: Vec<_> = before.split(' ').collect();
        let target = format!("{} {} {}", owner.pid(), words[0], words[1]);
        let mut wrong = Vec::new();
        for (through, ways) in WAYS {
            for way in ways {
                let expected = expected(way, relation);
                let seen = attacker.does(format!("rig-try {} {target}", way.name));
                let line = format!("{relation:?}, {through}, {}: expected {expected}, seen {seen}", way.name);
                println!("{line}");
                if seen != expected {
                    wrong.push(line);
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(owner.does("segment"), before, "the owner's segment has changed");
        exchange(&mut owner, &mut attacker, 12_000);
    }
}

/// The ways say something only if they do something where nothing is in their way.
#[test]
fn the_ways_are_ways() {
    let _watchdog = Watchdog::new();
    let mut attacker = Party::start(PARTY);
    let mut able = 0;
    for (through, ways) in WAYS {
        for way in ways {
            let seen = attacker.does(format!("rig-control {}", way.name));
            println!("{through}, {}: {seen}", way.name);
            // Those files of `/proc` are for processes with CAP_CHECKPOINT_RESTORE, even of one's own.
            let control = if way.name == "map_files" && !is_root() { "EPERM" } else { way.control };
            assert_eq!(seen, control, "{through}, {}", way.name);
            able += usize::from(seen == CHANGES);
        }
    }
    assert!(able > 40, "{able} ways can change anything");
}

#[test]
fn a_peer_of_the_same_user() {
    attack(Relation::Same);
}

#[test]
fn a_peer_of_the_same_user_if_the_owner_is_not_dumpable() {
    attack(Relation::SameUndumpable);
}

#[test]
fn a_peer_of_another_user() {
    if !is_root_to_show("what a peer of another user can do") {
        return;
    }
    attack(Relation::Other);
}
