//! A caller that waits for several halves at once is woken by each of them: they are announced one after the other, and one
//! sleep is on all their words.

use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::sync::{Condvar, Mutex};
use loom::thread;
use smstream_core::cursor::STOPPED_HINT;
use smstream_core::lane::Announced;
use smstream_core::ordering;
use smstream_core::park::{ALERT_GONE, Park, Wake, Watch};
use smstream_core::sync::AtomicU32;
use smstream_core::word::SharedWord;

use crate::common::{How, Reader, World, Writer, check};

/// What the kernel knows of one thread that sleeps on many words. All wakes are for it.
struct Waiter {
    how: How,
    state: Mutex<WaiterState>,
    changed: Condvar,
    alert: AtomicU32,
    /// Loom does not see it.
    woken: AtomicUsize,
}

#[derive(Default)]
struct WaiterState {
    wakes: u32,
    /// A ring that was not taken yet.
    rung: bool,
}

/// The way of all halves of a model: those of the sleeper, and those that wake it.
#[derive(Clone)]
struct Shared(Arc<Waiter>);

impl Shared {
    fn new(how: How) -> Self {
        let (state, changed, alert) = (Mutex::default(), Condvar::new(), AtomicU32::new(0));
        Shared(Arc::new(Waiter { how, state, changed, alert, woken: AtomicUsize::new(0) }))
    }

    fn ring(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.wakes += 1;
        state.rung = true;
        drop(state);
        self.0.changed.notify_all();
    }

    fn raise(&self, bits: u32) {
        ordering::raise(&self.0.alert, bits);
        self.ring();
    }

    fn woken(&self) -> usize {
        self.0.woken.load(Relaxed)
    }

    /// Sleeps on all these words.
    fn sleep(&self, watches: &[Watch<'_>]) {
        let mut state = self.0.state.lock().unwrap();
        // Having the lock makes us visible: a thread that changes a word now must wait for the lock before it wakes us.
        let changed = |w: &Watch<'_>| w.word.load() != w.seen;
        if self.0.how == How::Futex && watches.iter().any(changed) {
            return;
        }
        let before = state.wakes;
        loop {
            let woken = match self.0.how {
                How::Futex => state.wakes != before,
                How::Rung => take(&mut state.rung),
            };
            if woken {
                return;
            }
            state = self.0.changed.wait(state).unwrap();
        }
    }
}

impl Park for Shared {
    type Deadline = ();
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, watches: &[Watch<'_>], _: Option<()>) -> Wake {
        self.sleep(watches);
        Wake::Maybe
    }
    fn wake(&self, _word: SharedWord<'_>, _method: u32) {
        self.0.woken.fetch_add(1, Relaxed);
        self.ring();
    }
    fn alert(&self) -> Option<SharedWord<'_>> {
        Some(SharedWord::new(&self.0.alert))
    }
}

/// A half of the sleeper.
enum Half<'a> {
    Reader(&'a mut Reader<Shared>),
    Writer(&'a mut Writer<Shared>),
}

impl Half<'_> {
    fn is_ready(&mut self) -> bool {
        match self {
            Half::Reader(half) => half.is_ready(1),
            Half::Writer(half) => half.is_ready(1),
        }
    }
    fn announce(&mut self) -> Announced<'_> {
        match self {
            Half::Reader(half) => half.announce(1),
            Half::Writer(half) => half.announce(1),
        }
    }
    fn withdraw(&mut self) {
        match self {
            Half::Reader(half) => half.withdraw(),
            Half::Writer(half) => half.withdraw(),
        }
    }
}

