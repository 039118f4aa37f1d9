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

/// The crate that a case is about: the first word of its name.
fn subject(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

/// Runs `rounds` rounds, each with all cases in turn, the order rotated. Prints of each case the median and the quartiles of
/// its times, and how it does beside the best case of another crate: the one with the lowest median, and the median and the
/// quartiles of its time divided by this one's in the same round.
///
/// It is the same rival in all rounds. The best of several in each round would be better than each of them: of noise, too, a
/// minimum takes the lower side.
pub fn compare(title: &str, rounds: usize, cases: &mut [Case<'_>]) {
    let mut times = vec![Vec::new(); cases.len()];
    for round in 0..rounds {
        for i in 0..cases.len() {
            let at = (i + round) % cases.len();
            times[at].push(cases[at].1());
        }
    }
    let medians: Vec<f64> = times.iter().map(|times| median(&mut times.clone())).collect();
    println!(
        "\n## {title}\n\n| | ns, median | quartiles | best of another crate | its time / this, median | quartiles |\n\
         |---|---|---|---|---|---|"
    );
    for (at, (name, _)) in cases.iter().enumerate() {
        let others = (0..cases.len()).filter(|other| subject(cases[*other].0) != subject(name));
        let Some(rival) = others.min_by(|a, b| medians[*a].total_cmp(&medians[*b])) else { continue };
        let mut ratios: Vec<f64> = times[rival].iter().zip(&times[at]).map(|(rival, own)| rival / own).collect();
        let mut own = times[at].clone();
        let (time, ratio) = (median(&mut own), median(&mut ratios));
        let quartiles = |sorted: &[f64]| format!("{:.2}–{:.2}", sorted[rounds / 4], sorted[rounds * 3 / 4]);
        let (of, rival) = (quartiles(&ratios), cases[rival].0);
        println!("| {name} | {time:.2} | {} | {rival} | {ratio:.2} | {of} |", quartiles(&own));
    }
}
