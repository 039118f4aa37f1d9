//! The conformance kit: its files are what the code makes, and the core passes them.

use std::fs;

use smstream_core::lane::{Consumer, Producer};
use smstream_core::layout::{Features, Port};
use smstream_core::park::Spin;
use smstream_tests::kit::{self, cases, messages, run, vectors};
use smstream_tests::memory::Heap;

fn read(name: &str) -> String {
    fs::read_to_string(kit::folder().join(name)).unwrap_or_else(|e| panic!("cannot read {name}: {e}"))
}

#[test]
fn the_files_are_what_the_code_makes() {
    for (name, pair) in cases::images() {
        kit::check(&format!("images/{name}.img"), &pair.text());
    }
    kit::check("cases.csv", &cases::table());
    kit::check("messages.csv", &messages::table());
    kit::check("vectors/diff.csv", &vectors::diff());
    kit::check("vectors/crossed.csv", &vectors::crossed());
    kit::check("vectors/ahead.csv", &vectors::ahead());
    kit::check("vectors/threshold.csv", &vectors::threshold());
    kit::check("vectors/accept_sent.csv", &vectors::accept_sent());
    kit::check("vectors/accept_received.csv", &vectors::accept_received());
    kit::check("vectors/block.csv", &vectors::block());
}

/// From the files, as a peer in another language reads them.
#[test]
fn the_core_passes_every_case() {
    let known = cases::cases();
    let mut wrong = Vec::new();
    for line in read("cases.csv").lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(';').next().expect("a name");
        let case = known.iter().find(|c| c.name == name).unwrap_or_else(|| panic!("no case {name}"));
        if let Err(came) = run::run(case, &read(&format!("images/{}.img", case.image))) {
            wrong.push(format!("{name}: {came}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A half whose peer said `last`, and says `now`: whether it is corrupt then.
#[test]
fn the_halves_accept_what_the_vectors_say() {
    use std::sync::atomic::Ordering::Relaxed;
    for (last, now, mine, capacity) in vectors::acceptance(true) {
        let lane = Heap::new(1, 1);
        let (own, peer) = (Port::new(0, mine), Port::new(last, 0));
        // SAFETY: the lane is not read: only the first byte could be asked for, and nothing is read here.
        let mut half = unsafe {
            Consumer::from_parts(1, [Features::COUNTERS; 2], &own, &peer, lane.base().cast(), capacity, Spin)
        };
        peer.sent.word.store(now, Relaxed);
        let looked = half.peek().is_err_and(|e| e == smstream_core::error::ReadError::Corrupt);
        // After FIN it does not look again, so that a lie is not found, and does nothing either.
        let accepted = vectors::accepts_sent(last, now, mine, capacity) || last & smstream_core::cursor::FIN != 0;
        assert_eq!(looked, !accepted, "last {last:x} now {now:x} mine {mine:x} capacity {capacity}");
    }
    for (last, now, mine, capacity) in vectors::acceptance(false) {
        let lane = Heap::new(1, 1);
        let (own, peer) = (Port::new(mine, 0), Port::new(0, last));
        // SAFETY: the lane is not written: nothing is written here.
        let mut half = unsafe {
            Producer::from_parts(1, [Features::COUNTERS; 2], &own, &peer, lane.base().cast(), capacity, Spin)
        };
        peer.received.word.store(now, Relaxed);
        let _ = half.undelivered();
        let accepted = vectors::accepts_received(last, now, mine);
        assert_eq!(half.is_corrupt(), !accepted, "last {last:x} now {now:x} mine {mine:x} capacity {capacity}");
    }
}
