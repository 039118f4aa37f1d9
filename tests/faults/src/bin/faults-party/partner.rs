//! The side that no call fails of. It says when a connection begins and how it ends, so that the harness knows what is under
//! way, and ends when its standard input does.

use crate::blocking::{builder, exchange};
use crate::task::{Task, tell};
use smstream::Reason;
use std::io::{self, Write};
use std::time::Duration;

/// How long it waits before it looks at its standard input.
const PAUSE: Duration = Duration::from_millis(20);

/// Until standard input ends.
pub fn run(task: &Task) {
    if task.side == "listen" {
        let listener = match builder().bind(task.addr.as_str()) {
            Ok(listener) => listener,
            Err(e) => return tell("bind", &Err(e.into())),
        };
        say("ready");
        while !is_over() {
            match listener.accept_timeout(PAUSE) {
                Ok(stream) => {
                    say("begin");
                    tell("end", &exchange(&stream, false, &task.way));
                }
                Err(e) if e.reason() == Reason::TimedOut => {}
                // A connector that fails half-way may be said here.
                Err(e) => tell("accept", &Err(e.into())),
            }
        }
    } else {
        say("ready");
        while !is_over() {
            match builder().connect_timeout(task.addr.as_str(), PAUSE) {
                Ok(stream) => {
                    say("begin");
                    tell("end", &exchange(&stream, true, &task.way));
                }
                Err(e) if matches!(e.reason(), Reason::TimedOut | Reason::NotReady | Reason::Claimed) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => tell("connect", &Err(e.into())),
            }
        }
    }
}

fn say(what: &str) {
    println!("{what}");
    let _ = io::stdout().flush();
}

/// Whether standard input is at its end.
fn is_over() -> bool {
    let mut fd = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    unsafe { libc::poll(&raw mut fd, 1, 0) > 0 }
}
