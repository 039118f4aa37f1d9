//! How long it takes to connect and accept, beside a Unix socket: `cargo run --release -p smstream-tests --example meet`.
//!
//! Two threads, one connects again and again, one accepts; each connection is dropped at once. Nine interleaved rounds;
//! shown are the medians, and the median and the spread of the rounds' ratios. A connector of a Unix socket does not wait
//! to be accepted; one of a stream does, and both of its ends have made and mapped memory then.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use smstream::{Builder, Kind, Stream};
use smstream_tests::party::Scratch;

const ROUNDS: usize = 9;
const CONNECTIONS: u32 = 1000;

/// The time of one connection.
fn time(connect: impl Fn() -> io::Result<()> + Sync, accept: impl Fn() -> io::Result<()>) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| (0..CONNECTIONS).for_each(|_| connect().expect("it connects")));
        (0..CONNECTIONS).for_each(|_| accept().expect("it accepts"));
    });
    start.elapsed() / CONNECTIONS
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> [T; 3] {
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn main() -> io::Result<()> {
    let kinds = [("unix:", Kind::Unix), ("file:", Kind::File)];
    let mut times = [(); 3].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        let scratch = Scratch::new();
        let listener = UnixListener::bind(scratch.name())?;
        times[0].push(time(|| UnixStream::connect(scratch.name()).map(drop), || listener.accept().map(drop)));
        for (n, (_, kind)) in kinds.iter().enumerate() {
            let listener = Builder::new().bind_temp(*kind)?;
            let addr = listener.local_addr().clone();
            let connect = || Ok(Stream::connect(&addr).map(drop)?);
            times[n + 1].push(time(connect, || Ok(listener.accept().map(drop)?)));
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
