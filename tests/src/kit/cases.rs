//! The images, and what a peer has to make of each of them.

mod records;

use smstream_core::cursor::{ASLEEP, FIN, STOP, STOPPED_HINT};
use smstream_core::geometry::Config;
use smstream_core::layout::state;

use super::image::{Pair, hex, offset};

/// One line of `cases.csv`.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The clauses that it is about.
    pub rules: &'static str,
    /// The image: `images/NAME.img`.
    pub image: &'static str,
    /// What is changed in the image before: `len0=N`, `shift1=N`, `S:OFFSET=WORD`.
    pub patch: String,
    /// Which party attaches.
    pub party: usize,
    /// `ok`, or the name of the fault.
    pub verdict: &'static str,
    /// What is done then, and what has to come of it.
    pub steps: String,
}

const PAGE: u32 = 4096;

fn mapped(capacities: [u32; 2]) -> Config {
    Config { align: PAGE, channel: 0x0123_4567_89ab_cdef, ..Config::new(capacities) }
}

/// Puts bytes into a lane as its writer would, and publishes them with `last` (0 or FIN).
fn fill(pair: &Pair, party: usize, bytes: &[u8], last: u32) {
    let d = pair.config.describe(party);
    for (n, byte) in (0u32..).zip(bytes) {
        let at = (pair.config.start.wrapping_add(n) & (d.capacity - 1)) as usize;
        // SAFETY: within the lane: the capacity is a power of two, and the segment ends with its lane.
        unsafe { pair.segments[party].own().wrapping_add(d.lane_offset as usize + at).write_volatile(*byte) };
    }
    let sent = pair.config.start.wrapping_add(u32::try_from(bytes.len()).unwrap()) & !FIN;
    pair.set(party, offset("sent"), sent | last);
}

/// The golden images, by name.
#[must_use]
pub fn images() -> Vec<(&'static str, Pair)> {
    let mut all = Vec::new();
    let mut add = |name, pair: Pair| all.push((name, pair));
    let region = |said: [u32; 2]| {
        let pair = Pair::new(mapped([4096, 8192]));
        pair.set(0, offset("state"), said[0]);
        pair.set(1, offset("state"), said[1]);
        pair
    };
    add("listening", region([state::ARMED, 0]));
    let begun = region([state::ARMED, 0]);
    begun.set(1, offset("version"), 0);
    add("claimed", begun);
    add("hello", region([state::ARMED, state::HELLO]));
    add("accepted", region([state::ACCEPTED, state::HELLO]));
    add("memfds", Pair::new(mapped([4096, 4096])));
    add("plain", Pair::new(Config::new([256, 128])));
    add("capacity-0-1", Pair::new(mapped([0, 1])));
    add("capacity-1-0", Pair::new(mapped([1, 0])));
    add("capacity-largest", Pair::new(mapped([1 << 29, 1])));
    add("wrap", {
        let pair = Pair::new(Config { start: 0x7fff_fffb, ..mapped([16, 16]) });
        fill(&pair, 0, b"0123456789abcdef", 0);
        pair
    });
    add("half-closed", {
        let pair = Pair::new(mapped([16, 16]));
        fill(&pair, 0, b"last words", FIN);
        pair
    });
    add("stopped", {
        let pair = Pair::new(mapped([16, 16]));
        fill(&pair, 0, b"and more", 0);
        pair.set(0, offset("received"), STOP);
        pair.set(0, offset("read_park"), STOPPED_HINT);
        pair
    });
    add("closed-with-data", {
        let pair = Pair::new(mapped([16, 16]));
        fill(&pair, 0, b"unread", FIN);
        pair.set(0, offset("received"), STOP);
        pair.set(0, offset("read_park"), STOPPED_HINT);
        pair
    });
    add("dead-with-data", {
        let pair = Pair::new(mapped([16, 16]));
        fill(&pair, 0, b"half a sen", 0);
        pair.set(0, offset("read_park"), ASLEEP | 1);
        pair
    });
    all
}

