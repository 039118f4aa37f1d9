//! What can only be known from several looks: how fast, and since when.

use super::look::{InspectedStream, Look, State};
use super::sample::{Lane, SleepState};
use smstream_core::counter::Counts;
use std::io;
use std::time::{Duration, Instant};

/// A half that is seen asleep for so long is not about to wake.
const A_WHILE: Duration = Duration::from_millis(200);

/// What a half did in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Bytes.
    pub bytes: f64,
    /// Publications.
    pub operations: f64,
    /// Times it announced that it sleeps.
    pub parks: f64,
    /// Wakes sent.
    pub wakes_sent: f64,
    /// Publications that woke no sleeper.
    pub wakes_avoided: f64,
}

/// What a half does now, and since when it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HalfReport {
    /// Whether it sleeps, and for what.
    pub rest: SleepState,
    /// How long it has been seen so. It sleeps at least that long.
    pub seen_for: Duration,
    /// What it did since the look before. `None` for the first look, or without counters.
    pub rates: Option<Rates>,
}

/// Both halves of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LaneReport {
    /// Who fills it.
    pub writer: HalfReport,
    /// Who empties it.
    pub reader: HalfReport,
}

/// A look, and what it says beside the looks before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The look.
    pub look: Look,
    /// Both lanes.
    pub lanes: [LaneReport; 2],
}

impl Report {
    /// Why nothing moves, if that has been so for a while and no thread of a party can change it: for people. Two parties
    /// that wait for a request are idle, and not stuck.
    #[must_use]
    pub fn why_stuck(&self) -> Option<&'static str> {
        if self.look.state() == State::PeerDead {
            return Some("a party is dead: the other one is about to learn it");
        }
        let long = |half: &HalfReport| matches!(half.rest, SleepState::Asleep { .. }) && half.seen_for >= A_WHILE;
        // One that sleeps in a call on the whole stream does nothing else meanwhile; of other sleepers, another thread may
        // go on.
        let whole = |half: &HalfReport| long(half) && matches!(half.rest, SleepState::Asleep { whole: true, .. });
        let [first, second] = &self.lanes;
        for (report, lane) in self.lanes.iter().zip(&self.look.sample.lanes) {
            if lane.is_overdue() && (long(&report.writer) || long(&report.reader)) {
                return Some("a half sleeps although what it waits for is there: it is stopped, or was not woken");
            }
        }
        if whole(&first.reader) && whole(&second.reader) {
            return Some("each party waits for bytes of the other, in a call on its whole stream");
        }
        if whole(&first.writer) && whole(&second.writer) {
            return Some("each party waits for room in its lane, in a call on its whole stream");
        }
        None
    }
}

/// Follows a stream from look to look.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("smstream-doc-watch-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("chat");
/// let listener = smstream::Listener::bind(&path)?;
/// let scan = smstream::inspect::scan(false)?;
/// let stream = scan.streams.into_iter().find(|stream| stream.holders[0].pid == std::process::id());
/// let mut watch = smstream::inspect::Follower::new(stream.expect("one's own listener"));
/// assert_eq!(watch.look()?.look.state().name(), "listening");
/// # drop(listener); std::fs::remove_dir(&dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Follower {
    stream: InspectedStream,
    /// The look before, and since when each half has been as it was: `[lane][writer, reader]`.
    before: Option<(Look, [[Instant; 2]; 2])>,
}

