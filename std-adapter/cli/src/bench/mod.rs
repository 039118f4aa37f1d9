//! `smstream bench`: streams beside what else this system has, between two processes.

mod names;

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use smstream_bench::control::Control;
use smstream_bench::floor::{self, Words};
use smstream_bench::plan::{Pattern, Placement, Plan};
use smstream_bench::rounds::Bench;
use smstream_bench::transport::{Transport, Waiting};
use smstream_bench::{json, partner, plot, report, system};

use crate::demo::peer::end_with;
use crate::failure::{Context, Failure, say};
use crate::options::EXIT_CODES;
use crate::stdio::Output;
use crate::{signals, size};

/// The hidden subcommand that the second process runs.
pub const PEER: &str = "bench-peer";

/// The longest message: four times the default lane is enough to see what a lane that is too short costs, and half of the
/// largest lane is the most that a record can have.
const LONGEST: u64 = 256 << 20;

/// For so long no turn may last.
const PATIENCE: Duration = Duration::from_secs(60);

const MORE: &str = "\
Examples:
  smstream bench                               the usual sizes, a minute
  smstream bench --sizes 64,1k --only smstream,pipe,unix-stream
  smstream bench --long --pattern round-trip --sizes 64
  smstream bench --json > figures.json
  smstream bench --plot figures.svg

How it measures:
  Two processes. Each message is written from a private buffer on one side and copied into one on the other. Every
  round gives each transport one turn, so that a change of the machine meets all alike; shown are medians of the
  rounds. A round's regime, near or far, is measured by two cache lines that go there and back; rounds of different
  regimes are never put together. Round trips are also timed one by one; reading the clock is part of those.
  'default' is what a user has who sets no option. 'busy' never sleeps. 'asleep' always sleeps: turns in which a
  side did not are left out. CPU time and system calls are of both sides, for each message or round trip.

Floors (what this machine needs at least):
  one line, two lines    a cache line that goes there and comes back; one there and another one back
  futex                  the same, with both sides asleep
  memcpy                 a copy into a buffer of 256 KiB and out of it, on one CPU

Ctrl-C ends the measuring and shows what is there; a second one ends the command.

Keys of --json:
  rounds          how many
  cpus            of both sides when pinned, or null
  transports      a list:
    name
    description
  skipped         a list of transports that could not be opened:
    name
    why
  rows            a list, one for each row and regime:
    pattern       throughput or round_trip
    waiting       default, busy or asleep
    placement     pinned or free
    size          bytes of a message
    name
    is_floor
    regime        near, far or one CPU
    rounds        how many count
    rounds_awake  how many were left out, because a side did not sleep
    nanoseconds   of a message or round trip:
      median, min, max
    each_round    the figure of every round that counts
    bytes_per_second  for throughput, else null
    percentiles   of single round trips, or null:
      p50, p99, p99_9, longest
    cpu_nanoseconds
    system_calls
    ratio_to_smstream, ratio_to_floor";

/// What the help says at its end.
pub fn more() -> String {
    format!("{MORE}\n\n{EXIT_CODES}")
}

/// `smstream bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The lengths of messages, from 1 byte to 256 MiB, separated by commas
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = parse_size)]
    #[arg(default_value = "8,64,1k,4k,64k,1M")]
    pub sizes: Vec<usize>,
    /// How many rounds to measure
    #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// How long one turn lasts, in milliseconds
    #[arg(long, value_name = "MS", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub turn: u16,
    /// Measure these transports only; the names are those of the tables
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = transport_names())]
    pub only: Vec<String>,
    /// What to measure
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',', default_value = "throughput,round-trip")]
    pub pattern: Vec<PatternName>,
    /// How the two sides wait
    #[arg(long, value_name = "WAYS", value_delimiter = ',', default_value = "default,asleep")]
    pub waiting: Vec<WaitingName>,
    /// Where the two sides run
    #[arg(long, value_name = "PLACES", value_delimiter = ',', default_value = "pinned,free")]
    pub placement: Vec<PlacementName>,
    /// Show spread, percentiles, CPU time and system calls: a table for each size
    #[arg(long)]
    pub long: bool,
    /// Write one line of JSON instead of tables
    #[arg(long, conflicts_with = "long")]
    pub json: bool,
    /// Draw throughput against size, and the distribution of round trips, as an SVG
    #[arg(long, value_name = "FILE.svg", value_hint = clap::ValueHint::FilePath)]
    pub plot: Option<PathBuf>,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PatternName {
    /// Messages one way
    Throughput,
    /// One message there and back
    RoundTrip,
}