fn case(name: &str, rules: &'static str, image: &'static str, patch: &str, verdict: &'static str, steps: &str) -> Case {
    Case { name: name.into(), rules, image, patch: patch.into(), party: 1, verdict, steps: steps.into() }
}

/// What attaching to the golden images comes to.
fn golden(all: &mut Vec<Case>) {
    let text = |bytes: &[u8]| hex(bytes);
    all.push(Case { party: 0, ..case("listening", "H3", "listening", "", "ok", "r:1=Again w:61=1 m:080=00000001") });
    all.push(Case { party: 0, ..case("claimed", "A3", "claimed", "", "NotReady", "") });
    all.push(Case { party: 0, ..case("hello", "F6", "hello", "", "ok", "r:1=Again") });
    all.push(case("accepted", "F6", "accepted", "", "ok", "r:1=Again w:6162=2 m:080=00000002"));
    for party in 0..2 {
        let image = "memfds";
        all.push(Case {
            party,
            ..case(&format!("memfds-{party}"), "H1", image, "", "ok", "r:1=Again w:6162=2 m:080=00000002")
        });
    }
    all.push(case("plain", "P1", "plain", "", "ok", "r:1=Again w:616263=3 m:080=00000003"));
    let one_way = "r:1= w:61=1 w:62=Again m:100=80000000";
    all.push(case("capacity-0", "C2", "capacity-0-1", "", "ok", one_way));
    all.push(case("capacity-1", "C2", "capacity-1-0", "", "ok", "r:1=Again w:61=Closed m:080=80000000"));
    let largest = "r:1=Again p:080=20000000 r:2=0000 m:100=00000002 w:61=1 w:61=Again";
    all.push(case("capacity-largest", "P1 A11", "capacity-largest", "", "ok", largest));
    let small = "0:01c=00000300";
    all.push(case("lane-offset-least", "A10", "memfds", small, "ok", "p:080=00000001 r:1=00"));
    all.push(case("lane-offset-between", "A10", "memfds", "0:01c=00000f80 len0=8064", "ok", "p:080=00000001 r:1=00"));
    let all_16 = text(b"0123456789abcdef");
    all.push(case("wrap-at-once", "P1 C5", "wrap", "", "ok", &format!("r:100={all_16} m:100=0000000b r:1=Again")));
    let first = text(b"012");
    let rest = text(b"3456789abcdef");
    all.push(case(
        "wrap-in-two",
        "P1 C5",
        "wrap",
        "",
        "ok",
        &format!("r:3={first} m:100=7ffffffe r:100={rest} m:100=0000000b"),
    ));
    let out = text(b"ABCDEFGHIJKLMNOP");
    all.push(case(
        "wrap-writing",
        "P1 C6",
        "wrap",
        "",
        "ok",
        &format!("w:{out}=16 m:080=0000000b w:41=Again p:100=7fffffff w:{out}=4"),
    ));
    let words = text(b"last words");
    all.push(case("half-closed", "C1 X2", "half-closed", "", "ok", &format!("r:100={words} r:1= w:61=1")));
    let more = text(b"and more");
    all.push(case("stopped", "W7 X1", "stopped", "", "ok", &format!("w:61=Closed r:100={more} r:1=Again")));
    let unread = text(b"unread");
    all.push(case(
        "closed-with-data",
        "X2 X3",
        "closed-with-data",
        "",
        "ok",
        &format!("w:61=Closed r:100={unread} r:1="),
    ));
    let half = text(b"half a sen");
    all.push(case("dead-with-data", "X2", "dead-with-data", "", "ok", &format!("r:100={half} r:1=Again")));
    let both = "f:w m:080=80000000 w:61=Closed f:r m:100=80000000 m:180=00000001 r:1=";
    all.push(case("closing", "X1 C1", "memfds", "", "ok", both));
    all.push(case("features-to-ignore", "A7 H4", "memfds", "0:010=fffe0000", "ok", "r:1=Again"));
    all.push(case("longer-memory", "P2", "memfds", "len0=20480", "ok", "r:1=Again"));
    all.push(case(
        "reserved-words-are-not-looked-at",
        "H2",
        "memfds",
        "0:07c=deadbeef 0:0fc=ffffffff 0:1fc=ffffffff",
        "ok",
        "r:1=Again",
    ));
    all.push(case("display-only", "H6", "memfds", "0:02c=00000000 0:038=00000001 0:030=ffffffff", "ok", "r:1=Again"));
}

