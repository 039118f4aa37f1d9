//! Bytes that anybody can make and check who knows the seed and the place.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};

/// A start of the cursors from which a few hundred bytes lead across their wrap at 2³¹.
pub const NEAR_WRAP: u32 = (1 << 31) - 300;

/// The finalizer of SplitMix64: every bit of the result hangs on every bit of `x`.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Numbers that look random, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

/// How the bytes of a flow are written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// `write` and `read`: as much as there is room for.
    Some,
    /// `write_all` and `read_exact`.
    All,
    /// `write_vectored` and `read_vectored`, with empty buffers in between.
    Vectored,
    /// All of these, in a seeded mixture.
    Mixed,
}

impl Manner {
    /// The manner that a party's command names.
    ///
    /// # Panics
    /// If there is no such manner.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "some" => Manner::Some,
            "all" => Manner::All,
            "vectored" => Manner::Vectored,
            "mixed" => Manner::Mixed,
            other => panic!("no manner is called {other}"),
        }
    }

    fn one(self, random: &mut Random) -> Self {
        match self {
            Manner::Mixed => [Manner::Some, Manner::All, Manner::Vectored][random.below(3) as usize],
            other => other,
        }
    }
}

/// A direction of a stream: which bytes come next.
#[derive(Clone, Debug)]
pub struct Flow {
    seed: u64,
    at: u64,
    capacity: usize,
    sizes: Random,
    buffer: Vec<u8>,
}

impl Flow {
    /// The bytes of this seed, from their beginning, in pieces that suit a lane of this capacity.
    #[must_use]
    pub fn new(seed: u64, capacity: usize) -> Self {
        Flow { seed, at: 0, capacity, sizes: Random::new(!seed), buffer: Vec::new() }
    }

    /// How many bytes have been sent or checked.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The byte at `place`.
    fn byte(seed: u64, place: u64) -> u8 {
        mix(seed ^ mix(place / 8 + 1)).to_ne_bytes()[(place % 8) as usize]
    }

    /// Goes on by `n` bytes that the caller, and not this flow, has sent.
    pub fn skip(&mut self, n: u64) {
        self.at += n;
    }

    /// Fills `out` with the bytes that come next, without going on.
    pub fn fill(&self, out: &mut [u8]) {
        let mut place = self.at;
        for chunk in out.chunk_mut_at(place) {
            let word = mix(self.seed ^ mix(place / 8 + 1)).to_ne_bytes();
            let skip = (place % 8) as usize;
            chunk.copy_from_slice(&word[skip..skip + chunk.len()]);
            place += chunk.len() as u64;
        }
    }

    /// Checks that `bytes` are the next ones, and goes on after them.
    ///
    /// # Panics
    /// If they are not: says where.
    pub fn check(&mut self, bytes: &[u8]) {
        let mut expected = vec![0; bytes.len()];
        self.fill(&mut expected);
        if bytes != expected {
            let wrong = bytes.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(0);
            let place = self.at + wrong as u64;
            panic!(
                "byte {place} of flow {:#x} is {:#04x} and not {:#04x}",
                self.seed,
                bytes[wrong],
                Self::byte(self.seed, place)
            );
        }
        self.at += bytes.len() as u64;
    }

    /// A size for the next piece: often odd, often one beside a border of the lane, at times several lanes.
    fn size(&mut self, left: u64) -> usize {
        let lane = self.capacity.max(1) as u64;
        let size = match self.sizes.below(12) {
            0 => 0,
            1 => 1,
            2 => lane - 1,
            3 => lane,
            4 => lane + 1,
            5 => 3 * lane + 5,
            6 => lane / 2 + 1,
            7 => 1 + self.sizes.below(16),
            _ => self.sizes.below(2 * lane),
        };
        size.min(left) as usize
    }

