//! The side that no call fails of. It says when a connection begins and how it ends, so that the harness knows what is under
//! way, and ends when its standard input does.

use crate::blocking::{builder, exchange};
use crate::task::{LONG, Task, tell};
use smstream::Reason;
use std::io::{self, Write};
use std::time::Duration;

/// How long it waits before it looks at its standard input.
const PAUSE: Duration = Duration::from_millis(20);

/// Both sides, in two threads: the connector at the address that stands for the side, the listener at the other one.
pub fn around(task: &Task) {
    let connector = Task { side: "connect".to_owned(), addr: task.side.clone(), ..task.clone() };
    let listener = Task { side: "listen".to_owned(), ..task.clone() };
    std::thread::scope(|scope| {
        scope.spawn(move || run(&listener));
        run(&connector);
    });
}

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
            match builder().connect_timeout(task.addr.as_str(), LONG) {
                Ok(stream) => {
                    say("begin");
                    tell("end", &exchange(&stream, true, &task.way));
                }
                // There is no listener, or it went away half-way.
                Err(e) => {
                    if e.to_string().contains("refused") {
                        tell("refused", &Err(e.into()));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }
}

/// One that begins, and never notices anything: it is broken on purpose.
pub fn deaf() -> ! {
    say("ready");
    say("begin");
    loop {
        std::thread::park();
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