/// One thing wrong with a header each: A.
fn faults(all: &mut Vec<Case>) {
    let mut fault = |name: &str, rules, patch: &str, verdict| {
        all.push(case(&format!("fault-{name}"), rules, "memfds", patch, verdict, ""));
    };
    fault("no-header", "A1", "len0=767", "TooShort");
    fault("no-lane-end", "A1", "len0=8191", "TooShort");
    fault("misaligned", "A2", "shift0=64", "Misaligned");
    fault("not-ready", "A3", "0:00c=00000000", "NotReady");
    fault("nothing", "A3", "0:000=00000000 0:004=00000000 0:00c=00000000", "NotReady");
    fault("half-magic", "A3", "0:004=00000000 0:00c=00000000", "NotReady");
    fault("not-ready-and-something-else", "A15", "0:000=74736d73 0:00c=00000000", "Magic");
    fault("text", "A4", "0:000=74736d73 0:004=6d616572", "Magic");
    fault("magic-second-word", "A4", "0:004=0a1a0a0e", "Magic");
    fault("other-byte-order", "A5 A16", "0:008=04030201", "ByteOrder");
    fault("byte-order-damaged", "A5", "0:008=01020305", "ByteOrder");
    fault("byte-order-before-version", "A15", "0:008=04030201 0:00c=01000000", "ByteOrder");
    fault("version-2", "A6", "0:00c=00000002", "Version");
    fault("feature-0", "A7", "0:010=00010001", "UnknownFeatures");
    fault("feature-15", "A7", "0:010=00018000", "UnknownFeatures");
    fault("party-2", "A8", "0:014=00000002", "Party");
    fault("party-same", "A8", "0:014=00000001", "Party");
    fault("align-64", "A9", "0:018=00000040", "Align");
    fault("align-96", "A9", "0:018=00000180", "Align");
    fault("align-0", "A9", "0:018=00000000", "Align");
    fault("align-too-large", "A9", "0:018=08000000", "Align");
    fault("align-differs", "A9", "0:018=00002000", "Align");
    fault("lane-offset-0", "A10", "0:01c=00000000", "LaneOffset");
    fault("lane-offset-in-header", "A10", "0:01c=00000280", "LaneOffset");
    fault("lane-offset-odd", "A10", "0:01c=00000340", "LaneOffset");
    fault("lane-offset-too-large", "A10", "0:01c=00001080", "LaneOffset");
    fault("lane-offset-largest", "A10", "0:01c=ffffff80", "LaneOffset");
    fault("capacity-3", "A11", "0:020=00000003", "Capacity");
    fault("capacity-too-large", "A11", "0:020=40000000", "Capacity");
    fault("capacity-largest-word", "A11", "0:020=ffffffff", "Capacity");
    fault("capacity-longer-than-memory", "A1 A15", "0:020=00002000", "TooShort");
    fault("capacity-differs", "A12", "0:020=00000800", "PeerCapacity");
    fault("peer-capacity-3", "A12", "0:024=00000003", "PeerCapacity");
    fault("peer-capacity-differs", "A12", "0:024=00000800", "PeerCapacity");
    fault("start-bit-31", "A13", "0:028=80000000", "Start");
    fault("start-differs", "A13", "0:028=00000001", "Start");
    fault("sent-beyond", "A14 C5", "0:080=00001001", "Sent");
    fault("sent-behind", "A14 C5", "0:080=7fffffff", "Sent");
    fault("received-ahead", "A14 C6", "0:100=00000001", "Sent");
    all.push(case("fault-no-fin-without-lane", "A14 C2", "capacity-0-1", "0:080=00000000", "Sent", ""));
    all.push(case("fault-own-not-ready", "A3", "memfds", "1:00c=00000000", "NotReady", ""));
}

