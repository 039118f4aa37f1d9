//! A process of `tests/soak`: one connection after the other, each in one of the ways to wait, until it is killed.
//!
//! usage: `soak listen|connect ADDRESS SEED`, or `soak clean DIRECTORY`, which removes what the killed ones have left
//!
//! Each connection carries bytes of a seed both ways at once, in pieces of all sizes; every byte is checked. Each that is over is a line
//! on standard output: `connection WAY OUTCOME BYTES OPERATIONS`. What must not be is a line that begins with `WRONG`, and ends the process.

mod side;
mod ways;

use std::io::{self, ErrorKind, Read, Write};
use std::process::exit;
use std::thread;
use std::time::Duration;

use side::{Outcome, PLAN, Plan, meaning, say, wrong};
use smstream::{Builder, Listener, Reason, Stream};
use smstream_tests::flow::Random;
use ways::{serve, way};

/// Says what came of a connection.
fn tell(way: &str, (outcome, bytes, operations): (Outcome, u64, u64)) {
    let outcome = match outcome {
        Outcome::Whole => "whole",
        Outcome::Gone => "gone",
        Outcome::Stopped => "stopped",
    };
    say(&format!("connection {way} {outcome} {bytes} {operations}"));
}

/// A connection that may be cut short at any moment: what the plan says.
fn plan_of(mut stream: &Stream) -> Result<Plan, Outcome> {
    let mut bytes = [0; PLAN];
    let mut at = 0;
    while at < PLAN {
        match stream.read(&mut bytes[at..]) {
            Ok(0) => wrong("a connector said nothing and closed"),
            Ok(n) => at += n,
            Err(e) => meaning(&e)?,
        }
    }
    Ok(Plan::read(&bytes))
}

fn listen(addr: &str, random: &mut Random) -> ! {
    let listener = loop {
        let capacity = 1 << (6 + random.below(12));
        match Builder::new().capacities(capacity, 1 << (6 + random.below(12))).bind(addr) {
            Ok(listener) => break listener,
            // The one before has just been killed, or others look at the name.
            Err(e) if matches!(e.reason(), Reason::AddrInUse | Reason::Claimed | Reason::TimedOut) => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(e) => wrong(e),
        }
    };
    serve_all(&listener, addr, random)
}

fn serve_all(listener: &Listener, addr: &str, random: &mut Random) -> ! {
    loop {
        let stream = match listener.accept_timeout(Duration::from_secs(1)) {
            Ok(stream) => stream,
            Err(e) if e.reason() == Reason::TimedOut || e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => wrong(e),
        };
        let way = way(random, addr);
        thread::spawn(move || match plan_of(&stream) {
            Ok(plan) => tell(way, serve(stream, 0, way, plan)),
            Err(outcome) => tell(way, (outcome, 0, 0)),
        });
    }
}

fn connect(addr: &str, random: &mut Random) -> ! {
    loop {
        let mut stream = match Builder::new().connect_timeout(addr, Duration::from_secs(10)) {
            Ok(stream) => stream,
            // The listener has been killed, or is not there yet; or others are before this one.
            Err(e)
                if matches!(e.reason(), Reason::NotReady | Reason::Claimed | Reason::TimedOut | Reason::PeerGone)
                    || e.kind() == ErrorKind::Interrupted =>
            {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            Err(e) => wrong(e),
        };
        let (way, plan) = (way(random, addr), Plan::new(random));
        match stream.write_all(&plan.bytes()).or_else(|e| meaning(&e)) {
            Ok(()) => tell(way, serve(stream, 1, way, plan)),
            Err(outcome) => tell(way, (outcome, 0, 0)),
        }
    }
}

/// A signal that interrupts system calls and does nothing else.
fn let_signals_interrupt() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all zeros is a valid value of this C struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, and the struct lives during the call.
    if unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) } != 0 {
        wrong(io::Error::last_os_error());
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, clean, directory] = &arguments[..]
        && clean == "clean"
    {
        for found in smstream::reap::Reaper::of(directory).run().unwrap_or_else(|e| wrong(e)) {
            println!("{found:?}");
        }
        return;
    }
    let [_, role, addr, seed] = &arguments[..] else {
        eprintln!("usage: soak listen|connect ADDRESS SEED");
        exit(2);
    };
    let_signals_interrupt();
    let mut random = Random::new(seed.parse().unwrap_or_else(|e| wrong(e)));
    match role.as_str() {
        "listen" => listen(addr, &mut random),
        _ => connect(addr, &mut random),
    }
}
