//! FIN and STOP: the last publication wakes the sleeper, no byte is lost, and the end is never reported early.

use loom::thread;
use smstream_core::cursor::{STOP, STOPPED_HINT};
use smstream_core::error::{ReadError, WaitError, WriteError};
use smstream_core::ordering;
use smstream_core::park::Spin;

use crate::common::{How, Seat, World, check};

fn a_parked_reader_gets_the_end(how: How) {
    check(None, move || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, how);
        let mut reader = world.reader(1, how);
        let other = thread::spawn(move || writer.finish());
        assert_eq!(reader.wait(1, None), Ok(0));
        assert_eq!(reader.read(&mut [0]), Ok(0));
        other.join().unwrap();
        assert!(world.woken(Seat::Reader1) <= 1);
    });
}

#[test]
fn fin_wakes_a_parked_reader() {
    a_parked_reader_gets_the_end(How::Futex);
}

#[test]
fn fin_wakes_a_parked_reader_that_lives_by_the_recheck() {
    a_parked_reader_gets_the_end(How::Rung);
}

/// Data and FIN in one store.
#[test]
fn fin_with_data_in_one_store_loses_nothing() {
    check(None, || {
        let world = World::new(2, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || {
            writer.write_deferred(&[1, 2]).unwrap();
            writer.finish();
        });
        assert_eq!(reader.wait(1, None), Ok(2), "one store: both bytes or none");
        assert!(reader.is_peer_finished());
        assert_eq!(reader.drain(), (vec![1, 2], Ok(())));
        other.join().unwrap();
    });
}

/// The threshold is two ahead; there is one byte, and then no more.
#[test]
fn fin_below_the_threshold_wakes() {
    check(None, || {
        let world = World::new(4, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            writer.finish();
        });
        assert_eq!(reader.wait(2, None), Ok(1));
        assert_eq!(reader.drain(), (vec![1], Ok(())));
        other.join().unwrap();
        assert!(world.woken(Seat::Reader1) <= 1, "one request");
    });
}

/// The same with both in one store, for a reader that lives by the re-check.
#[test]
fn fin_with_data_below_the_threshold_wakes() {
    check(None, || {
        let world = World::new(4, 0);
        let mut writer = world.writer(0, How::Rung);
        let mut reader = world.reader(1, How::Rung);
        let other = thread::spawn(move || {
            writer.write_deferred(&[1]).unwrap();
            writer.finish();
        });
        assert_eq!(reader.wait(2, None), Ok(1));
        assert_eq!(reader.drain(), (vec![1], Ok(())));
        other.join().unwrap();
    });
}

/// All bytes, then the end, for a reader that never parks.
#[test]
fn who_drains_without_parking_gets_all_bytes_and_then_the_end() {
    check(None, || {
        let world = World::new(2, 0);
        let mut writer = world.writer_with(0, Spin);
        let mut reader = world.reader_with(1, Spin);
        let other = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            writer.write(&[2]).unwrap();
            writer.finish();
            assert_eq!(writer.write(&[3]), Err(WriteError::Closed));
        });
        let mut read = Vec::new();
        loop {
            let mut out = [0];
            match reader.read(&mut out) {
                Ok(0) => break,
                Ok(_) => read.push(out[0]),
                Err(ReadError::Empty) => thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(read, [1, 2]);
        assert_eq!(reader.read(&mut [0]), Ok(0), "the end stays");
        other.join().unwrap();
    });
}

fn who_drains_gets_all(how: How, capacity: u32, bytes: &'static [u8], preemptions: Option<usize>) {
    check(preemptions, move || {
        let world = World::new(capacity, 0);
        let mut writer = world.writer(0, how);
        let mut reader = world.reader(1, how);
        let other = thread::spawn(move || {
            writer.write_all(bytes).unwrap();
            writer.finish();
        });
        assert_eq!(reader.drain(), (bytes.to_vec(), Ok(())));
        other.join().unwrap();
    });
}

#[test]
fn who_drains_and_parks_gets_all_bytes_and_then_the_end() {
    who_drains_gets_all(How::Futex, 2, &[1, 2], Some(3));
}

#[test]
fn who_drains_one_byte_at_a_time_gets_all_bytes_and_then_the_end() {
    who_drains_gets_all(How::Futex, 1, &[1, 2], Some(3));
}

