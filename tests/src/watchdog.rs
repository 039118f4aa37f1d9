//! An end for tests that hang.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long a step may take that takes no time unless something hangs. The machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Ends this process with a message if it is not dropped in time.
#[derive(Debug)]
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// For a test that takes much less than `time`.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let (alive, gone) = channel::<()>();
        thread::spawn(move || {
            if gone.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "WATCHDOG: {test} has not ended after {time:?}: something hangs. The processes it made die with it."
                );
                std::process::abort();
            }
        });
        Watchdog { _alive: alive }
    }

    /// For a test of ordinary length.
    #[must_use]
    pub fn new() -> Self {
        Self::after(2 * PATIENCE)
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}
