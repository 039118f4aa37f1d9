//! What the tests of conditions share: addresses, parties to meet there, and waits that something ends.

use std::thread;
use std::time::Duration;

use smstream::{Builder, ReadySet, Stream};

use crate::flow::NEAR_WRAP;
use crate::kinds::{Kind, Place};
use crate::party::{Party, asleep};
use crate::watchdog::Watchdog;

/// How long a wait lasts that nothing is to end.
pub const SHORT: Duration = Duration::from_millis(30);
/// Of what this process sends, and of what parties send.
pub const SEEDS: [u64; 2] = [0xc0de, 0xbeef];

/// Runs a test at an address of each kind where a listener listens. The test may lengthen the address, to have several.
pub fn each_kind(test: impl Fn(&str)) {
    let _watchdog = Watchdog::new();
    for kind in Kind::NAMED {
        test(&Place::new(kind).addr());
    }
}

/// For lanes of `capacity` bytes, whose cursors soon wrap.
#[must_use]
pub fn builder(capacity: usize) -> Builder {
    Builder::new().capacity(capacity).start_cursor(NEAR_WRAP)
}

/// A party that has its seeds. `program` is the path of the program.
#[must_use]
pub fn party(program: &str) -> Party {
    let mut party = Party::start(program);
    party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    party
}

/// A party that listens where this process connects.
#[must_use]
pub fn listening(addr: &str, program: &str) -> Party {
    let mut party = party(program);
    party.does(format!("bind {addr} 4096 4096 {NEAR_WRAP}"));
    party
}

/// A stream from this process, which listens, to a party.
///
/// # Panics
/// If they do not meet.
#[must_use]
pub fn meet(addr: &str, capacity: usize, program: &str) -> (Stream, Party) {
    let listener = builder(capacity).bind(addr).expect("no other process has this address");
    let mut party = party(program);
    party.tell(format!("connect {addr}"));
    let stream = listener.accept().expect("the party connects");
    party.hear().expect("connected");
    (stream, party)
}

/// The places of those that are ready.
#[must_use]
pub fn places(ready: ReadySet) -> Vec<usize> {
    ready.iter().collect()
}

/// From now on, calls return at once where a condition was ready, and say that they would wait where it was not.
///
/// # Panics
/// If the stream cannot be set so.
pub fn must_not_block(stream: &Stream) {
    stream.set_nonblocking(true).expect("a stream can be set not to block");
}

/// Waits, and does something in another thread as soon as this one sleeps.
pub fn once_asleep<R>(wait: impl FnOnce() -> R, then: impl FnOnce() + Send) -> R {
    let me = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    thread::scope(|scope| {
        scope.spawn(move || {
            asleep(std::process::id(), me);
            then();
        });
        wait()
    })
}
