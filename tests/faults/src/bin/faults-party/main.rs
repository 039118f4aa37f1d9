//! One side of a connection. The one that is `tried` does the same twice: the first time calls may be made to fail, the second
//! time none are, and it must succeed. Its `partner` does it as often as it can, until its standard input ends.

mod blocking;
mod broken;
mod data;
mod held;
mod left;
mod nonblocking;
mod partner;
mod task;
mod tasks;

use std::io;
use std::process::ExitCode;
use std::time::Duration;
use task::{Task, tell};

/// As in the harness: the first argument of a `prctl` that no kernel knows.
const MARK: libc::c_ulong = 0x736d_7374;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, side, addr, way, more @ ..] = arguments.as_slice() else {
        eprintln!(
            "usage: faults-party tried|once|partner|around|hold|leave listen|connect|hand|pair ADDR both|oneway|any|poll|tokio [SECONDS]"
        );
        return ExitCode::from(2);
    };
    let patience = more.first().and_then(|seconds| seconds.parse().ok()).map_or(task::LONG, Duration::from_secs);
    let task = Task { side: side.clone(), addr: addr.clone(), way: way.clone(), patience };
    match role.as_str() {
        "tried" => tried(&task, more.get(1).map(String::as_str), "not"),
        "deaf" => partner::deaf(),
        "partner" => {
            partner::run(&task);
            ExitCode::SUCCESS
        }
        "once" => {
            let result = once(&task);
            if let Err(e) = &result {
                eprintln!("the child: {e}");
            }
            ExitCode::from(u8::from(result.is_err()))
        }
        "around" => {
            partner::around(&task);
            ExitCode::SUCCESS
        }
        "hold" => ended(held::hold(&task)),
        "leave" => ended(held::leave(&task)),
        role => match role.strip_prefix("broken-") {
            Some(wrong) => tried(&task, more.get(1).map(String::as_str), wrong),
            None => ended(Err(io::Error::other(format!("no role is called {role}")))),
        },
    }
}

fn ended(result: io::Result<()>) -> ExitCode {
    tell("it", &result);
    ExitCode::from(u8::from(result.is_err()))
}

/// Twice, and calls may fail the first time.
fn tried(task: &Task, open: Option<&str>, wrong: &str) -> ExitCode {
    mark(1);
    let first = broken::or_wrong(wrong, task, once);
    mark(2);
    tell("first", &first);
    let second = broken::or_wrong(wrong, task, once);
    tell("second", &second);
    println!("left {}", left::behind(open, broken::patience(wrong)));
    ExitCode::from(u8::from(first.is_err()))
}

/// Tells the harness where this process is.
fn mark(phase: libc::c_ulong) {
    // SAFETY: it takes numbers only; the kernel knows no such option.
    unsafe { libc::prctl(MARK as libc::c_int, phase) };
}

fn once(task: &Task) -> io::Result<()> {
    match task.way.as_str() {
        "tokio" => tasks::run(task),
        "any" | "poll" => nonblocking::run(task),
        _ => blocking::run(task),
    }
}
