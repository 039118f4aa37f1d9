//! Rings and channels between threads of one process, with the core of this project among them.
//!
//! Each is a lane of bytes of the length that a stream has by default; a message is copied in and copied out. A crossbeam
//! channel has no bytes, so that it carries each message in a box.

use std::collections::HashMap;
use std::hint::spin_loop;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bbqueue::BBQueue;
use bbqueue::nicknames::GogiGui;
use bbqueue::prod_cons::stream::{StreamConsumer, StreamProducer};
use bbqueue::traits::coordination::cas::AtomicCoord;
use bbqueue::traits::notifier::polling::Polling;
use bbqueue::traits::storage::BoxedSlice;
use ringbuf::traits::{Consumer as _, Producer as _, Split as _};
use smstream::smstream_core::geometry::Config;
use smstream::smstream_core::park::Spin;
use smstream_bench::channel::{Channel, Runner};
use smstream_bench::transport::{Opening, Then, Transport, Waiting};

/// Bytes each way.
const CAPACITY: usize = smstream::DEFAULT_CAPACITY;

/// The second sides that wait to be opened, by their addresses.
static OTHERS: Mutex<Option<HashMap<String, Box<dyn Runner>>>> = Mutex::new(None);

/// Both sides of a ring.
type Sides = (Box<dyn Runner>, Box<dyn Runner>);

/// A kind of ring: makes both sides at once.
pub struct Ring {
    name: &'static str,
    about: &'static str,
    pair: fn() -> Sides,
}

pub const RTRB: Ring = Ring { name: "rtrb", about: "rtrb 0.4, chunks of bytes", pair: rtrb_pair };
pub const RINGBUF: Ring = Ring { name: "ringbuf", about: "ringbuf 0.6, slices of bytes", pair: ringbuf_pair };
pub const BBQUEUE: Ring = Ring { name: "bbqueue", about: "bbqueue 0.7, grants", pair: bbqueue_pair };
pub const CROSSBEAM: Ring =
    Ring { name: "crossbeam", about: "crossbeam-channel 0.5, 1024 boxed messages", pair: crossbeam_pair };
pub const CORE: Ring = Ring { name: "smstream-core", about: "this project's ring alone", pair: core_pair };

impl Transport for Ring {
    fn name(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> String {
        self.about.to_owned()
    }

    fn can_wait(&self, waiting: Waiting) -> bool {
        // None of them sleeps by itself.
        waiting == Waiting::Busy
    }

    fn needs_one_process(&self) -> bool {
        true
    }

    fn begin(&self, _: &Path, _: usize, _: Waiting) -> io::Result<Box<dyn Opening>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let address = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let (here, there) = (self.pair)();
        OTHERS.lock().unwrap().get_or_insert_default().insert(address.clone(), there);
        Ok(Box::new(Then(address, move || Ok(here))))
    }

    fn open(&self, address: &str, _: usize, _: Waiting) -> io::Result<Box<dyn Runner>> {
        let other = OTHERS.lock().unwrap().as_mut().and_then(|others| others.remove(address));
        other.ok_or_else(|| io::Error::other("no such ring in this process"))
    }
}

/// Two one-way lanes.
struct Both<W, R>(W, R);

/// Puts as much as fits, and says how much that was.
trait Put: Send {
    fn put(&mut self, bytes: &[u8]) -> usize;
}

/// Takes as much as there is, and says how much that was.
trait Take: Send {
    fn take(&mut self, bytes: &mut [u8]) -> usize;
}

impl<W: Put, R: Take> Channel for Both<W, R> {
    #[inline]
    fn send(&mut self, mut message: &[u8]) -> io::Result<()> {
        while !message.is_empty() {
            match self.0.put(message) {
                0 => spin_loop(),
                count => message = &message[count..],
            }
        }
        Ok(())
    }

    #[inline]
    fn recv(&mut self, mut message: &mut [u8]) -> io::Result<()> {
        while !message.is_empty() {
            match self.1.take(message) {
                0 => spin_loop(),
                count => message = &mut message[count..],
            }
        }
        Ok(())
    }

    fn calls(&self) -> Option<u64> {
        Some(0)
    }
}

