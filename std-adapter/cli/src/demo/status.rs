//! A line on the terminal that says what the demo does at the moment.

use std::io::{self, IsTerminal, Write};

/// Shows a person that it goes on, in a line that the next one replaces.
pub fn progress(text: &str) {
    if io::stderr().is_terminal() {
        // What cannot be shown is no reason to stop.
        let _ = io::stderr().write_all(format!("\r{text}\x1b[K").as_bytes());
    }
}