/// How the two sides wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaitingName {
    /// As without any option
    Default,
    /// Never asleep
    Busy,
    /// Always asleep
    Asleep,
}

/// Where the two sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlacementName {
    /// Each side on a CPU of its own
    Pinned,
    /// Where the scheduler puts them
    Free,
}

fn parse_size(text: &str) -> Result<usize, String> {
    match size::parse(text) {
        Ok(0) => Err("a message of no bytes carries nothing: give at least 1".to_owned()),
        Ok(bytes) if bytes > LONGEST => Err("a message has at most 256 MiB here".to_owned()),
        Ok(bytes) => usize::try_from(bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn transport_names() -> clap::builder::PossibleValuesParser {
    system::ALL.iter().map(|transport| transport.name()).collect::<Vec<_>>().into()
}

impl BenchArgs {
    fn plan(&self) -> Plan {
        let mut sizes = self.sizes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        let placement = |name: &PlacementName| match name {
            PlacementName::Pinned => Placement::Pinned,
            PlacementName::Free => Placement::Free,
        };
        let pattern = |name: &PatternName| match name {
            PatternName::Throughput => Pattern::Throughput,
            PatternName::RoundTrip => Pattern::RoundTrip,
        };
        let waiting = |name: &WaitingName| match name {
            WaitingName::Default => Waiting::Default,
            WaitingName::Busy => Waiting::Busy,
            WaitingName::Asleep => Waiting::Asleep,
        };
        Plan {
            sizes,
            placements: self.placement.iter().map(placement).collect(),
            patterns: self.pattern.iter().map(pattern).collect(),
            waitings: self.waiting.iter().map(waiting).collect(),
            rounds: usize::from(self.rounds),
            turn: u64::from(self.turn) * 1_000_000,
        }
    }

    fn transports(&self) -> Vec<&'static dyn Transport> {
        let is_wanted = |it: &&dyn Transport| self.only.is_empty() || self.only.iter().any(|name| name == it.name());
        system::ALL.iter().copied().filter(is_wanted).collect()
    }
}

/// Measures, and shows what was measured.
pub fn run(args: &BenchArgs) -> Result<(), Failure> {
    let stop = stop_on_signals()?;
    let memory = floor::create().or_broken("could not make memory to share")?;
    let words = Words::map(&memory).or_broken("could not map memory to share")?;
    let transports = args.transports();
    let plan = args.plan();
    let (control, second) = Second::start(&memory)?;
    let bench = Bench { control, transports: &transports, words: &words, prefix: names::prefix() };
    let mut progress = Progress::new(second.turns.clone());
    let measured = bench.run(&plan, |done, total| {
        progress.show(done, total);
        !stop.load(Ordering::Relaxed)
    });
    progress.clear();
    let results = match measured {
        Ok(results) => results,
        Err(error) => return Err(second.explain(&error)),
    };
    second.finish();
    if results.rows.iter().all(|row| row.turns.is_empty()) {
        return Err(Failure::broken("nothing was measured: it was ended before the first round was over"));
    }
    let text = if args.json {
        format!("{}\n", json::json(&results, &transports))
    } else {
        report::report(&results, args.long)
    };
    Output::new().print(&text)?;
    if let Some(path) = &args.plot {
        plot::plot(&results, path).or_broken(format_args!("could not draw {}", path.display()))?;
    }
    Ok(())
}

/// The second process: runs until the first one says that it is done.
pub fn run_peer(parent: u32, memory: &Path) -> Result<(), Failure> {
    let what = "the second process of `smstream bench`";
    signals::on_end(|signal| process::exit(i32::from(signals::code(signal)))).or_broken(what)?;
    end_with(parent).or_broken(what)?;
    let talk = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).or_broken(what)?;
    let words = Words::of_file(memory).or_broken(what)?;
    partner::serve(Control::over(talk).or_broken(what)?, system::ALL, &words).or_broken(what)
}

/// Set by the first signal that asks this process to end. The second one ends it.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    signals::on_end_twice(
        move || asked.store(true, Ordering::Relaxed),
        |signal| {
            names::remove();
            process::exit(i32::from(signals::code(signal)));
        },
    )
    .or_broken("could not prepare to be interrupted")?;
    Ok(stop)
}

