//! How the streams of the tests wait, and how much they hold.

use std::time::Duration;

use super::control::Test;
use crate::size::{Capacity, MAX_CAPACITY};
use crate::transport::Options;

/// How long an end that shall stay awake looks before it sleeps.
const STAY_AWAKE: Duration = Duration::from_millis(100);

/// How a stream for a test waits.
pub fn stream_options(test: Option<Test>) -> Options {
    let spin = match test {
        None | Some(Test::Bulk) => None,
        Some(Test::Busy) => Some(STAY_AWAKE),
        Some(Test::Asleep) => Some(Duration::ZERO),
    };
    // What the first process offers, the second accepts.
    Options { max_capacity: Some(MAX_CAPACITY), spin, ..Options::default() }
}

/// The same with a capacity, which the listener chooses.
pub fn with_capacity(options: Options, capacity: Capacity) -> Options {
    Options { capacity: Some(capacity.bytes()), ..options }
}
