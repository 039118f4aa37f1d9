//! A half whose program waits with `poll` is rung for once when it is worth trying again: its doorbell is a thing that stays
//! rung until it is taken, and one doorbell is for both halves of an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::sync::{Condvar, Mutex};
use loom::thread;
use smstream_core::error::ReadError;
use smstream_core::lane::Announced;
use smstream_core::ordering;
use smstream_core::park::{ALERT_CORRUPT, Park, Wake, Watch};
use smstream_core::sync::AtomicU32;
use smstream_core::word::SharedWord;

use crate::common::{Reader, WRAP, World, Writer, check};

/// A socket with a byte on it or not, as both ends know it; and the alert of the end that polls.
#[derive(Clone)]
struct Doorbell(Arc<Socket>);

struct Socket {
    rung: Mutex<bool>,
    readable: Condvar,
    alert: AtomicU32,
    /// Loom does not see it.
    rings: AtomicUsize,
}

impl Doorbell {
    fn new() -> Self {
        let (rung, readable, alert) = (Mutex::new(false), Condvar::new(), AtomicU32::new(0));
        Doorbell(Arc::new(Socket { rung, readable, alert, rings: AtomicUsize::new(0) }))
    }

    fn ring(&self) {
        *self.0.rung.lock().unwrap() = true;
        self.0.readable.notify_all();
    }

    /// Takes what has come.
    fn take(&self) {
        *self.0.rung.lock().unwrap() = false;
    }

    /// Waits until it is rung, and leaves it so.
    fn poll(&self) {
        let mut rung = self.0.rung.lock().unwrap();
        while !*rung {
            rung = self.0.readable.wait(rung).unwrap();
        }
    }

    fn rings(&self) -> usize {
        self.0.rings.load(Relaxed)
    }
}

impl Park for Doorbell {
    type Deadline = ();
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        unreachable!("these halves announce and do not wait")
    }
    fn wake(&self, _word: SharedWord<'_>, _method: u32) {
        self.0.rings.fetch_add(1, Relaxed);
        self.ring();
    }
    fn alert(&self) -> Option<SharedWord<'_>> {
        Some(SharedWord::new(&self.0.alert))
    }
}

/// Whether a half has nothing to do now and is announced. What was rung before is taken first.
fn announced(doorbell: &Doorbell, announce: impl FnOnce() -> bool) -> bool {
    doorbell.take();
    announce()
}

fn reader_sleeps(doorbell: &Doorbell, reader: &mut Reader<Doorbell>) -> bool {
    announced(doorbell, || matches!(reader.announce(1), Announced::Asleep { .. }))
}

fn writer_sleeps(doorbell: &Doorbell, writer: &mut Writer<Doorbell>) -> bool {
    announced(doorbell, || matches!(writer.announce(1), Announced::Asleep { .. }))
}

