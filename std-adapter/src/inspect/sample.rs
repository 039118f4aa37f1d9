//! Both lanes of a channel at one moment, or nearly.

use super::source::Source;
use crate::header::rules::{self, second_segment};
use crate::header::words::{HeaderCopy, LEN};
use smstream_core::counter::Counts;
use smstream_core::cursor::{ASLEEP, CURSOR, EXCLUSIVE, FIN, STOP, STOPPED_HINT, THRESHOLD, diff};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

/// How often to look again while the words move so fast that they do not fit together.
const LOOKS: usize = 16;

/// Whether a half sleeps, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepState {
    /// It is awake, or has nothing to wait for any more.
    Awake,
    /// It has announced that it sleeps.
    Asleep {
        /// The bytes, or the bytes of room, that it waits for.
        wants: u32,
        /// The whole party sleeps in this call.
        whole: bool,
    },
    /// The word is none that a half writes.
    Odd(u32),
}

/// One lane: what its writer put in, and its reader took out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The bytes that it holds.
    pub capacity: u32,
    /// The cursor of what was put in, modulo 2³¹.
    pub sent: u32,
    /// No more bytes will come.
    pub finished: bool,
    /// The cursor of what was taken out, modulo 2³¹.
    pub received: u32,
    /// No more bytes will be taken.
    pub stopped: bool,
    /// The bytes in it. `None`: the cursors cannot be, or moved too fast to be seen together.
    pub fill: Option<u32>,
    /// The writer's counters. `None` if it keeps none.
    pub writes: Option<Counts>,
    /// The reader's counters. `None` if it keeps none.
    pub reads: Option<Counts>,
    /// Whether the writer sleeps for room.
    pub writer: SleepState,
    /// Whether the reader sleeps for bytes.
    pub reader: SleepState,
}

/// A channel at one moment, or nearly: the words are copied one after the other, while the parties go on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// The header of each party's segment.
    pub headers: [HeaderCopy; 2],
    /// The lane of each party: 0 is what the listener sends.
    pub lanes: [Lane; 2],
}

/// How far the parties have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The listener waits for a connector.
    Waiting,
    /// A connector waits to be accepted.
    Connecting,
    /// Both parties have met.
    Connected,
}

/// Where the segments of a channel lie.
#[derive(Clone, Debug)]
pub struct Channel {
    segments: [(Arc<Source>, u64); 2],
    /// Both segments in one file, which parties find by its name.
    region: bool,
}

impl Channel {
    /// The channel of a region: a file with both segments.
    ///
    /// # Errors
    /// `InvalidData` if it is none, or is damaged so that its lanes cannot be found: `doctor` says more.
    pub fn of_region(source: Arc<Source>) -> io::Result<Self> {
        let first = header(&source, 0)?;
        let second = second_segment(&first).ok_or_else(|| unusable(&source))?;
        Self { segments: [(Arc::clone(&source), 0), (source, second)], region: true }.checked()
    }

    /// The channel of two files with a segment each: the listener's and the connector's.
    ///
    /// # Errors
    /// As above.
    pub fn of_segments(listener: Arc<Source>, connector: Arc<Source>) -> io::Result<Self> {
        Self { segments: [(listener, 0), (connector, 0)], region: false }.checked()
    }

    fn checked(self) -> io::Result<Self> {
        let headers = self.headers()?;
        for (party, header) in headers.iter().enumerate() {
            // The connector sets its own segment up anew, which takes a moment in which it is not ready.
            let setting_up = party == 1 && header.version() == 0;
            if !setting_up && !rules::is_usable(header, party) {
                return Err(unusable(&self.segments[party].0));
            }
        }
        Ok(self)
    }

    /// Whether both segments lie in one file.
    #[must_use]
    pub fn is_region(&self) -> bool {
        self.region
    }

    /// The file that holds a party's segment, and where that begins in it.
    #[must_use]
    pub fn segment(&self, party: usize) -> (&Arc<Source>, u64) {
        let (source, offset) = &self.segments[party];
        (source, *offset)
    }

    /// The headers of both segments.
    pub(super) fn headers(&self) -> io::Result<[HeaderCopy; 2]> {
        let [first, second] = &self.segments;
        Ok([header(&first.0, first.1)?, header(&second.0, second.1)?])
    }

