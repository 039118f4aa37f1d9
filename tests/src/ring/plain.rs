//! Plain bytes, which are pushed and popped by slices, and as text.

use std::collections::VecDeque;
use std::fmt::Write as _;

use smstream_core::spsc::{Ring, Words};

/// What a test does with bytes.
#[derive(Clone, Debug)]
pub enum Plain {
    /// Pushes a slice of so many.
    Push(usize),
    /// Writes a text of so many: all of it, or nothing.
    Text(usize),
    /// Pops into a slice of so many.
    Pop(usize),
}

/// Does all of it on a ring of bytes.
///
/// # Panics
/// If the ring does not do what a queue does.
pub fn run_plain<const N: usize, W: Words>(start: u32, ops: &[Plain]) {
    let mut ring = Ring::<u8, N, W>::starting_at(start);
    let (mut producer, mut consumer) = ring.split();
    let (mut queue, mut next) = (VecDeque::new(), 0u8);
    for op in ops {
        let room = N - queue.len();
        match *op {
            Plain::Push(len) | Plain::Text(len) => {
                let bytes: Vec<u8> = (0..len).map(|n| b' ' + next.wrapping_add(n as u8) % 64).collect();
                let pushed = if let Plain::Push(_) = op {
                    producer.push_slice(&bytes)
                } else {
                    let written = producer.write_str(std::str::from_utf8(&bytes).expect("letters"));
                    assert_eq!(written.is_ok(), len <= room);
                    if written.is_ok() { len } else { 0 }
                };
                assert!(pushed == len.min(room) || matches!(op, Plain::Text(_)));
                queue.extend(&bytes[..pushed]);
                next = next.wrapping_add(pushed as u8);
            }
            Plain::Pop(len) => {
                let mut out = vec![0; len];
                let popped = consumer.pop_slice(&mut out);
                assert_eq!(popped, len.min(queue.len()));
                assert_eq!(out[..popped], queue.drain(..popped).collect::<Vec<_>>());
                assert!(out[popped..].iter().all(|&byte| byte == 0));
            }
        }
    }
    assert_eq!(consumer.len(), queue.len());
}
