//! What many streams between two processes cost, beside as many Unix sockets, in the same run:
//!
//!     cargo run --release -p smstream-tests --example scale [COUNT]...      (1, 10, 100, 1000 and 10000)
//!
//! For each count: connections per second, memory, and a byte there and back on a stream that chance picks, while this process waits
//! for all of them: by `wait_any` (for 127 at most), by epoll, by a task of tokio for each. The other process answers by epoll. Medians of
//! rounds by turns; the ratios are those of the medians.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smstream::{Builder, Kind, Pollable, Stream, condition, wait_any};
use smstream_tests::flow::Random;
use smstream_tests::party::Scratch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const COUNTS: [usize; 5] = [1, 10, 100, 1000, 10_000];
const CAPACITY: usize = 4096;
/// What a stream over a socket takes that is waited for by epoll: its socket, a segment, and an epoll instance of its own.
const DESCRIPTORS: u64 = 3;
/// Descriptors beside those of the streams.
const SPARE: u64 = 200;
const NEEDED: u64 = DESCRIPTORS * 10_000 + SPARE;
/// How long the other process may take to connect. It has failed otherwise.
const PATIENCE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 5;
const TRIPS: usize = 2000;

fn main() -> io::Result<()> {
    let most = getrlimit(Resource::Nofile).maximum;
    // Root may have more than the usual limit. Others stay with what they have.
    if most.is_some_and(|most| most < NEEDED) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(NEEDED), maximum: Some(NEEDED) });
    }
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
    let fit =
        most.map_or(usize::MAX, |most| usize::try_from(most.saturating_sub(SPARE) / DESCRIPTORS).unwrap_or(usize::MAX));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [what, to, count] if what == "streams" => {
            let connect = || Pollable::new(Builder::new().capacity(CAPACITY).connect(to)?).map_err(io::Error::from);
            answer((0..number(count)?).map(|_| connect()).collect::<io::Result<_>>()?)
        }
        [what, to, count] if what == "sockets" => {
            let connect = || UnixStream::connect(to).and_then(nonblocking);
            answer((0..number(count)?).map(|_| connect()).collect::<io::Result<_>>()?)
        }
        [] => measure(&COUNTS, fit),
        counts => measure(&counts.iter().map(|count| number(count)).collect::<io::Result<Vec<_>>>()?, fit),
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| io::Error::other(format!("{text:?} is no count of streams")))
}

fn nonblocking(socket: UnixStream) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Descriptors that epoll watches, by their number.
struct Watch(OwnedFd);

impl Watch {
    fn new(all: &[impl AsFd]) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (i, fd) in all.iter().enumerate() {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(i as u64), epoll::EventFlags::IN)?;
        }
        Ok(Self(epoll))
    }

    /// Those that are ready.
    fn wait(&self) -> io::Result<Vec<usize>> {
        let mut events = Vec::with_capacity(64);
        epoll::wait(&self.0, spare_capacity(&mut events), None)?;
        Ok(events.iter().map(|event| event.data.u64() as usize).collect())
    }
}

