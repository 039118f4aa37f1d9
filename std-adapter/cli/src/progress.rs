//! How much has gone each way, on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::options::When;
use crate::size::{Bytes, Rate};

/// How often the line is drawn again.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// Where standard error is no terminal, a line comes with every so many intervals.
const LOG_EVERY: u32 = 20;

/// Bytes that went each way, counted by the threads that move them.
#[derive(Debug, Default)]
pub struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Meter {
    /// Counts what was given to the stream.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what the stream gave.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What was sent and received so far.
    pub fn read(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// The line on standard error.
pub struct Progress {
    terminal: bool,
    start: Instant,
    last: Instant,
    seen: (u64, u64),
    drawn: bool,
    ticks: u32,
}

impl Progress {
    /// Starts the clock; nothing if nobody wants to see it.
    pub fn start(when: When) -> Option<Self> {
        let terminal = io::stderr().is_terminal();
        let wanted = match when {
            When::Always => true,
            When::Never => false,
            // Where both are terminals, what is said and heard stands there: a line between would disturb.
            When::Auto => terminal && !io::stdout().is_terminal(),
        };
        let now = Instant::now();
        wanted.then_some(Self { terminal, start: now, last: now, seen: (0, 0), drawn: false, ticks: 0 })
    }

    /// To be called once in an [`INTERVAL`].
    pub fn tick(&mut self, meter: &Meter) {
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
            show(&if self.terminal { format!("\r{line}\x1b[K") } else { format!("{line}\n") });
        }
    }

    /// Leaves the final figures behind.
    pub fn finish(self, meter: &Meter) {
        let back = if self.terminal && self.drawn { "\r\x1b[K" } else { "" };
        show(&format!("{back}{}\n", total(meter.read(), self.start.elapsed())));
    }
}

/// Standard error that cannot be written is no reason to stop.
fn show(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The line while it runs, with the rates since it was drawn last.
fn running(before: (u64, u64), now: (u64, u64), time: Duration) -> String {
    let rate = |before: u64, now: u64| Rate(now.saturating_sub(before) as f64 / time.as_secs_f64().max(1e-3));
    let (sent, received) = (rate(before.0, now.0), rate(before.1, now.1));
    format!("smstream: sent {} ({sent}), received {} ({received})", Bytes(now.0), Bytes(now.1))
}

/// The line at the end, with the rate over all.
fn total((sent, received): (u64, u64), time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = Rate(sent.saturating_add(received) as f64 / seconds.max(1e-3));
    format!("smstream: sent {}, received {} in {seconds:.2} s ({rate})", Bytes(sent), Bytes(received))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_people() {
        let line = running((0, 1 << 20), (1_000_000, 1 << 20), Duration::from_millis(500));
        assert_eq!(line, "smstream: sent 976.56 KiB (2.00 MB/s), received 1 MiB (0 B/s)");
        let line = total((2_000_000_000, 0), Duration::from_secs(2));
        assert_eq!(line, "smstream: sent 1.86 GiB, received 0 bytes in 2.00 s (1.00 GB/s)");
    }

    #[test]
    fn no_time_and_no_bytes_are_no_problem() {
        assert!(running((5, 5), (0, 0), Duration::ZERO).contains("0 B/s"));
        assert!(total((u64::MAX, 1), Duration::ZERO).starts_with("smstream: sent "));
    }
}
