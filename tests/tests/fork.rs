//! A process that accepts, and a child of it that serves: the parent lets go of its end, over every kind of address.

use smstream_tests::forks::{connect, greet, reap, serve_in_a_child};
use smstream_tests::waits::{builder, each_kind, party};

const PARTY: &str = env!("CARGO_BIN_EXE_party");

/// The death of the child is the death of the end, whatever the parent does.
#[test]
fn the_death_of_the_child_is_noticed() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let mut party = party(PARTY);
        let stream = connect(&mut party, addr, &listener);
        let child = serve_in_a_child(stream, |stream| {
            greet(stream);
            // SAFETY: it takes nothing, and returns when this process is killed.
            unsafe { libc::pause() };
        });
        assert_eq!(party.does("receive 5 all"), "5");
        party.tell("read 1");
        party.is_asleep();
        // SAFETY: it is a child of this process that has not been waited for.
        assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
        assert_eq!(party.hear().unwrap_err().reason, "PeerGone", "{addr}");
        reap(child);
    });
}

/// It is the same the other way round: a child that has no use for an end of its parent's lets go of it.
#[test]
fn a_child_lets_go_of_its_parents_end() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let mut party = party(PARTY);
        let mut stream = connect(&mut party, addr, &listener);
        // SAFETY: as above. The child drops what it has by `relinquish`, and ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "cannot fork");
        if child == 0 {
            stream.relinquish();
            // SAFETY: it ends this process at once.
            unsafe { libc::_exit(0) };
        }
        reap(child);
        greet(&mut stream);
        assert_eq!(party.does("receive 5 all"), "5", "{addr}");
        drop(stream);
        assert_eq!(party.does("read 1"), "0", "{addr}");
    });
}
