use super::*;
use smstream_core::block::{Block, block_len};
use smstream_core::geometry::Config;
use smstream_core::park::Spin;

const MODES: [BufMode; 4] = [BufMode::None, BufMode::LINE, BufMode::Line { terminator: 0 }, BufMode::Full];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) as usize % bound
    }
}

#[test]
fn a_policy_gives_back_what_was_set() {
    let policy = Policy::new(BufMode::Full);
    for mode in MODES.into_iter().chain((0..=255).map(|terminator| BufMode::Line { terminator })) {
        policy.set(mode);
        assert_eq!((policy.get(), policy.is_none()), (mode, mode == BufMode::None));
    }
}

/// Random pieces against a model that knows only how much was written and how much of it must be seen.
fn compare<const N: usize>(config: &Config, seed: u64) {
    let mut random = Random(seed);
    let mut block = Block::<N>::new();
    let (mut here, mut there) = block.split(config, [Spin, Spin], [Spin, Spin]).unwrap();
    let capacity = here.producer.capacity();
    let most = (capacity / 8).max(1);
    let (mut all, mut seen, mut read) = (Vec::new(), 0, 0);
    let mut held = 0;
    for _ in 0..4000 {
        let mode = MODES[random.below(MODES.len())];
        let pieces: Vec<Vec<u8>> = (0..random.below(4))
            .map(|_| (0..random.below(capacity + 2)).map(|_| [b'a', b'b', b'\n', 0][random.below(4)]).collect())
            .collect();
        let total: Vec<u8> = pieces.concat();
        let room = capacity - (all.len() - read);
        let result = write(&mut here.producer, pieces.iter().map(Vec::as_slice), mode);
        if room == 0 && !total.is_empty() {
            assert_eq!(result, Err(WriteError::Full));
        } else {
            let n = total.len().min(room);
            assert_eq!(result, Ok(n), "{room}");
            let terminator = match mode {
                BufMode::Line { terminator } => Some(terminator),
                _ => None,
            };
            let line = total.iter().rposition(|&b| Some(b) == terminator).map_or(0, |at| at + 1);
            if line != 0 {
                seen = all.len() + line.min(n);
            }
            all.extend_from_slice(&total[..n]);
            let full = all.len() - seen >= most && n != 0;
            if n < total.len() || full || (mode == BufMode::None && n != 0) {
                seen = all.len();
            }
        }
        assert_eq!(here.producer.unflushed(), all.len() - seen, "{mode:?} {pieces:?}");
        held += usize::from(all.len() != seen);
        // The peer sees what must be seen, and nothing else.
        let mut out = vec![0; random.below(capacity + 2)];
        let expected = &all[read..seen];
        match there.read(&mut out) {
            Ok(n) => {
                assert_eq!(n, out.len().min(expected.len()));
                assert_eq!(out[..n], expected[..n]);
                read += n;
            }
            Err(_) => assert!(expected.is_empty()),
        }
        if random.below(20) == 0 {
            here.producer.flush();
            seen = all.len();
        }
    }
    assert!(capacity < 16 || held > 100, "nothing was held back: {held}");
}

#[test]
fn what_is_seen_when() {
    const NEAR_WRAP: u32 = (1 << 31) - 300;
    const TINY: Config = Config { start: NEAR_WRAP, ..Config::new([1, 1]) };
    const SMALL: Config = Config { start: NEAR_WRAP + 3, ..Config::new([16, 1]) };
    const MIDDLE: Config = Config { start: NEAR_WRAP, ..Config::new([64, 1]) };
    for seed in 0..20 {
        compare::<{ block_len(&TINY) }>(&TINY, seed);
        compare::<{ block_len(&SMALL) }>(&SMALL, seed);
        compare::<{ block_len(&MIDDLE) }>(&MIDDLE, seed);
    }
}

#[test]
fn no_bytes_ask_whether_any_are_taken() {
    const CONFIG: Config = Config::new([16, 1]);
    let mut block = Block::<{ block_len(&CONFIG) }>::new();
    let (mut here, mut there) = block.split(&CONFIG, [Spin, Spin], [Spin, Spin]).unwrap();
    let nothing: [&[u8]; 2] = [b"", b""];
    assert_eq!(write(&mut here.producer, nothing.into_iter(), BufMode::Full), Ok(0));
    there.stop();
    assert_eq!(write(&mut here.producer, nothing.into_iter(), BufMode::Full), Err(WriteError::Closed));
    assert_eq!(write(&mut here.producer, std::iter::once(&b"x"[..]), BufMode::LINE), Err(WriteError::Closed));
}
