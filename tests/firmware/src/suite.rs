// The behaviour of smstream-core, without an operating system. The firmware runs it, and so does core/tests/suite.rs.

use smstream_core::block::{Block, block_len};
use smstream_core::cursor::CURSOR;
use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry::Config;
use smstream_core::park::Spin;
use smstream_core::record::{RecordReader, RecordWriter, RecvError, SendError};
use smstream_core::spsc::{AlreadySplit, Compact, Full, Ring, Spaced, Words};

/// All tests, by name.
pub const ALL: &[(&str, fn())] = &[
    ("a static ring is split once", a_static_ring_is_split_once),
    ("items cross the wrap, words side by side", items_cross_the_wrap::<Compact>),
    ("items cross the wrap, words apart", items_cross_the_wrap::<Spaced>),
    ("what is left is dropped once", what_is_left_is_dropped_once),
    ("batches are published once", batches_are_published_once),
    ("bytes go both ways across the wrap, and end", bytes_go_both_ways_across_the_wrap_and_end),
    ("records are whole and contiguous", records_are_whole_and_contiguous),
    ("a lying peer is corrupt", a_lying_peer_is_corrupt),
];

fn a_static_ring_is_split_once() {
    static RING: Ring<u32, 4> = Ring::new();
    let (mut producer, mut consumer) = RING.try_split().unwrap();
    assert_eq!(RING.try_split().unwrap_err(), AlreadySplit);
    producer.push(7).unwrap();
    assert_eq!((consumer.pop(), consumer.pop()), (Some(7), None));
}

fn items_cross_the_wrap<W: Words>() {
    let mut ring = Ring::<u16, 4, W>::starting_at(u32::MAX - 2);
    let (mut producer, mut consumer) = ring.split();
    let (mut pushed, mut popped) = (0, 0);
    for step in 0..40 {
        for _ in 0..step % 6 {
            match producer.push(pushed) {
                Ok(()) => pushed += 1,
                Err(Full(back)) => assert!(back == pushed && producer.room() == 0),
            }
        }
        for _ in 0..step % 5 {
            match consumer.pop() {
                Some(item) => {
                    assert_eq!(item, popped);
                    popped += 1;
                }
                None => assert_eq!(popped, pushed),
            }
        }
    }
    assert!(popped > 20);
}

fn what_is_left_is_dropped_once() {
    use core::cell::Cell;
    struct Counted<'c>(&'c Cell<u32>);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Cell::new(0);
    let mut ring = Ring::<Counted<'_>, 4>::starting_at(u32::MAX - 1);
    let (mut producer, mut consumer) = ring.split();
    assert_eq!(producer.push_iter((0..9).map(|_| Counted(&dropped))), 4);
    drop(consumer.pop());
    assert_eq!(dropped.get(), 1);
    drop(ring);
    assert_eq!(dropped.get(), 4);
}

fn batches_are_published_once() {
    let mut ring = Ring::<u8, 8, Compact>::starting_at(u32::MAX - 3);
    let (mut producer, mut consumer) = ring.split();
    assert_eq!(producer.push_slice(&[1, 2, 3, 4, 5]), 5);
    let mut chunk = producer.write_chunk(2).unwrap();
    assert_eq!(chunk.fill([6, 7]), 2);
    assert_eq!(consumer.len(), 5);
    assert_eq!(chunk.commit(), 2);
    assert_eq!(consumer.as_slices(), (&[1, 2, 3, 4][..], &[5, 6, 7][..]));
    let mut out = [0; 3];
    assert_eq!((consumer.pop_slice(&mut out), out), (3, [1, 2, 3]));
    let mut sum = 0;
    assert_eq!((consumer.pop_all(|item| sum += item), sum), (4, 22));
}

fn bytes_go_both_ways_across_the_wrap_and_end() {
    const CHANNEL: Config = Config { start: CURSOR - 20, ..Config::new([16, 8]) };
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let (mut here, mut there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
    let mut out = [0; 16];
    for round in 0..10u8 {
        let bytes: [u8; 11] = core::array::from_fn(|i| round * 16 + i as u8);
        assert_eq!(here.write(&bytes), Ok(11));
        assert_eq!((there.read(&mut out), &out[..11]), (Ok(11), &bytes[..]));
        assert_eq!(there.write(&bytes), Ok(8));
        assert_eq!(there.write(&bytes), Err(WriteError::Full));
        assert_eq!((here.read(&mut out), &out[..8]), (Ok(8), &bytes[..8]));
        assert_eq!(here.read(&mut out), Err(ReadError::Empty));
    }
    here.write(b"end").unwrap();
    here.finish();
    assert_eq!((there.read(&mut out), there.read(&mut out)), (Ok(3), Ok(0)));
    here.consumer.stop();
    assert_eq!(there.write(b"x"), Err(WriteError::Closed));
}

fn records_are_whole_and_contiguous() {
    const CHANNEL: Config = Config { start: CURSOR - 21, ..Config::new([32, 0]) };
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let (here, there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
    let (mut writer, mut reader) = (RecordWriter::new(here.producer), RecordReader::new(there.consumer));
    let mut out = [0; 28];
    for len in 0..=writer.max_len() {
        let mut grant = match writer.grant_exact(len) {
            Err(SendError::Full) => {
                assert_eq!(reader.recv(&mut out), Err(RecvError::Empty));
                writer.grant_exact(len).unwrap()
            }
            grant => grant.unwrap(),
        };
        let bytes: [u8; 28] = core::array::from_fn(|i| (len * 3 + i) as u8);
        assert_eq!(grant.put(0, &bytes), len);
        writer.commit(grant, len).unwrap();
        let grant = reader.grant().unwrap().unwrap();
        assert!(grant.is_contiguous());
        assert_eq!((grant.copy_to(0, &mut out), &out[..len]), (len, &bytes[..len]));
        reader.release(grant).unwrap();
    }
    writer.finish();
    assert_eq!(reader.recv(&mut out), Ok(None));
}

fn a_lying_peer_is_corrupt() {
    const CHANNEL: Config = Config::new([32, 0]);
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let (mut here, there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
    let mut reader = RecordReader::new(there.consumer);
    here.write(&[9, 0, 0, 0, 1, 2, 3, 4]).unwrap();
    assert_eq!(reader.recv(&mut [0; 32]), Err(RecvError::Corrupt));
    assert_eq!(here.write(b"more"), Err(WriteError::Closed));
}
