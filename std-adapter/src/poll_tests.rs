use super::*;
use crate::builder::Builder;
use crate::{Kind, Listener};
use rustix::event::Timespec;
use std::mem::MaybeUninit;

fn ends() -> (Stream, Stream) {
    let listener: Listener = Builder::new().capacity(4096).bind_temp(Kind::Abstract).unwrap();
    std::thread::scope(|scope| {
        let there = scope.spawn(|| Stream::connect(listener.local_addr()).unwrap());
        (listener.accept().unwrap(), there.join().unwrap())
    })
}

/// A peer rings without end, and then goes on as it should.
#[test]
fn a_flood_of_rings_ends_and_loses_nothing() {
    for flags in [epoll::EventFlags::IN, epoll::EventFlags::IN | epoll::EventFlags::ET] {
        let (here, mut there) = ends();
        let mut here = Pollable::new(here).unwrap();
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        epoll::add(&poller, &here, epoll::EventData::new_u64(0), flags).unwrap();
        let is_readable = || {
            let mut events = [MaybeUninit::uninit(); 1];
            !epoll::wait(&poller, &mut events[..], Some(&Timespec::default())).unwrap().0.is_empty()
        };
        for _ in 0..5000 {
            there.doorbell().unwrap().ring();
        }
        assert!(is_readable(), "it has not been tried yet");
        let mut events = 0;
        assert_eq!(here.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        while is_readable() {
            assert_eq!(here.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            events += 1;
            assert!(events < 1000, "it has no end");
        }
        assert!(events > 0);
        there.write_all(b"x").unwrap();
        assert!(is_readable(), "the socket was full, and the byte is not signalled");
        here.read_exact(&mut [0]).unwrap();
    }
}

/// An attempt says so, and does not try for ever.
#[test]
fn an_attempt_on_what_was_given_up_says_so() {
    let (here, _there) = ends();
    let mut here = Pollable::new(here).unwrap();
    while here.write(&[0; 4096]).is_ok() {}
    here.get_ref().abort();
    let reason = |e: io::Error| Error::from_io(&e).unwrap().reason();
    assert_eq!(reason(here.read(&mut [0]).unwrap_err()), Reason::Aborted);
    assert_eq!(reason(here.write(&[0]).unwrap_err()), Reason::Aborted);
}

/// A condition does not take away what was announced for the descriptor.
#[test]
fn a_condition_on_it_disturbs_no_poller() {
    let (here, mut there) = ends();
    let mut here = Pollable::new(here).unwrap();
    assert_eq!(here.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&poller, &here, epoll::EventData::new_u64(0), epoll::EventFlags::IN).unwrap();
    let timeout = Some(std::time::Duration::from_millis(1));
    assert!(crate::wait_any(&mut [here.get_ref().readable()], timeout).unwrap().is_empty());
    there.write_all(b"x").unwrap();
    assert!(crate::wait_any(&mut [here.get_ref().readable()], None).unwrap().is_all());
    let mut events = [MaybeUninit::uninit(); 1];
    assert_eq!(epoll::wait(&poller, &mut events[..], Some(&Timespec::default())).unwrap().0.len(), 1);
    here.read_exact(&mut [0]).unwrap();
    // The peer wakes those who wait with a condition, too.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| crate::wait_any(&mut [here.get_ref().readable()], None).unwrap());
        there.write_all(b"y").unwrap();
        assert!(waits.join().unwrap().is_all());
    });
}

/// What the park words say: how this half is to be woken.
#[test]
fn the_wake_methods_say_what_wakes() {
    use smstream_core::park::{Park, WAKE_BY_SOCKET};
    let (mut here, _there) = ends();
    let methods = |stream: &mut Stream| {
        let (reader, writer) = stream.halves_mut();
        [reader.consumer().park().wake_method(), writer.producer().park().wake_method()]
    };
    let before = methods(&mut here);
    assert!(!before.contains(&WAKE_BY_SOCKET));
    let mut here = Pollable::new(here).unwrap();
    assert_eq!(methods(&mut here.stream), [WAKE_BY_SOCKET; 2]);
    assert_eq!(methods(&mut here.into_stream()), before);
}

/// The peer makes both directions ready just before what it has rung is taken.
struct JustBeforeTaking {
    ready: bool,
    happens: bool,
}

impl Ends for JustBeforeTaking {
    fn is_ready(&mut self, _: Half) -> bool {
        self.ready
    }
    fn announce(&mut self, _: Half) -> bool {
        !self.ready
    }
    fn withdraw(&mut self, _: Half) {}
    fn take(&mut self) -> Remaining {
        self.ready |= self.happens;
        Remaining::Nothing
    }
}

/// A reader waits. A writer that finds no room takes the reader's ring, and then there is room: it does not wait, and the reader is shown.
#[test]
fn a_ring_is_not_lost_that_was_taken_by_a_direction_which_need_not_wait() {
    for duplex in [false, true] {
        let mut directions = Directions::new(duplex);
        let mut ends = JustBeforeTaking { ready: false, happens: false };
        assert!(directions.wait(&mut ends, Half::Reader));
        assert_eq!((directions.pending(), directions.take_anew()), ([false, duplex], false));
        ends.happens = true;
        assert!(!directions.wait(&mut ends, Half::Writer));
        directions.tried(Half::Writer);
        assert_eq!((directions.pending(), directions.take_anew()), ([true, duplex], true));
        assert!(!directions.take_anew(), "it is said once");
    }
}
