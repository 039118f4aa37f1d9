//! Runs the cases on the core.

use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry;
use smstream_core::identity::Problem;
use smstream_core::park::Spin;
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

/// The layout's name for a fault.
#[must_use]
pub fn name(problem: Problem) -> &'static str {
    match problem {
        Problem::TooShort { .. } => "TooShort",
        Problem::Misaligned => "Misaligned",
        Problem::NotReady => "NotReady",
        Problem::Magic(_) => "Magic",
        Problem::ByteOrder(_) => "ByteOrder",
        Problem::Version(_) => "Version",
        Problem::UnknownFeatures(_) => "UnknownFeatures",
        Problem::Party(_) => "Party",
        Problem::Align(_) => "Align",
        Problem::LaneOffset(_) => "LaneOffset",
        Problem::Capacity(_) => "Capacity",
        Problem::PeerCapacity(_) => "PeerCapacity",
        Problem::Start(_) => "Start",
        Problem::Sent(_) => "Sent",
        _ => "another fault",
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
        store(loaded[segment].own(), offset, value);
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
            let found = name(finding.problem);
            return if found == case.verdict { Ok(()) } else { Err(format!("{found}: {finding}")) };
        }
    };
    if case.verdict != "ok" {
        return Err(format!("it attached, and {} was expected", case.verdict));
    }
    let mut end = attachment.into_end(Spin, Spin);
    for token in case.steps.split_whitespace() {
        step(token, &mut end, start(mine), start(peer)).map_err(|came| format!("{token}: {came}"))?;
    }
    Ok(())
}

fn step(token: &str, end: &mut End<'_, Spin>, mine: *mut u8, peer: *mut u8) -> Result<(), String> {
    let (_, right) = token.split_once('=').unwrap_or((token, ""));
    let came = perform(token, end, mine, peer);
    if came == right { Ok(()) } else { Err(came) }
}

/// Does one step of a case, and says what came of it.
///
/// # Panics
/// If it is no step.
pub fn perform(token: &str, end: &mut End<'_, Spin>, mine: *mut u8, peer: *mut u8) -> String {
    let (what, argument) = token.split_once(':').expect("a step");
    let (left, right) = argument.split_once('=').unwrap_or((argument, ""));
    match what {
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
            store(peer, number(left) as usize, number(right));
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
    }
}
