//! A half that parks is woken when what it waits for is there: never too late, and not for nothing.

use loom::thread;
use smstream_core::cursor;
use smstream_core::error::WaitError;
use smstream_core::ordering;

use crate::common::{Deadline, How, Seat, WRAP, World, check};

fn a_parked_reader_gets_its_bytes(how: How, capacity: u32, bytes: &'static [u8], preemptions: Option<usize>) {
    check(preemptions, move || {
        let world = World::new(capacity, 0);
        let mut writer = world.writer(0, how);
        let mut reader = world.reader(1, how);
        let other = thread::spawn(move || {
            for byte in bytes {
                writer.write(&[*byte]).unwrap();
            }
        });
        reader.expect(bytes);
        other.join().unwrap();
    });
}

#[test]
fn a_parked_reader_gets_its_byte() {
    a_parked_reader_gets_its_bytes(How::Futex, 1, &[1], None);
}

#[test]
fn a_parked_reader_gets_its_byte_if_it_lives_by_the_recheck() {
    a_parked_reader_gets_its_bytes(How::Rung, 1, &[1], None);
}

#[test]
fn a_reader_parks_again_for_the_next_byte() {
    a_parked_reader_gets_its_bytes(How::Futex, 2, &[1, 2], Some(3));
}

#[test]
fn a_reader_parks_again_for_the_next_byte_if_it_lives_by_the_recheck() {
    a_parked_reader_gets_its_bytes(How::Rung, 2, &[1, 2], Some(3));
}

fn a_parked_writer_gets_its_room(how: How, preemptions: Option<usize>) {
    check(preemptions, move || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, how);
        let mut reader = world.reader(1, how);
        writer.write(&[1]).unwrap();
        let other = thread::spawn(move || writer.write_all(&[2]).unwrap());
        let mut out = [0];
        assert_eq!(reader.read(&mut out), Ok(1));
        assert_eq!(out, [1]);
        other.join().unwrap();
        assert_eq!(reader.read(&mut out), Ok(1));
        assert_eq!(out, [2]);
    });
}

#[test]
fn a_parked_writer_gets_room() {
    a_parked_writer_gets_its_room(How::Futex, None);
}

#[test]
fn a_parked_writer_gets_room_if_it_lives_by_the_recheck() {
    a_parked_writer_gets_its_room(How::Rung, None);
}

fn both_park_by_turns(how: How, capacity: u32, bytes: &'static [u8], preemptions: Option<usize>) {
    check(preemptions, move || {
        let world = World::new(capacity, 0);
        let mut writer = world.writer(0, how);
        let mut reader = world.reader(1, how);
        let other = thread::spawn(move || writer.write_all(bytes).unwrap());
        reader.expect(bytes);
        other.join().unwrap();
    });
}

#[test]
fn reader_and_writer_park_by_turns_at_one_byte() {
    both_park_by_turns(How::Futex, 1, &[1, 2, 3], Some(2));
}

#[test]
fn reader_and_writer_park_by_turns_at_two_bytes() {
    both_park_by_turns(How::Futex, 2, &[1, 2, 3, 4], Some(2));
}

#[test]
fn reader_and_writer_park_by_turns_if_they_live_by_the_recheck() {
    both_park_by_turns(How::Rung, 1, &[1, 2, 3], Some(2));
}

/// Two bytes are wanted: the first crosses no threshold, and there is one wake at most.
#[test]
fn a_reader_that_wants_two_bytes_is_woken_once() {
    check(Some(3), || {
        let world = World::new(4, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            writer.write(&[2]).unwrap();
        });
        assert_eq!(reader.wait(2, None), Ok(2));
        let mut out = [0; 2];
        assert_eq!(reader.read(&mut out), Ok(2));
        assert_eq!(out, [1, 2]);
        other.join().unwrap();
        assert!(world.woken(Seat::Reader1) <= 1, "one request, {} wakes", world.woken(Seat::Reader1));
        assert!(world.slept(Seat::Reader1) <= 1);
    });
}

/// The same for room.
#[test]
fn a_writer_that_wants_two_bytes_of_room_is_woken_once() {
    check(None, || {
        let world = World::new(4, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        writer.write(&[1, 2, 3, 4]).unwrap();
        let other = thread::spawn(move || assert_eq!(writer.wait(2, None), Ok(2)));
        let mut out = [0];
        assert_eq!(reader.read(&mut out), Ok(1));
        assert_eq!(reader.read(&mut out), Ok(1));
        other.join().unwrap();
        assert!(world.woken(Seat::Writer0) <= 1, "one request, {} wakes", world.woken(Seat::Writer0));
        assert!(world.slept(Seat::Writer0) <= 1);
    });
}

/// A peer that runs is not woken.
#[test]
fn a_peer_that_does_not_park_is_not_woken() {
    check(None, || {
        let world = World::new(2, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        writer.write(&[1, 2]).unwrap();
        let other = thread::spawn(move || writer.write_all(&[3]).unwrap());
        let mut out = [0];
        assert_eq!(reader.read(&mut out), Ok(1));
        other.join().unwrap();
        assert_eq!(world.woken(Seat::Reader1), 0);
        assert!(world.woken(Seat::Writer0) <= 1);
    });
}

/// Each wants all of the lane. What they wait for is cut so that not both can starve.
#[test]
fn reader_and_writer_that_want_too_much_do_not_starve() {
    check(None, || {
        let world = World::new(2, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            assert!(writer.wait(2, None).unwrap() >= 1);
        });
        assert!(reader.wait(2, None).unwrap() >= 1);
        let mut out = [0];
        assert_eq!(reader.read(&mut out), Ok(1));
        other.join().unwrap();
    });
}

/// The reader first wants two bytes, gives that up when time is over, and then wants one.
#[test]
fn a_nearer_threshold_replaces_one_farther_ahead() {
    check(Some(3), || {
        let world = World::new(4, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || writer.write(&[1]).unwrap());
        let clock = {
            let world = world.clone();
            thread::spawn(move || world.expire(Seat::Reader1))
        };
        match reader.wait(2, Some(Deadline)) {
            Ok(1) => {}
            Err(WaitError::TimedOut) => assert_eq!(reader.wait(1, None), Ok(1)),
            outcome => panic!("{outcome:?}"),
        }
        other.join().unwrap();
        clock.join().unwrap();
    });
}

/// The reader is woken for no reason and parks again, at the same threshold.
#[test]
fn a_wake_for_nothing_does_not_lose_the_next() {
    check(Some(2), || {
        let world = World::new(2, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            writer.write(&[2]).unwrap();
        });
        let signal = {
            let world = world.clone();
            thread::spawn(move || world.wake_for_nothing(Seat::Reader1))
        };
        reader.expect(&[1, 2]);
        other.join().unwrap();
        signal.join().unwrap();
    });
}

