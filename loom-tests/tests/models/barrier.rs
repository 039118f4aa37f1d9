//! A sleeper that issues a barrier is woken by a publisher that has no full fence; and where there can be no barrier, the
//! publisher has one.

use std::sync::Arc;

use loom::thread;
use smstream_core::cursor::ASLEEP;
use smstream_core::lane::Announced;
use smstream_core::layout::Features;
use smstream_core::ordering;
use smstream_core::sync::AtomicU32;

use crate::common::{How, Seat, Terms, World, check};

/// Both parties issue barriers, which reach both.
const BARRIERS: Terms = Terms { features: [Features::BARRIER; 2], reached: [true; 2] };

fn a_parked_reader_gets_its_byte(how: How, terms: Terms) {
    check(None, move || {
        let world = World::on_terms(terms, 1, 0);
        let (mut writer, mut reader) = (world.writer(0, how), world.reader(1, how));
        let other = thread::spawn(move || writer.write(&[1]).map(drop).unwrap());
        reader.expect(&[1]);
        other.join().unwrap();
    });
}

#[test]
fn a_parked_reader_gets_its_byte_by_a_barrier() {
    a_parked_reader_gets_its_byte(How::Futex, BARRIERS);
}

#[test]
fn a_parked_reader_gets_its_byte_by_a_barrier_if_it_lives_by_the_recheck() {
    a_parked_reader_gets_its_byte(How::Rung, BARRIERS);
}

/// The peer says nothing of barriers: the publisher has a full fence.
#[test]
fn without_the_promise_of_a_barrier_there_is_a_full_fence() {
    a_parked_reader_gets_its_byte(How::Rung, Terms { features: [Features::empty(); 2], ..BARRIERS });
}

/// The barrier would not reach the publisher, which is not registered: it has a full fence.
#[test]
fn who_is_not_reached_by_barriers_has_a_full_fence() {
    a_parked_reader_gets_its_byte(How::Rung, Terms { reached: [false; 2], ..BARRIERS });
}

fn a_parked_writer_gets_room(how: How) {
    check(None, move || {
        let world = World::on_terms(BARRIERS, 1, 0);
        let (mut writer, mut reader) = (world.writer(0, how), world.reader(1, how));
        writer.write(&[1]).unwrap();
        let other = thread::spawn(move || writer.write_all(&[2]).unwrap());
        let mut out = [0];
        assert_eq!(reader.read(&mut out), Ok(1));
        other.join().unwrap();
        assert_eq!(reader.read(&mut out), Ok(1));
        assert_eq!(out, [2]);
    });
}

#[test]
fn a_parked_writer_gets_room_by_a_barrier() {
    a_parked_writer_gets_room(How::Futex);
}

#[test]
fn a_parked_writer_gets_room_by_a_barrier_if_it_lives_by_the_recheck() {
    a_parked_writer_gets_room(How::Rung);
}

#[test]
fn a_parked_reader_gets_the_next_byte_by_a_barrier_too() {
    check(Some(3), || {
        let world = World::on_terms(BARRIERS, 2, 0);
        let (mut writer, mut reader) = (world.writer(0, How::Rung), world.reader(1, How::Rung));
        let other = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            writer.write(&[2]).unwrap();
        });
        reader.expect(&[1, 2]);
        other.join().unwrap();
    });
}

#[test]
fn fin_and_stop_wake_by_a_barrier() {
    check(None, || {
        let world = World::on_terms(BARRIERS, 1, 0);
        let (mut writer, mut reader) = (world.writer(0, How::Rung), world.reader(1, How::Rung));
        let other = thread::spawn(move || writer.finish());
        assert_eq!(reader.wait(1, None), Ok(0));
        other.join().unwrap();
    });
    check(None, || {
        let world = World::on_terms(BARRIERS, 1, 0);
        let (mut writer, mut reader) = (world.writer(0, How::Rung), world.reader(1, How::Rung));
        writer.write(&[1]).unwrap();
        let other = thread::spawn(move || reader.stop());
        assert!(writer.wait(1, None).is_err());
        other.join().unwrap();
    });
}

/// Two readers announce, one barrier follows for both, and then each looks again.
#[test]
fn one_barrier_serves_halves_that_announced_before_it() {
    check(Some(3), || {
        let worlds = [(); 2].map(|()| World::on_terms(BARRIERS, 1, 0));
        let mut readers = worlds.each_ref().map(|world| world.reader(1, How::Rung));
        let mut writers = worlds.each_ref().map(|world| world.writer(0, How::Rung));
        let others = thread::spawn(move || writers.iter_mut().for_each(|writer| writer.write(&[1]).map(drop).unwrap()));
        let mut needed = false;
        for reader in &mut readers {
            reader.say_asleep(1);
            needed |= reader.needs_barrier();
        }
        if needed {
            worlds[0].barrier(1);
        }
        let asleep = readers.each_mut().map(|reader| matches!(reader.look_again(1), Announced::Asleep { .. }));
        others.join().unwrap();
        for (world, asleep) in worlds.iter().zip(asleep) {
            assert!(!asleep || world.woken(Seat::Reader1) == 1, "it would sleep for ever");
        }
    });
}

