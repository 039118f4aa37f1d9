//! Records: seen whole or not at all, in order, across the wrap; padding is never seen.

use loom::thread;
use smstream_core::park::Spin;
use smstream_core::record::{RecordReader, RecordWriter, RecvError, SendError};

use crate::common::{How, WRAP, World, check};

fn recv(reader: &mut RecordReader<'static, Spin>) -> Vec<u8> {
    let mut out = [0; 8];
    loop {
        match reader.recv(&mut out) {
            Ok(Some(n)) => return out[..n].to_vec(),
            Err(RecvError::Empty) => thread::yield_now(),
            got => panic!("{got:?}"),
        }
    }
}

#[test]
fn records_are_seen_whole() {
    check(Some(2), || {
        let world = World::starting_at(WRAP - 6, 8, 0);
        let mut writer = RecordWriter::new(world.writer_with(0, Spin).into_half());
        let mut reader = RecordReader::new(world.reader_with(1, Spin).into_half());
        let other = thread::spawn(move || {
            for record in [&[1, 2, 3][..], &[4], &[]] {
                loop {
                    match writer.send(record) {
                        Ok(()) => break,
                        Err(SendError::Full) => thread::yield_now(),
                        Err(e) => panic!("{e}"),
                    }
                }
            }
        });
        assert_eq!(recv(&mut reader), [1, 2, 3]);
        assert_eq!(recv(&mut reader), [4]);
        assert_eq!(recv(&mut reader), []);
        other.join().unwrap();
        drop(world);
    });
}

#[test]
fn what_is_granted_is_seen_when_it_is_committed_and_padding_never() {
    check(Some(2), || {
        // The bytes of the first record would begin two before the end of the lane.
        let world = World::starting_at(2, 8, 0);
        let mut writer = RecordWriter::new(world.writer_with(0, Spin).into_half());
        let mut reader = RecordReader::new(world.reader_with(1, Spin).into_half());
        let other = thread::spawn(move || {
            let mut grant = loop {
                match writer.grant_exact(3) {
                    Ok(grant) => break grant,
                    Err(SendError::Full) => thread::yield_now(),
                    Err(e) => panic!("{e}"),
                }
            };
            assert_eq!(grant.put(0, &[1, 2, 3]), 3);
            writer.commit(grant, 3).unwrap();
        });
        let grant = loop {
            match reader.grant() {
                Ok(Some(grant)) => break grant,
                Err(RecvError::Empty) => thread::yield_now(),
                got => panic!("{got:?}"),
            }
        };
        let mut out = [0; 4];
        assert_eq!((grant.copy_to(0, &mut out), out, grant.is_contiguous()), (3, [1, 2, 3, 0], true));
        reader.release(grant).unwrap();
        other.join().unwrap();
        drop(world);
    });
}

/// The longest record takes the whole lane, more than a writer of bytes may wait for.
#[test]
fn a_writer_that_waits_for_the_whole_lane_gets_it() {
    check(Some(2), || {
        let world = World::starting_at(WRAP - 4, 8, 0);
        let mut writer = world.writer(0, How::Futex).into_half();
        let mut reader = world.reader(1, How::Futex).into_half();
        let other = thread::spawn(move || {
            // The lane is not empty, but half of it is free when the reader has taken the first.
            for record in [&[][..], &[], &[1, 2, 3, 4]] {
                while let Err(e) = writer.send_record(record) {
                    assert_eq!(e, SendError::Full);
                    assert!(writer.wait_for_record(record.len(), None).unwrap() >= 4 + record.len());
                }
            }
        });
        let mut out = [0; 4];
        for len in [0, 0, 4] {
            loop {
                match reader.recv_record(&mut out) {
                    Ok(Some(n)) => break assert_eq!(n, len),
                    Err(RecvError::Empty) => assert!(reader.wait(1, None).is_ok()),
                    got => panic!("{got:?}"),
                }
            }
        }
        assert_eq!(out, [1, 2, 3, 4]);
        other.join().unwrap();
        drop(world);
    });
}
