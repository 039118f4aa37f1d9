//! The compact ring of bytes: bytes arrive across the wrap, a half that sleeps is woken for bytes, room, FIN and STOP.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;
use smstream_core::error::{ReadError, WaitError, WriteError};
use smstream_core::local::{ByteConsumer, ByteProducer, ByteRing};
use smstream_core::park::{Never, Park, Spin, Wake, Watch};
use smstream_core::word::SharedWord;

use crate::common::{WRAP, check};

/// What rings one half: a ring is kept until it is taken. Nothing is compared, so the sleeper lives by the core's re-check.
#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

/// How the two halves sleep.
struct Bells {
    mine: Arc<Bell>,
    others: Arc<Bell>,
}

impl Bells {
    fn pair() -> (Bells, Bells) {
        let (a, b) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        (Bells { mine: a.clone(), others: b.clone() }, Bells { mine: b, others: a })
    }
}

impl Park for Bells {
    type Deadline = Never;
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<Never>) -> Wake {
        let Bell(rung, changed) = &*self.mine;
        let mut rung = rung.lock().unwrap();
        while !*rung {
            rung = changed.wait(rung).unwrap();
        }
        *rung = false;
        Wake::Maybe
    }
    fn wake(&self, _: SharedWord<'_>, _: u32) {
        let Bell(rung, changed) = &*self.others;
        *rung.lock().unwrap() = true;
        changed.notify_one();
    }
}

/// A ring that is about to wrap, and its halves, which must not outlive it.
fn ring<const N: usize, W: Park, R: Park>(
    write_park: W,
    read_park: R,
) -> (Arc<ByteRing<N>>, ByteProducer<'static, W>, ByteConsumer<'static, R>) {
    let ring = Arc::new(ByteRing::<N>::starting_at(WRAP));
    // SAFETY: the models keep the `Arc` until the halves are gone; nothing of the ring moves.
    let borrowed: &'static ByteRing<N> = unsafe { &*Arc::as_ptr(&ring) };
    let (producer, consumer) = borrowed.try_split(write_park, read_park).unwrap();
    (ring, producer, consumer)
}

fn write_all<P: Park>(producer: &mut ByteProducer<'_, P>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match producer.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(WriteError::Full) => drop(producer.wait(1, None).unwrap()),
            Err(e) => panic!("{e}"),
        }
    }
}

fn read_all<P: Park>(consumer: &mut ByteConsumer<'_, P>) -> Vec<u8> {
    let (mut all, mut out) = (Vec::new(), [0; 2]);
    loop {
        match consumer.read(&mut out) {
            Ok(0) => return all,
            Ok(n) => all.extend(&out[..n]),
            Err(ReadError::Empty) => drop(consumer.wait(1, None).unwrap()),
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn bytes_of_a_compact_ring_arrive_and_then_the_end() {
    check(Some(2), || {
        let (kept, mut producer, mut consumer) = ring::<2, _, _>(Spin, Spin);
        let other = thread::spawn(move || {
            write_all(&mut producer, &[1, 2, 3]);
            producer.finish();
        });
        assert_eq!(read_all(&mut consumer), [1, 2, 3]);
        other.join().unwrap();
        drop(kept);
    });
}

#[test]
fn a_compact_reader_that_sleeps_gets_its_byte() {
    check(None, || {
        let (here, there) = Bells::pair();
        let (kept, mut producer, mut consumer) = ring::<1, _, _>(here, there);
        let other = thread::spawn(move || assert_eq!(producer.write(&[7]), Ok(1)));
        assert_eq!(consumer.wait(1, None), Ok(1));
        assert_eq!(consumer.read(&mut [0; 2]), Ok(1));
        other.join().unwrap();
        drop(kept);
    });
}

#[test]
fn a_compact_writer_that_sleeps_gets_room() {
    check(None, || {
        let (here, there) = Bells::pair();
        let (kept, mut producer, mut consumer) = ring::<1, _, _>(here, there);
        assert_eq!(producer.write(&[7]), Ok(1));
        let other = thread::spawn(move || assert_eq!(consumer.read(&mut [0; 2]), Ok(1)));
        assert_eq!(producer.wait(1, None), Ok(1));
        other.join().unwrap();
        drop(kept);
    });
}

#[test]
fn the_end_wakes_a_compact_half_that_sleeps() {
    check(None, || {
        let (here, there) = Bells::pair();
        let (kept, mut producer, mut consumer) = ring::<1, _, _>(here, there);
        let other = thread::spawn(move || producer.finish());
        assert_eq!(consumer.wait(1, None), Ok(0));
        other.join().unwrap();
        drop(kept);
    });
    check(None, || {
        let (here, there) = Bells::pair();
        let (kept, mut producer, mut consumer) = ring::<1, _, _>(here, there);
        assert_eq!(producer.write(&[7]), Ok(1));
        let other = thread::spawn(move || consumer.stop());
        assert_eq!(producer.wait(1, None), Err(WaitError::Closed));
        other.join().unwrap();
        drop(kept);
    });
}

/// An interrupt that never sleeps, and a main loop that does: the one looks whether the other sleeps, and not the other way.
#[test]
fn a_compact_half_that_sleeps_is_woken_by_one_that_does_not() {
    check(None, || {
        let (_, there) = Bells::pair();
        let bell = there.mine.clone();
        /// Wakes, and never sleeps.
        struct Rings(Arc<Bell>);
        impl Park for Rings {
            type Deadline = Never;
            type Spin = ();
            const SLEEPS: bool = false;
            fn spin_start(&self) {}
            fn spin(&self, (): &mut ()) -> bool {
                thread::yield_now();
                true
            }
            fn wait(&self, _: &[Watch<'_>], _: Option<Never>) -> Wake {
                Wake::Maybe
            }
            fn wake(&self, _: SharedWord<'_>, _: u32) {
                let Bell(rung, changed) = &*self.0;
                *rung.lock().unwrap() = true;
                changed.notify_one();
            }
        }
        let (kept, mut producer, mut consumer) = ring::<1, _, _>(Rings(bell), there);
        let other = thread::spawn(move || assert_eq!(producer.write(&[7]), Ok(1)));
        assert_eq!(consumer.wait(1, None), Ok(1));
        other.join().unwrap();
        drop(kept);
    });
}
