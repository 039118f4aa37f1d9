//! `smstream stat`: both lanes of a stream, side by side.

mod bar;
mod json;
mod picture;
mod rows;
mod screen;
mod text;
mod view;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use smstream::inspect::{Follower, Report, Stream};

use crate::failure::Failure;
use crate::stdio::Output;
use crate::style::Paint;
use crate::target::{self, Target};

/// What the help says beside the options.
pub const MORE: &str = "\
It only looks: no lock is taken, nobody is woken, nothing is written. Rates are those between
two looks. A time of sleep is how long this command has seen it; it may be longer. Whoever looks
keeps the memory of the stream until the command ends.

An address means its listener and the streams that it has accepted. At a unix: address there is
nothing to look at before the first stream, and the streams of a process that has accepted at
several such addresses are named by PID:FD only: which one met where does not show.

Keys of --watch:
  q, Esc, Ctrl-C  end                      + -    look more or less often
  Tab, arrows     the next stream          space  hold still

Examples:
  smstream stat file:/dev/shm/x                once
  smstream stat unix:@web                      the streams that met there
  smstream stat --watch 4711:9                 live; `smstream ls` shows the numbers
  smstream stat --watch --json 4711:9          a line of JSON every second

Keys of --json (with --watch, a line for each look):
  streams          a list:
    state, address, address_hex, capacities, fill, age_seconds, alive
                   as `smstream ls --json` has them
    holders        likewise:
      pid, fd, command, party
    stuck          why nothing can move any more, or null
    lanes          the listener's lane, then the connector's:
      capacity
      fill         or null
      sent, received  cursors
      finished, stopped
      writer, reader
        rest       awake, asleep or odd
        wants      bytes (or bytes of room) waited for, or null
        seen_for   seconds
        bytes, operations, parks, wakes_sent, wakes_avoided
                   in all, or null without counters
        rates      the same in a second, or null:
          bytes, operations, parks, wakes_sent, wakes_avoided

Exit codes:
  0  done; the end of what is watched is no failure
  1  standard output could not be written
  2  the command line is wrong, or --watch has no terminal
  3  nothing is there to look at";

/// The time between the two looks of a single report.
const MOMENT: Duration = Duration::from_millis(250);

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
const SHORTEST: Duration = Duration::from_millis(50);
/// How often to look for new streams, at most: it takes a look at all processes.
const FIND: Duration = Duration::from_millis(900);
/// The longest.
const LONGEST: Duration = Duration::from_secs(3600);

/// Shows it.
pub fn run(args: &StatArgs) -> Result<(), Failure> {
    if args.picture.is_some() || (args.watch && !args.json) {
        return screen::run(args);
    }
    let mut followed = Followed::new(args.target.clone())?;
    followed.look();
    loop {
        thread::sleep(if args.watch { args.interval } else { MOMENT });
        if args.watch {
            followed.find_more();
        }
        let reports = followed.look();
        if reports.is_empty() {
            return if args.watch { Ok(()) } else { Err(nothing(&args.target)) };
        }
        let text =
            if args.json { format!("{}\n", json::all(&reports)) } else { text::all(&reports, Paint::for_stdout()) };
        Output::new().print(&text)?;
        if !args.watch {
            return Ok(());
        }
    }
}

fn nothing(target: &Target) -> Failure {
    Failure::no_connection(format!("{target}: nothing is there to look at any more"))
}

/// The streams of a target, and what was seen of them.
pub struct Followed {
    target: Target,
    /// Each, and whether a party of it was seen alive.
    watches: Vec<(Follower, bool)>,
    /// All streams of the last look at all processes.
    known: Vec<Stream>,
    /// When that was.
    found: Instant,
}

impl Followed {
    /// Finds them.
    pub fn new(target: Target) -> Result<Self, Failure> {
        let mut known = Vec::new();
        let watches = target.streams(&mut known)?.into_iter().map(fresh).collect();
        Ok(Self { target, watches, known, found: Instant::now() })
    }

    /// Adds what has come since; what is known stays, with what was seen of it.
    pub fn find_more(&mut self) {
        // A descriptor that is followed stays what it was, even if its number is another file's by now.
        if matches!(self.target, Target::Descriptor { .. }) || self.found.elapsed() < FIND {
            return;
        }
        self.found = Instant::now();
        for stream in self.target.streams(&mut self.known).unwrap_or_default() {
            let id = |stream: &Stream| stream.channel.segment(0).0.id();
            match self.watches.iter_mut().find(|(known, _)| id(known.stream()) == id(&stream)) {
                Some((known, _)) => known.update(stream),
                None => self.watches.push(fresh(stream)),
            }
        }
    }

    /// Looks at all of them. What both parties have left is shown once more, and then no longer followed.
    pub fn look(&mut self) -> Vec<(Stream, Report)> {
        let mut reports = Vec::new();
        self.watches.retain_mut(|(watch, lived)| {
            let Ok(report) = watch.look() else { return false };
            let alive = report.look.alive != [Some(false); 2];
            let died = *lived && !alive;
            *lived |= alive;
            reports.push((watch.stream().clone(), report));
            !died
        });
        reports
    }
}

fn fresh(stream: Stream) -> (Follower, bool) {
    (Follower::new(stream), false)
}

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
