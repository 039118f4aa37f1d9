//! A `Park` whose wake panics: the end that was published before it stays, for the peer and for the half itself.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use smstream_core::block::{Block, block_len};
use smstream_core::error::WriteError;
use smstream_core::geometry::Config;
use smstream_core::lane::{Consumer, Producer};
use smstream_core::local::{ByteConsumer, ByteProducer, ByteRing};
use smstream_core::park::{Park, Wake, Watch};
use smstream_core::word::SharedWord;

/// Never sleeps, and panics when it is to wake its peer.
struct Broken;

impl Park for Broken {
    type Deadline = ();
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        Wake::TimedOut
    }
    fn wake(&self, _: SharedWord<'_>, _: u32) {
        panic!("this wake is broken");
    }
}

/// Does something instead of sleeping, while the half says that it sleeps.
struct Asleep<F>(F);

impl<F: Fn()> Park for Asleep<F> {
    type Deadline = ();
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        (self.0)();
        Wake::Maybe
    }
    fn wake(&self, _: SharedWord<'_>, _: u32) {}
}

/// Ends a half whose peer sleeps: its wake panics.
fn panics<H>(half: &RefCell<Option<H>>, end: impl Fn(&mut H)) {
    let mut half = half.borrow_mut();
    let half = half.as_mut().expect("the half was put there");
    catch_unwind(AssertUnwindSafe(|| end(half))).expect_err("the peer sleeps, and the wake is broken");
}

#[test]
fn the_end_of_a_compact_ring_stays() {
    let mut ring = ByteRing::<8>::new();
    let slot = RefCell::new(None);
    let (producer, mut consumer) = ring.split(Broken, Asleep(|| panics(&slot, ByteProducer::finish)));
    *slot.borrow_mut() = Some(producer);
    assert_eq!(consumer.wait(1, None), Ok(0), "the end was published");
    let mut producer = slot.take().expect("it is there");
    assert_eq!(producer.write(b"more"), Err(WriteError::Closed));
    producer.finish();
    assert_eq!(consumer.read(&mut [0; 8]), Ok(0), "it is not taken back");
}

#[test]
fn the_stop_of_a_compact_ring_stays() {
    let mut ring = ByteRing::<8>::new();
    let slot = RefCell::new(None);
    let (mut producer, mut consumer) = ring.split(Asleep(|| panics(&slot, ByteConsumer::stop)), Broken);
    assert_eq!(producer.write(&[7; 8]), Ok(8));
    assert_eq!(consumer.len(), 8);
    *slot.borrow_mut() = Some(consumer);
    producer.wait(1, None).expect_err("the stop was published");
    let mut consumer = slot.take().expect("it is there");
    assert_eq!(consumer.read(&mut [0; 8]), Ok(0), "a half that has stopped reads no more");
    consumer.stop();
    assert_eq!(producer.write(b"more"), Err(WriteError::Closed), "it is not taken back");
}

const CHANNEL: Config = Config::new([8, 8]);

#[test]
fn the_end_of_a_lane_stays() {
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let slot = RefCell::new(None);
    let asleep = || Asleep(|| panics(&slot, Producer::finish));
    let (listener, connector) = block.split_apart(&CHANNEL, (Broken, asleep()), (Broken, asleep())).expect("it fits");
    let (mut consumer, _) = listener.split();
    *slot.borrow_mut() = Some(connector.split().1);
    assert_eq!(consumer.wait(1, None), Ok(0), "the end was published");
    let mut producer = slot.take().expect("it is there");
    assert!(producer.is_finished());
    assert_eq!(producer.write(b"more"), Err(WriteError::Closed));
    producer.finish();
    assert_eq!(consumer.read(&mut [0; 8]), Ok(0), "it is not taken back");
}

#[test]
fn the_stop_of_a_lane_stays() {
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let slot = RefCell::new(None);
    let asleep = || Asleep(|| panics(&slot, Consumer::stop));
    let (listener, connector) = block.split_apart(&CHANNEL, (asleep(), Broken), (asleep(), Broken)).expect("it fits");
    let (_, mut producer) = listener.split();
    assert_eq!(producer.write(&[7; 8]), Ok(8));
    let (mut consumer, _) = connector.split();
    assert_eq!(consumer.read(&mut [0; 1]), Ok(1));
    assert_eq!(producer.write(&[7]), Ok(1));
    *slot.borrow_mut() = Some(consumer);
    producer.wait(1, None).expect_err("the stop was published");
    let mut consumer = slot.take().expect("it is there");
    assert!(consumer.is_stopped());
    assert_eq!(consumer.read(&mut [0; 8]), Ok(0), "a half that has stopped reads no more");
    consumer.stop();
    assert_eq!(producer.write(b"more"), Err(WriteError::Closed), "it is not taken back");
}