fn a_parked_writer_notices_stop(how: How) {
    check(None, move || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, how);
        let mut reader = world.reader(1, how);
        writer.write(&[1]).unwrap();
        let other = thread::spawn(move || assert_eq!(writer.wait(1, None), Err(WaitError::Closed)));
        reader.stop();
        other.join().unwrap();
        assert!(world.woken(Seat::Writer0) <= 1);
    });
}

#[test]
fn stop_wakes_a_parked_writer() {
    a_parked_writer_notices_stop(How::Futex);
}

#[test]
fn stop_wakes_a_parked_writer_that_lives_by_the_recheck() {
    a_parked_writer_notices_stop(How::Rung);
}

/// The writer wants room for two; one is given back, and then there is no more.
#[test]
fn stop_below_the_threshold_wakes() {
    check(None, || {
        let world = World::new(4, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        writer.write(&[1, 2, 3, 4]).unwrap();
        let other = thread::spawn(move || assert_eq!(writer.wait(2, None), Err(WaitError::Closed)));
        reader.read(&mut [0]).unwrap();
        reader.stop();
        other.join().unwrap();
        assert!(world.woken(Seat::Writer0) <= 1, "one request");
    });
}

/// There is room, so the writer would not look at `received` for a long time. The hint makes it look.
#[test]
fn a_writer_with_room_notices_stop() {
    check(None, || {
        let world = World::new(4, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || reader.stop());
        let hinted = ordering::peer_park(&world.port(1).park.read_park) == STOPPED_HINT;
        match writer.write(&[1]) {
            Ok(1) => assert!(!hinted, "the hint was there, so STOP was"),
            Err(WriteError::Closed) => {}
            outcome => panic!("{outcome:?}"),
        }
        other.join().unwrap();
        assert_eq!(writer.write(&[2]), Err(WriteError::Closed));
    });
}

/// Who sees the hint sees STOP.
#[test]
fn the_hint_comes_after_stop() {
    check(None, || {
        let world = World::new(1, 0);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || reader.stop());
        if ordering::peer_park(&world.port(1).park.read_park) == STOPPED_HINT {
            assert_ne!(ordering::peer_received(&world.port(1).received.word) & STOP, 0);
        }
        other.join().unwrap();
    });
}

/// Both parties close at once: each reads the end, and neither can write.
#[test]
fn both_close_at_once() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let ends = [0, 1].map(|party| world.end(party, How::Futex));
        let [mut one, mut other] = ends;
        let other = thread::spawn(move || {
            other.close();
            assert_eq!(other.read(&mut [0]), Ok(0));
            assert_eq!(other.write(&[1]), Err(WriteError::Closed));
        });
        one.close();
        assert_eq!(one.read(&mut [0]), Ok(0));
        assert_eq!(one.write(&[1]), Err(WriteError::Closed));
        other.join().unwrap();
    });
}

/// One closes while the other parks for bytes and then for room.
#[test]
fn close_wakes_a_peer_that_parks_in_either_direction() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let ends = [0, 1].map(|party| world.end(party, How::Futex));
        let [mut one, mut other] = ends;
        other.write(&[9]).unwrap();
        let other = thread::spawn(move || {
            assert_eq!(other.wait_bytes(1, None), Ok(0));
            assert_eq!(other.wait_room(1, None), Err(WaitError::Closed));
        });
        one.close();
        other.join().unwrap();
    });
}

/// Half-close at once: each says that it sends no more, and drains what the other sent.
#[test]
fn both_finish_at_once_and_drain() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let ends = [0, 1].map(|party| world.end(party, How::Futex));
        let [mut one, mut other] = ends;
        let other = thread::spawn(move || {
            other.write(&[1]).unwrap();
            other.finish();
            assert_eq!(other.wait_bytes(1, None), Ok(1));
            let mut out = [0];
            assert_eq!(other.read(&mut out), Ok(1));
            assert_eq!(out, [2]);
            assert_eq!(other.wait_bytes(1, None), Ok(0));
        });
        one.write(&[2]).unwrap();
        one.finish();
        assert_eq!(one.wait_bytes(1, None), Ok(1));
        let mut out = [0];
        assert_eq!(one.read(&mut out), Ok(1));
        assert_eq!(out, [1]);
        assert_eq!(one.wait_bytes(1, None), Ok(0));
        other.join().unwrap();
    });
}
