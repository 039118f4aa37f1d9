//! What a listening command says of connectors that it turned away.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use smstream::TurnedAway;

use crate::failure::say;
use crate::transport::words_in_options;

/// How often to say that this process is short of something.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Says each, and why: for `--verbose`.
pub fn each(connector: &TurnedAway) {
    say(words_in_options(&connector.to_string()));
}

/// Says only what this process was short of, now and then: that is for its user to mend. What is wrong with a connector is not.
pub fn shortages(connector: &TurnedAway) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    if !connector.is_shortage() {
        return;
    }
    let mut said = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
        *said = Some(Instant::now());
        each(connector);
    }
}