/// Reads exactly these bytes, polling where there are none.
fn expect(doorbell: &Doorbell, reader: &mut Reader<Doorbell>, bytes: &[u8]) {
    let mut read = Vec::new();
    while read.len() < bytes.len() {
        let mut out = [0];
        reader.withdraw();
        match reader.read(&mut out) {
            Ok(n) => read.extend_from_slice(&out[..n]),
            Err(ReadError::Empty) => {
                if reader_sleeps(doorbell, reader) {
                    doorbell.poll();
                }
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(read, bytes);
}

#[test]
fn a_polled_reader_gets_its_bytes() {
    check(None, || {
        let (doorbell, world) = (Doorbell::new(), World::new(1, 0));
        let mut reader = world.reader_with(1, doorbell.clone());
        let mut writer = world.writer_with(0, doorbell.clone());
        let other = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            writer
        });
        expect(&doorbell, &mut reader, &[1]);
        other.join().unwrap();
        assert!(doorbell.rings() <= 1);
    });
}

#[test]
fn a_polled_writer_gets_room() {
    check(None, || {
        let (doorbell, world) = (Doorbell::new(), World::new(1, 0));
        let mut writer = world.writer_with(0, doorbell.clone());
        let mut reader = world.reader_with(1, doorbell.clone());
        writer.write(&[1]).unwrap();
        let other = thread::spawn(move || {
            reader.read(&mut [0]).unwrap();
            reader
        });
        loop {
            writer.withdraw();
            if writer.write(&[2]).is_ok() {
                break;
            }
            if writer_sleeps(&doorbell, &mut writer) {
                doorbell.poll();
            }
        }
        other.join().unwrap();
        assert!(doorbell.rings() <= 1);
    });
}

/// A record takes the whole lane, which is more than may be waited for with bytes. Room for less does not ring.
#[test]
fn a_polled_writer_of_records_gets_the_whole_lane() {
    check(Some(2), || {
        let (doorbell, world) = (Doorbell::new(), World::starting_at(WRAP - 4, 8, 0));
        let mut writer = world.writer_with(0, doorbell.clone());
        let mut reader = world.reader_with(1, doorbell.clone());
        for _ in 0..2 {
            writer.send_record(&[]).unwrap();
        }
        let other = thread::spawn(move || {
            for _ in 0..2 {
                assert_eq!(reader.recv_record(&mut []), Ok(Some(0)));
            }
            reader
        });
        let record = [1, 2, 3, 4];
        loop {
            writer.withdraw();
            if writer.send_record(&record).is_ok() {
                break;
            }
            let announce = || matches!(writer.announce_for_record(record.len()), Announced::Asleep { .. });
            if announced(&doorbell, announce) {
                doorbell.poll();
            }
        }
        let (mut reader, mut out) = (other.join().unwrap(), [0; 4]);
        assert_eq!((reader.recv_record(&mut out), out), (Ok(Some(4)), record));
        assert!(doorbell.rings() <= 1);
    });
}

/// One doorbell for both halves: the half that takes it also looks for the other, if that is announced.
#[test]
fn what_was_rung_for_the_other_half_is_not_lost() {
    for room in [true, false] {
        check(None, move || {
            let (doorbell, world) = (Doorbell::new(), World::new(1, 1));
            let (mut reader, mut writer) =
                (world.reader_with(0, doorbell.clone()), world.writer_with(0, doorbell.clone()));
            let (mut peer_reader, mut peer_writer) =
                (world.reader_with(1, doorbell.clone()), world.writer_with(1, doorbell.clone()));
            writer.write(&[1]).unwrap();
            let peer = thread::spawn(move || {
                if room {
                    peer_reader.read(&mut [0]).unwrap()
                } else {
                    peer_writer.write(&[2]).unwrap()
                };
                (peer_reader, peer_writer)
            });
            // The writer first, so that the reader takes what was rung for it.
            let mut ready = !writer_sleeps(&doorbell, &mut writer);
            ready |= !reader_sleeps(&doorbell, &mut reader);
            ready |= writer.is_ready(1);
            if !ready {
                doorbell.poll();
            }
            assert_eq!([reader.is_ready(1), writer.is_ready(1)], [!room, room]);
            peer.join().unwrap();
        });
    }
}

/// The peer's end of the stream comes while a half is announced, and another thread finds the peer corrupt.
#[test]
fn a_polled_half_is_woken_for_the_end_and_for_alerts() {
    for alert in [false, true] {
        check(None, move || {
            let (doorbell, world) = (Doorbell::new(), World::new(2, 0));
            let mut reader = world.reader_with(1, doorbell.clone());
            let mut writer = world.writer_with(0, doorbell.clone());
            let ringer = doorbell.clone();
            let other = thread::spawn(move || {
                if alert {
                    // The thread that raises it rings.
                    ordering::raise(&ringer.0.alert, ALERT_CORRUPT);
                    ringer.ring();
                } else {
                    writer.finish();
                }
                writer
            });
            while !reader.is_ready(1) {
                if reader_sleeps(&doorbell, &mut reader) {
                    doorbell.poll();
                }
            }
            assert_eq!(reader.read(&mut [0]), if alert { Err(ReadError::Corrupt) } else { Ok(0) });
            other.join().unwrap();
        });
    }
}

/// It was dropped while it waited, or has found something else to do: the peer rings once, and no more.
#[test]
fn a_half_that_was_left_announced_is_rung_for_once() {
    check(None, || {
        let (doorbell, world) = (Doorbell::new(), World::new(2, 0));
        let mut reader = world.reader_with(1, doorbell.clone());
        let mut writer = world.writer_with(0, doorbell.clone());
        assert!(reader_sleeps(&doorbell, &mut reader));
        let other = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            writer.write(&[2]).unwrap();
            writer
        });
        let mut writer = other.join().unwrap();
        assert_eq!(doorbell.rings(), 1);
        reader.withdraw();
        reader.read(&mut [0; 2]).unwrap();
        writer.write(&[3]).unwrap();
        assert_eq!(doorbell.rings(), 1);
    });
}
