//! Round trips between two processes, each with a tokio runtime: over shared memory, and over tokio's own Unix socket beside
//! it. Rounds of both take turns; what is printed are medians, and the median of the ratios within a round.
//!
//! ```sh
//! cargo run --release --example tokio_speed --features tokio
//! ```
//!
//! *Asleep*: neither end looks before it sleeps (a spin of zero), so that each message wakes the other end. *Busy*: with the
//! default spin, one request after the other. Each process has a runtime with one thread, *apart*: on a CPU of its own, or with two
//! threads. On a machine that is busy with other things the two ends seldom run at the same time, and then both figures are
//! the scheduler's; *apart* shows most.

use std::env;
use std::io;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use smstream::tokio::{Listener, Stream, connect_with};
use smstream::{Builder, Kind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const BYTES: usize = 64;
const ROUNDS: usize = 9;
/// How long one measurement lasts.
const TIME: Duration = Duration::from_millis(150);

/// Answers whatever comes.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = [0; BYTES];
    while stream.read_exact(&mut buffer).await.is_ok() {
        stream.write_all(&buffer).await?;
    }
    Ok(())
}

/// Microseconds for one round trip.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<f64> {
    let mut buffer = [7; BYTES];
    let mut trips = 0u32;
    let begun = Instant::now();
    while begun.elapsed() < TIME {
        for _ in 0..16 {
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer).await?;
        }
        trips += 16;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(trips))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// The other process: `SPIN ADDR` over shared memory, `- PATH` over a Unix socket.
async fn other(spin: &str, addr: &str) -> io::Result<()> {
    match spin.parse() {
        Ok(micros) => answer(connect_with(&builder(Some(micros)), addr).await?).await,
        Err(_) => answer(UnixStream::connect(addr).await?).await,
    }
}

fn builder(spin: Option<u64>) -> Builder {
    spin.map_or_else(Builder::new, |micros| Builder::new().spin(Duration::from_micros(micros)))
}

fn start(spin: &str, addr: &str, threads: &str) -> io::Result<Child> {
    Command::new(env::current_exe()?).args([threads, spin, addr]).spawn()
}

async fn pair(micros: u64, threads: &str) -> io::Result<(Stream, Child)> {
    let listener = Listener::from_std(builder(Some(micros)).bind_temp(Kind::Abstract)?)?;
    let child = start(&micros.to_string(), &listener.local_addr().to_string(), threads)?;
    Ok((listener.accept().await?, child))
}

async fn measure(threads: &str) -> io::Result<()> {
    let path = env::temp_dir().join(format!("smstream-speed-{}", std::process::id()));
    let listener = UnixListener::bind(&path)?;
    let child = start("-", &path.to_string_lossy(), threads)?;
    let (mut socket, _) = listener.accept().await?;
    std::fs::remove_file(&path)?;
    let spin = smstream::default_spin();
    let mut children = vec![child];
    for (name, micros) in [("asleep", 0), ("busy", spin.as_micros() as u64)] {
        let (mut stream, child) = pair(micros, threads).await?;
        children.push(child);
        let [mut ours, mut theirs, mut ratios] = [const { Vec::new() }; 3];
        for round in 0..ROUNDS {
            let (a, b) = if round % 2 == 0 {
                let a = ask(&mut stream).await?;
                (a, ask(&mut socket).await?)
            } else {
                let b = ask(&mut socket).await?;
                (ask(&mut stream).await?, b)
            };
            ours.push(a);
            theirs.push(b);
            ratios.push(b / a);
        }
        println!(
            "{threads:>5}, {name:>6}: shared memory {:7.2} us, Unix socket {:7.2} us, {:.2} times as fast (from {:.2} to {:.2})",
            median(ours),
            median(theirs),
            median(ratios.clone()),
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
    }
    drop(socket);
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}

fn runtime(threads: &str) -> io::Result<tokio::runtime::Runtime> {
    match threads {
        "1" | "apart" => tokio::runtime::Builder::new_current_thread().enable_io().build(),
        _ => tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build(),
    }
}

/// Runs this in a thread that is pinned to a CPU if `how` says so. The process may use the others all the same, so that it
/// spins as it does by default.
fn on_cpu(how: &str, cpu: usize, run: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let apart = how == "apart";
    let thread = std::thread::spawn(move || {
        if apart {
            let mut set = rustix::thread::CpuSet::new();
            set.set(cpu);
            rustix::thread::sched_setaffinity(None, &set)?;
        }
        run()
    });
    thread.join().map_err(|_| io::Error::other("the measuring thread panicked"))?
}

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [threads, spin, addr] = &args[..] {
        // In a task, as an application would: what `block_on` itself runs is woken in a slower way.
        let (how, threads, spin, addr) = (threads.clone(), threads.clone(), spin.clone(), addr.clone());
        return on_cpu(&how, 1, move || {
            runtime(&threads)?.block_on(async { tokio::spawn(async move { other(&spin, &addr).await }).await })?
        });
    }
    for threads in ["apart", "1", "2"] {
        on_cpu(threads, 0, move || {
            runtime(threads)?.block_on(async { tokio::spawn(async move { measure(threads).await }).await })?
        })?;
    }
    Ok(())
}
