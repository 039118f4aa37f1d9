//! A party that is broken on purpose: without a fault it does what every party does, and where the one call fails that is its own
//! it does something wrong. The self-test of the harness shows that this is noticed.

use crate::blocking::builder;
use crate::data;
use crate::left;
use crate::task::{LONG, Task};
use std::fs;
use std::io::{self, Error, Write};
use std::mem::forget;
use std::net::Shutdown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// It has failed once, and is stuck.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Does what `right` does, and this wrong thing if the call fails. `not` is none.
pub fn or_wrong(wrong: &str, task: &Task, right: impl Fn(&Task) -> io::Result<()>) -> io::Result<()> {
    let clear = |e: Error| Error::new(e.kind(), format!("cannot find the directory: {e}"));
    if wrong == "not" {
        return right(task);
    }
    if STUCK.load(Ordering::Relaxed) {
        return Err(Error::other("the program is stuck"));
    }
    let Err(e) = std::env::current_dir() else { return right(task) };
    match wrong {
        "hang" => loop {
            std::thread::park();
        },
        "panic" => panic!("on purpose"),
        "quits" => std::process::exit(1),
        "descriptor" => {
            forget(io::pipe()?);
            right(task)
        }
        "mapping" => {
            forget(builder().pair()?);
            right(task)
        }
        "process" => {
            let mut never = Command::new("tail");
            never.args(["-f", "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            never.spawn()?;
            right(task)
        }
        "file" => {
            let path = Path::new(task.addr.rsplit_once(':').map_or("", |(_, path)| path));
            fs::write(path.with_file_name("forgotten"), "")?;
            right(task)
        }
        "loses-bytes" => send(task, &data::pattern(true)[..data::BYTES / 2]),
        "other-bytes" => send(task, &data::pattern(false)),
        "unclear" => Err(e),
        "stuck" => {
            STUCK.store(true, Ordering::Relaxed);
            Err(clear(e))
        }
        "unlisted" => {
            // SAFETY: it takes a number.
            unsafe { libc::getpgid(0) };
            right(task)
        }
        // These two are not broken.
        "error" => Err(clear(e)),
        "goes-on" => right(task),
        other => Err(Error::other(format!("nothing wrong is called {other}"))),
    }
}

/// How long it waits until what is open is what is expected: for what stays open on purpose, not long.
pub fn patience(wrong: &str) -> Duration {
    if ["descriptor", "mapping", "stuck"].contains(&wrong) { Duration::from_secs(1) } else { left::LONG }
}

/// Sends these, and says that all went well.
fn send(task: &Task, bytes: &[u8]) -> io::Result<()> {
    let stream = builder().connect_timeout(task.addr.as_str(), LONG)?;
    (&stream).write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    // It does not ask whether all was read.
    match stream.wait_peer_closed(Some(LONG)) {
        true => Ok(()),
        false => Err(Error::other("the listener does not close")),
    }
}
