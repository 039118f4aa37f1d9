//! Arguments that several commands have, and how their values are written.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// The exit codes, as every help text shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the peer died, the stream is corrupt, bytes were not delivered,
     or local input or output failed
  2  the command line is wrong
  3  no connection: could not listen, accept or connect
  4  it would have had to wait (sem, msg)";

/// Whether to show progress.
#[derive(Debug, Args)]
pub struct ProgressArgs {
    /// Show on standard error how many bytes went each way
    ///
    /// By default that is so when standard error is a terminal and standard output is not one too.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "auto", default_missing_value = "always", hide_default_value = true)]
    pub progress: When,
}

/// When to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Where a person is likely to look
    Auto,
    /// In any case
    Always,
    /// In no case
    Never,
}

/// Reads a time in seconds.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds, such as 10 or 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if seconds <= 1e9 => Ok(time),
        _ => Err("write a number of seconds from 0 to 1000000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds() {
        assert_eq!(parse_seconds("0"), Ok(Duration::ZERO));
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for junk in ["", "-1", "NaN", "inf", "1e300", "ten"] {
            assert!(parse_seconds(junk).is_err(), "{junk}");
        }
    }
}