    /// Looks at both lanes. It makes a few system calls, takes no lock, and wakes no sleeper.
    ///
    /// # Errors
    /// What the system says.
    pub fn sample(&self) -> io::Result<Sample> {
        let (first, offset) = &self.segments[0];
        let mut sample = None;
        for _ in 0..LOOKS {
            let headers = self.headers()?;
            let again = header(first, *offset)?;
            let found = Sample::of(headers, &again);
            // A reader that has just stopped may be seen between the two looks at its words.
            let stops = |lane: &Lane| lane.reader == SleepState::Odd(STOPPED_HINT);
            let fits = found.lanes.iter().all(|lane| lane.fill.is_some() && !stops(lane));
            sample = Some(found);
            if fits {
                break;
            }
        }
        sample.ok_or_else(|| ErrorKind::Other.into())
    }
}

fn unusable(source: &Source) -> io::Error {
    let text = format!("{} holds no stream that can be followed: `smstream doctor` says what is wrong", source.what());
    io::Error::new(ErrorKind::InvalidData, text)
}

/// Copies the header at an offset of a file.
pub(super) fn header(source: &Source, offset: u64) -> io::Result<HeaderCopy> {
    let mut bytes = [0; LEN];
    let there = source.read_at(offset, &mut bytes)?;
    Ok(HeaderCopy::of(&bytes[..there]))
}

impl Sample {
    /// From both headers, and from the first one loaded once more, after the second.
    pub(super) fn of(headers: [HeaderCopy; 2], again: &HeaderCopy) -> Self {
        let lane = |sender: usize| {
            let (writer, reader) = (&headers[sender], &headers[1 - sender]);
            let capacity = writer.capacity();
            // What was sent is looked at before and after what was received, or the other way round. Somewhere in
            // between the truth was; see `geometry::attach`.
            let (sent, received) = if sender == 0 {
                ([writer.sent(), again.sent()], [reader.received(); 2])
            } else {
                ([writer.sent(); 2], [reader.received(), again.received()])
            };
            let possible = |look: usize| Some(diff(sent[look], received[look])).filter(|&fill| fill <= capacity);
            let fill = possible(1).or_else(|| possible(0));
            let (sent, received) = (writer.sent(), reader.received());
            Lane {
                capacity,
                sent: sent & CURSOR,
                finished: sent & FIN != 0,
                received: received & CURSOR,
                stopped: received & STOP != 0,
                fill,
                writes: counters(writer, HeaderCopy::writes),
                reads: counters(reader, HeaderCopy::reads),
                writer: rest(writer.write_park(), sent.wrapping_sub(capacity), capacity, false),
                reader: rest(reader.read_park(), received, capacity, received & STOP != 0),
            }
        };
        let lanes = [lane(0), lane(1)];
        Self { at: Instant::now(), headers, lanes }
    }

    /// How far the parties have met, by what a region's listener and connector say.
    #[must_use]
    pub fn phase(&self) -> Phase {
        use smstream_core::layout::state;
        match (self.headers[0].state(), self.headers[1].state()) {
            (state::ARMED, state::NONE) => Phase::Waiting,
            (state::ARMED, _) => Phase::Connecting,
            _ => Phase::Connected,
        }
    }
}

fn counters(header: &HeaderCopy, which: fn(&HeaderCopy) -> Option<Counts>) -> Option<Counts> {
    use smstream_core::layout::Features;
    if header.features() & Features::COUNTERS.bits() == 0 { None } else { which(header) }
}

/// What a park word says, if the mark lies `base` + what is wanted. Only a half that has stopped says so there.
fn rest(word: u32, base: u32, capacity: u32, has_stopped: bool) -> SleepState {
    let wants = (word & THRESHOLD).wrapping_sub(base) & THRESHOLD;
    match word {
        0 => SleepState::Awake,
        STOPPED_HINT if has_stopped => SleepState::Awake,
        _ if word & ASLEEP != 0 && (1..=capacity).contains(&wants) => {
            SleepState::Asleep { wants, whole: word & EXCLUSIVE != 0 }
        }
        _ => SleepState::Odd(word),
    }
}

impl Lane {
    /// The room that is left.
    #[must_use]
    pub fn room(&self) -> Option<u32> {
        Some(self.capacity.saturating_sub(self.fill?))
    }

