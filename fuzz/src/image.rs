//! Golden images of a channel, in every state of a rendezvous and of a stream, with words that are others: attaching finds what is
//! wrong, by the rules of the layout, or else the end works on. The files that the images are regions of are left alone.
//!
//! `fuzz/c` runs the C header on the same inputs, and the two must say the same.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use smstream::inspect::{Channel, DoctorTarget, Follower, InspectedStream, Source, examine};
use smstream::reap::{ReapOutcome, Reaper};
use smstream_core::findings::Findings;
use smstream_core::geometry;
use smstream_core::park::Spin;
use smstream_tests::kit::image::{Loaded, load, store};
use smstream_tests::kit::{self, run::perform};
use smstream_tests::leftover::Directory;
use smstream_tests::rules::{self, Segment, WORDS};

use crate::bytes::Bytes;

/// The most steps that an input can ask for.
const MAX_STEPS: usize = 64;
/// No file is made of an image that is longer than this.
const LONGEST_FILE: usize = 1 << 20;

/// The texts of the images, by name.
fn images() -> &'static [String] {
    static IMAGES: OnceLock<Vec<String>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let folder = kit::folder().join("images");
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).expect("the images").map(|entry| entry.expect("an image").path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).expect("an image")).collect()
    })
}

/// What an input asks for. `fuzz/c/image.c` reads it in the same way.
struct Input {
    image: usize,
    /// Whether it becomes a file, too, which takes long.
    file: bool,
    party: usize,
    /// Segment, word, value.
    patches: Vec<(usize, usize, u32)>,
    steps: Vec<String>,
}

fn parse(data: &[u8]) -> Input {
    let mut bytes = Bytes::new(data);
    let (image, flags) = (usize::from(bytes.u8()), bytes.u8());
    let patches = (0..flags >> 1 & 7)
        .map(|_| {
            let at = bytes.u16();
            (usize::from(at >> 15), usize::from(at & 0x7fff) % WORDS, bytes.word())
        })
        .collect();
    let mut steps = Vec::new();
    while !bytes.is_empty() && steps.len() < MAX_STEPS {
        let (code, len) = (bytes.u8(), bytes.u8());
        steps.push(match code % 8 {
            0..=1 => format!("r:{len}="),
            2..=3 => format!("w:{}=", (0..len).map(|n| format!("{n:02x}")).collect::<String>()),
            4 => format!("f:{}", if len % 2 == 0 { "w" } else { "r" }),
            // Where the words are that the halves look at.
            5 => format!("p:{:x}={:08x}", [0x080, 0x100, 0x180, 0x184][usize::from(len % 4)], bytes.word()),
            6 => format!("m:{:x}=", usize::from(len) % WORDS * 4),
            _ => format!("p:{:x}={:08x}", usize::from(len) % WORDS * 4, bytes.word()),
        });
    }
    Input { image: image % images().len(), file: flags & 0x70 == 0, party: usize::from(flags & 1), patches, steps }
}

/// See the module.
pub fn image(data: &[u8]) {
    trace(data);
}

/// Runs an input, and says what came of each step: what `fuzz/c` prints for it, too.
pub fn trace(data: &[u8]) -> String {
    let input = parse(data);
    let loaded = Loaded::read(&images()[input.image], [None; 2]).0;
    for &(segment, word, value) in &input.patches {
        store(loaded[segment].own(), loaded[segment].len(), 4 * word, value);
    }
    let described: [Segment; 2] =
        [0, 1].map(|n| (std::array::from_fn(|word| load(loaded[n].own(), 4 * word)), loaded[n].len()));
    for (segment, described) in loaded.iter().zip(&described) {
        // SAFETY: valid for its length as long as `loaded` lives, and nothing else accesses it.
        let found =
            Findings::collect(|report| unsafe { geometry::inspect_reporting(segment.own(), segment.len(), report) });
        assert_eq!(found.is_ok(), rules::is_segment(described), "{found:?}");
    }
    if input.file {
        leave_alone(&loaded.each_ref().map(|segment| segment_bytes(segment.own(), segment.len())));
    }
    let (mine, peer) = (input.party, 1 - input.party);
    let [my_start, peer_start] = [mine, peer].map(|n| loaded[n].own());
    // SAFETY: both are valid for their lengths as long as `loaded` lives, which is longer than the end does; nothing else accesses
    // them but the words that the steps store, by volatile accesses from this thread.
    let attached = unsafe { geometry::attach(my_start, loaded[mine].len(), peer_start, loaded[peer].len()) };
    let fit = rules::fit_together(&described[mine], &described[peer]);
    assert_eq!(attached.is_ok(), fit, "{:?}", attached.err());
    let mut trace = String::from(if fit { "ok" } else { "no" });
    if let Ok(attachment) = attached {
        let mut end = attachment.into_end(Spin, Spin);
        for token in &input.steps {
            let before = load(my_start, 0x080);
            let came;
            (end, came) = perform(token, end, my_start, (peer_start, loaded[peer].len()));
            let _ = write!(trace, " {came}");
            assert_eq!(before >> 31 & !(load(my_start, 0x080) >> 31), 0, "FIN was taken back");
        }
    }
    trace
}

fn segment_bytes(start: *mut u8, len: usize) -> Option<Vec<u8>> {
    let at = |n: usize| {
        // SAFETY: within the segment, which nothing else accesses.
        unsafe { start.wrapping_add(n).read_volatile() }
    };
    (len <= LONGEST_FILE).then(|| (0..len).map(at).collect())
}

/// The region that the image would be, under a name: a connector, a cleaner and an inspector leave it as it is. Its `channel` is not the number of its
/// file, so it is a copy at best.
fn leave_alone(segments: &[Option<Vec<u8>>; 2]) {
    let [Some(first), Some(second)] = segments else { return };
    let directory = Directory::new();
    let path = directory.path("name");
    let mut bytes = first.clone();
    let word = |at: usize| u32::from_ne_bytes(first[at..at + 4].try_into().expect("a word"));
    let align = (word(0x018) as usize).clamp(1, 4096);
    bytes.resize(bytes.len().next_multiple_of(align), 0);
    bytes.extend(second);
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    std::io::Write::write_all(&mut made.expect("a file"), &bytes).expect("written");
    look_at(&path);
    smstream::Builder::new().connect_timeout(&path, Duration::ZERO).expect_err("no listener lives");
    let leftovers = Reaper::of(path.parent().expect("a directory")).run().expect("a directory that can be read");
    assert!(leftovers.iter().all(|leftover| leftover.outcome != ReapOutcome::Removed), "a copy was removed");
    assert!(fs::read(&path).expect("it is there") == bytes, "a copy was changed");
}

/// All that an inspector says of it.
fn look_at(path: &Path) {
    let source = Arc::new(Source::path(path).expect("a file that can be opened"));
    if let Ok(checks) = examine(&DoctorTarget::Region(Arc::clone(&source)), &[]) {
        assert!(!checks.is_empty());
    }
    if let Ok(channel) = Channel::of_region(source) {
        let stream = InspectedStream::unknown(channel);
        if let Ok(look) = stream.look() {
            assert!(!look.state().name().is_empty());
            let _ = look.age();
        }
        if let Ok(report) = Follower::new(stream).look() {
            let _ = report.why_stuck();
        }
    }
}
