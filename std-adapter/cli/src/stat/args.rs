//! What `smstream stat` is asked.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::target::{self, Target};

/// `smstream stat`.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// What to look at: file:PATH, shm:/NAME, unix:PATH, unix:@NAME, PID (all its streams), or PID:FD
    #[arg(value_name = "ADDR|PID[:FD]", value_parser = target::parser())]
    pub target: Target,
    /// Go on looking, on the whole terminal
    #[arg(short, long)]
    pub watch: bool,
    /// How long to wait between two looks of --watch
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    pub interval: Duration,
    /// Write JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Write a picture of what --watch shows after so many looks, and end
    #[arg(long, hide = true, value_name = "FILE", requires = "looks")]
    pub picture: Option<PathBuf>,
    /// The looks before the picture
    #[arg(long, hide = true, value_name = "N", requires = "picture")]
    pub looks: Option<u32>,
}

/// Reads the time between two looks.
fn parse_interval(text: &str) -> Result<Duration, String> {
    match text.parse().map(Duration::try_from_secs_f64) {
        Ok(Ok(time)) if (SHORTEST..=LONGEST).contains(&time) => Ok(time),
        _ => Err("write a number of seconds from 0.05 to 3600".to_owned()),
    }
}

/// The shortest time between two looks: a person sees no more, and the parties shall not notice.
pub const SHORTEST: Duration = Duration::from_millis(50);
/// The longest.
pub const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(parse_interval("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "0", "0.01", "-1", "NaN", "inf", "4000", "soon"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }
}
