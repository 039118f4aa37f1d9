//! Round trips between two threads with the usual spin and with none, by turns: for `tests/quota`, which runs it under a quota of
//! CPU time. Shown are the medians of the trips in a second, and the ratio of the two.
//!
//!     cargo run --release -p smstream-tests --example quota ROUNDS SECONDS

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use smstream::{Builder, default_spin};

/// How many trips one second takes, over `time`.
fn trips(spin: Duration, time: Duration) -> f64 {
    let (mut here, mut there) = Builder::new().capacity(4096).spin(spin).pair().expect("a pair");
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut byte = [0];
            while there.read(&mut byte).expect("a byte") == 1 {
                there.write_all(&byte).expect("an answer");
            }
        });
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            here.write_all(&[1]).expect("a question");
            here.read_exact(&mut [0]).expect("an answer");
            count += 1;
        }
        let rate = f64::from(count) / start.elapsed().as_secs_f64();
        drop(here);
        rate
    })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().and_then(|text| text.parse().ok()).expect("a number of rounds");
    let seconds: f64 = arguments.next().and_then(|text| text.parse().ok()).expect("seconds of a round");
    let spins = [default_spin(), Duration::ZERO];
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            figures[which].push(trips(spins[which], Duration::from_secs_f64(seconds)));
        }
    }
    let [usual, none] = figures.map(median);
    println!("{usual:.0} {none:.0} {:.3}", usual / none);
}
