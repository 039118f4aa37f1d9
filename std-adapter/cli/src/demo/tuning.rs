//! How the streams of the tests wait, and how much they hold.

use std::time::Duration;

use super::control::Test;
use crate::size::{Capacity, MAX_CAPACITY};
use crate::transport::Options;

/// How a stream for a test waits: as without any option, but where both ends are to sleep.
pub fn stream_options(test: Option<Test>) -> Options {
    let spin = match test {
        None | Some(Test::Bulk | Test::Busy) => None,
        Some(Test::Asleep) => Some(Duration::ZERO),
    };
    // What the first process offers, the second accepts.
    Options { max_capacity: Some(MAX_CAPACITY), spin, ..Options::default() }
}

/// The same with a capacity, which the listener chooses.
pub fn with_capacity(options: Options, capacity: Capacity) -> Options {
    Options { capacity: Some(capacity.bytes()), ..options }
}