    /// Sends the bytes up to `end`. After an error of `write` or `write_vectored`, [`at`](Flow::at) says how many went.
    ///
    /// # Errors
    /// What the writer says.
    ///
    /// # Panics
    /// If the writer breaks the rules of [`Write`].
    pub fn send(&mut self, to: &mut impl Write, end: u64, manner: Manner) -> io::Result<()> {
        while self.at < end {
            let size = self.size(end - self.at);
            let mut bytes = std::mem::take(&mut self.buffer);
            bytes.resize(size, 0);
            self.fill(&mut bytes);
            let sent = match manner.one(&mut self.sizes) {
                Manner::All => to.write_all(&bytes).map(|()| size),
                Manner::Vectored => {
                    let (a, b) = bytes.split_at(size / 3);
                    to.write_vectored(&[IoSlice::new(a), IoSlice::new(&[]), IoSlice::new(b)])
                }
                _ => to.write(&bytes),
            };
            self.buffer = bytes;
            let sent = sent?;
            assert!(sent <= size && (sent > 0 || size == 0), "{sent} of {size} bytes were written");
            self.at += sent as u64;
        }
        Ok(())
    }

    /// Reads the bytes up to `end` and checks each.
    ///
    /// # Errors
    /// What the reader says; `UnexpectedEof` if the stream ends before.
    ///
    /// # Panics
    /// If a byte is wrong, or the reader breaks the rules of [`Read`].
    pub fn receive(&mut self, from: &mut impl Read, end: u64, manner: Manner) -> io::Result<()> {
        while self.at < end {
            let size = self.size(end - self.at);
            let mut bytes = std::mem::take(&mut self.buffer);
            bytes.resize(size, 0);
            let got = match manner.one(&mut self.sizes) {
                Manner::All => from.read_exact(&mut bytes).map(|()| size),
                Manner::Vectored => {
                    let (a, b) = bytes.split_at_mut(size / 3);
                    from.read_vectored(&mut [IoSliceMut::new(a), IoSliceMut::new(&mut []), IoSliceMut::new(b)])
                }
                _ => from.read(&mut bytes),
            };
            if let Ok(got) = got {
                assert!(got <= size, "{got} of {size} bytes were read");
                self.check(&bytes[..got]);
            }
            self.buffer = bytes;
            if got? == 0 && size != 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads and checks all there is. What ended it: `None` for the end of the stream, or the error.
    ///
    /// # Panics
    /// If a byte is wrong.
    pub fn drain(&mut self, from: &mut impl Read) -> Option<io::Error> {
        match self.receive(from, u64::MAX, Manner::Some) {
            Ok(()) => unreachable!("no peer sends so much"),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => None,
            Err(e) => Some(e),
        }
    }
}

/// Splits a buffer where a flow's words begin.
trait ChunksAt {
    fn chunk_mut_at(&mut self, place: u64) -> impl Iterator<Item = &mut [u8]>;
}

impl ChunksAt for [u8] {
    fn chunk_mut_at(&mut self, place: u64) -> impl Iterator<Item = &mut [u8]> {
        let first = ((8 - place % 8) % 8).min(self.len() as u64) as usize;
        let (head, rest) = self.split_at_mut(first);
        std::iter::once(head).filter(|h| !h.is_empty()).chain(rest.chunks_mut(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_the_same_however_it_is_cut() {
        let mut sent = Vec::new();
        Flow::new(7, 10).send(&mut sent, 1000, Manner::Mixed).unwrap();
        assert!((0..1000).all(|at| sent[at as usize] == Flow::byte(7, at)));
        Flow::new(7, 3).receive(&mut &sent[..], 1000, Manner::Mixed).unwrap();
    }

    #[test]
    #[should_panic(expected = "byte 12 of flow 0x7")]
    fn a_wrong_byte_is_found() {
        let mut sent = vec![0; 20];
        Flow::new(7, 10).fill(&mut sent);
        sent[12] ^= 1;
        Flow::new(7, 10).check(&sent);
    }
}
