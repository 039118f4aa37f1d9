//! A parent that accepts and lets children serve is as before after a thousand of them. It is the only test of its process, so that
//! descriptors, mappings and threads can be counted.

use smstream_tests::forks::{connect, greet, reap, serve_in_a_child};
use smstream_tests::party::belongings;
use smstream_tests::waits::{builder, each_kind, party};

const PARTY: &str = env!("CARGO_BIN_EXE_party");

#[test]
fn a_thousand_children_serve_and_nothing_leaks() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let mut party = party(PARTY);
        let mut before = None;
        for round in 0..1000 {
            let stream = connect(&mut party, addr, &listener);
            let child = serve_in_a_child(stream, greet);
            assert_eq!(party.does("receive 5 all"), "5", "{addr}, round {round}");
            assert_eq!(party.does("read 1"), "0", "{addr}, round {round}: the child has closed it");
            reap(child);
            // The first round makes what a process has once.
            let now = belongings(std::process::id());
            assert_eq!(*before.get_or_insert(now), now, "{addr}, round {round}: descriptors, mappings, threads");
        }
    });
}
