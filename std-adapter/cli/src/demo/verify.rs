//! Many bytes both ways at once, every one of them checksummed where it is sent and where it is received.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::Xxh3;

use super::control::Order;
use super::partner::Partner;
use super::scratch::Scratch;
use super::status::progress;
use super::tuning::{stream_options, with_capacity};
use super::watchdog;
use crate::failure::{Context, Failure};
use crate::size::{Bytes, Capacity, Rate};
use crate::style;
use crate::transport::{self, Addr, Stream};

/// The size of a write and of a read.
const BLOCK: usize = 128 << 10;
/// How often to show how much has come.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// Which of the two processes makes the data; they differ.
#[derive(Clone, Copy)]
pub enum Seed {
    /// The one that the user started.
    First = 1,
    /// The one that the demo started.
    Second = 2,
}

/// One direction at one end: how many bytes, and their checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// How many bytes.
    pub bytes: u64,
    /// XXH3 (64 bits) over them.
    pub hash: u64,
}

/// What one process sent and received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// What it gave to the stream.
    pub sent: Sum,
    /// What the stream gave to it.
    pub received: Sum,
}

/// What came of it, seen from both ends.
pub struct Outcome {
    /// At the process that the user started.
    pub here: Sums,
    /// At the process that the demo started.
    pub there: Sums,
    /// From the first byte to the last checksum.
    pub elapsed: Duration,
}

impl Outcome {
    /// Whether every byte arrived, in order, and nothing else.
    pub fn is_good(&self, bytes: u64) -> bool {
        self.here.sent == self.there.received
            && self.there.sent == self.here.received
            && self.here.sent.bytes == bytes
            && self.there.sent.bytes == bytes
    }
}

impl Outcome {
    /// The checksums and what they say, on a terminal with so many columns; with 0, as wide as it needs.
    pub fn text(&self, bytes: u64, columns: usize) -> String {
        let verdict = if self.is_good(bytes) { "verified" } else { "FAILED" };
        let rate = Rate(2.0 * bytes as f64 / self.elapsed.as_secs_f64().max(1e-9));
        let ways = [
            ("to the second process:  ", self.here.sent, self.there.received),
            ("from the second process:", self.there.sent, self.here.received),
        ];
        let mut lines = Vec::new();
        for (way, sent, received) in ways {
            let (sent, hash, came) = (sent.hash, received.hash, Bytes(received.bytes));
            let line = format!("  {way} sent {sent:016x}, received {hash:016x} ({came})");
            if columns == 0 || line.chars().count() <= columns {
                lines.push(line);
            } else {
                lines.push(format!("  {}", way.trim_end()));
                lines.push(format!("    sent     {sent:016x}"));
                lines.push(format!("    received {hash:016x} ({came})"));
            }
        }
        let seconds = self.elapsed.as_secs_f64();
        let summary = format!(
            "{verdict}: XXH3 of every byte, {seconds:.2} s, {rate} in both directions together, making the data included"
        );
        lines.extend(style::folded(&summary, columns, "  "));
        lines.join("\n") + "\n"
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received } = self;
        write!(f, "{} {:016x} {} {:016x}", sent.bytes, sent.hash, received.bytes, received.hash)
    }
}

impl FromStr for Sums {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("'{line}' are no checksums"));
        let words: Vec<&str> = line.split(' ').collect();
        let [sent_bytes, sent_hash, received_bytes, received_hash] = words[..] else {
            return Err(bad());
        };
        let sum = |bytes: &str, hash| {
            let hash = u64::from_str_radix(hash, 16).map_err(|_| bad())?;
            Ok::<_, io::Error>(Sum { bytes: bytes.parse().map_err(|_| bad())?, hash })
        };
        Ok(Self { sent: sum(sent_bytes, sent_hash)?, received: sum(received_bytes, received_hash)? })
    }
}

/// Connects to the second process and moves `bytes` each way at once.
pub fn run(partner: &mut Partner, scratch: &Scratch, capacity: Capacity, bytes: u64) -> Result<Outcome, Failure> {
    let stream = connect(partner, scratch, None, capacity)?;
    partner.order(Order::Verify(bytes))?;
    let start = Instant::now();
    let here = exchange(stream, bytes, Seed::First).or_broken("moving data both ways failed")?;
    let there = partner.hear()?.parse().or_broken("could not hear the second process")?;
    Ok(Outcome { here, there, elapsed: start.elapsed() })
}

/// Makes a stream to the second process, which keeps its end for a test.
pub fn connect(
    partner: &mut Partner,
    scratch: &Scratch,
    test: Option<super::control::Test>,
    capacity: Capacity,
) -> Result<Stream, Failure> {
    let address = scratch.address("stream").or_broken("could not name a stream")?;
    let addr: Addr = address.parse().or_broken(&address)?;
    let options = with_capacity(stream_options(test), capacity);
    let listener = transport::bind(&addr, &options)
        .map_err(|error| Failure::no_connection(format!("could not listen at {address}: {error}")))?;
    partner.order(Order::Connect(test, address.clone()))?;
    let stream =
        listener.accept().map_err(|error| Failure::no_connection(format!("could not accept at {address}: {error}")))?;
    partner.expect("connected")?;
    Ok(stream)
}

