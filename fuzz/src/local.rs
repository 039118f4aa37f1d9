//! What a program has for itself: compact rings of bytes, rings of plain items, rings in borrowed memory; and what it asks for when it
//! makes a channel, which may be impossible.

use smstream_core::block::{Block, block_len};
use smstream_core::error::ErrorCode;
use smstream_core::geometry::{self, Config};
use smstream_core::park::Spin;
use smstream_core::spsc::{Compact, Spaced};
use smstream_tests::compact::{self, Meanwhile, Op};
use smstream_tests::memory::Heap;
use smstream_tests::ring::{Plain, run_in_slice, run_plain};
use smstream_tests::texts::{check_coded, check_debug, check_error};

use crate::bytes::Bytes;
use crate::messages::ring_op;

/// The most operations that an input can ask for.
const MAX_OPS: usize = 200;

/// The first byte says what the rest is. See [`compact::run`], [`run_plain`] and [`run_in_slice`].
pub fn local(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mode = bytes.u8();
    match mode & 7 {
        0..=2 => {
            let (start, size) = (bytes.start(), mode >> 3 & 3);
            let ops = all(&mut bytes, compact_op);
            match size {
                0 => compact::run::<1>(start, &ops),
                1 => compact::run::<2>(start, &ops),
                2 => compact::run::<8>(start, &ops),
                _ => compact::run::<64>(start, &ops),
            }
        }
        3 => {
            let ops = all(&mut bytes, compact_op);
            if mode & 8 == 0 { compact::run_awake::<2>(&ops) } else { compact::run_awake::<16>(&ops) }
        }
        4..=5 => {
            let start = u32::MAX - u32::from(bytes.u8());
            let ops = all(&mut bytes, plain_op);
            if mode & 8 == 0 { run_plain::<4, Spaced>(start, &ops) } else { run_plain::<16, Compact>(start, &ops) }
        }
        6 => {
            let (places, twice) = (usize::from(bytes.u8() % 33), mode & 8 != 0);
            let ops = all(&mut bytes, ring_op);
            if mode & 16 == 0 {
                run_in_slice::<Compact>(places, twice, &ops)
            } else {
                run_in_slice::<Spaced>(places, twice, &ops)
            }
        }
        _ => channel(&mut bytes),
    }
}

fn all<T>(bytes: &mut Bytes<'_>, one: impl Fn(&mut Bytes<'_>) -> T) -> Vec<T> {
    let mut ops = Vec::new();
    while !bytes.is_empty() && ops.len() < MAX_OPS {
        ops.push(one(bytes));
    }
    ops
}

fn compact_op(bytes: &mut Bytes<'_>) -> Op {
    let code = bytes.u8();
    let len = |bytes: &mut Bytes<'_>| usize::from(bytes.u8() % 70);
    let meanwhile = |bytes: &mut Bytes<'_>| {
        (0..code >> 4 & 3)
            .map(|_| match bytes.u8() {
                any if any & 7 < 5 => Meanwhile::Move(len(bytes)),
                any if any & 7 == 5 => Meanwhile::Last,
                _ => Meanwhile::Nothing,
            })
            .collect()
    };
    match code & 0x0f {
        0..=3 => Op::Write(len(bytes)),
        4..=7 => Op::Read(len(bytes)),
        8..=9 => Op::WaitRoom(len(bytes), meanwhile(bytes)),
        10..=11 => Op::WaitBytes(len(bytes), meanwhile(bytes)),
        12 => Op::Finish,
        13 => Op::Stop,
        _ => Op::Split,
    }
}

fn plain_op(bytes: &mut Bytes<'_>) -> Plain {
    let (code, len) = (bytes.u8(), usize::from(bytes.u8() % 20));
    match code % 4 {
        0 => Plain::Push(len),
        1 => Plain::Text(len),
        _ => Plain::Pop(len),
    }
}

/// A channel as a program may ask for it: it can be, by the rules of `docs/LAYOUT.md`, and then has its place in a block; or the error says
/// what is wrong. And the codes of the libraries that this one replaces, by number.
fn channel(bytes: &mut Bytes<'_>) {
    let number = bytes.u8();
    let code = ErrorCode::from_number(number);
    assert_eq!(code.is_some(), number < 7);
    code.iter().for_each(|code| check_coded(code, Some(*code)));

    let capacity = |bytes: &mut Bytes<'_>| if bytes.bool() { bytes.word() } else { bytes.capacity(8) };
    let capacities = [capacity(bytes), capacity(bytes)];
    let (align, start) = (if bytes.bool() { bytes.word() } else { 128 }, bytes.word());
    let config = Config { align, start, ..Config::new(capacities) };
    let possible = capacities.iter().all(|&n| n == 0 || (n.is_power_of_two() && n <= 1 << 29))
        && align.is_power_of_two()
        && (128..=1 << 26).contains(&align)
        && start < 1 << 31;
    let checked = config.check();
    assert_eq!(checked.is_ok(), possible, "{config:?}: {checked:?}");
    if let Err(problem) = &checked {
        check_error(problem);
    }

    let mut block = Block::<{ block_len(&Config::new([128, 128])) }>::default();
    check_debug(&block);
    let fits = possible && align == 128 && block_len(&config) <= block_len(&Config::new([128, 128]));
    match block.split(&config, [Spin, Spin], [Spin, Spin]) {
        Ok((here, there)) => {
            assert!(fits && here.producer.capacity() == there.consumer.capacity(), "{config:?}");
        }
        Err(e) => {
            check_error(&e);
            assert!(!fits, "{config:?}: {e}");
        }
    }
    let apart = block.split_apart(&config, (Spin, Spin), (Spin, Spin));
    assert_eq!(apart.is_ok(), fits, "{config:?}");

    // One segment, in too little memory, at a place that is none, for a party that is none.
    let (len, at, party) = (usize::from(bytes.u16() % 2048), usize::from(bytes.u8() & 4), usize::from(bytes.u8() % 3));
    let heap = Heap::new(len + at, 128);
    let enough = possible && len >= config.describe(party).segment_len();
    // SAFETY: the heap has so many bytes from there on, which no other code knows.
    let made = unsafe { geometry::init(heap.base().wrapping_add(at), len, &config, party) };
    if let Err(e) = &made {
        check_error(e);
    }
    assert_eq!(made.is_ok(), enough && at == 0 && party < 2, "{config:?}: {made:?}");
    // SAFETY: as above.
    let found = unsafe { geometry::inspect(heap.base().wrapping_add(at), len) };
    if let Err(e) = &found {
        check_error(e);
    }
    assert_eq!(found.is_ok(), made.is_ok(), "{config:?}: {found:?}");
}
