//! Two segments as text: what is not 0, in lines of hexadecimal digits.

use std::fmt::Write as _;

use smstream_core::geometry::{self, Config};
use smstream_core::layout::{FIELDS, HEADER_LEN};

use crate::memory::Shared;

/// How many bytes a line has.
const LINE: usize = 32;

/// The two segments of a channel.
#[derive(Debug)]
pub struct Pair {
    /// What they were set up with.
    pub config: Config,
    /// Segment 0 and segment 1.
    pub segments: [Shared; 2],
}

/// Where a named word stands.
///
/// # Panics
/// If there is none of that name.
#[must_use]
pub fn offset(name: &str) -> usize {
    FIELDS.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no field {name}")).offset
}

impl Pair {
    /// Both set up; process and time are made up, so that an image is always the same.
    ///
    /// # Panics
    /// If the configuration cannot be.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let config = Config { pid: 4711, made: 1_767_225_600, ..config };
        let segments = [0, 1].map(|party| {
            let segment = Shared::new(config.describe(party).segment_len());
            // SAFETY: valid for reads and writes of its length, and not yet known elsewhere.
            unsafe { geometry::init(segment.own(), segment.len(), &config, party) }.expect("a channel that can be");
            segment
        });
        Pair { config, segments }
    }

    /// Stores a word of a segment's header.
    pub fn set(&self, segment: usize, offset: usize, value: u32) {
        store(self.segments[segment].own(), self.segments[segment].len(), offset, value);
    }

    /// The text of the image.
    ///
    /// # Panics
    /// Never: a string can be written.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (number, segment) in self.segments.iter().enumerate() {
            writeln!(text, "segment {number} {}", segment.len()).unwrap();
            // Large lanes are empty behind their first bytes.
            let len = segment.len().min(self.config.describe(number).lane_offset as usize + 8192);
            for at in (0..len).step_by(LINE) {
                let bytes: Vec<u8> = (at..(at + LINE).min(len)).map(|at| load_byte(segment, at)).collect();
                if bytes.iter().any(|&b| b != 0) {
                    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                    writeln!(text, "{at:x} {hex}").unwrap();
                }
            }
        }
        text
    }
}

/// Memory that an image was read into.
#[derive(Debug)]
pub struct Loaded(pub [Shared; 2]);

impl Loaded {
    /// Reads an image. `longest` limits a segment's memory, `shift` moves it away from where a segment can begin.
    ///
    /// # Panics
    /// If the text is no image.
    #[must_use]
    pub fn read(text: &str, limits: [Option<usize>; 2]) -> Self {
        let mut made: Vec<Shared> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["segment", number, len] => {
                    assert_eq!(number.parse(), Ok(made.len()), "{line}");
                    let len = limits[made.len()].unwrap_or_else(|| len.parse().expect("a length"));
                    made.push(Shared::new(len));
                }
                [at, hex] => {
                    let segment = made.last().expect("a segment before its bytes");
                    let at = usize::from_str_radix(at, 16).expect("an offset");
                    for (n, byte) in bytes(hex).into_iter().enumerate().filter(|(n, _)| at + n < segment.len()) {
                        // SAFETY: within the segment, which has no other user yet.
                        unsafe { segment.own().wrapping_add(at + n).write(byte) };
                    }
                }
                _ => panic!("no line of an image: {line}"),
            }
        }
        Loaded(made.try_into().expect("two segments"))
    }
}

/// The bytes that hexadecimal digits say.
///
/// # Panics
/// If they are none.
#[must_use]
pub fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).expect("hexadecimal digits")).collect()
}

/// The hexadecimal digits of bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Stores a word of a segment of `len` bytes, as another process would.
pub fn store(segment: *mut u8, len: usize, offset: usize, value: u32) {
    assert!(offset + 4 <= len && offset.is_multiple_of(4));
    // SAFETY: within the segment, aligned, and accessed by atomics and volatile accesses only.
    unsafe { segment.wrapping_add(offset).cast::<u32>().write_volatile(value) };
}

/// Loads a word of a segment.
#[must_use]
pub fn load(segment: *const u8, offset: usize) -> u32 {
    assert!(offset < HEADER_LEN as usize && offset.is_multiple_of(4));
    // SAFETY: as above.
    unsafe { segment.wrapping_add(offset).cast::<u32>().read_volatile() }
}

fn load_byte(segment: &Shared, at: usize) -> u8 {
    assert!(at < segment.len());
    // SAFETY: within the segment.
    unsafe { segment.view().wrapping_add(at).read_volatile() }
}
