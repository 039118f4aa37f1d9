//! What is to be done, and what came of it.

use std::io::{self, Write};
use std::time::Duration;

/// How long a party waits for another one, or for what it says: longer than the harness does.
pub const LONG: Duration = Duration::from_secs(100);

/// What is to be done: which side, where, and how.
#[derive(Clone, Debug)]
pub struct Task {
    /// `listen`, `connect` or `pair`.
    pub side: String,
    /// The address.
    pub addr: String,
    /// `both`, `oneway`, `any`, `poll`, `tokio`.
    pub way: String,
    /// How long a listener waits for a connector. Where no connection can come about it is little.
    pub patience: Duration,
}

/// Says what came of it.
pub fn tell(what: &str, result: &io::Result<()>) {
    match result {
        Ok(()) => println!("{what} ok"),
        Err(e) => println!("{what} error: {}", e.to_string().replace('\n', " ")),
    }
    let _ = io::stdout().flush();
}
