//! A peer that sends padding without an end, and a new piece at each that was skipped.

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;

use smstream_core::cursor::ASLEEP;
use smstream_core::lane::Consumer;
use smstream_core::layout::{Features, Port};
use smstream_core::park::{Park, Wake, Watch};
use smstream_core::record::{RecordReader, RecvError};
use smstream_core::word::SharedWord;
use smstream_tests::memory::Heap;

/// Pieces of padding after which a reader that skips on and on has gone wrong.
const FAR_TOO_MANY: u32 = 1000;
const CAPACITY: u32 = 64;

/// Wakes the peer, which is asleep until the next four bytes are taken, and sends four more.
struct Feeder<'p> {
    peer: &'p Port,
    fed: &'p Cell<u32>,
}

impl Park for Feeder<'_> {
    type Deadline = ();
    type Spin = ();

    fn spin_start(&self) {}

    fn spin(&self, (): &mut ()) -> bool {
        false
    }

    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        Wake::Maybe
    }

    fn wake(&self, _: SharedWord<'_>, _: u32) {
        let fed = self.fed.get() + 1;
        self.fed.set(fed);
        if fed < FAR_TOO_MANY {
            self.peer.sent.word.store(4 * (fed + 1), SeqCst);
            self.peer.park.write_park.store(ASLEEP | 4 * (fed + 1), SeqCst);
        }
    }
}

#[test]
fn padding_without_an_end_does_not_keep_a_call() {
    let lane = Heap::new(CAPACITY as usize, 4);
    for at in (0..CAPACITY as usize).step_by(4) {
        let padding = (1u32 << 31).to_ne_bytes();
        // SAFETY: within the allocation, which nothing else uses yet.
        unsafe { lane.base().wrapping_add(at).cast::<[u8; 4]>().write(padding) };
    }
    let (own, peer) = (Port::new(0, 0), Port::new(4, 0));
    peer.park.write_park.store(ASLEEP | 4, SeqCst);
    let fed = Cell::new(0);
    let park = Feeder { peer: &peer, fed: &fed };
    // SAFETY: the lane has so many bytes, at a multiple of four, and stays; only this half uses it.
    let half =
        unsafe { Consumer::from_parts(1, [Features::COUNTERS; 2], &own, &peer, lane.base().cast(), CAPACITY, park) };
    let mut reader = RecordReader::new(half);
    for _ in 0..3 {
        let before = fed.get();
        assert_eq!(reader.recv(&mut [0; 64]), Err(RecvError::Empty));
        let skipped = fed.get() - before;
        assert!((1..=CAPACITY / 4 + 1).contains(&skipped), "{skipped} pieces of padding were skipped by one call");
    }
}
