//! The oracle: a channel as two queues, and an interpreter that runs each operation on the queues and on two real ends.
//!
//! The model knows nothing of rings, cached cursors or wrapping. It has a queue per lane, and for the words in memory two
//! cursors that it adds to modulo 2³¹. After each operation it compares the result, the bytes, who was woken and how
//! often a half slept and on which value, and every word of both headers. The same interpreter serves unit tests,
//! property tests and fuzzing: all they do is make up [`Setup`] and [`Op`]s.

mod interpreter;
mod model;
mod operation;
mod recorder;
mod world;

pub use operation::{Fill, Half, MAX_CAPACITY, Op, Outcome, Patience, Setup};
use world::World;

/// Runs `ops` on a fresh channel and on the model, then drains both lanes.
///
/// # Panics
/// If the channel and the model differ in anything that can be seen. The message says at which operation.
pub fn run(setup: &Setup, ops: &[Op]) {
    let mut world = World::new(setup);
    let all = |party| {
        let patience = Patience { spins: 1, maybes: 1 };
        [
            Op::Finish { party },
            Op::WaitBytes { party: 1 - party, want: 1, patience, by_end: true, exclusive: false },
            Op::Read { party: 1 - party, len: MAX_CAPACITY as u16, by_end: true },
            Op::Read { party: 1 - party, len: 1, by_end: false },
            Op::WaitRoom { party, want: 1, patience, by_end: false, exclusive: false },
        ]
    };
    for (i, op) in ops.iter().chain(&all(0)).chain(&all(1)).enumerate() {
        world.now = Some((i, op.clone()));
        world.run(op);
    }
}
