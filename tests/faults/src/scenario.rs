//! What is done while calls fail.

use crate::program::Program;
use crate::room::{GIVEN, Room};
use crate::supervise::PARTY;

/// One of them.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// How what comes of it is judged.
    pub kind: Kind,
    /// The program whose calls fail.
    pub tried: Program,
    /// The one on the other side, if there is one.
    pub partner: Option<Program>,
}

/// What kind of programs they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Parties, that use the library and say how it went.
    Party,
    /// The command at both sides, with files as standard input.
    Transfer,
    /// A proxy between two parties.
    Proxy,
    /// Another command, beside a party that does something to look at.
    Command,
}

/// How many seconds a command tries to connect: less than it may take here to come to an end. Where the system says that the
/// listener has gone (ENOENT), it tries again, and the listener, which serves one connector, may really have gone by then.
const WAIT: &str = "30";

/// All of them.
pub fn all(room: &Room) -> Vec<Scenario> {
    let mut all = Vec::new();
    for kind in ["file", "shm", "unix", "abstract"] {
        for side in ["listen", "connect"] {
            all.extend(["both", "oneway", "any"].map(|way| meeting(room, kind, side, way)));
        }
    }
    for side in ["listen", "connect"] {
        all.extend(["poll", "tokio"].map(|way| meeting(room, "unix", side, way)));
        all.extend(["file", "unix"].map(|kind| transfer(room, kind, side)));
    }
    for (side, way) in [("pair", "pair"), ("hand", "both")] {
        let tried = program(room, PARTY, &["tried", side, "-", way]);
        all.push(Scenario { name: side.into(), kind: Kind::Party, tried, partner: None });
    }
    all.extend(["file", "unix"].map(|kind| proxy(room, kind)));
    all.extend(commands(room));
    all
}

/// Two parties that meet at an address of this kind.
fn meeting(room: &Room, kind: &str, side: &str, way: &str) -> Scenario {
    let addr = room.address(kind);
    let party = |role: &str, side: &str, way: &str| program(room, PARTY, &[role, side, &addr, way]);
    let partner_way = if way == "oneway" { way } else { "both" };
    Scenario {
        name: format!("{side} {kind} {way}"),
        kind: Kind::Party,
        tried: party("tried", side, way),
        partner: Some(party("partner", other(side), partner_way)),
    }
}

fn other(side: &str) -> &'static str {
    if side == "listen" { "connect" } else { "listen" }
}

/// The command on both sides.
fn transfer(room: &Room, kind: &str, side: &str) -> Scenario {
    let addr = room.address(kind);
    let command = |side: &str, name: &str| {
        let wait: &[&str] = if side == "connect" { &["--wait", WAIT] } else { &[] };
        let arguments = [&[side, "-v", "--spin", "0", "--capacity", "4k"], wait, &[&addr]].concat();
        Program { input: Some(room.given.join(name)), ..program(room, "smstream", &arguments) }
    };
    Scenario {
        name: format!("smstream {side} {kind}"),
        kind: Kind::Transfer,
        tried: command(side, GIVEN[0]),
        partner: Some(command(other(side), GIVEN[1])),
    }
}

/// The proxy between two parties of one process.
fn proxy(room: &Room, kind: &str) -> Scenario {
    let (from, to) = (format!("{}-from", room.address(kind)), room.address(kind));
    Scenario {
        name: format!("smstream proxy {kind}"),
        kind: Kind::Proxy,
        tried: program(
            room,
            "smstream",
            &["proxy", "-q", "--spin", "0", "--capacity", "4k", "--wait", WAIT, &from, &to],
        ),
        partner: Some(program(room, PARTY, &["around", &from, &to, "both"])),
    }
}

/// The other commands. Beside most is a process that holds both ends of a stream, and listens.
fn commands(room: &Room) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut add = |arguments: &[&str], partner: Option<(&str, &str)>| {
        let name = arguments.iter().map(|a| a.rsplit_once('/').map_or(*a, |(_, last)| last));
        let name = format!("smstream {}", name.collect::<Vec<_>>().join(" "));
        let partner = partner.map(|(role, kind)| program(room, PARTY, &[role, "listen", &room.address(kind), "both"]));
        all.push(Scenario { name, kind: Kind::Command, tried: program(room, "smstream", arguments), partner });
    };
    let (file, unix) = (room.address("file"), room.address("unix"));
    let directory = room.directory.to_string_lossy().into_owned();
    for (addr, kind) in [(&file, "file"), (&unix, "unix")] {
        add(&["ls"], Some(("hold", kind)));
        add(&["ls", "--json"], Some(("hold", kind)));
        add(&["stat", addr], Some(("hold", kind)));
        add(&["doctor", addr], Some(("hold", kind)));
        add(&["connect", "-z", addr], Some(("hold", kind)));
        add(&["gc", &directory], Some(("leave", kind)));
    }
    let bench =
        "bench --sizes 64 --rounds 1 --turn 1 --only smstream,smstream-unix --waiting asleep --placement free --json";
    add(&bench.split(' ').collect::<Vec<_>>(), None);
    for (words, count) in [("shm write hello", 3), ("sem create 2", 3), ("msg send 1 hello", 4)] {
        add(&words.splitn(count, ' ').collect::<Vec<_>>(), None);
    }
    all
}

/// A program that was built beside this one.
fn program(room: &Room, name: &str, arguments: &[&str]) -> Program {
    let arguments = arguments.iter().map(|&a| a.to_owned()).collect();
    Program { file: room.programs.join(name), arguments, input: None, setup: Vec::new() }
}
