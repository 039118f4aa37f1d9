//! Arguments that several commands have, and how their values are written.

use std::time::Duration;

use clap::{Args, ValueEnum};
use smstream::Addr;

use crate::failure::Failure;
use crate::refusals;
use crate::size::{self, Capacity};
use crate::transport::{Options, Users};
use crate::users;

/// The exit codes, as every help text shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the peer died, the stream is corrupt, bytes were not delivered,
       or local input or output failed
  2    the command line is wrong
  3    no connection: could not listen, accept or connect
  4    the command would have had to wait (sem, msg)
  129, 130, 143  ended by SIGHUP, SIGINT (Ctrl-C) or SIGTERM: names are removed, connections
       broken off";

/// What a stream is to be like.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of the stream")]
pub struct StreamArgs {
    /// The bytes of the lane in each direction, a power of two up to 512 MiB
    ///
    /// The listener decides. A connector that asks for the same size over unix: meets it in fewer steps. Other sizes are
    /// rounded up. Suffixes: k, M, G (or KiB, MiB, GiB) count in 1024; kB, MB, GB in 1000.
    #[arg(long, value_name = "BYTES", value_parser = size::parse_capacity)]
    pub capacity: Option<Capacity>,
    /// The most bytes that the listener may give a lane, when connecting over unix: [default: 64 MiB, or --capacity]
    #[arg(long, value_name = "BYTES", value_parser = size::parse_capacity)]
    pub max_capacity: Option<Capacity>,
    /// Let this user be the peer as well, over unix: (may be given several times)
    ///
    /// Without this both must be the same user. Over file: and shm: they always must.
    #[arg(long, value_name = "NAME|UID", value_parser = users::parse)]
    pub allow_user: Vec<u32>,
    /// Let any user be the peer, over unix:
    #[arg(long, conflicts_with = "allow_user")]
    pub allow_any_user: bool,
    /// How long to look for bytes before sleeping, such as 0, 50us or 2ms
    ///
    /// A longer time gives a sooner answer and takes processor time. By default it looks for at most
    /// 50 µs, and less often where that is in vain.
    #[arg(long, value_name = "TIME", value_parser = parse_spin)]
    pub spin: Option<Duration>,
}

impl StreamArgs {
    /// What to ask of the library.
    pub fn options(&self) -> Options {
        Options {
            capacity: self.capacity.map(Capacity::bytes),
            max_capacity: self.max_capacity.map(Capacity::bytes),
            spin: self.spin,
            users: Users { any: self.allow_any_user, uids: self.allow_user.clone() },
            on_turned_away: None,
        }
    }

    /// The same for a command that listens.
    pub fn listening(&self, verbose: bool) -> Options {
        let report = if verbose { refusals::each } else { refusals::shortages };
        Options { on_turned_away: Some(report), ..self.options() }
    }

    /// Refuses options that would do nothing at any of the addresses.
    pub fn check<'a>(&self, addrs: impl IntoIterator<Item = &'a Addr>) -> Result<(), Failure> {
        let option = if self.allow_any_user { "--allow-any-user" } else { "--allow-user" };
        let given = self.allow_any_user || !self.allow_user.is_empty();
        let mut addrs = addrs.into_iter();
        if given && addrs.all(|addr| matches!(addr, Addr::File(_) | Addr::Shm(_))) {
            return Err(Failure::usage(format!(
                "{option} is for unix: and fd: addresses: over file: and shm: both parties must run as the same user"
            )));
        }
        Ok(())
    }

    /// What to tell a user whose figures were rounded up.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.capacity.into_iter().chain(self.max_capacity).filter_map(Capacity::note)
    }
}

/// What goes where, and when it is over.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of the transfer")]
pub struct TransferArgs {
    /// Only receive: standard input is not read
    #[arg(short = 'd', long)]
    pub recv_only: bool,
    /// Only send: what the peer sends is not read, and standard output is not used
    #[arg(long, conflicts_with = "recv_only")]
    pub send_only: bool,
    /// At the end of standard input, tell the peer that no more comes (this is the default)
    #[arg(short = 'N', long, overrides_with = "no_shutdown")]
    pub shutdown: bool,
    /// At the end of standard input, do not tell the peer: this direction stays open until the peer has ended the other
    #[arg(long)]
    pub no_shutdown: bool,
    /// Break the connection off when nothing has gone either way for so long (fractions are allowed)
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = parse_pause)]
    pub idle: Option<Duration>,
    /// Pass bytes on by whole lines, both those sent and those received
    #[arg(long)]
    pub lines: bool,
    /// Report on standard error who connected, what was refused and why, and how each connection ended
    #[arg(short, long)]
    pub verbose: bool,
    /// How to show what goes on.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// Whether to show progress.
#[derive(Clone, Copy, Debug, Args)]
pub struct ProgressArgs {
    /// Show on standard error how many bytes went each way
    ///
    /// By default the command shows them when standard error is a terminal and standard output is not one.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "auto", default_missing_value = "always", hide_default_value = true)]
    pub progress: When,
    /// Write the counts to standard error as a line of JSON, at this interval and at the end
    ///
    /// Its keys: sent and received (bytes), seconds (since the connection began), ended (whether it is the last line).
    #[arg(long, value_name = "SECONDS", value_parser = parse_pause)]
    pub counts: Option<Duration>,
}

/// When to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Where a person is likely to look
    Auto,
    /// Wherever it goes
    Always,
    /// Not at all
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

/// Reads a time in seconds that is more than none.
pub fn parse_pause(text: &str) -> Result<Duration, String> {
    let time = parse_seconds(text)?;
    if time < Duration::from_millis(1) {
        return Err("write a number of seconds from 0.001 to 1000000000".to_owned());
    }
    Ok(time)
}

/// Reads a short time with its unit.
fn parse_spin(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time with its unit, such as 50us, 2ms or 1s, or 0".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let units = [("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, unit) = unit.ok_or_else(wrong)?;
    let number: f64 = number.trim_end().parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * unit).ok().filter(|time| *time <= Duration::from_secs(3600)).ok_or_else(wrong)
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
        assert!(parse_pause("0").is_err() && parse_pause("0.001").is_ok());
    }

    #[test]
    fn times_to_spin() {
        assert_eq!(parse_spin("0"), Ok(Duration::ZERO));
        assert_eq!(parse_spin("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(parse_spin("1.5ms"), Ok(Duration::from_micros(1500)));
        assert_eq!(parse_spin("1s"), Ok(Duration::from_secs(1)));
        for junk in ["", "5", "us", "-1ms", "NaNs", "infs", "1h", "7200s"] {
            assert!(parse_spin(junk).is_err(), "{junk}");
        }
    }
}