fn boxed<A, B, C, D>(here: Both<A, B>, there: Both<C, D>) -> Sides
where
    A: Put + 'static,
    B: Take + 'static,
    C: Put + 'static,
    D: Take + 'static,
{
    (Box::new(here), Box::new(there))
}

impl Put for rtrb::Producer<u8> {
    fn put(&mut self, bytes: &[u8]) -> usize {
        self.push_partial_slice(bytes).0.len()
    }
}

impl Take for rtrb::Consumer<u8> {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        self.pop_partial_slice(bytes).0.len()
    }
}

fn rtrb_pair() -> Sides {
    let (there, back) = (rtrb::RingBuffer::new(CAPACITY), rtrb::RingBuffer::new(CAPACITY));
    boxed(Both(there.0, back.1), Both(back.0, there.1))
}

impl Put for ringbuf::HeapProd<u8> {
    fn put(&mut self, bytes: &[u8]) -> usize {
        self.push_slice(bytes)
    }
}

impl Take for ringbuf::HeapCons<u8> {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        self.pop_slice(bytes)
    }
}

fn ringbuf_pair() -> Sides {
    let (there, back) = (ringbuf::HeapRb::new(CAPACITY).split(), ringbuf::HeapRb::new(CAPACITY).split());
    boxed(Both(there.0, back.1), Both(back.0, there.1))
}

type Bip = std::sync::Arc<BBQueue<BoxedSlice, AtomicCoord, Polling>>;

impl Put for StreamProducer<Bip> {
    fn put(&mut self, bytes: &[u8]) -> usize {
        match self.grant_max_remaining(bytes.len()) {
            Ok(mut grant) => {
                let count = grant.len();
                grant.copy_from_slice(&bytes[..count]);
                grant.commit(count);
                count
            }
            Err(_) => 0,
        }
    }
}

impl Take for StreamConsumer<Bip> {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        match self.read() {
            Ok(grant) => {
                let count = grant.len().min(bytes.len());
                bytes[..count].copy_from_slice(&grant[..count]);
                grant.release(count);
                count
            }
            Err(_) => 0,
        }
    }
}

fn bbqueue_pair() -> Sides {
    let [there, back] = [(), ()].map(|()| GogiGui::new_with_storage(BoxedSlice::new(CAPACITY)));
    boxed(Both(there.stream_producer(), back.stream_consumer()), Both(back.stream_producer(), there.stream_consumer()))
}

/// A channel of messages: what is left of the last one waits for the next call.
struct Messages(crossbeam_channel::Receiver<Box<[u8]>>);

impl Put for crossbeam_channel::Sender<Box<[u8]>> {
    fn put(&mut self, bytes: &[u8]) -> usize {
        if self.try_send(bytes.into()).is_ok() { bytes.len() } else { 0 }
    }
}

impl Take for Messages {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        match self.0.try_recv() {
            Ok(message) => {
                bytes.copy_from_slice(&message);
                message.len()
            }
            Err(_) => 0,
        }
    }
}

fn crossbeam_pair() -> Sides {
    let (there, back) = (crossbeam_channel::bounded(1024), crossbeam_channel::bounded(1024));
    boxed(Both(there.0, Messages(back.1)), Both(back.0, Messages(there.1)))
}

type Writer = smstream::smstream_core::lane::Producer<'static, Spin>;
type Reader = smstream::smstream_core::lane::Consumer<'static, Spin>;

impl Put for Writer {
    fn put(&mut self, bytes: &[u8]) -> usize {
        self.write(bytes).unwrap_or(0)
    }
}

impl Take for Reader {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        self.read(bytes).unwrap_or(0)
    }
}

fn core_pair() -> Sides {
    use smstream::smstream_core::block::{Block, block_len};
    const CHANNEL: Config = Config::new([CAPACITY as u32, CAPACITY as u32]);
    type Channel = Block<{ block_len(&CHANNEL) }>;
    let block: &'static mut Channel = Box::leak(Box::new(Channel::new()));
    let (here, there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).expect("a fresh block");
    let ((here_in, here_out), (there_in, there_out)) = (here.split(), there.split());
    boxed(Both(here_out, here_in), Both(there_out, there_in))
}
