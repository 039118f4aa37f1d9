//! Which capacity is the right default, and whether locked memory or huge pages help:
//! `cargo run --release -p smstream-tests --example capacity`.
//!
//! Two processes, one pinned to the first CPU and one to the last, over `unix:`. One writes blocks from a buffer of its own, the other copies them
//! out. Interleaved rounds; shown are medians, and for the memory the median and the spread of the ratios to plain memory in the same round. `cold`
//! is the first pass over a fresh lane after the two have met; `steady` is what comes after it.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::mm::{Advice, MlockAllFlags, madvise, mlockall, munlockall};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use smstream::Builder;
use smstream_tests::party::Scratch;

const ROUNDS: usize = 7;
const BYTES: usize = 512 << 20;
const CAPACITIES: [usize; 8] = [32, 64, 128, 256, 512, 1024, 4096, 16384];
const BLOCKS: [usize; 3] = [4096, 64 << 10, 1 << 20];

/// What is done to the memory of both processes.
const MEMORY: [&str; 3] = ["plain", "locked", "huge"];

fn pin(first: bool) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let cpu = if first { cpus.next() } else { cpus.next_back() }.ok_or(io::ErrorKind::NotFound)?;
    let mut one = CpuSet::new();
    one.set(cpu);
    Ok(sched_setaffinity(None, &one)?)
}

/// Asks for huge pages for all segments that are mapped.
fn ask_for_huge_pages() -> io::Result<()> {
    for line in std::fs::read_to_string("/proc/self/maps")?.lines().filter(|line| line.contains("memfd:smstream")) {
        let (start, end) =
            line.split(' ').next().and_then(|range| range.split_once('-')).ok_or(io::ErrorKind::InvalidData)?;
        let number = |text| usize::from_str_radix(text, 16).map_err(io::Error::other);
        let (start, end) = (number(start)?, number(end)?);
        // SAFETY: the advice changes no byte, whatever is mapped there by now, and takes nothing away.
        unsafe { madvise(start as *mut _, end - start, Advice::LinuxHugepage) }
            .map_err(|e| io::Error::other(format!("cannot ask for huge pages: {e}")))?;
    }
    Ok(())
}

/// Before the stream is made: what is mapped from now on is locked, and so filled in at once.
fn prepare(memory: &str) -> io::Result<()> {
    if memory == "locked" {
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE).map_err(|e| {
            io::Error::other(format!("cannot lock memory (start this as root, or with a higher `ulimit -l`): {e}"))
        })?;
    }
    Ok(())
}

fn child(addr: &str, block: &str, memory: &str) -> io::Result<()> {
    pin(false)?;
    prepare(memory)?;
    let mut stream = Builder::new().connect(addr)?;
    if memory == "huge" {
        ask_for_huge_pages()?;
    }
    let mut buffer = vec![0; block.parse().map_err(io::Error::other)?];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Seconds for the first pass with the meeting, and GB/s of the rest.
fn once(capacity: usize, block: usize, memory: &str) -> io::Result<(f64, f64)> {
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    let listener = Builder::new().capacity(capacity).bind(&*addr)?;
    prepare(memory)?;
    let buffer = vec![7; block];
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args([&addr, &block.to_string(), memory]).stdin(Stdio::null()).spawn()?;
    let mut stream = listener.accept()?;
    let met = Instant::now();
    if memory == "huge" {
        ask_for_huge_pages()?;
    }
    for _ in 0..capacity.div_ceil(block) {
        stream.write_all(&buffer)?;
    }
    let cold = met.elapsed().as_secs_f64();
    let start = Instant::now();
    for _ in 0..BYTES / block {
        stream.write_all(&buffer)?;
    }
    let speed = BYTES as f64 / start.elapsed().as_secs_f64() / 1e9;
    drop(stream);
    if memory == "locked" {
        munlockall()?;
    }
    if child.wait()?.success() { Ok((cold, speed)) } else { Err(io::Error::other("the other process failed")) }
}

fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn main() -> io::Result<()> {
    match &std::env::args().skip(1).collect::<Vec<_>>()[..] {
        [] => {}
        [addr, block, memory] => return child(addr, block, memory),
        other => return Err(io::Error::other(format!("{other:?}: no arguments are needed"))),
    }
    if sched_getaffinity(None)?.count() < 2 {
        return Err(io::Error::other("this needs two CPUs, one for each process"));
    }
    pin(true)?;
    println!("GB/s by capacity, {ROUNDS} rounds");
    let mut found = vec![vec![Vec::new(); BLOCKS.len()]; CAPACITIES.len()];
    for _ in 0..ROUNDS {
        for (row, capacity) in found.iter_mut().zip(CAPACITIES) {
            for (cell, block) in row.iter_mut().zip(BLOCKS) {
                cell.push(once(capacity << 10, block, "plain")?.1);
            }
        }
    }
    for (row, capacity) in found.into_iter().zip(CAPACITIES) {
        print!("{capacity:6} KiB");
        for (cell, block) in row.into_iter().zip(BLOCKS) {
            let [least, median, most] = spread(cell);
            print!("   {:5} KiB: {median:5.1} ({least:.1} to {most:.1})", block >> 10);
        }
        println!();
    }
    let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled").unwrap_or_default();
    if !["[advise]", "[always]", "[within_size]", "[force]"].iter().any(|given| setting.contains(given)) {
        println!(
            "The system gives no huge pages to shared memory (its setting shmem_enabled): `huge` is plain memory here."
        );
    }
    for capacity in [256 << 10, 4 << 20] {
        let mut found = [(); 3].map(|()| (Vec::new(), Vec::new()));
        for _ in 0..ROUNDS {
            let plain = once(capacity, 64 << 10, MEMORY[0])?;
            for (cell, memory) in found.iter_mut().zip(MEMORY) {
                let (cold, steady) = if memory == MEMORY[0] { plain } else { once(capacity, 64 << 10, memory)? };
                cell.0.push(cold / plain.0);
                cell.1.push(steady / plain.1);
            }
        }
        for ((cold, steady), memory) in found.into_iter().zip(MEMORY) {
            let ([a, cold, b], [c, steady, d]) = (spread(cold), spread(steady));
            println!(
                "{:5} KiB {memory:6} first pass {cold:.2} x the time ({a:.2} to {b:.2}), then {steady:.2} x the speed ({c:.2} to {d:.2})",
                capacity >> 10
            );
        }
    }
    Ok(())
}