impl Follower {
    /// Of this stream.
    #[must_use]
    pub fn new(stream: InspectedStream) -> Self {
        Self { stream, before: None }
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &InspectedStream {
        &self.stream
    }

    /// Takes over what is newly known of the stream: who has an end of it, and its address. What was seen of it stays.
    pub fn update(&mut self, stream: InspectedStream) {
        // A connector that is gone takes the name by which it came with it.
        let addr = stream.addr.or_else(|| self.stream.addr.take());
        let written = stream.written.or_else(|| self.stream.written.take());
        let path = stream.path.or_else(|| self.stream.path.take());
        let holders = if stream.holders.is_empty() { std::mem::take(&mut self.stream.holders) } else { stream.holders };
        self.stream = InspectedStream { addr, written, path, holders, channel: stream.channel };
    }

    /// Looks once more.
    ///
    /// # Errors
    /// What the system says.
    pub fn look(&mut self) -> io::Result<Report> {
        let look = self.stream.look()?;
        Ok(self.note(look))
    }

    fn note(&mut self, look: Look) -> Report {
        let now = look.sample.at;
        let mut since = [[now; 2]; 2];
        let lanes = [0, 1].map(|n| {
            let lane = &look.sample.lanes[n];
            let before = self.before.as_ref().map(|(look, since)| (&look.sample.lanes[n], &since[n], look.sample.at));
            let mut half = |which: usize| {
                let (rest, counts) = halves(lane)[which];
                let mut report = HalfReport { rest, seen_for: Duration::ZERO, rates: None };
                if let Some((lane, known, then)) = before {
                    let (was, had) = halves(lane)[which];
                    // A half that parked anew in between sleeps since then, at the earliest.
                    if was == rest && had.map(|it| it.parks) == counts.map(|it| it.parks) {
                        since[n][which] = known[which];
                    }
                    report.rates = counts.zip(had).map(|(now_had, had)| rates(now_had, had, now - then));
                }
                report.seen_for = now - since[n][which];
                report
            };
            LaneReport { writer: half(0), reader: half(1) }
        });
        self.before = Some((look.clone(), since));
        Report { look, lanes }
    }
}

fn halves(lane: &Lane) -> [(SleepState, Option<Counts>); 2] {
    [(lane.writer, lane.writes), (lane.reader, lane.reads)]
}

fn rates(now: Counts, before: Counts, time: Duration) -> Rates {
    // A counter that goes back is not believed.
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / time.as_secs_f64().max(1e-6);
    Rates {
        bytes: rate(now.bytes, before.bytes),
        operations: rate(now.operations, before.operations),
        parks: rate(now.parks, before.parks),
        wakes_sent: rate(now.wakes_sent, before.wakes_sent),
        wakes_avoided: rate(now.wakes_avoided(), before.wakes_avoided()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, rest: SleepState, bytes: u64, parks: u64) -> Look {
        use super::super::sample::Sample;
        use crate::header::words::{HeaderCopy, LEN};
        let blank = HeaderCopy::of(&[0; LEN]);
        let mut sample = Sample::of([blank.clone(), blank.clone()], &blank);
        let mut counts = Counts::default();
        (counts.bytes, counts.parks) = (bytes, parks);
        sample.at = at;
        sample.lanes[0].reads = Some(counts);
        sample.lanes[0].reader = rest;
        Look { sample, alive: [None; 2] }
    }

    fn watch() -> Follower {
        let fd = smstream_shm::memory::memfd("inspect-watch", 1 << 16).unwrap();
        let number = rustix::fd::AsRawFd::as_raw_fd(&fd).unsigned_abs();
        let source = std::sync::Arc::new(super::super::Source::descriptor(std::process::id(), number).unwrap());
        // The channel is never looked at here: the looks are made up.
        let channel = super::super::sample::tests::unchecked(source);
        Follower::new(InspectedStream::unknown(channel))
    }

    #[test]
    fn idle_is_not_stuck() {
        let start = Instant::now();
        let later = start + Duration::from_secs(60);
        for (whole, stuck) in [(false, false), (true, true)] {
            let mut watch = watch();
            let look = |at| {
                let mut look = look(at, SleepState::Asleep { wants: 1, whole }, 0, 1);
                look.sample.lanes[1].reader = SleepState::Asleep { wants: 1, whole };
                look
            };
            watch.note(look(start));
            let why = watch.note(look(later)).why_stuck();
            assert_eq!(why.is_some(), stuck, "{why:?}");
        }
    }

    #[test]
    fn rates_and_sleep_are_found_by_two_looks() {
        let start = Instant::now();
        let later = |n| start + Duration::from_secs(n);
        let asleep = SleepState::Asleep { wants: 1, whole: false };
        let mut watch = watch();
        let first = watch.note(look(start, SleepState::Awake, 0, 0)).lanes[0].reader;
        assert_eq!((first.rates, first.seen_for), (None, Duration::ZERO));
        let second = watch.note(look(later(2), asleep, 1000, 1)).lanes[0].reader;
        assert_eq!((second.rates.unwrap().bytes, second.seen_for), (500.0, Duration::ZERO));
        let third = watch.note(look(later(5), asleep, 1000, 1)).lanes[0].reader;
        assert_eq!((third.rates.unwrap().bytes, third.seen_for), (0.0, Duration::from_secs(3)));
        let fourth = watch.note(look(later(6), asleep, 1000, 2)).lanes[0].reader;
        assert_eq!(fourth.seen_for, Duration::ZERO, "it was awake in between");
        let back = watch.note(look(later(7), asleep, 0, 2)).lanes[0].reader;
        assert_eq!(back.rates.unwrap().bytes, 0.0, "a counter that goes back");
    }
}
