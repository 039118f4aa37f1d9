//! Bytes go from one half to the other, in order, across the wrap of the cursors. No half parks here: one that finds nothing
//! yields and looks again.

use loom::thread;
use smstream_core::error::{ReadError, ReserveError, WriteError};
use smstream_core::park::Spin;

use crate::common::{Reader, WRAP, World, check};

/// The next bytes: all that there are.
fn next(reader: &mut Reader<Spin>) -> Vec<u8> {
    loop {
        let mut out = [0; 4];
        match reader.read(&mut out) {
            Ok(n) => return out[..n].to_vec(),
            Err(ReadError::Empty) => thread::yield_now(),
            Err(e) => panic!("{e}"),
        }
    }
}

fn bytes_arrive(capacity: u32, bytes: &'static [u8], preemptions: Option<usize>) {
    check(preemptions, move || {
        let world = World::new(capacity, 0);
        let mut writer = world.writer_with(0, Spin);
        let mut reader = world.reader_with(1, Spin);
        let other = thread::spawn(move || writer.write_all(bytes).unwrap());
        let mut read = Vec::new();
        while read.len() < bytes.len() {
            read.extend(next(&mut reader));
        }
        assert_eq!(read, bytes);
        other.join().unwrap();
    });
}

#[test]
fn bytes_arrive_through_one_byte() {
    bytes_arrive(1, &[1, 2, 3], Some(3));
}

#[test]
fn bytes_arrive_through_two_bytes() {
    bytes_arrive(2, &[1, 2, 3, 4], None);
}

/// The lane is full at first; room that was read but not given back is not used.
#[test]
fn room_is_used_again_only_when_it_was_given_back() {
    check(None, || {
        let world = World::new(2, 0);
        let mut writer = world.writer_with(0, Spin);
        let mut reader = world.reader_with(1, Spin);
        assert_eq!(writer.write(&[1, 2, 3]), Ok(2));
        let other = thread::spawn(move || {
            let mut rest: &[u8] = &[3, 4];
            while !rest.is_empty() {
                match writer.write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(WriteError::Full) => thread::yield_now(),
                    Err(e) => panic!("{e}"),
                }
            }
        });
        for expected in 1..=4 {
            let mut out = [0];
            while reader.read_deferred(&mut out) == Err(ReadError::Empty) {
                thread::yield_now();
            }
            assert_eq!(out[0], expected);
            reader.flush();
        }
        other.join().unwrap();
    });
}

#[test]
fn deferred_bytes_are_seen_together() {
    check(None, || {
        let world = World::new(2, 0);
        let mut writer = world.writer_with(0, Spin);
        let mut reader = world.reader_with(1, Spin);
        let other = thread::spawn(move || {
            assert_eq!(writer.write_deferred(&[1]), Ok(1));
            assert_eq!(writer.write_deferred(&[2]), Ok(1));
            assert_eq!(writer.unflushed(), 2);
            writer.flush();
        });
        assert_eq!(next(&mut reader), [1, 2]);
        other.join().unwrap();
    });
}

#[test]
fn several_buffers_are_seen_together() {
    check(None, || {
        let world = World::starting_at(WRAP - 1, 4, 0);
        let mut writer = world.writer_with(0, Spin);
        let mut reader = world.reader_with(1, Spin);
        let other = thread::spawn(move || {
            let buffers: [&[u8]; 3] = [&[1, 2], &[3], &[]];
            assert_eq!(writer.write_vectored(buffers), Ok(3));
        });
        let (mut a, mut b) = ([0; 1], [0; 3]);
        loop {
            match reader.read_vectored([&mut a[..], &mut b[..]]) {
                Ok(n) => break assert_eq!(n, 3),
                Err(ReadError::Empty) => thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!((a, b), ([1], [2, 3, 0]));
        other.join().unwrap();
    });
}

#[test]
fn what_is_reserved_is_seen_when_it_is_committed_and_never_when_aborted() {
    check(None, || {
        let world = World::new(2, 0);
        let mut writer = world.writer_with(0, Spin);
        let mut reader = world.reader_with(1, Spin);
        let other = thread::spawn(move || {
            let mut aborted = writer.reserve(2).unwrap();
            assert_eq!(aborted.write(&[8, 9]), 2);
            aborted.abort();
            let mut kept = writer.reserve(2).unwrap();
            assert_eq!(kept.put(1, &[2]), 1);
            assert_eq!(kept.put(0, &[1]), 1);
            assert_eq!(kept.commit(2), 2);
            loop {
                match writer.reserve(2) {
                    Ok(mut last) => {
                        assert_eq!(last.write(&[3]), 1);
                        break assert_eq!(last.commit_filled(), 1);
                    }
                    Err(ReserveError::Write(WriteError::Full)) => thread::yield_now(),
                    Err(e) => panic!("{e:?}"),
                }
            }
        });
        assert_eq!(next(&mut reader), [1, 2]);
        assert_eq!(next(&mut reader), [3]);
        other.join().unwrap();
    });
}

#[test]
fn bytes_stay_until_they_are_consumed() {
    check(None, || {
        let world = World::new(2, 0);
        let mut writer = world.writer_with(0, Spin);
        let mut reader = world.reader_with(1, Spin);
        let other = thread::spawn(move || writer.write_all(&[1, 2, 3]).unwrap());
        let mut expected = 1..=3;
        while !expected.is_empty() {
            let (mut out, mut again) = ([0; 2], [0; 2]);
            match reader.peek() {
                Ok(peek) => {
                    assert_eq!(peek.copy_to(0, &mut out), peek.len());
                    assert_eq!(peek.copy_to(0, &mut again), peek.len());
                    assert_eq!(out, again);
                    // One at a time: the other is seen once more.
                    assert_eq!(peek.consume(1), 1);
                    assert_eq!(Some(out[0]), expected.next());
                }
                Err(ReadError::Empty) => thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
        other.join().unwrap();
    });
}
