//! Runs the cases on the core.

use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry;
use smstream_core::park::Spin;
use smstream_core::record::{RecordReader, RecordWriter, RecvError, SendError};
use smstream_core::stream::End;

use super::cases::Case;
use super::image::{Loaded, bytes, hex, load, store};
use crate::memory::Shared;

/// What a case changes before a party attaches.
#[derive(Debug, Default)]
struct Patch {
    lens: [Option<usize>; 2],
    shifts: [usize; 2],
    /// Segment, offset, value.
    words: Vec<(usize, usize, u32)>,
}

fn number(text: &str) -> u32 {
    u32::from_str_radix(text, 16).expect("a number")
}

impl Patch {
    fn parse(text: &str) -> Self {
        let mut patch = Patch::default();
        for token in text.split_whitespace() {
            let (what, value) = token.split_once('=').expect("NAME=VALUE");
            if let Some(segment) = what.strip_prefix("len") {
                patch.lens[segment.parse::<usize>().expect("0 or 1")] = Some(value.parse().expect("a length"));
            } else if let Some(segment) = what.strip_prefix("shift") {
                patch.shifts[segment.parse::<usize>().expect("0 or 1")] = value.parse().expect("bytes");
            } else {
                let (segment, offset) = what.split_once(':').expect("SEGMENT:OFFSET");
                patch.words.push((segment.parse().expect("0 or 1"), number(offset) as usize, number(value)));
            }
        }
        patch
    }
}

/// Runs a case on the text of its image.
///
/// # Errors
/// What came instead of what the case says.
///
/// # Panics
/// If the case cannot be read.
pub fn run(case: &Case, image: &str) -> Result<(), String> {
    let patch = Patch::parse(&case.patch);
    let loaded = Loaded::read(image, patch.lens).0;
    for &(segment, offset, value) in &patch.words {
        store(loaded[segment].own(), loaded[segment].len(), offset, value);
    }
    let moved: [Option<Shared>; 2] = [0, 1].map(|n| (patch.shifts[n] != 0).then(|| Shared::new(loaded[n].len() + 128)));
    let start = |n: usize| moved[n].as_ref().map_or(loaded[n].own(), |m| m.own().wrapping_add(patch.shifts[n]));
    let (mine, peer) = (case.party, 1 - case.party);
    // SAFETY: both are valid for their lengths as long as `loaded` and `moved` live, which is to the end of this function;
    // nothing else accesses them meanwhile but the words that the steps store, by volatile accesses from the same thread.
    let attached = unsafe { geometry::attach(start(mine), loaded[mine].len(), start(peer), loaded[peer].len()) };
    let attachment = match attached {
        Ok(attachment) => attachment,
        Err(finding) => {
            let found = finding.problem.name();
            return if found == case.verdict { Ok(()) } else { Err(format!("{found}: {finding}")) };
        }
    };
    if case.verdict != "ok" {
        return Err(format!("it attached, and {} was expected", case.verdict));
    }
    let mut end = attachment.into_end(Spin, Spin);
    for token in case.steps.split_whitespace() {
        let came;
        (end, came) = perform(token, end, start(mine), (start(peer), loaded[peer].len()));
        let (_, right) = token.split_once('=').unwrap_or((token, ""));
        if came != right {
            return Err(format!("{token}: {came}"));
        }
    }
    Ok(())
}

/// Receives a record of at most `most` bytes, if one is there.
fn receive(end: End<'_, Spin>, most: usize) -> (End<'_, Spin>, String) {
    let mut reader = RecordReader::new(end.consumer);
    let mut buffer = vec![0; most];
    let came = match reader.recv(&mut buffer) {
        Ok(Some(n)) => hex(&buffer[..n]),
        Ok(None) => "End".into(),
        Err(RecvError::Empty) => "Again".into(),
        Err(RecvError::TooSmall { .. }) => "TooSmall".into(),
        Err(e) => format!("{e:?}"),
    };
    let consumer = reader.into_consumer().expect("no grant is out");
    (share(End { consumer, producer: end.producer }), came)
}

/// An end one of whose halves knows that the peer is corrupt, so that the other one knows, too.
fn share(mut end: End<'_, Spin>) -> End<'_, Spin> {
    if end.consumer.is_corrupt() || end.producer.is_corrupt() {
        // What it returns is what was known before.
        let _ = end.write(&[]);
        assert!(end.consumer.is_corrupt() && end.producer.is_corrupt());
    }
    end
}

/// Sends a record, if there is room for it.
fn send<'m>(end: End<'m, Spin>, record: &[u8]) -> (End<'m, Spin>, String) {
    let mut writer = RecordWriter::new(end.producer);
    let came = match writer.send(record) {
        Ok(()) => record.len().to_string(),
        Err(SendError::Full) => "Again".into(),
        Err(e) => format!("{e:?}"),
    };
    let producer = writer.into_producer().expect("no grant is out");
    (share(End { consumer: end.consumer, producer }), came)
}

/// Does one step of a case, and says what came of it. The peer's segment is given with its length.
///
/// # Panics
/// If it is no step.
pub fn perform<'m>(
    token: &str,
    mut end: End<'m, Spin>,
    mine: *mut u8,
    peer: (*mut u8, usize),
) -> (End<'m, Spin>, String) {
    let (what, argument) = token.split_once(':').expect("a step");
    let (left, right) = argument.split_once('=').unwrap_or((argument, ""));
    let came = match what {
        "R" => return receive(end, left.parse().expect("a length")),
        "W" => return send(end, &bytes(left)),
        "r" => {
            let mut buffer = vec![0; left.parse().expect("a length")];
            match end.read(&mut buffer) {
                Ok(n) => hex(&buffer[..n]),
                Err(ReadError::Empty) => "Again".into(),
                Err(e) => format!("{e:?}"),
            }
        }
        "w" => match end.write(&bytes(left)) {
            Ok(n) => n.to_string(),
            Err(WriteError::Full) => "Again".into(),
            Err(e) => format!("{e:?}"),
        },
        "m" => format!("{:08x}", load(mine, number(left) as usize)),
        "p" => {
            store(peer.0, peer.1, number(left) as usize, number(right));
            right.into()
        }
        "f" => {
            if left == "w" {
                end.finish()
            } else {
                end.stop()
            }
            right.into()
        }
        _ => panic!("no step: {token}"),
    };
    (end, came)
}