/// Sends back what comes, until all have ended: what the other process does.
fn answer<S: Read + Write + AsFd>(mut all: Vec<S>) -> io::Result<()> {
    let watch = Watch::new(&all)?;
    let mut left = all.len();
    while left > 0 {
        for i in watch.wait()? {
            let mut bytes = [0; 16];
            match all[i].read(&mut bytes) {
                Ok(0) => {
                    epoll::delete(&watch.0, &all[i])?;
                    left -= 1;
                }
                Ok(n) => all[i].write_all(&bytes[..n])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// The other process.
fn other(what: &str, to: &str, count: usize) -> io::Result<Child> {
    Command::new(std::env::current_exe()?).args([what, to, &count.to_string()]).spawn()
}

fn ended(mut other: Child) -> io::Result<()> {
    if other.wait()?.success() { Ok(()) } else { Err(io::Error::other("the other process failed")) }
}

/// The time of one trip in µs, after some that do not count. Of `count`, chance picks the one to ask on.
fn trips(count: usize, mut trip: impl FnMut(usize) -> io::Result<()>) -> io::Result<f64> {
    let mut random = Random::new(11);
    let mut several = |n: usize| (0..n).try_for_each(|_| trip(random.below(count as u64) as usize));
    several(TRIPS / 10)?;
    let begun = Instant::now();
    several(TRIPS)?;
    Ok(begun.elapsed().as_secs_f64() * 1e6 / TRIPS as f64)
}

fn by_wait_any(all: &mut [Stream]) -> io::Result<f64> {
    let count = all.len().min(condition::MOST);
    trips(count, |i| {
        all[i].write_all(&[1])?;
        let mut conditions: Vec<_> = all[..count].iter().map(Stream::readable).collect();
        let ready = wait_any(&mut conditions, None)?;
        drop(conditions);
        assert!(ready.contains(i), "the one that was asked answers");
        all[i].read_exact(&mut [0])
    })
}

fn by_epoll<S: Read + Write + AsFd>(all: &mut [S]) -> io::Result<f64> {
    let watch = Watch::new(all)?;
    trips(all.len(), |i| {
        all[i].write_all(&[1])?;
        loop {
            for ready in watch.wait()? {
                match all[ready].read(&mut [0]) {
                    Ok(1) if ready == i => return Ok(()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return Err(io::Error::other(format!("stream {ready} of {i}: {result:?}"))),
                }
            }
        }
    })
}

/// A task for each: it reads bytes and says which one it is.
fn by_tasks<S, R, W>(all: Vec<S>, split: impl Fn(S) -> (R, W)) -> io::Result<f64>
where
    R: AsyncReadExt + Unpin + 'static,
    W: AsyncWriteExt + Unpin,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let local = tokio::task::LocalSet::new();
    let count = all.len();
    let mut writers = Vec::new();
    let _entered = runtime.enter();
    for (i, one) in all.into_iter().enumerate() {
        let ((mut reader, writer), said) = (split(one), said.clone());
        writers.push(writer);
        local.spawn_local(async move {
            while reader.read_u8().await.is_ok() {
                if said.send(i).is_err() {
                    break;
                }
            }
        });
    }
    trips(count, |i| {
        local.block_on(&runtime, async {
            writers[i].write_all(&[1]).await?;
            assert_eq!(heard.recv().await, Some(i), "the one that was asked answers");
            Ok(())
        })
    })
}

/// Kilobytes of this process that are in memory, and of all memory that is shared.
fn memory() -> io::Result<[f64; 2]> {
    let find = |file: &str, name: &str| -> io::Result<f64> {
        let text = std::fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_end_matches("kB").trim().parse().map_err(|_| io::Error::other(format!("{file} has no {name}")))
    };
    Ok([find("/proc/self/status", "VmRSS:")?, find("/proc/meminfo", "Shmem:")?])
}

/// What one round found.
#[derive(Default)]
struct Figures {
    names: Vec<&'static str>,
    values: Vec<f64>,
}

impl Figures {
    fn push(&mut self, name: &'static str, value: f64) {
        self.names.push(name);
        self.values.push(value);
    }
}

fn round(count: usize) -> io::Result<Figures> {
    let mut figures = Figures::default();
    let listener = Builder::new().capacity(CAPACITY).bind_temp(Kind::Unix)?;
    let before = memory()?;
    let peer = other("streams", &listener.local_addr().to_string(), count)?;
    // The first one waits for the process to start.
    let mut streams = vec![listener.accept_timeout(PATIENCE)?];
    let begun = Instant::now();
    for _ in 1..count {
        streams.push(listener.accept_timeout(PATIENCE)?);
    }
    let each = begun.elapsed().as_secs_f64() / (count - 1).max(1) as f64;
    figures.push("connect, µs", if count > 1 { each * 1e6 } else { f64::NAN });
    figures.push("wait_any, µs", by_wait_any(&mut streams)?);
    let after = memory()?;
    figures.push("KiB here", (after[0] - before[0]) / count as f64);
    figures.push("KiB shared", (after[1] - before[1]) / count as f64);
    let mut pollable: Vec<_> =
        streams.into_iter().map(Pollable::new).collect::<Result<_, _>>().map_err(io::Error::from)?;
    figures.push("epoll, µs", by_epoll(&mut pollable)?);
    let back: Vec<_> = pollable.into_iter().map(Pollable::into_stream).collect();
    let split = |one| smstream::tokio::Stream::from_std(one).expect("a stream that met over a socket").into_split();
    figures.push("tokio, µs", by_tasks(back, split)?);
    ended(peer)?;

    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.name())?;
    let peer = other("sockets", &scratch.name().display().to_string(), count)?;
    let accept = || listener.accept().and_then(|(socket, _)| nonblocking(socket));
    let mut sockets: Vec<UnixStream> = (0..count).map(|_| accept()).collect::<io::Result<_>>()?;
    figures.push("socket epoll, µs", by_epoll(&mut sockets)?);
    let split = |one| tokio::net::UnixStream::from_std(one).expect("a socket").into_split();
    figures.push("socket tokio, µs", by_tasks(sockets, split)?);
    ended(peer)?;
    Ok(figures)
}

fn measure(counts: &[usize], fit: usize) -> io::Result<()> {
    let mut head = false;
    for &wanted in counts {
        let count = wanted.min(fit);
        if count < wanted {
            eprintln!("descriptors suffice for {count} streams, not for {wanted}: so many are measured");
        }
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for _ in 0..ROUNDS {
            let figures = round(count)?;
            if !head {
                println!("| streams | {} | epoll / socket | tokio / socket |", figures.names.join(" | "));
                println!("|{}", "---|".repeat(figures.names.len() + 3));
                head = true;
            }
            columns.resize(figures.values.len(), Vec::new());
            for (column, value) in columns.iter_mut().zip(figures.values) {
                column.push(value);
            }
        }
        let medians: Vec<f64> = columns
            .into_iter()
            .map(|mut column| {
                column.sort_by(f64::total_cmp);
                column[column.len() / 2]
            })
            .collect();
        let cells: Vec<String> = medians.iter().map(|value| format!("{value:.1}")).collect();
        println!(
            "| {count} | {} | {:.2} | {:.2} |",
            cells.join(" | "),
            medians[4] / medians[6],
            medians[5] / medians[7]
        );
    }
    Ok(())
}