/// A peer that attaches well and lies later: C.
fn lies(all: &mut Vec<Case>) {
    let mut lie = |name: &str, rules, image, steps: &str| {
        all.push(case(&format!("lie-{name}"), rules, image, "", "ok", steps));
    };
    let closed = "m:080=80000000 m:100=80000000 m:180=00000001 w:61=Corrupt r:1=Corrupt";
    let reader = |word: &str| format!("p:080={word} r:1=Corrupt m:100=80000000 m:180=00000001 w:61=Corrupt {closed}");
    lie("sent-beyond", "C5 C8", "memfds", &reader("00001001"));
    lie("sent-far-beyond", "C5 C8", "memfds", &reader("40000000"));
    lie("sent-behind", "C5 C8", "memfds", &reader("7fffffff"));
    lie(
        "sent-back",
        "C5 C8",
        "memfds",
        "p:080=00000005 r:2=0000 p:080=00000004 r:100=Corrupt m:100=80000002 m:180=00000001 r:1=Corrupt w:61=Corrupt m:080=80000000",
    );
    lie("sent-all-is-fine", "C5", "memfds", "p:080=00001000 r:2=0000 m:100=00000002");
    lie("sent-after-fin", "C7 C8", "memfds", "p:080=80000005 r:2=0000 p:080=80000006 r:3=000000 r:1=");
    lie("sent-fin-taken-back", "C7 C8", "memfds", "p:080=80000000 r:1= p:080=00000001 r:1=");
    let writer = |word: &str| {
        format!(
            "w:6162=2 p:100={word} p:180=00000001 w:61=Corrupt m:080=80000002 r:1=Corrupt m:100=80000000 m:180=00000001 w:61=Corrupt"
        )
    };
    lie("received-ahead", "C6 C8", "memfds", &writer("00000003"));
    lie("received-behind", "C6 C8", "memfds", &writer("7fffffff"));
    lie("received-all-is-fine", "C6", "memfds", "w:6162=2 p:100=00000002 w:6162=2 m:080=00000004");
    lie(
        "received-back",
        "C6 C8",
        "capacity-0-1",
        "w:61=1 p:100=00000001 w:62=1 w:63=Again p:100=00000000 w:63=Corrupt m:080=80000002",
    );
    lie("stop", "X1 W7", "memfds", "w:6162=2 p:100=80000001 p:180=00000001 w:61=Closed m:080=00000002");
    lie("stop-unhinted", "W7 C6", "capacity-0-1", "w:61=1 p:100=80000000 w:62=Closed");
    lie(
        "park-words-without-sense",
        "W6",
        "memfds",
        "p:180=ffffffff p:184=ffffffff p:188=ffffffff p:18c=ffffffff w:6162=2 m:080=00000002",
    );
    lie("capacity-grows-later", "C9", "memfds", "p:020=20000000 p:080=00001001 r:1=Corrupt");
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    golden(&mut all);
    faults(&mut all);
    lies(&mut all);
    records::add(&mut all);
    all
}

/// `cases.csv`.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("# name;rules;image;patch;party;verdict;steps\n");
    for c in cases() {
        let fields = [&c.name, c.rules, c.image, &c.patch, &c.party.to_string(), c.verdict, &c.steps];
        text += &(fields.join(";") + "\n");
    }
    text
}