/// The publisher has woken the reader once, so that it fences; it stops fencing with the next byte but one.
fn a_reader_that_was_woken_gets_the_next_bytes(how: How) {
    check(Some(3), move || {
        let world = World::on_terms(BARRIERS, 2, 0);
        let (mut writer, mut reader) = (world.writer(0, how), world.reader(1, how));
        reader.say_asleep(1);
        assert!(reader.needs_barrier());
        writer.write(&[1]).unwrap();
        assert_eq!(world.woken(Seat::Reader1), 1);
        reader.say_asleep(1);
        assert!(!reader.needs_barrier(), "the publisher fences now");
        reader.withdraw();
        reader.expect(&[1]);
        let other = thread::spawn(move || {
            writer.write(&[2]).unwrap();
            writer.write(&[3]).unwrap();
        });
        reader.expect(&[2, 3]);
        other.join().unwrap();
    });
}

#[test]
fn a_reader_is_woken_by_one_that_fences_for_a_while() {
    a_reader_that_was_woken_gets_the_next_bytes(How::Futex);
}

#[test]
fn a_reader_is_woken_by_one_that_fences_for_a_while_if_it_lives_by_the_recheck() {
    a_reader_that_was_woken_gets_the_next_bytes(How::Rung);
}

#[test]
fn a_writer_is_woken_by_one_that_fences_for_a_while() {
    check(Some(2), || {
        let world = World::on_terms(BARRIERS, 1, 0);
        let (mut writer, mut reader) = (world.writer(0, How::Rung), world.reader(1, How::Rung));
        let mut out = [0];
        writer.write(&[1]).unwrap();
        writer.say_asleep(1);
        assert_eq!(reader.read(&mut out), Ok(1));
        writer.say_asleep(1);
        assert!(!writer.needs_barrier(), "the reader fences now");
        writer.withdraw();
        writer.write(&[2]).unwrap();
        let other = thread::spawn(move || [3, 4].iter().for_each(|byte| writer.write_all(&[*byte]).unwrap()));
        reader.expect(&[2, 3, 4]);
        other.join().unwrap();
    });
}

/// The words alone: what is published without a fence before the publisher says that it fences, or after it has said that it
/// does not, is seen by a sleeper that leaves its barrier out, or the sleeper is seen.
fn of_publisher_and_sleeper_one_sees_the_other(fenced_before: bool) {
    check(None, move || {
        let words = Arc::new([(); 3].map(|()| AtomicU32::new(0)));
        let [cursor, park, fence] = &*words;
        if fenced_before {
            ordering::say_fenced(fence);
        }
        let there = Arc::clone(&words);
        let publisher = thread::spawn(move || {
            let [cursor, park, fence] = &*there;
            if fenced_before {
                ordering::say_unfenced(fence);
            }
            ordering::publish_sent(cursor, 1);
            ordering::fence_published_light();
            let seen = ordering::peer_park(park);
            if !fenced_before {
                ordering::say_fenced(fence);
            }
            seen
        });
        ordering::announce(park, ASLEEP);
        ordering::fence_announced();
        if !ordering::peer_fenced(fence) {
            ordering::barrier();
        }
        let sent = ordering::peer_sent(cursor);
        assert!(publisher.join().unwrap() == ASLEEP || sent == 1, "neither sees the other");
    });
}

#[test]
fn who_fences_from_now_on_is_seen_with_what_came_before() {
    of_publisher_and_sleeper_one_sees_the_other(false);
}

#[test]
fn who_fences_no_more_sees_the_sleeper() {
    of_publisher_and_sleeper_one_sees_the_other(true);
}

/// A peer that never sleeps is not looked at, and gets its bytes all the same.
#[test]
fn who_never_sleeps_is_not_woken() {
    check(None, || {
        let world = World::on_terms(Terms { features: [Features::AWAKE; 2], ..BARRIERS }, 1, 0);
        let (mut writer, mut reader) = (world.writer(0, How::Rung), world.reader(1, How::Rung));
        let woken = Arc::clone(&world);
        let other = thread::spawn(move || writer.write(&[1]).map(drop).unwrap());
        while reader.read(&mut [0]).is_err() {
            thread::yield_now();
        }
        other.join().unwrap();
        assert_eq!(woken.woken(Seat::Reader1), 0);
    });
}
