//! How much has gone each way, on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::json::Json;
use crate::options::{ProgressArgs, When};
use crate::size::{BinaryRate, Bytes};

/// How often the line is drawn again.
const INTERVAL: Duration = Duration::from_millis(500);

/// Where standard error is no terminal, a line comes with every so many intervals.
const LOG_EVERY: u32 = 20;

/// Bytes that went each way, counted by the threads that move them, and when the last ones did.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    /// Milliseconds from the start to the last bytes.
    last: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Meter {
    /// Nothing went yet.
    pub fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0), sent: AtomicU64::new(0), received: AtomicU64::new(0) }
    }

    /// Counts what was given to the stream.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved();
    }

    /// Counts what the stream gave.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved();
    }

    fn moved(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(now, Ordering::Relaxed);
    }

    /// When bytes went last; if none did, when it began.
    pub fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// How long ago it began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What was sent and received so far.
    pub fn read(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// What is shown of a transfer while it goes on, and at its end.
pub struct Reports {
    line: Option<Line>,
    counts: Option<Counts>,
}

impl Reports {
    /// Starts the clocks. Of `many` connections at once the lines would be in each other's way: they have none by default.
    pub fn start(args: ProgressArgs, many: bool) -> Self {
        let when = if many && args.progress == When::Auto { When::Never } else { args.progress };
        let counts = args.counts.map(|every| Counts { every, next: Instant::now() + every });
        Self { line: Line::start(when), counts }
    }

    /// When to call [`Reports::tick`] next.
    pub fn due(&self) -> Option<Instant> {
        let line = self.line.as_ref().map(|line| line.next);
        line.into_iter().chain(self.counts.as_ref().map(|counts| counts.next)).min()
    }

    /// Shows what is due.
    pub fn tick(&mut self, meter: &Meter) {
        let now = Instant::now();
        if let Some(line) = self.line.as_mut().filter(|line| now >= line.next) {
            line.tick(meter);
            line.next = now + INTERVAL;
        }
        if let Some(counts) = self.counts.as_mut().filter(|counts| now >= counts.next) {
            counts.show(meter, false);
            counts.next = now + counts.every;
        }
    }

    /// Leaves the final figures behind.
    pub fn finish(self, meter: &Meter) {
        if let Some(line) = self.line {
            line.finish(meter);
        }
        if let Some(counts) = self.counts {
            counts.show(meter, true);
        }
    }
}

/// The counts for programs.
struct Counts {
    every: Duration,
    next: Instant,
}

impl Counts {
    fn show(&self, meter: &Meter, ended: bool) {
        let (sent, received) = meter.read();
        let json = Json::Object(vec![
            ("sent", Json::Whole(sent)),
            ("received", Json::Whole(received)),
            ("seconds", Json::Number(meter.elapsed().as_secs_f64())),
            ("ended", Json::Bool(ended)),
        ]);
        show(&format!("{json}\n"));
    }
}

/// The line on standard error.
struct Line {
    terminal: bool,
    last: Instant,
    next: Instant,
    seen: (u64, u64),
    drawn: bool,
    ticks: u32,
}

impl Line {
    /// Starts the clock; nothing if it is not to be shown.
    fn start(when: When) -> Option<Self> {
        let terminal = io::stderr().is_terminal();
        let wanted = match when {
            When::Always => true,
            When::Never => false,
            // Where both are terminals, what is said and heard stands there: a line between would disturb.
            When::Auto => terminal && !io::stdout().is_terminal(),
        };
        let now = Instant::now();
        wanted.then_some(Self { terminal, last: now, next: now + INTERVAL, seen: (0, 0), drawn: false, ticks: 0 })
    }

    /// To be called once in an [`INTERVAL`].
    fn tick(&mut self, meter: &Meter) {
        self.ticks = self.ticks.wrapping_add(1);
        if !self.terminal && !self.ticks.is_multiple_of(LOG_EVERY) {
            return;
        }
        let (seen, now) = (meter.read(), Instant::now());
        let line = running(self.seen, seen, now - self.last);
        let still = seen == self.seen && self.drawn;
        (self.seen, self.last) = (seen, now);
        // A line that says nothing new leaves alone what a person types on it.
        if !still {
            self.drawn = true;
            show(&if self.terminal { format!("\r{}\x1b[K", fitted(&line, columns())) } else { format!("{line}\n") });
        }
    }

    /// Leaves the final figures behind.
    fn finish(self, meter: &Meter) {
        let back = if self.terminal && self.drawn { "\r\x1b[K" } else { "" };
        show(&format!("{back}{}\n", total(meter.read(), meter.elapsed())));
    }
}

/// How wide the terminal is; 0 if that is not known.
fn columns() -> usize {
    rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col.into())
}

/// As much of a line as a terminal shows without going on in the next one.
fn fitted(line: &str, columns: usize) -> String {
    if columns == 0 { line.to_owned() } else { line.chars().take(columns.saturating_sub(1)).collect() }
}

/// Standard error that cannot be written is no reason to stop.
fn show(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The line while it runs, with the rates since it was drawn last.
fn running(before: (u64, u64), now: (u64, u64), time: Duration) -> String {
    let rate = |before: u64, now: u64| BinaryRate(now.saturating_sub(before) as f64 / time.as_secs_f64().max(1e-3));
    let (sent, received) = (rate(before.0, now.0), rate(before.1, now.1));
    format!("smstream: sent {} ({sent}), received {} ({received})", Bytes(now.0), Bytes(now.1))
}

/// The line at the end, with the rate over all.
fn total((sent, received): (u64, u64), time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = BinaryRate(sent.saturating_add(received) as f64 / seconds.max(1e-3));
    format!("smstream: sent {}, received {} in {seconds:.2} s ({rate})", Bytes(sent), Bytes(received))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_people() {
        let line = running((0, 1 << 20), (1_000_000, 1 << 20), Duration::from_millis(500));
        assert_eq!(line, "smstream: sent 976.56 KiB (1.91 MiB/s), received 1 MiB (0 bytes/s)");
        let line = total((2_000_000_000, 0), Duration::from_secs(2));
        assert_eq!(line, "smstream: sent 1.86 GiB, received 0 bytes in 2.00 s (954 MiB/s)");
    }

    #[test]
    fn a_narrow_terminal_gets_less() {
        assert_eq!(fitted("smstream: sent", 9), "smstream");
        assert_eq!(fitted("smstream: sent", 0), "smstream: sent");
        assert_eq!(fitted("ü", 1), "");
    }

    #[test]
    fn no_time_and_no_bytes_are_no_problem() {
        assert!(running((5, 5), (0, 0), Duration::ZERO).contains("0 bytes/s"));
        assert!(total((u64::MAX, 1), Duration::ZERO).starts_with("smstream: sent "));
    }
}
