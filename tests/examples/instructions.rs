//! Writes and reads 8 bytes in one thread as often as it is told, for `tests/instructions`, which counts the instructions.

use std::hint::black_box;

use smstream_core::block::{Block, block_len};
use smstream_core::geometry::Config;
use smstream_core::layout::Features;
use smstream_core::park::Spin;

const COUNTING: Config = Config::new([4096, 4096]);

fn main() {
    let mut args = std::env::args().skip(1);
    let (what, times) = (args.next(), args.next().and_then(|times| times.parse::<u32>().ok()));
    let (Some(what), Some(times)) = (what, times) else { panic!("usage: instructions counters|plain TIMES") };
    let features = if what == "counters" { Features::COUNTERS } else { Features::empty() };
    let config = Config { features, ..COUNTING };
    let mut block = Box::new(Block::<{ block_len(&COUNTING) }>::new());
    let (mut here, mut there) = block.split(&config, [Spin, Spin], [Spin, Spin]).expect("a channel");
    let mut out = [0u8; 8];
    for i in 0..times {
        let bytes = black_box(u64::from(i)).to_ne_bytes();
        assert!(here.producer.write(black_box(&bytes)).is_ok());
        assert!(there.consumer.read(black_box(&mut out)).is_ok());
    }
    assert_eq!(there.consumer.unflushed(), 0);
}
