//! Records, items of plain data and rings of items: each against a queue of the standard library.

use std::collections::VecDeque;

use smstream_core::block::{Block, block_len};
use smstream_core::cursor::CURSOR;
use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry::Config;
use smstream_core::items::{ItemReader, ItemWriter};
use smstream_core::park::Spin;
use smstream_core::spsc::{Compact, Spaced};
use smstream_tests::records::{self, MOST};
use smstream_tests::ring::{self, run_on};
use smstream_tests::texts::{check_error, checked};

use crate::bytes::Bytes;

/// The most operations that an input can ask for.
const MAX_OPS: usize = 200;

/// Records over a lane, honest or not. See [`records::run`] and [`records::run_hostile`].
pub fn records(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (mode, start) = (bytes.u8(), bytes.start() & CURSOR);
    let log = u32::from(mode >> 1) % 9;
    if mode & 1 != 0 {
        let mut runs = Vec::new();
        while !bytes.is_empty() && runs.len() < MAX_OPS {
            let (header, len) = (bytes.word(), usize::from(bytes.u8() % 80));
            runs.push((header, bytes.take(len).to_vec()));
        }
        return records::run_hostile(log, start, &runs);
    }
    let mut ops = Vec::new();
    while !bytes.is_empty() && ops.len() < MAX_OPS {
        ops.push(record(&mut bytes));
    }
    records::run(log, start, &ops);
}

fn record(bytes: &mut Bytes<'_>) -> records::Op {
    let code = bytes.u8();
    let mut len = || usize::from(bytes.len()) % (MOST + 3);
    let commit = |len: &mut dyn FnMut() -> usize| (code & 0xc0 != 0).then(&mut *len);
    match code & 0x0f {
        0..=2 => records::Op::Send(len()),
        3..=4 => records::Op::Claim(len(), commit(&mut len)),
        5..=7 => records::Op::Grant(len(), commit(&mut len)),
        8 => records::Op::GrantMax(commit(&mut len)),
        9..=12 => records::Op::Recv(len()),
        13..=14 => records::Op::Take,
        _ => match code >> 4 & 3 {
            0 => records::Op::Skip,
            1 => records::Op::Halves(len()),
            2 => records::Op::Wait(len(), code & 0x40 != 0),
            _ => records::Op::Foreign(len()),
        },
    }
}

/// Rings of items, and items over a lane. See [`ring::run_on`].
pub fn items(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (mode, start) = (bytes.u8(), bytes.u32());
    if mode & 1 != 0 {
        return typed(mode >> 1, start & CURSOR, &mut bytes);
    }
    // Near the wrap, mostly.
    let start = if mode & 2 == 0 { u32::MAX - start % 40 } else { start };
    let mut ops = Vec::new();
    while !bytes.is_empty() && ops.len() < MAX_OPS {
        ops.push(ring_op(&mut bytes));
    }
    match mode >> 2 & 3 {
        0 => run_on::<1, Spaced>(start, &ops),
        1 => run_on::<2, Compact>(start, &ops),
        2 => run_on::<8, Spaced>(start, &ops),
        _ => run_on::<16, Compact>(start, &ops),
    }
}

pub(crate) fn ring_op(bytes: &mut Bytes<'_>) -> ring::Op {
    let code = bytes.u8();
    let mut len = || usize::from(bytes.u8() % 20);
    match code & 0x0f {
        0..=2 => ring::Op::Push,
        3 => ring::Op::PushSlice(len()),
        4 => ring::Op::PushIter(len()),
        5 => ring::Op::WriteChunk(len(), len(), code & 0x10 != 0),
        6..=8 => ring::Op::Pop,
        9 => ring::Op::PopIter(len()),
        10 => ring::Op::PopAll,
        11 => ring::Op::PopUninit(len()),
        12 if code & 0x10 != 0 => ring::Op::WritePlaces(len(), len()),
        12 => ring::Op::Peek,
        13 if code & 0x10 != 0 => ring::Op::ReadAll(len()),
        13 => ring::Op::ReadChunk(len(), len()),
        14 => ring::Op::Skip(len()),
        _ => ring::Op::Look,
    }
}