/// Waits until some of the halves are ready, and says which.
fn wait_any(shared: &Shared, halves: &mut [Half<'_>]) -> Vec<bool> {
    loop {
        let ready: Vec<_> = halves.iter_mut().map(Half::is_ready).collect();
        if ready.contains(&true) {
            return ready;
        }
        let mut watches = Vec::new();
        let mut all_asleep = true;
        for half in halves.iter_mut() {
            match half.announce() {
                Announced::Ready => all_asleep = false,
                Announced::Asleep { cursor, alert } => watches.extend([Some(cursor), alert].into_iter().flatten()),
            }
        }
        if all_asleep {
            shared.sleep(&watches);
        }
        drop(watches);
        halves.iter_mut().for_each(Half::withdraw);
    }
}

fn either_lane_wakes(how: How, preemptions: Option<usize>) {
    check(preemptions, move || {
        let shared = Shared::new(how);
        let worlds = [World::new(1, 0), World::new(1, 0)];
        let [mut first, mut second] = [0, 1].map(|i| worlds[i].reader_with(1, shared.clone()));
        let writers = [0, 1].map(|i| {
            let mut writer = worlds[i].writer_with(0, shared.clone());
            thread::spawn(move || writer.write(&[i as u8]).unwrap())
        });
        let mut left = [true, true];
        while left.contains(&true) {
            let mut halves = Vec::new();
            let mut which = Vec::new();
            for (i, reader) in [&mut first, &mut second].into_iter().enumerate() {
                if left[i] {
                    halves.push(Half::Reader(reader));
                    which.push(i);
                }
            }
            let ready = wait_any(&shared, &mut halves);
            for (i, _) in which.into_iter().zip(ready).filter(|(_, ready)| *ready) {
                [&mut first, &mut second][i].expect(&[i as u8]);
                left[i] = false;
            }
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn either_of_two_lanes_wakes() {
    either_lane_wakes(How::Futex, Some(2));
}

#[test]
fn either_of_two_lanes_wakes_who_lives_by_the_recheck() {
    either_lane_wakes(How::Rung, Some(2));
}

/// The last one that is announced, so that all others were announced, and looked at, long before.
fn the_first_of_two_wakes(how: How) {
    check(None, move || {
        let shared = Shared::new(how);
        let worlds = [World::new(1, 0), World::new(1, 0)];
        let [mut first, mut second] = [0, 1].map(|i| worlds[i].reader_with(1, shared.clone()));
        let mut writer = worlds[0].writer_with(0, shared.clone());
        let other = thread::spawn(move || writer.write(&[7]).unwrap());
        let ready = wait_any(&shared, &mut [Half::Reader(&mut first), Half::Reader(&mut second)]);
        assert_eq!(ready, [true, false]);
        first.expect(&[7]);
        other.join().unwrap();
    });
}

#[test]
fn a_byte_for_the_first_of_two_wakes() {
    the_first_of_two_wakes(How::Futex);
}

#[test]
fn a_byte_for_the_first_of_two_wakes_who_lives_by_the_recheck() {
    the_first_of_two_wakes(How::Rung);
}

/// Bytes on one lane, room on the other, of one end: whichever comes.
fn bytes_or_room(how: How, room: bool) {
    check(None, move || {
        let shared = Shared::new(how);
        let world = World::new(1, 1);
        let (mut reader, mut writer) = (world.reader_with(0, shared.clone()), world.writer_with(0, shared.clone()));
        let (mut peer_reader, mut peer_writer) =
            (world.reader_with(1, shared.clone()), world.writer_with(1, shared.clone()));
        writer.write(&[1]).unwrap();
        let peer = thread::spawn(move || {
            if room {
                peer_reader.read(&mut [0]).unwrap()
            } else {
                peer_writer.write(&[2]).unwrap()
            };
            // Both stay open as long as the model.
            (peer_reader, peer_writer)
        });
        let ready = wait_any(&shared, &mut [Half::Reader(&mut reader), Half::Writer(&mut writer)]);
        assert_eq!(ready, [!room, room]);
        peer.join().unwrap();
    });
}

#[test]
fn bytes_wake_who_waits_for_bytes_or_room() {
    bytes_or_room(How::Futex, false);
    bytes_or_room(How::Rung, false);
}

#[test]
fn room_wakes_who_waits_for_bytes_or_room() {
    bytes_or_room(How::Futex, true);
    bytes_or_room(How::Rung, true);
}

/// The end of the stream on one lane, STOP on the other.
#[test]
fn fin_and_stop_wake_who_waits_for_both() {
    for how in [How::Futex, How::Rung] {
        for stop in [false, true] {
            check(None, move || {
                let shared = Shared::new(how);
                let world = World::new(1, 1);
                let mut reader = world.reader_with(0, shared.clone());
                let mut writer = world.writer_with(0, shared.clone());
                let mut peer_reader = world.reader_with(1, shared.clone());
                let mut peer_writer = world.writer_with(1, shared.clone());
                writer.write(&[1]).unwrap();
                let peer = thread::spawn(move || {
                    if stop {
                        peer_reader.stop()
                    } else {
                        peer_writer.finish()
                    }
                    (peer_reader, peer_writer)
                });
                let ready = wait_any(&shared, &mut [Half::Reader(&mut reader), Half::Writer(&mut writer)]);
                assert_eq!(ready, [!stop, stop]);
                peer.join().unwrap();
            });
        }
    }
}

/// An alert of any half ends the wait.
#[test]
fn an_alert_wakes_who_waits_for_two() {
    for how in [How::Futex, How::Rung] {
        check(None, move || {
            let shared = Shared::new(how);
            let worlds = [World::new(1, 0), World::new(1, 0)];
            let [mut first, mut second] = [0, 1].map(|i| worlds[i].reader_with(1, shared.clone()));
            let watcher = {
                let shared = shared.clone();
                thread::spawn(move || shared.raise(ALERT_GONE))
            };
            let ready = wait_any(&shared, &mut [Half::Reader(&mut first), Half::Reader(&mut second)]);
            assert!(ready[1], "the alert is in all halves that have this word");
            watcher.join().unwrap();
        });
    }
}

/// The peer cannot make room by reading what it does not see, nor write into room that it does not see.
#[test]
fn what_was_deferred_is_published_before_announcing() {
    check(Some(3), || {
        let shared = Shared::new(How::Futex);
        let world = World::new(1, 1);
        let (mut reader, mut writer) = (world.reader_with(0, shared.clone()), world.writer_with(0, shared.clone()));
        let mut peer_writer = world.writer_with(1, Shared::new(How::Futex));
        peer_writer.write(&[3]).unwrap();
        reader.read_deferred(&mut [0]).unwrap();
        writer.write_deferred(&[1]).unwrap();
        let mut peer_reader = world.reader_with(1, shared.clone());
        let peer = thread::spawn(move || {
            while !peer_reader.is_ready(1) {
                thread::yield_now();
            }
            peer_reader.expect(&[1]);
            peer_reader
        });
        assert_eq!(wait_any(&shared, &mut [Half::Reader(&mut reader), Half::Writer(&mut writer)]), [false, true]);
        assert!(peer_writer.is_ready(1), "its byte was taken, and the room given back");
        peer.join().unwrap();
    });
}

/// A half that has come back is not woken by what is published later.
#[test]
fn a_half_that_has_withdrawn_is_not_woken() {
    check(None, || {
        let shared = Shared::new(How::Futex);
        let worlds = [World::new(1, 0), World::new(1, 0)];
        let [mut first, mut second] = [0, 1].map(|i| worlds[i].reader_with(1, shared.clone()));
        let [mut here, mut there] = [0, 1].map(|i| worlds[i].writer_with(0, shared.clone()));
        let other = thread::spawn(move || here.write(&[1]).unwrap());
        assert_eq!(wait_any(&shared, &mut [Half::Reader(&mut first), Half::Reader(&mut second)]), [true, false]);
        other.join().unwrap();
        let woken = shared.woken();
        there.write(&[2]).unwrap();
        assert_eq!(shared.woken(), woken, "it was awake");
        assert!(second.is_ready(1));
    });
}

/// A half that has stopped says *look* for ever, also if it was announced.
#[test]
fn withdrawing_does_not_take_back_that_a_half_has_stopped() {
    check(None, || {
        let shared = Shared::new(How::Futex);
        let world = World::new(1, 0);
        let mut reader = world.reader_with(1, shared.clone());
        assert!(matches!(reader.announce(1), Announced::Asleep { .. }));
        reader.stop();
        reader.withdraw();
        assert_eq!(ordering::peer_park(&world.port(1).park.read_park), STOPPED_HINT);
        assert!(matches!(reader.announce(1), Announced::Ready));
        assert!(reader.is_ready(1));
        assert_eq!(ordering::peer_park(&world.port(1).park.read_park), STOPPED_HINT);
    });
}
