//! Alerts: the peer's death, a cancelled wait, a peer that the other half found corrupt. None is slept through, and
//! death is reported only after everything the dead peer has published.

use loom::thread;
use smstream_core::error::{ReadError, WaitError, WriteError};
use smstream_core::ordering;
use smstream_core::park::{ALERT_CANCEL, ALERT_CORRUPT, ALERT_GONE};

use crate::common::{How, Seat, WRAP, World, check};

/// A watcher thread knows that the peer is dead, and raises the alert. The peer wrote two bytes before it died.
#[test]
fn what_was_published_before_death_is_read_before_it_is_reported() {
    check(Some(2), || {
        let world = World::new(2, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.alerted_reader(1);
        let peer = thread::spawn(move || {
            writer.write(&[1]).unwrap();
            writer.write(&[2]).unwrap();
        });
        let watcher = {
            let world = world.clone();
            thread::spawn(move || {
                peer.join().unwrap();
                world.raise(1, ALERT_GONE);
            })
        };
        assert_eq!(reader.drain(), (vec![1, 2], Err(WaitError::PeerGone)));
        assert_eq!(reader.read(&mut [0]), Err(ReadError::PeerGone), "it stays so");
        watcher.join().unwrap();
    });
}

/// The peer dies between its store and its wake: only the watcher can wake the reader.
#[test]
fn death_between_store_and_wake_is_not_slept_through() {
    check(None, || {
        let world = World::new(2, 0);
        let mut reader = world.alerted_reader(1);
        let watcher = {
            let world = world.clone();
            thread::spawn(move || {
                // The last step of the peer, and then the watcher, who knows that it is dead.
                ordering::publish_sent(&world.port(0).sent.word, WRAP.wrapping_add(1) & WRAP);
                world.raise(1, ALERT_GONE);
            })
        };
        assert_eq!(reader.drain(), (vec![0], Err(WaitError::PeerGone)));
        watcher.join().unwrap();
    });
}

/// The reader is woken for no reason, just before the peer writes, dies, and is known to be dead.
#[test]
fn a_spurious_wake_does_not_report_death_early() {
    check(Some(3), || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.alerted_reader(1);
        let watcher = {
            let world = world.clone();
            thread::spawn(move || {
                writer.write(&[1]).unwrap();
                drop(writer);
                world.raise(1, ALERT_GONE);
            })
        };
        let signal = {
            let world = world.clone();
            thread::spawn(move || world.wake_for_nothing(Seat::Reader1))
        };
        assert_eq!(reader.drain(), (vec![1], Err(WaitError::PeerGone)));
        watcher.join().unwrap();
        signal.join().unwrap();
    });
}

/// All bytes, then death, for a reader that never parks.
#[test]
fn a_reader_that_never_parks_gets_all_bytes_before_death_is_reported() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.alerted_reader(1);
        let watcher = {
            let world = world.clone();
            thread::spawn(move || {
                writer.write(&[1]).unwrap();
                drop(writer);
                world.raise(1, ALERT_GONE);
            })
        };
        let mut read = Vec::new();
        loop {
            let mut out = [0];
            match reader.read(&mut out) {
                Ok(n) => read.extend_from_slice(&out[..n]),
                Err(ReadError::Empty) => thread::yield_now(),
                Err(e) => break assert_eq!(e, ReadError::PeerGone),
            }
        }
        assert_eq!(read, [1]);
        watcher.join().unwrap();
    });
}

/// A peer that finished and died has finished: the end of the stream, not an error.
#[test]
fn death_after_fin_is_the_end_of_the_stream() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.alerted_reader(1);
        let watcher = {
            let world = world.clone();
            thread::spawn(move || {
                writer.write_deferred(&[1]).unwrap();
                writer.finish();
                drop(writer);
                world.raise(1, ALERT_GONE);
            })
        };
        assert_eq!(reader.drain(), (vec![1], Ok(())));
        watcher.join().unwrap();
    });
}

/// The threshold is two ahead and the peer dies after one byte: the byte, then death.
#[test]
fn death_below_the_threshold_is_not_slept_through() {
    check(None, || {
        let world = World::new(4, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.alerted_reader(1);
        let watcher = {
            let world = world.clone();
            thread::spawn(move || {
                writer.write(&[1]).unwrap();
                drop(writer);
                world.raise(1, ALERT_GONE);
            })
        };
        assert_eq!(reader.wait(2, None), Ok(1));
        assert_eq!(reader.drain(), (vec![1], Err(WaitError::PeerGone)));
        watcher.join().unwrap();
    });
}

/// A writer that waits for room notices the death of the reader.
#[test]
fn a_parked_writer_notices_death() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.alerted_writer(0);
        writer.write(&[1]).unwrap();
        let watcher = {
            let world = world.clone();
            thread::spawn(move || world.raise(0, ALERT_GONE))
        };
        assert_eq!(writer.wait(1, None), Err(WaitError::PeerGone));
        assert_eq!(writer.write(&[2]), Err(WriteError::PeerGone));
        watcher.join().unwrap();
    });
}

/// A reader that stopped and died has stopped.
#[test]
fn death_after_stop_is_stop() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.alerted_writer(0);
        let mut reader = world.reader(1, How::Futex);
        writer.write(&[1]).unwrap();
        let watcher = {
            let world = world.clone();
            thread::spawn(move || {
                reader.stop();
                drop(reader);
                world.raise(0, ALERT_GONE);
            })
        };
        assert_eq!(writer.wait(1, None), Err(WaitError::Closed));
        assert_eq!(writer.write(&[2]), Err(WriteError::Closed));
        watcher.join().unwrap();
    });
}

/// Another thread of the reader's process reports it to stop waiting, while a byte comes.
#[test]
fn a_cancelled_reader_returns_and_loses_nothing() {
    check(Some(3), || {
        let world = World::new(1, 0);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.alerted_reader(1);
        let peer = thread::spawn(move || writer.write(&[1]).unwrap());
        let canceller = {
            let world = world.clone();
            thread::spawn(move || world.raise(1, ALERT_CANCEL))
        };
        let outcome = reader.wait(1, None);
        assert!(matches!(outcome, Ok(1) | Err(WaitError::Cancelled)), "{outcome:?}");
        peer.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(reader.wait(1, None), Ok(1));
    });
}

/// The same with nothing to read: only the alert can end it.
#[test]
fn a_cancelled_wait_is_not_slept_through() {
    check(None, || {
        let world = World::new(1, 0);
        let mut reader = world.alerted_reader(1);
        let canceller = {
            let world = world.clone();
            thread::spawn(move || world.raise(1, ALERT_CANCEL))
        };
        assert_eq!(reader.wait(1, None), Err(WaitError::Cancelled));
        canceller.join().unwrap();
    });
}

/// The other half found the peer corrupt: this one fails, too, and says so to the peer.
#[test]
fn corruption_reaches_the_other_half_while_it_parks() {
    check(None, || {
        let world = World::new(1, 0);
        let mut writer = world.alerted_writer(0);
        let mut reader = world.reader(1, How::Futex);
        writer.write(&[1]).unwrap();
        let other_half = {
            let world = world.clone();
            thread::spawn(move || world.raise(0, ALERT_CORRUPT))
        };
        assert_eq!(writer.wait(1, None), Err(WaitError::Corrupt));
        assert_eq!(writer.write(&[2]), Err(WriteError::Corrupt));
        other_half.join().unwrap();
        assert_eq!(reader.drain(), (vec![1], Ok(())), "what was published stays true");
    });
}