    /// Whether nothing moves in it any more: the end was said, and all before it was taken, or the reader takes no more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stopped || (self.finished && self.fill == Some(0))
    }

    /// Whether its reader sleeps for bytes that are there, or its writer for room that is there. For a moment that is
    /// so whenever a half is about to wake.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        let has = |rest: SleepState, there: Option<u32>, ended: bool| match (rest, there) {
            (SleepState::Asleep { wants, .. }, Some(there)) => there >= wants || ended,
            _ => false,
        };
        has(self.reader, self.fill, self.finished) || has(self.writer, self.room(), self.stopped)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::header::words::tests::with;
    use smstream_core::cursor::asleep_at;

    /// A channel that is not looked at.
    pub(crate) fn unchecked(source: Arc<Source>) -> Channel {
        Channel { segments: [(Arc::clone(&source), 0), (source, 0)], region: true }
    }

    fn headers(start: u32, sent: u32, received: u32) -> [HeaderCopy; 2] {
        let common = |party| [("byte_order", 0x0102_0304), ("party", party), ("capacity", 64), ("peer_capacity", 64)];
        let blank = HeaderCopy::of(&[0; LEN]);
        let cursor = |n: u32| start.wrapping_add(n) & CURSOR;
        let first = with(&with(&blank, &common(0)), &[("sent", cursor(sent)), ("received", start)]);
        let second = with(&with(&blank, &common(1)), &[("sent", start), ("received", cursor(received))]);
        [first, second]
    }

    fn sample(headers: &[HeaderCopy; 2]) -> Sample {
        Sample::of(headers.clone(), &headers[0])
    }

    #[test]
    fn fill_and_room_across_the_wrap() {
        for start in [0, 5, CURSOR - 3, CURSOR] {
            let lane = &sample(&headers(start, 10, 4)).lanes[0];
            assert_eq!((lane.fill, lane.room()), (Some(6), Some(58)));
            assert_eq!(sample(&headers(start, 65, 0)).lanes[0].fill, None, "more than the lane holds");
            assert_eq!(sample(&headers(start, 0, 1)).lanes[0].fill, None, "more was taken than sent");
            let both = headers(start, 64, 0);
            assert_eq!(sample(&both).lanes[0].fill, Some(64));
            assert_eq!(sample(&both).lanes[1].fill, Some(0));
        }
    }

    /// A writer that went on between two looks does not look corrupt.
    #[test]
    fn what_moves_meanwhile_is_possible() {
        let before = headers(7, 10, 40);
        let after = headers(7, 50, 40);
        assert_eq!(Sample::of(before, &after[0]).lanes[0].fill, Some(10));
    }

    #[test]
    fn who_sleeps_and_for_what() {
        for start in [0, CURSOR - 3] {
            let [first, second] = headers(start, 10, 4);
            let at = |n: u32| start.wrapping_add(n) & CURSOR;
            let asleep = with(&second, &[("read_park", asleep_at(at(4), 30))]);
            let full = with(&first, &[("write_park", asleep_at(at(10), 60u32.wrapping_sub(64)))]);
            let lane = sample(&[full, asleep]).lanes[0].clone();
            assert_eq!(lane.reader, SleepState::Asleep { wants: 30, whole: false });
            assert_eq!(lane.writer, SleepState::Asleep { wants: 60, whole: false });
            assert!(!lane.is_overdue(), "6 bytes are there, and room for 58");
            let enough = with(&second, &[("read_park", asleep_at(at(4), 6))]);
            assert!(sample(&[first.clone(), enough]).lanes[0].is_overdue());
            let odd = with(&second, &[("read_park", asleep_at(at(4), 65))]);
            assert!(matches!(sample(&[first.clone(), odd]).lanes[0].reader, SleepState::Odd(_)));
            let look = with(&second, &[("read_park", STOPPED_HINT), ("received", at(4) | STOP)]);
            assert_eq!(sample(&[first.clone(), look]).lanes[0].reader, SleepState::Awake);
            let lie = with(&second, &[("read_park", STOPPED_HINT)]);
            assert_eq!(sample(&[first, lie]).lanes[0].reader, SleepState::Odd(STOPPED_HINT));
        }
    }
}
