//! What each feature adds. Runs with all of them: `cargo test -p smstream-core --all-features`.

use std::fmt::Write as _;

use smstream_core::spsc::Ring;

#[test]
fn text_goes_in_whole_or_not_at_all() {
    let mut ring = Ring::<u8, 8>::new();
    let (mut producer, mut consumer) = ring.split();
    write!(producer, "{}", 12345).unwrap();
    assert!(producer.write_str("6789").is_err());
    producer.write_str("678").unwrap();
    let mut out = [0; 9];
    assert_eq!((consumer.pop_slice(&mut out), &out), (8, b"12345678\0"));
}

#[cfg(feature = "embedded-io")]
#[test]
fn lanes_are_embedded_io_and_end() {
    use embedded_io::{Read, ReadReady, Write, WriteReady};
    use smstream_core::block::{Block, block_len};
    use smstream_core::geometry::Config;
    use smstream_core::park::Spin;

    const CHANNEL: Config = Config::new([4, 0]);
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let (here, there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
    let (mut writer, mut reader) = (here.producer, there.consumer);
    assert_eq!((writer.write_ready(), reader.read_ready()), (Ok(true), Ok(false)));
    let text = b"more than the lane holds at once";
    std::thread::scope(|scope| {
        scope.spawn(move || {
            Write::write_all(&mut writer, text).unwrap();
            writer.finish();
        });
        let mut out = [0; 32];
        Read::read_exact(&mut reader, &mut out).unwrap();
        assert_eq!(&out, text);
        assert_eq!(Read::read(&mut reader, &mut out), Ok(0));
    });
}

#[cfg(feature = "embedded-io-async")]
#[test]
fn tasks_wake_each_other_through_a_ring() {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake};

    use embedded_io_async::{Read, Write};
    use smstream_core::wait::AsyncRing;

    /// Wakes a thread: what sleeps for ever if a wake is lost.
    struct Thread(std::thread::Thread);
    impl Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = Arc::new(Thread(std::thread::current())).into();
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(done) => return done,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    static RING: AsyncRing<8> = AsyncRing::new();
    let (mut writer, mut reader) = RING.try_split().unwrap();
    assert!(RING.try_split().is_err());
    let bytes: Vec<u8> = (0..60_000u32).map(|i| (i * 7 / 3) as u8).collect();
    let expected = bytes.clone();
    let other = std::thread::spawn(move || block_on(async { writer.write_all(&bytes).await.unwrap() }));
    block_on(async {
        let mut read: Vec<u8> = Vec::new();
        let mut out = [0; 11];
        while read.len() < expected.len() {
            let n = reader.read(&mut out).await.unwrap();
            read.extend(&out[..n]);
        }
        assert!(read == expected);
    });
    other.join().unwrap();
}

#[cfg(feature = "critical-section")]
#[test]
fn a_sleep_in_a_critical_section_comes_only_if_nothing_has_changed() {
    use smstream_core::block::{Block, block_len};
    use smstream_core::geometry::Config;
    use smstream_core::wait::InCriticalSection;
    use std::cell::Cell;

    const CHANNEL: Config = Config::new([4, 0]);
    let slept = Cell::new(0);
    let later = Cell::new(None);
    let sleep = || {
        slept.set(slept.get() + 1);
        // The interrupt that comes while it sleeps.
        if let Some(mut writer) = later.take() {
            let writer: &mut smstream_core::lane::Producer<'_, _> = &mut writer;
            writer.write(b"x").unwrap();
        }
    };
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let park = || InCriticalSection(&sleep as &dyn Fn());
    let (here, mut there) = block.split(&CHANNEL, [park(), park()], [park(), park()]).unwrap();
    later.set(Some(here.producer));
    assert_eq!(there.consumer.wait(1, None), Ok(1));
    assert_eq!(slept.get(), 1);
    assert_eq!(there.consumer.wait(1, None), Ok(1));
    assert_eq!(slept.get(), 1, "there was something to read");
}

#[cfg(feature = "zerocopy")]
#[test]
fn items_of_odd_sizes_are_whole_or_corrupt() {
    use smstream_core::block::{Block, block_len};
    use smstream_core::error::{ReadError, WriteError};
    use smstream_core::geometry::Config;
    use smstream_core::items::{BadItem, ItemReader, ItemWriter};
    use smstream_core::park::Spin;

    const CHANNEL: Config = Config { start: 30, ..Config::new([16, 0]) };
    let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    let (here, there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
    let mut writer = ItemWriter::<[u8; 5], _>::new(here.producer).unwrap();
    let mut reader = ItemReader::<[u8; 5], _>::new(there.consumer).unwrap();
    assert_eq!(reader.pop(), Err(ReadError::Empty));
    assert_eq!(writer.push_slice(&[[1; 5], [2; 5], [3; 5], [4; 5]]), Ok(3));
    assert_eq!(writer.push(&[9; 5]), Err(WriteError::Full));
    assert_eq!((reader.pop(), reader.pop()), (Ok(Some([1; 5])), Ok(Some([2; 5]))));
    assert_eq!(writer.push_slice(&[[4; 5], [5; 5], [6; 5]]), Ok(2));
    for expected in 3..=5 {
        assert_eq!(reader.pop(), Ok(Some([expected; 5])));
    }
    let mut producer = writer.into_producer();
    producer.write(b"part").unwrap();
    assert_eq!(reader.pop(), Err(ReadError::Empty));
    producer.finish();
    assert_eq!(reader.pop(), Err(ReadError::Corrupt));
    let consumer = reader.into_consumer();
    assert_eq!(ItemReader::<[u8; 17], _>::new(consumer).unwrap_err(), BadItem { size: 17, capacity: 16 });
}