/// The same for a writer.
#[test]
fn a_wake_for_nothing_does_not_lose_room() {
    check(Some(3), || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        writer.write(&[1]).unwrap();
        let other = thread::spawn(move || writer.write_all(&[2]).unwrap());
        let signal = {
            let world = world.clone();
            thread::spawn(move || world.wake_for_nothing(Seat::Writer0))
        };
        let mut out = [0];
        assert_eq!(reader.read(&mut out), Ok(1));
        other.join().unwrap();
        signal.join().unwrap();
    });
}

/// Time is over, or there is a byte: one of the two.
#[test]
fn a_timed_reader_gets_its_byte_or_times_out() {
    check(Some(3), || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || writer.write(&[1]).unwrap());
        let clock = {
            let world = world.clone();
            thread::spawn(move || world.expire(Seat::Reader1))
        };
        match reader.wait(1, Some(Deadline)) {
            Ok(1) => {}
            Err(WaitError::TimedOut) => assert_eq!(reader.wait(1, None), Ok(1)),
            outcome => panic!("{outcome:?}"),
        }
        other.join().unwrap();
        clock.join().unwrap();
    });
}

/// A half that has given up is not woken by what is published later.
#[test]
fn a_reader_that_gave_up_is_not_woken() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || {
            assert_eq!(reader.wait(1, Some(Deadline)), Err(WaitError::TimedOut));
            reader
        });
        world.expire(Seat::Reader1);
        let mut reader = other.join().unwrap();
        writer.write(&[1]).unwrap();
        assert_eq!(world.woken(Seat::Reader1), 0, "it was awake");
        reader.expect(&[1]);
    });
}

/// The same for a writer.
#[test]
fn a_writer_that_gave_up_is_not_woken() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        writer.write(&[1]).unwrap();
        let other = thread::spawn(move || {
            assert_eq!(writer.wait(1, Some(Deadline)), Err(WaitError::TimedOut));
        });
        world.expire(Seat::Writer0);
        other.join().unwrap();
        reader.expect(&[1]);
        assert_eq!(world.woken(Seat::Writer0), 0, "it was awake");
    });
}

/// The reader cannot make room by reading what it does not see.
#[test]
fn a_writer_publishes_what_it_deferred_before_it_parks() {
    check(Some(3), || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || {
            writer.write_deferred(&[1]).unwrap();
            assert_eq!(writer.wait(1, None), Ok(1));
        });
        reader.expect(&[1]);
        other.join().unwrap();
    });
}

/// The writer cannot send into room that it does not see.
#[test]
fn a_reader_gives_back_what_it_deferred_before_it_parks() {
    check(Some(3), || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        writer.write(&[1]).unwrap();
        let other = thread::spawn(move || writer.write_all(&[2]).unwrap());
        let mut out = [0];
        assert_eq!(reader.read_deferred(&mut out), Ok(1));
        assert_eq!(reader.wait(1, None), Ok(1));
        assert_eq!(reader.read(&mut out), Ok(1));
        assert_eq!(out, [2]);
        other.join().unwrap();
    });
}

/// The first wake already knows how the sleeper wants to be woken: the `Park` of the models compares.
#[test]
fn the_wake_method_is_known_before_the_first_wake() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader_with_wake_method(1, 7);
        let other = thread::spawn(move || writer.write(&[1]).unwrap());
        reader.expect(&[1]);
        other.join().unwrap();
    });
}

/// A park word is asleep with the honest threshold, or 0; and it is 0 when the half has come back.
#[test]
fn a_park_word_says_asleep_at_the_threshold_or_awake() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(1, How::Futex);
        let other = thread::spawn(move || reader.expect(&[1]));
        let seen = ordering::peer_park(&world.port(1).park.read_park);
        assert!(seen == 0 || seen == cursor::asleep_at(WRAP, 1), "{seen:#x}");
        writer.write(&[1]).unwrap();
        other.join().unwrap();
        assert_eq!(ordering::peer_park(&world.port(1).park.read_park), 0);
    });
}
