//! One party waits with all it has, and the other does not, or not for ever: no wait returns that it is a deadlock.

use loom::thread;
use smstream_core::cursor::{self, EXCLUSIVE};
use smstream_core::error::WaitError;
use smstream_core::ordering;

use crate::common::{Deadline, How, Seat, WRAP, World, check};
use crate::deadlock::{ends, takes};

/// Party 1 is slow: it writes before it reads. Then party 0 answers. No wait returns `Deadlock`.
#[test]
fn a_peer_that_is_about_to_write_is_waited_for() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        let other = thread::spawn(move || {
            assert_eq!(second.write(&[2]), Ok(1));
            assert_eq!(second.wait_bytes_exclusive(1), Ok(1));
            takes(&mut second, 1);
        });
        assert_eq!(first.wait_bytes_exclusive(1), Ok(1));
        takes(&mut first, 2);
        assert_eq!(first.write(&[1]), Ok(1));
        other.join().unwrap();
    });
}

/// The same with a lane that is full: party 1 reads before it writes.
#[test]
fn a_peer_that_is_about_to_make_room_is_waited_for() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        first.write(&[1]).unwrap();
        second.write(&[2]).unwrap();
        let other = thread::spawn(move || {
            takes(&mut second, 1);
            assert_eq!(second.wait_room_exclusive(1), Ok(1));
        });
        assert_eq!(first.wait_room_exclusive(1), Ok(1));
        takes(&mut first, 2);
        other.join().unwrap();
    });
}

/// Party 1 still says that it sleeps, but what it waits for has been sent.
#[test]
fn a_peer_that_is_about_to_be_woken_is_waited_for() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        let other = thread::spawn(move || {
            assert_eq!(second.wait_bytes_exclusive(1), Ok(1));
            takes(&mut second, 1);
            assert_eq!(second.write(&[2]), Ok(1));
        });
        assert_eq!(first.write(&[1]), Ok(1));
        assert_eq!(first.wait_bytes_exclusive(1), Ok(1));
        takes(&mut first, 2);
        other.join().unwrap();
    });
}

/// The same with room.
#[test]
fn a_peer_that_is_about_to_get_room_is_waited_for() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        first.write(&[1]).unwrap();
        second.write(&[2]).unwrap();
        let other = thread::spawn(move || {
            assert_eq!(second.wait_room_exclusive(1), Ok(1));
            takes(&mut second, 1);
        });
        takes(&mut first, 2);
        assert_eq!(first.wait_room_exclusive(1), Ok(1));
        other.join().unwrap();
    });
}

/// What party 0 has deferred is what party 1 waits for. It goes out before the whole party sleeps.
#[test]
fn what_is_deferred_goes_out_before_a_whole_party_reads() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        first.producer.write_deferred(&[1]).unwrap();
        let other = thread::spawn(move || {
            assert_eq!(second.wait_bytes_exclusive(1), Ok(1));
            assert_eq!(second.write(&[2]), Ok(1));
        });
        assert_eq!(first.wait_bytes_exclusive(1), Ok(1));
        other.join().unwrap();
    });
}

/// And room that was not given back yet is given back before a whole party writes.
#[test]
fn room_is_given_back_before_a_whole_party_writes() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        first.write(&[1]).unwrap();
        second.write(&[2]).unwrap();
        let mut out = [0];
        assert_eq!(first.consumer.read_deferred(&mut out), Ok(1));
        let other = thread::spawn(move || {
            assert_eq!(second.wait_room_exclusive(1), Ok(1));
            takes(&mut second, 1);
        });
        assert_eq!(first.wait_room_exclusive(1), Ok(1));
        other.join().unwrap();
    });
}

/// Party 1 closes, or closes its writing half only and reads: the end of the stream for party 0.
#[test]
fn a_peer_that_closes_is_no_deadlock() {
    for all in [true, false] {
        check(Some(3), move || {
            let world = World::new(1, 1);
            let [mut first, mut second] = ends(&world, How::Futex);
            let other = thread::spawn(move || {
                if all {
                    second.close();
                } else {
                    second.finish();
                    assert_eq!(second.wait_bytes_exclusive(1), Ok(1));
                }
            });
            assert_eq!(first.wait_bytes_exclusive(1), Ok(0));
            if !all {
                assert_eq!(first.write(&[1]), Ok(1));
            }
            other.join().unwrap();
        });
    }
}

