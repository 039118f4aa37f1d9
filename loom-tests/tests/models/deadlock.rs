//! Both parties wait for each other with all they have: exactly one wait returns that.

use loom::thread;
use smstream_core::error::WaitError;
use smstream_core::stream::End;

use crate::common::{How, Owning, Seat, Sleeper, World, check};

/// An end, and the world it lives in.
pub type Party = Owning<End<'static, Sleeper>>;

/// Both ends, which sleep in this way.
pub fn ends(world: &std::sync::Arc<World>, how: How) -> [Party; 2] {
    [0, 1].map(|party| world.end(party, how))
}

/// Reads one byte, which is there.
#[track_caller]
pub fn takes(end: &mut End<'static, Sleeper>, byte: u8) {
    let mut out = [0];
    assert_eq!(end.read(&mut out), Ok(1));
    assert_eq!(out, [byte]);
}

/// Both read empty lanes. Party 0 gets `Deadlock`, as often as it tries, and then writes; party 1 never knows.
fn both_read(how: How) {
    check(None, move || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, how);
        let other = thread::spawn(move || {
            assert_eq!(second.wait_bytes_exclusive(1), Ok(1));
            takes(&mut second, 1);
        });
        assert_eq!(first.wait_bytes_exclusive(1), Err(WaitError::Deadlock));
        assert_eq!(first.write(&[1]), Ok(1));
        other.join().unwrap();
    });
}

#[test]
fn of_two_that_read_one_gets_deadlock() {
    both_read(How::Futex);
}

#[test]
fn of_two_that_read_one_gets_deadlock_if_it_lives_by_the_recheck() {
    both_read(How::Rung);
}

/// Both write into full lanes. Party 0 gets `Deadlock`, and then reads.
fn both_write(how: How) {
    check(None, move || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, how);
        first.write(&[1]).unwrap();
        second.write(&[2]).unwrap();
        let other = thread::spawn(move || assert_eq!(second.wait_room_exclusive(1), Ok(1)));
        assert_eq!(first.wait_room_exclusive(1), Err(WaitError::Deadlock));
        takes(&mut first, 2);
        other.join().unwrap();
    });
}

#[test]
fn of_two_that_write_one_gets_deadlock() {
    both_write(How::Futex);
}

#[test]
fn of_two_that_write_one_gets_deadlock_if_it_lives_by_the_recheck() {
    both_write(How::Rung);
}

/// `Deadlock`, tried again, `Deadlock` again; then party 0 goes on, and both can wait for each other in earnest.
#[test]
fn a_party_that_got_deadlock_goes_on_and_gets_it_again() {
    check(Some(2), || {
        let world = World::new(1, 1);
        let [mut first, mut second] = ends(&world, How::Futex);
        let other = thread::spawn(move || {
            assert_eq!(second.wait_bytes_exclusive(1), Ok(1));
            takes(&mut second, 1);
            assert_eq!(second.write(&[2]), Ok(1));
            assert_eq!(second.wait_bytes_exclusive(1), Ok(0));
        });
        assert_eq!(first.wait_bytes_exclusive(1), Err(WaitError::Deadlock));
        assert_eq!(first.wait_bytes_exclusive(1), Err(WaitError::Deadlock));
        assert_eq!(first.write(&[1]), Ok(1));
        assert_eq!(first.wait_bytes_exclusive(1), Ok(1));
        takes(&mut first, 2);
        assert_eq!(first.wait_bytes_exclusive(1), Err(WaitError::Deadlock));
        first.finish();
        other.join().unwrap();
    });
}

/// A signal comes to one of the two while both read.
#[test]
fn a_wake_for_nothing_changes_nothing() {
    for seat in [Seat::Reader0, Seat::Reader1] {
        check(Some(2), move || {
            let world = World::new(1, 1);
            let [mut first, mut second] = ends(&world, How::Futex);
            let other = thread::spawn(move || assert_eq!(second.wait_bytes_exclusive(1), Ok(1)));
            let signal = {
                let world = world.clone();
                thread::spawn(move || world.wake_for_nothing(seat))
            };
            assert_eq!(first.wait_bytes_exclusive(1), Err(WaitError::Deadlock));
            assert_eq!(first.write(&[1]), Ok(1));
            other.join().unwrap();
            signal.join().unwrap();
        });
    }
}

/// Each wants two bytes and gets one. There is something to read, so that is what party 0 gets first.
#[test]
fn bytes_below_the_threshold_come_before_the_deadlock() {
    check(Some(2), || {
        let world = World::new(4, 4);
        let [mut first, mut second] = ends(&world, How::Futex);
        let other = thread::spawn(move || {
            assert_eq!(second.write(&[2]), Ok(1));
            assert_eq!(second.wait_bytes_exclusive(2), Ok(2));
        });
        assert_eq!(first.write(&[1]), Ok(1));
        assert_eq!(first.wait_bytes_exclusive(2), Ok(1));
        takes(&mut first, 2);
        assert_eq!(first.wait_bytes_exclusive(1), Err(WaitError::Deadlock));
        assert_eq!(first.write(&[3]), Ok(1));
        other.join().unwrap();
    });
}

/// Each wants two bytes of room and has one.
#[test]
fn room_below_the_threshold_comes_before_the_deadlock() {
    check(Some(2), || {
        let world = World::new(4, 4);
        let [mut first, mut second] = ends(&world, How::Futex);
        first.write(&[1, 2, 3]).unwrap();
        second.write(&[1, 2, 3]).unwrap();
        let other = thread::spawn(move || assert_eq!(second.wait_room_exclusive(2), Ok(2)));
        assert_eq!(first.wait_room_exclusive(2), Ok(1));
        first.write(&[4]).unwrap();
        assert_eq!(first.wait_room_exclusive(2), Err(WaitError::Deadlock));
        takes(&mut first, 1);
        other.join().unwrap();
    });
}