/// The second process, and a thread that waits for its end or for a measurement that stands still.
struct Second {
    child: Arc<Mutex<Child>>,
    is_over: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
    watch: thread::JoinHandle<()>,
}

impl Second {
    fn start(memory: &OwnedFd) -> Result<(Control, Self), Failure> {
        let what = "could not prepare the second process";
        let (talk, their_talk) = UnixStream::pair().or_broken(what)?;
        let program = std::env::current_exe().or_broken("could not find this program's own file")?;
        let child = Command::new(&program)
            .args([PEER, &process::id().to_string()])
            .arg(format!("/proc/{}/fd/{}", process::id(), memory.as_raw_fd()))
            // Ctrl-C on the terminal is for the first process, which shows what there is.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(their_talk)))
            .stdout(Stdio::null())
            .spawn()
            .or_broken(format_args!("could not start {} a second time", program.display()))?;
        let child = Arc::new(Mutex::new(child));
        let (is_over, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let watch = watch(Arc::clone(&child), Arc::clone(&is_over), Arc::clone(&turns)).or_broken(what)?;
        Ok((Control::over(talk).or_broken(what)?, Self { child, is_over, turns, watch }))
    }

    /// Waits for its end, which is no failure.
    fn finish(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let _ = self.watch.join();
    }

    /// The failure of a measurement: the end of the second process, if that is the cause.
    fn explain(self, error: &io::Error) -> Failure {
        self.is_over.store(true, Ordering::SeqCst);
        let ended = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten();
        match ended {
            Some(status) => Failure::broken(format!("the second process ended too early ({status}): {error}")),
            None => Failure::broken(format!("could not measure: {error}")),
        }
    }
}

/// Ends this process if the second one ends before it is over, or if no turn ends for [`PATIENCE`]: some transports would
/// wait for ever.
fn watch(
    child: Arc<Mutex<Child>>,
    is_over: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("second process".to_owned()).spawn(move || {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            let ended = child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
            let now = turns.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            let text = match ended {
                Ok(Some(status)) => format!("the second process ended too early ({status})"),
                _ if since.elapsed() > PATIENCE => {
                    format!("no turn has ended for {} seconds: the measurement gives up", PATIENCE.as_secs())
                }
                _ => {
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
            };
            // The main thread may find out at the same time, and says so itself.
            thread::sleep(Duration::from_millis(200));
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            say(text);
            names::remove();
            process::exit(Failure::BROKEN.into());
        }
    })
}

/// One line on standard error while it is measured, where a person looks.
struct Progress {
    is_shown: bool,
    begin: Instant,
    last: Option<Instant>,
    turns: Arc<AtomicU64>,
}

impl Progress {
    fn new(turns: Arc<AtomicU64>) -> Self {
        Self { is_shown: io::stderr().is_terminal(), begin: Instant::now(), last: None, turns }
    }

    fn show(&mut self, done: usize, total: usize) {
        self.turns.store(done as u64, Ordering::Relaxed);
        if !self.is_shown || self.last.is_some_and(|last| last.elapsed() < Duration::from_millis(250)) {
            return;
        }
        self.last = Some(Instant::now());
        let elapsed = self.begin.elapsed().as_secs_f64();
        let left = elapsed * (total - done) as f64 / done.max(1) as f64;
        let _ = write!(io::stderr(), "\r{:3} %, about {left:.0} s left \x1b[K", done * 100 / total.max(1));
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        assert_eq!(parse_size("64k"), Ok(65536));
        for text in ["0", "257M", "x", "", "-1"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
