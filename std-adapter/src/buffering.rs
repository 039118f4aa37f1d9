//! When written bytes are published: policies over one and the same lane, without a second copy.

use std::sync::atomic::{AtomicU16, Ordering};

use smstream_core::error::WriteError;
use smstream_core::lane::Producer;
use smstream_core::park::Park;

/// When a stream publishes what is written to it.
///
/// Written bytes lie in the lane at once, whatever the mode: nothing is copied a second time. A mode says how long they
/// are *held back*, which means that the peer is not shown them, and not woken for them, yet.
///
/// | mode | published |
/// |---|---|
/// | `None` | by each write |
/// | `Line` | by a write that contains the terminator, up to and including the last one |
/// | `Full` | when an eighth of the lane is held back |
///
/// What is held back is published, whatever the mode,
/// * when an eighth of the lane is held back, or the lane is full;
/// * by [`flush`](std::io::Write::flush), [`split`](crate::Stream::split), `shutdown`, and when the stream or its writing half
///   is dropped;
/// * before a write waits for room, or says that it would have to;
/// * before a read of the same stream waits for bytes, or says that it would have to, so that a request is on its way when
///   the answer is waited for. A read that finds bytes publishes nothing. The reading half of a
///   [split](crate::Stream::split) stream cannot do this: flush the writing half. A read on `&Stream` leaves it to another
///   thread if that one is writing at the same moment.
///
/// What is held back when the process is killed is lost, as are bytes in any other buffer of a process.
///
/// Each party chooses its own mode.
///
/// ```
/// use smstream::{BufMode, Builder};
/// use std::io::{Read, Write};
///
/// let (mut here, mut there) = Builder::new().buf_mode(BufMode::LINE).pair()?;
/// there.set_nonblocking(true)?;
/// let mut text = [0; 16];
/// here.write_all(b"hel")?;
/// assert_eq!(there.read(&mut text).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// here.write_all(b"lo\nwor")?;
/// assert_eq!(there.read(&mut text)?, 6);
/// here.flush()?;
/// assert_eq!(there.read(&mut text)?, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BufMode {
    /// Each write publishes.
    #[default]
    None,
    /// Whole lines are published. See [`LINE`](BufMode::LINE) for the usual one.
    Line {
        /// The byte that ends a line.
        terminator: u8,
    },
    /// As much as is good for throughput is held back: up to an eighth of the lane.
    Full,
}

impl BufMode {
    /// Lines that end with a line feed.
    pub const LINE: BufMode = BufMode::Line { terminator: b'\n' };
}

/// A [`BufMode`] that any thread may change.
#[derive(Debug)]
pub(crate) struct Policy(AtomicU16);

const NONE: u16 = 0;
const FULL: u16 = 1;
/// With the terminator in the low byte.
const LINE: u16 = 1 << 8;

impl Policy {
    pub(crate) fn new(mode: BufMode) -> Self {
        let policy = Policy(AtomicU16::new(NONE));
        policy.set(mode);
        policy
    }

    pub(crate) fn set(&self, mode: BufMode) {
        let word = match mode {
            BufMode::None => NONE,
            BufMode::Line { terminator } => LINE | u16::from(terminator),
            BufMode::Full => FULL,
        };
        // Relaxed: no other memory goes with it.
        self.0.store(word, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> BufMode {
        match self.0.load(Ordering::Relaxed) {
            NONE => BufMode::None,
            FULL => BufMode::Full,
            line => BufMode::Line { terminator: line.to_le_bytes()[0] },
        }
    }

    /// Whether nothing is to be held back.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NONE
    }
}

/// The most that is held back: an eighth of the lane.
///
/// Less gains nothing for small writes, and with half a lane at a time two running ends wait for each other: one fills a half
/// while the other empties the other one, and the one that is done first sleeps. In docs/DESIGN.md there are figures.
fn most_held(capacity: usize) -> usize {
    (capacity / 8).max(1)
}

/// Writes from several pieces in order, as much as there is room for, and publishes what `mode` says. Returns how many
/// bytes were written in all.
///
/// # Errors
/// [`WriteError`]; nothing was written then.
pub(crate) fn write<'b, P: Park>(
    producer: &mut Producer<'_, P>,
    pieces: impl DoubleEndedIterator<Item = &'b [u8]> + Clone,
    mode: BufMode,
) -> Result<usize, WriteError> {
    let total: usize = pieces.clone().map(<[u8]>::len).sum();
    if total == 0 {
        return producer.write_deferred(&[]);
    }
    // How many bytes are to be published whatever happens to the others.
    let now = match mode {
        BufMode::None => total,
        BufMode::Line { terminator } => up_to_last(pieces.clone(), terminator),
        BufMode::Full => 0,
    };
    let mut written = 0;
    let mut short = false;
    for piece in pieces {
        let (first, second) = piece.split_at(piece.len().min(now.saturating_sub(written)));
        for part in [first, second] {
            if part.is_empty() || short {
                continue;
            }
            match producer.write_deferred(part) {
                Ok(n) => {
                    written += n;
                    short = n < part.len();
                }
                // A corrupt half has dropped what was held back.
                Err(e) if written == 0 || producer.is_corrupt() => return Err(e),
                Err(_) => short = true,
            }
            if written == now {
                producer.flush();
            }
        }
    }
    // A full lane has nothing to gain by holding back.
    if short || producer.unflushed() >= most_held(producer.capacity()) {
        producer.flush();
    }
    Ok(written)
}

/// How many bytes there are up to and including the last `terminator`; 0 if there is none.
fn up_to_last<'b>(pieces: impl DoubleEndedIterator<Item = &'b [u8]> + Clone, terminator: u8) -> usize {
    let mut after: usize = pieces.clone().map(<[u8]>::len).sum();
    for piece in pieces.rev() {
        after -= piece.len();
        if let Some(at) = piece.iter().rposition(|byte| *byte == terminator) {
            return after + at + 1;
        }
    }
    0
}

#[cfg(test)]
#[path = "buffering_tests.rs"]
mod tests;
