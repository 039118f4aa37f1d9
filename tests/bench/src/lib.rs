//! What the measurements share: threads on CPUs of their own, interleaved rounds, medians and spread.

pub mod peers;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Keeps the calling thread on this CPU. Machines with fewer keep it anywhere.
pub fn pin(cpu: usize) {
    // SAFETY: the set is plain memory that the two calls fill and read.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Runs both at once, each on a CPU of its own: the time from when both were ready until both had ended.
pub fn race(first: impl FnOnce() + Send, second: impl FnOnce() + Send) -> Duration {
    // Both spin until the other is there, so that neither has to be woken by the scheduler.
    let ready = AtomicU32::new(0);
    let run = |cpu, work: &mut dyn FnMut()| {
        pin(cpu);
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < 2 {
            std::hint::spin_loop();
        }
        let begun = Instant::now();
        work();
        (begun, Instant::now())
    };
    let (mut first, mut second) = (Some(first), Some(second));
    std::thread::scope(|scope| {
        let a = scope.spawn(|| run(0, &mut || first.take().unwrap()()));
        let b = scope.spawn(|| run(1, &mut || second.take().unwrap()()));
        let (a, b) = (a.join().unwrap(), b.join().unwrap());
        a.1.max(b.1) - a.0.min(b.0)
    })
}

/// The value in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A measurement by name: nanoseconds per item.
pub type Case<'c> = (&'c str, Box<dyn FnMut() -> f64 + 'c>);

/// Runs `rounds` rounds, each with all cases in turn, the order rotated. Prints of each case the median and the quartiles of
/// its times, and of the ratio to the best of the others in the same round.
pub fn compare(title: &str, rounds: usize, cases: &mut [Case<'_>]) {
    let mut times = vec![Vec::new(); cases.len()];
    for round in 0..rounds {
        for i in 0..cases.len() {
            let at = (i + round) % cases.len();
            times[at].push(cases[at].1());
        }
    }
    println!(
        "\n## {title}\n\n| | ns, median | quartiles | best other / this, median | quartiles |\n|---|---|---|---|---|"
    );
    for (at, (name, _)) in cases.iter().enumerate() {
        let mut ratios: Vec<f64> = (0..rounds)
            .map(|round| {
                let others = (0..cases.len()).filter(|other| *other != at).map(|other| times[other][round]);
                others.fold(f64::INFINITY, f64::min) / times[at][round]
            })
            .collect();
        let mut own = times[at].clone();
        let (time, ratio) = (median(&mut own), median(&mut ratios));
        let quartiles = |sorted: &[f64]| format!("{:.2}–{:.2}", sorted[rounds / 4], sorted[rounds * 3 / 4]);
        println!("| {name} | {time:.2} | {} | {ratio:.2} | {} |", quartiles(&own), quartiles(&ratios));
    }
}