/// Items of 1, 6 or 16 bytes over a lane, among raw bytes that the peer may send between them.
fn typed(mode: u8, start: u32, bytes: &mut Bytes<'_>) {
    match mode % 3 {
        0 => typed_as::<u8, 1>(mode, start, bytes),
        1 => typed_as::<[u16; 3], 6>(mode, start, bytes),
        _ => typed_as::<[u64; 2], 16>(mode, start, bytes),
    }
}

fn typed_as<T, const SIZE: usize>(mode: u8, start: u32, bytes: &mut Bytes<'_>)
where
    T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Copy,
{
    let capacity = 1u32 << (mode >> 2 & 7);
    let mut block = Block::<{ block_len(&Config::new([128, 0])) }>::new();
    let config = Config { start, ..Config::new([capacity, 0]) };
    let (here, there) = block.split(&config, [Spin, Spin], [Spin, Spin]).expect("a channel");
    let (writer, reader) = (ItemWriter::<T, _>::new(here.producer), ItemReader::<T, _>::new(there.consumer));
    let (mut writer, mut reader) = match (writer, reader) {
        (Ok(writer), Ok(reader)) => (Some(writer), reader),
        (Err(writer), Err(reader)) => {
            check_error(&writer);
            return assert!(writer == reader && SIZE > capacity as usize);
        }
        _ => panic!("the two halves do not agree"),
    };
    // What was sent, byte for byte: items, or what a peer sends that knows of none.
    let mut queue: VecDeque<u8> = VecDeque::new();
    let mut finished = false;
    for number in 0..MAX_OPS {
        if bytes.is_empty() {
            break;
        }
        let code = bytes.u8();
        let room = capacity as usize - queue.len();
        match code & 7 {
            0..=2 => {
                let Some(writer) = &mut writer else { continue };
                let raw: Vec<u8> = (0..SIZE * usize::from(code >> 4)).map(|n| (n * 7 + number) as u8).collect();
                let items: Vec<T> =
                    raw.chunks_exact(SIZE).map(|item| T::read_from_bytes(item).expect("an item's bytes")).collect();
                let pushed = match &items[..] {
                    [item] => writer.push(item).map(|()| 1),
                    items => writer.push_slice(items),
                };
                match checked(pushed) {
                    Ok(n) => {
                        assert!(!finished && n == items.len().min(room / SIZE));
                        queue.extend(&raw[..n * SIZE]);
                    }
                    Err(WriteError::Full) => assert!(!finished && !items.is_empty() && room < SIZE),
                    Err(e) => assert!(finished && e == WriteError::Closed),
                }
            }
            3 => {
                // A few bytes that are no item.
                let mut producer = writer.take().expect("one half").into_producer();
                let raw: Vec<u8> = (0..code >> 5).collect();
                match producer.write(&raw) {
                    Ok(n) => queue.extend(&raw[..n]),
                    Err(WriteError::Full) => assert_eq!(room, 0),
                    Err(e) => assert!(finished && e == WriteError::Closed),
                }
                writer = Some(ItemWriter::new(producer).expect("the same lane"));
            }
            4 if code >> 6 == 3 => {
                let mut producer = writer.take().expect("one half").into_producer();
                producer.finish();
                finished = true;
                writer = Some(ItemWriter::new(producer).expect("the same lane"));
            }
            // What is there is not waited for.
            5 if queue.len() >= SIZE => assert_eq!(reader.wait(None), Ok(())),
            5 if room >= SIZE && !finished => assert_eq!(writer.as_mut().expect("one half").wait(None), Ok(())),
            _ => match checked(reader.pop()) {
                Ok(Some(item)) => {
                    let sent: Vec<u8> = queue.drain(..SIZE).collect();
                    assert_eq!(item.as_bytes(), sent);
                }
                Ok(None) => assert!(finished && queue.is_empty()),
                Err(ReadError::Empty) => assert!(!finished && queue.len() < SIZE),
                Err(e) => {
                    return assert!(e == ReadError::Corrupt && finished && !queue.is_empty() && queue.len() < SIZE);
                }
            },
        }
    }
    assert!(reader.into_consumer().known_bytes() <= queue.len());
}
