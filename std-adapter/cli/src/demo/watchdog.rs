//! A demo that stands still says so and ends: a hang would prove nothing to anyone.

use std::io;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::scratch;
use crate::failure::{Failure, say};

/// How often something went on, in this process.
static BEATS: AtomicU64 = AtomicU64::new(0);

/// For so many seconds nothing may go on.
const PATIENCE: u32 = 20;

/// Says that something went on.
pub fn beat() {
    BEATS.fetch_add(1, Ordering::Relaxed);
}

/// Watches from now on.
pub fn start() -> io::Result<()> {
    thread::Builder::new().name("watchdog".to_owned()).spawn(|| {
        let (mut seen, mut still) = (0, 0);
        // Seconds that this process runs, not seconds of the clock: one that was stopped for an hour goes on.
        while still < PATIENCE {
            thread::sleep(Duration::from_secs(1));
            let beats = BEATS.load(Ordering::Relaxed);
            still = if beats == seen { still + 1 } else { 0 };
            seen = beats;
        }
        say(format_args!("nothing has moved for {PATIENCE} seconds: the demo gives up"));
        scratch::remove();
        process::exit(Failure::BROKEN.into());
    })?;
    Ok(())
}
