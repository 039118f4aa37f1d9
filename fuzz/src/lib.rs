//! The bodies of the fuzz targets: bytes become operations, and whatever is wrong is a panic.
//!
//! Every input means something, so that a fuzzer wastes none: numbers are taken modulo what is possible, and bytes that
//! are missing are 0.

mod bytes;
mod hostile;
mod image;
mod leftover;
mod local;
mod messages;
mod packets;
mod text;

use smstream_core::cursor::CURSOR;
use smstream_tests::oracle::{self, Fill, Half, Op, Outcome, Patience, Setup};

use bytes::Bytes;
pub use hostile::hostile;
pub use image::{image, trace};
pub use leftover::leftover;
pub use local::local;
pub use messages::{items, records};
pub use packets::packets;
pub use text::text;

/// The most operations that an input can ask for.
const MAX_OPS: usize = 200;

/// Operations of both parties, against the oracle of two queues. See [`oracle::run`].
pub fn differential(data: &[u8]) {
    let (setup, ops) = operations(data);
    oracle::run(&setup, &ops);
}

/// What [`differential`] runs for these bytes.
pub fn operations(data: &[u8]) -> (Setup, Vec<Op>) {
    let mut bytes = Bytes::new(data);
    let setup = Setup {
        capacities: [bytes.capacity(13), bytes.capacity(13)],
        start: bytes.start() & CURSOR,
        align: [128, 256, 4096][usize::from(bytes.u8() % 3)],
        one_block: bytes.bool(),
    };
    let mut ops = Vec::new();
    while !bytes.is_empty() && ops.len() < MAX_OPS {
        ops.push(operation(&mut bytes));
    }
    (setup, ops)
}

fn operation(bytes: &mut Bytes<'_>) -> Op {
    let code = bytes.u8();
    let (party, flag) = (code >> 7, code & 0x40 != 0);
    let half = if flag { Half::Read } else { Half::Write };
    match code & 0x1f {
        0..=2 => Op::Write { party, len: bytes.len(), by_end: flag },
        3..=4 => Op::WriteDeferred { party, len: bytes.len() },
        5 => Op::WriteVectored { party, lens: [bytes.len(), bytes.len(), bytes.len()] },
        6 => Op::Flush { party },
        7..=8 => {
            let len = bytes.len();
            let fills = [(), ()].map(|()| match bytes.bool() {
                true => Fill::Append(bytes.len()),
                false => Fill::Put { at: bytes.len(), len: bytes.len() },
            });
            let outcome = match bytes.u8() % 6 {
                0..=1 => Outcome::Commit(bytes.len()),
                2..=3 => Outcome::Filled,
                4 => Outcome::Abort,
                _ => Outcome::Drop,
            };
            Op::Reserve { party, len, fills, outcome }
        }
        9..=10 => Op::Read { party, len: bytes.len(), by_end: flag },
        11 => Op::ReadUninit { party, len: bytes.len(), by_end: flag },
        12..=13 => Op::ReadDeferred { party, len: bytes.len() },
        14 => Op::ReadVectored { party, lens: [bytes.len(), bytes.len(), bytes.len()] },
        15 => Op::GiveBack { party },
        16..=17 => Op::Peek { party, at: bytes.len(), len: bytes.len(), take: flag.then(|| bytes.len()) },
        18 => Op::Consume { party, len: bytes.len() },
        19 => Op::Finish { party },
        20 => Op::Stop { party },
        21 => Op::Close { party },
        22..=23 => {
            Op::WaitRoom { party, want: bytes.len(), patience: patience(bytes), by_end: flag, exclusive: code & 1 != 0 }
        }
        24..=25 => Op::WaitBytes {
            party,
            want: bytes.len(),
            patience: patience(bytes),
            by_end: flag,
            exclusive: code & 1 != 0,
        },
        26 => Op::Reattach { party },
        27 => Op::Announce { party, half, want: bytes.len(), in_steps: code & 0x20 != 0, withdraw: bytes.bool() },
        28 if code & 0x20 != 0 => Op::Text { party, len: bytes.len() },
        28..=30 => Op::Asleep { party, half, ahead: bytes.len(), exclusive: bytes.bool(), method: bytes.u8() },
        _ => Op::Awake { party, half, bits: bytes.u32() },
    }
}

fn patience(bytes: &mut Bytes<'_>) -> Patience {
    let byte = bytes.u8();
    Patience { spins: byte & 3, maybes: byte >> 2 & 3 }
}
