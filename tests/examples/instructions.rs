//! Writes and reads 8 bytes in one thread as often as its argument says, for `tests/instructions`, which counts the instructions.

use std::hint::black_box;

use smstream_core::block::{Block, block_len};
use smstream_core::geometry::Config;
use smstream_core::layout::Features;
use smstream_core::park::Spin;
use smstream_core::stream::End;

const COUNTING: Config = Config::new([4096, 4096]);

fn main() {
    let mut args = std::env::args().skip(1);
    let (what, len, times) = (args.next(), args.next(), args.next().and_then(|times| times.parse::<u32>().ok()));
    let (Some(what), Some(len), Some(times)) = (what, len, times) else {
        panic!("usage: instructions counters|plain known|unknown TIMES")
    };
    let features = if what == "counters" { Features::COUNTERS } else { Features::empty() };
    let config = Config { features, ..COUNTING };
    let mut block = Box::new(Block::<{ block_len(&COUNTING) }>::new());
    let (mut here, mut there) = block.split(&config, [Spin, Spin], [Spin, Spin]).expect("a channel");
    if len == "known" {
        known(&mut here, &mut there, times)
    } else {
        unknown(&mut here, &mut there, times)
    }
    assert_eq!(there.consumer.unflushed(), 0);
}

/// The compiler knows the length, as it does where messages are a type of the program's.
#[inline(never)]
fn known(here: &mut End<'_, Spin>, there: &mut End<'_, Spin>, times: u32) {
    let (mut bytes, mut out) = ([1u8; 8], [0u8; 8]);
    // From here on each copy has to load and store them: other code could look.
    black_box((&mut bytes, &mut out));
    for _ in 0..times {
        assert!(here.producer.write(&bytes).is_ok());
        assert!(there.consumer.read(&mut out).is_ok());
    }
    assert_eq!(out, bytes);
}

/// The compiler does not know the length.
#[inline(never)]
fn unknown(here: &mut End<'_, Spin>, there: &mut End<'_, Spin>, times: u32) {
    let mut out = [0u8; 8];
    for i in 0..times {
        let bytes = black_box(u64::from(i)).to_ne_bytes();
        let (bytes, out): (&[u8], &mut [u8]) = (black_box(&bytes), black_box(&mut out));
        assert!(here.producer.write(bytes).is_ok());
        assert!(there.consumer.read(out).is_ok());
    }
}