/// Sends from one thread and receives in another, `bytes` each way, up to the end of the stream.
pub fn exchange(stream: Stream, bytes: u64, seed: Seed) -> io::Result<Sums> {
    let stream = &stream;
    thread::scope(|scope| {
        let sender = thread::Builder::new().name("sender".to_owned()).spawn_scoped(scope, move || {
            let sent = send(stream, bytes, seed);
            // Also after a failure: the receiver at the other end shall not wait for what will not come.
            let end = stream.shutdown(Shutdown::Write).map_err(io::Error::from);
            sent.and_then(|sent| end.map(|()| sent))
        })?;
        let received = receive(stream, bytes, matches!(seed, Seed::First));
        let sent = sender.join().unwrap_or_else(|_| Err(io::Error::other("the sending thread panicked")));
        Ok(Sums { sent: sent?, received: received? })
    })
}

/// Sends data made from the seed.
fn send(mut stream: &Stream, bytes: u64, seed: Seed) -> io::Result<Sum> {
    let mut noise = Noise::new(seed as u64);
    let mut hash = Xxh3::new();
    let mut block = vec![0; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        noise.fill(&mut block);
        hash.update(&block[..count]);
        stream.write_all(&block[..count])?;
        left -= count as u64;
    }
    Ok(Sum { bytes, hash: hash.digest() })
}

/// Receives whatever comes, to the end, and shows how much of what is `expected` has come.
fn receive(mut stream: &Stream, expected: u64, shown: bool) -> io::Result<Sum> {
    let mut hash = Xxh3::new();
    let mut block = vec![0; BLOCK];
    let mut bytes = 0;
    let mut next = Instant::now();
    loop {
        match stream.read(&mut block)? {
            0 => {
                if shown {
                    progress("");
                }
                return Ok(Sum { bytes, hash: hash.digest() });
            }
            count => {
                hash.update(&block[..count]);
                bytes += count as u64;
                watchdog::beat();
                let now = Instant::now();
                if shown && now >= next {
                    progress(&format!("{} of {} have come", Bytes(bytes), Bytes(expected)));
                    next = now + SHOWN_EVERY;
                }
            }
        }
    }
}

/// Pseudo-random bytes (SplitMix64), a few GB a second.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed << 32)
    }

    fn fill(&mut self, block: &mut [u8]) {
        for chunk in block.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            let bytes = mixed.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_survive_the_wire() {
        let sums = Sums { sent: Sum { bytes: 1, hash: 2 }, received: Sum { bytes: u64::MAX, hash: u64::MAX } };
        assert_eq!(sums.to_string().parse::<Sums>().expect("sums"), sums);
        for junk in ["", "1 2 3", "1 2 3 4 5", "x 2 3 4", "1 2 3 z"] {
            assert!(junk.parse::<Sums>().is_err(), "{junk}");
        }
    }

    #[test]
    fn one_wrong_sum_is_noticed() {
        let (one, two) = (Sum { bytes: 9, hash: 1 }, Sum { bytes: 9, hash: 2 });
        let outcome = |sent, received| Outcome {
            here: Sums { sent: one, received: two },
            there: Sums { sent, received },
            elapsed: Duration::ZERO,
        };
        assert!(outcome(two, one).is_good(9));
        assert!(!outcome(two, one).is_good(8));
        assert!(!outcome(two, two).is_good(9));
        assert!(!outcome(one, one).is_good(9));
    }

    /// On a narrow terminal no line is wrapped by the terminal, and nothing is left out.
    #[test]
    fn it_fits_where_it_is_shown() {
        let sum = |hash| Sum { bytes: 1 << 30, hash };
        let outcome = Outcome {
            here: Sums { sent: sum(0x1234), received: sum(u64::MAX) },
            there: Sums { sent: sum(u64::MAX), received: sum(0x1234) },
            elapsed: Duration::from_millis(2345),
        };
        let wide = outcome.text(1 << 30, 0);
        assert_eq!(wide.lines().count(), 3);
        assert_eq!(outcome.text(1 << 30, 200), wide);
        for columns in [40, 60, 79] {
            let text = outcome.text(1 << 30, columns);
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
            for word in wide.split_whitespace() {
                let word = word.trim_end_matches(',');
                assert!(text.contains(word), "no '{word}' in {text}");
            }
        }
    }

    #[test]
    fn the_two_directions_differ() {
        let (mut one, mut two) = (vec![0; 20], vec![0; 20]);
        Noise::new(Seed::First as u64).fill(&mut one);
        Noise::new(Seed::Second as u64).fill(&mut two);
        assert_ne!(one, two);
        assert_ne!(one[..8], one[8..16]);
    }
}