/// Party 0 has said that no more will come, and reads: party 1 gets the end of the stream, and answers.
#[test]
fn a_party_that_has_finished_waits_for_the_answer() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        let other = thread::spawn(move || {
            assert_eq!(second.wait_bytes_exclusive(1), Ok(0));
            assert_eq!(second.write(&[2]), Ok(1));
        });
        first.finish();
        assert_eq!(first.wait_bytes_exclusive(1), Ok(1));
        other.join().unwrap();
    });
}

/// Party 0 has said that it takes no more, and writes: party 1 notices, and reads.
#[test]
fn a_party_that_has_stopped_waits_for_room() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        first.write(&[1]).unwrap();
        second.write(&[2]).unwrap();
        let other = thread::spawn(move || {
            assert_eq!(second.wait_room_exclusive(1), Err(WaitError::Closed));
            takes(&mut second, 1);
        });
        first.stop();
        assert_eq!(first.wait_room_exclusive(1), Ok(1));
        other.join().unwrap();
    });
}

/// Party 1 waits with a deadline, and writes when time is over.
#[test]
fn a_peer_with_a_deadline_is_waited_for() {
    check(Some(2), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        let other = thread::spawn(move || {
            assert_eq!(second.wait_bytes(1, Some(Deadline)), Err(WaitError::TimedOut));
            assert_eq!(second.write(&[2]), Ok(1));
        });
        let clock = {
            let world = world.clone();
            thread::spawn(move || world.expire(Seat::Reader1))
        };
        assert_eq!(first.wait_bytes_exclusive(1), Ok(1));
        other.join().unwrap();
        clock.join().unwrap();
    });
}

/// Party 1 reads with one half, and writes with the other.
#[test]
fn a_peer_in_two_halves_is_waited_for() {
    check(Some(2), || {
        let world = World::new(1, 1);
        let mut first = world.end(0, How::Futex);
        let (mut reader, mut writer) = (world.reader(1, How::Futex), world.writer(1, How::Futex));
        let reading = thread::spawn(move || reader.expect(&[1]));
        let writing = thread::spawn(move || writer.write(&[2]).unwrap());
        assert_eq!(first.wait_bytes_exclusive(1), Ok(1));
        assert_eq!(first.write(&[1]), Ok(1));
        reading.join().unwrap();
        writing.join().unwrap();
    });
}

/// And party 1 with the whole party, party 0 in two halves.
#[test]
fn a_party_in_two_halves_gets_no_deadlock() {
    check(Some(2), || {
        let world = World::new(1, 1);
        let (mut reader, mut writer) = (world.reader(0, How::Futex), world.writer(0, How::Futex));
        let mut second = world.end(1, How::Futex);
        let reading = thread::spawn(move || reader.expect(&[2]));
        let other = thread::spawn(move || {
            assert_eq!(second.wait_bytes_exclusive(1), Ok(1));
            assert_eq!(second.write(&[2]), Ok(1));
        });
        assert_eq!(writer.write(&[1]), Ok(1));
        reading.join().unwrap();
        other.join().unwrap();
    });
}

/// Party 1 died asleep. Party 0 has not noticed, but will know if it asks.
#[test]
fn the_dead_are_no_deadlock() {
    check(None, || {
        let world = World::new(1, 1);
        let mut first = world.alerted_end(0);
        let peer = {
            let world = world.clone();
            thread::spawn(move || {
                // The last steps of the peer.
                world.dies(1);
                ordering::announce(&world.port(1).park.read_park, cursor::asleep_at(WRAP, 1) | EXCLUSIVE);
                world.wake_for_nothing(Seat::Reader0);
            })
        };
        assert_eq!(first.wait_bytes_exclusive(1), Err(WaitError::PeerGone));
        peer.join().unwrap();
    });
}

/// It wrote before it parked and died: that is read first.
#[test]
fn what_the_dead_had_written_is_read_first() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let mut first = world.alerted_end(0);
        let peer = {
            let world = world.clone();
            thread::spawn(move || {
                let mut second = world.writer(1, How::Futex);
                second.write(&[2]).unwrap();
                world.dies(1);
                ordering::announce(&world.port(1).park.read_park, cursor::asleep_at(WRAP, 1) | EXCLUSIVE);
            })
        };
        assert_eq!(first.wait_bytes_exclusive(1), Ok(1));
        takes(&mut first, 2);
        peer.join().unwrap();
    });
}
