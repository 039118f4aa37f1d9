//! Streams beside other crates: `cargo run --release --bin peers [ROUNDS] [SIZES]`, for example `peers 9 8,64,1024,65536`.
//!
//! First between two processes, then between two threads for those that know no processes. The tables are those of
//! `smstream bench`, with the same engine.

use std::error::Error;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use smstream_bench::control::Control;
use smstream_bench::floor::Words;
use smstream_bench::plan::{Pattern, Placement, Plan};
use smstream_bench::rounds::Bench;
use smstream_bench::transport::{Transport, Waiting};
use smstream_bench::{in_threads, partner, report, system};
use smstream_bench_rings::peers;

/// The first argument of the second process.
const SECOND: &str = "second-process";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|it| it == SECOND) {
        return Ok(second(Path::new(arguments.get(1).ok_or("which file?")?))?);
    }
    let rounds = arguments.first().map_or(Ok(7), |text| text.parse())?;
    let sizes = arguments.get(1).map_or("8,64,1024,4096,65536,1048576", String::as_str);
    let sizes = sizes.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let plan = |waitings| Plan {
        sizes: sizes.clone(),
        placements: vec![Placement::Pinned],
        patterns: vec![Pattern::Throughput, Pattern::RoundTrip],
        waitings,
        rounds,
        turn: 20_000_000,
    };
    let place = Path::new("/dev/shm").join(format!("smstream-peers-{}", std::process::id()));
    fs::create_dir(&place)?;
    let measured = (|| {
        println!("# Two processes\n\n{}", processes(&place.join("p"), &plan(vec![Waiting::Default, Waiting::Asleep]))?);
        let in_threads =
            in_threads(peers::THREADS, &inside(&place.join("t"))?, &plan(vec![Waiting::Busy]), |_, _| true)?;
        println!("# Two threads\n\n{}", report::report(&in_threads, false));
        Ok::<_, io::Error>(())
    })();
    fs::remove_dir_all(&place)?;
    Ok(measured?)
}

/// A directory that is made.
fn inside(path: &Path) -> io::Result<std::path::PathBuf> {
    fs::create_dir(path)?;
    Ok(path.to_path_buf())
}

fn transports() -> Vec<&'static dyn Transport> {
    let ours =
        system::ALL.iter().filter(|it| ["smstream", "smstream-unix", "pipe", "unix-stream"].contains(&it.name()));
    ours.chain(peers::PROCESSES).copied().collect()
}

fn processes(place: &Path, plan: &Plan) -> io::Result<String> {
    let place = inside(place)?;
    let memory = place.join("words");
    let words = Words::in_file(&memory)?;
    let (talk, their_talk) = UnixStream::pair()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(SECOND)
        .arg(&memory)
        .stdin(Stdio::from(OwnedFd::from(their_talk)))
        .spawn()?;
    let transports = transports();
    let bench = Bench { control: Control::over(talk)?, transports: &transports, words: &words, prefix: &place };
    let results = bench.run(plan, |_, _| true);
    if results.is_err() {
        let _ = child.kill();
    }
    child.wait()?;
    let results = results?;
    let about: Vec<String> = transports.iter().map(|it| format!("  {}: {}\n", it.name(), it.description())).collect();
    Ok(format!("{}\n{}", about.concat(), report::report(&results, false)))
}

fn second(memory: &Path) -> io::Result<()> {
    let talk = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    partner::serve(Control::over(talk)?, &transports(), &Words::of_file(memory)?)
}
