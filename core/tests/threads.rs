//! Two threads over one block of plain memory, at the same addresses: what a race detector can see.

use std::thread;

use smstream_core::block::{Block, block_len};
use smstream_core::cursor::CURSOR;
use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry::Config;
use smstream_core::park::Spin;
use smstream_core::stream::End;

const TOTAL: u32 = 20_000;

/// Byte number `i` of party `party`.
fn byte(party: u8, i: u32) -> u8 {
    (i.wrapping_mul(0x9e37_79b1) >> 24) as u8 ^ party
}

/// Sends `TOTAL` bytes and receives as many, in pieces of changing lengths, then closes.
fn exchange(mut end: End<'_, Spin>, party: u8) {
    let (mut sent, mut received, mut step) = (0, 0, u32::from(party));
    let mut out = [0; 23];
    let mut at_end = false;
    while sent < TOTAL || !at_end {
        step = step.wrapping_mul(5).wrapping_add(3);
        if sent < TOTAL {
            let len = (step % 19 + 1).min(TOTAL - sent);
            let bytes: Vec<u8> = (sent..sent + len).map(|i| byte(party, i)).collect();
            match end.write(&bytes) {
                Ok(n) => sent += n as u32,
                Err(WriteError::Full) => thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
            if sent == TOTAL {
                end.finish();
            }
        }
        let len = step as usize % out.len() + 1;
        match end.read(&mut out[..len]) {
            Ok(0) => at_end = true,
            Ok(n) => {
                for b in &out[..n] {
                    assert_eq!(*b, byte(1 - party, received), "byte {received}");
                    received += 1;
                }
            }
            Err(ReadError::Empty) => thread::yield_now(),
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(received, TOTAL);
}

#[test]
fn bytes_both_ways_across_the_wrap() {
    const CHANNEL: Config = Config { start: CURSOR - 5_000, ..Config::new([64, 16]) };
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let (listener, connector) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| exchange(listener, 0));
        scope.spawn(|| exchange(connector, 1));
    });
}
