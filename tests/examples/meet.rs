//! How long it takes to connect and accept, beside a Unix socket: `cargo run --release -p smstream-tests --example meet`.
//!
//! Two processes: one connects again and again, one accepts; both drop each connection at once. Nine interleaved rounds;
//! shown are the medians, and the median and the spread of the rounds' ratios. At most 20 times as long is the aim over
//! `unix:`. A connector of a Unix socket does not wait to be accepted; one of a stream does, and both of its ends have made
//! and mapped memory then.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use smstream::{Builder, Kind, Stream};
use smstream_tests::party::Scratch;

const ROUNDS: usize = 9;
const CONNECTIONS: u32 = 1000;

/// The other process, in which `main` gets these arguments. It waits for a byte before it begins.
fn connector(what: &str, to: &str) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([what, to]).stdin(Stdio::piped()).spawn()
}

fn connect_all(connect: impl Fn() -> io::Result<()>) -> io::Result<()> {
    // Once before it counts, so that both processes have made what they make once.
    connect()?;
    io::stdin().read_exact(&mut [0])?;
    (0..CONNECTIONS).try_for_each(|_| connect())
}

/// The time of one connection.
fn time(mut connector: Child, accept: impl Fn() -> io::Result<()>) -> io::Result<Duration> {
    accept()?;
    let mut input = connector.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let start = Instant::now();
    input.write_all(b"!")?;
    (0..CONNECTIONS).try_for_each(|_| accept())?;
    let time = start.elapsed() / CONNECTIONS;
    if !connector.wait()?.success() {
        return Err(io::Error::other("the connector failed"));
    }
    Ok(time)
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> [T; 3] {
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn main() -> io::Result<()> {
    match &std::env::args().skip(1).collect::<Vec<_>>()[..] {
        [] => measure(),
        [what, to] if what == "socket" => connect_all(|| UnixStream::connect(to).map(drop)),
        [what, to] if what == "stream" => connect_all(|| Ok(Stream::connect(to).map(drop)?)),
        other => Err(io::Error::other(format!("{other:?}: no arguments are needed"))),
    }
}

fn measure() -> io::Result<()> {
    let kinds = [("unix:, where 20 is the aim", Kind::Unix), ("file:", Kind::File)];
    let mut times = [(); 3].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        let scratch = Scratch::new();
        let listener = UnixListener::bind(scratch.name())?;
        let name = scratch.name().display().to_string();
        times[0].push(time(connector("socket", &name)?, || listener.accept().map(drop))?);
        for (n, (_, kind)) in kinds.iter().enumerate() {
            let listener = Builder::new().bind_temp(*kind)?;
            let connector = connector("stream", &listener.local_addr().to_string())?;
            times[n + 1].push(time(connector, || Ok(listener.accept().map(drop)?))?);
        }
    }
    println!("a Unix socket: {:?} for each connection", median(times[0].clone())[1]);
    for (n, (name, _)) in kinds.iter().enumerate() {
        let ratios = times[n + 1].iter().zip(&times[0]).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
        let ([least, ratio, most], [_, time, _]) = (median(ratios), median(times[n + 1].clone()));
        println!("a stream over {name}: {time:?}, {ratio:.1} times as long ({least:.1} to {most:.1})");
    }
    Ok(())
}
