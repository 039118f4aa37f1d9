//! With calls that wait.

use crate::data::{self, BYTES, CAPACITY};
use crate::task::{LONG, Task};
use smstream::{Builder, Stream};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::time::Duration;

/// How many seconds the child waits for its parent: less than the harness does. Where std fails to learn whether the child has
/// begun, it waits until the child has ended, and then panics.
const HANDED: &str = "30";

/// How all parties make their streams: small lanes, and no looking before they sleep.
pub fn builder() -> Builder {
    Builder::new().capacity(CAPACITY).spin(Duration::ZERO)
}

/// Meets once, and exchanges the bytes.
pub fn run(task: &Task) -> io::Result<()> {
    match task.side.as_str() {
        "listen" => {
            let listener = builder().bind(task.addr.as_str())?;
            exchange(&listener.accept_timeout(task.patience)?, false, &task.way)?;
            Ok(listener.close()?)
        }
        "connect" => exchange(&builder().connect_timeout(task.addr.as_str(), LONG)?, true, &task.way),
        "handed" => exchange(&builder().connect_timeout(task.addr.as_str(), task.patience)?, true, &task.way),
        "pair" => {
            let (here, there) = builder().pair()?;
            let other = std::thread::Builder::new()
                .spawn(move || exchange(&there, true, "pair"))
                .map_err(|e| Error::new(e.kind(), format!("the program cannot start a thread: {e}")))?;
            let result = exchange(&here, false, "pair");
            // What fails here ends the other one, too.
            drop(here);
            other.join().map_err(|_| Error::other("the other end's thread panicked"))??;
            result
        }
        "hand" => {
            let tried =
                |what: &'static str| move |e: Error| Error::new(e.kind(), format!("cannot {what} the child: {e}"));
            let mut command = Command::new(std::env::current_exe().map_err(tried("find"))?);
            let handover = builder().hand_over(&mut command)?;
            let addr = handover.addr().to_string();
            let tried =
                |what: &'static str| move |e: Error| Error::new(e.kind(), format!("cannot {what} the child: {e}"));
            let mut child = command.args(["once", "handed", &addr, "both", HANDED]).spawn().map_err(tried("start"))?;
            let met = handover.accept_timeout(task.patience).map_err(Error::from);
            let result = met.and_then(|stream| exchange(&stream, false, "both"));
            let status = child.wait().map_err(tried("wait for"))?;
            result?;
            if status.success() { Ok(()) } else { Err(Error::other(format!("the child has failed: {status}"))) }
        }
        other => Err(Error::new(ErrorKind::InvalidInput, format!("no side is called {other}"))),
    }
}

/// One side of the exchange.
pub fn exchange(stream: &Stream, is_connector: bool, way: &str) -> io::Result<()> {
    let mut stream = stream;
    match (way, is_connector) {
        ("oneway", true) => {
            stream.write_all(&data::pattern(true))?;
            stream.shutdown(Shutdown::Write)?;
            // The ends of a pair do not outlive one another.
            if way != "pair" && !stream.wait_peer_closed(Some(LONG)) {
                return Err(Error::new(ErrorKind::TimedOut, "the listener does not close"));
            }
            match stream.undelivered() {
                Some(0) => Ok(()),
                n => Err(Error::other(format!("the listener has not read {n:?} bytes"))),
            }
        }
        ("oneway", false) => receive(stream, true),
        (_, true) => {
            stream.write_all(&data::pattern(true))?;
            stream.shutdown(Shutdown::Write)?;
            receive(stream, false)
        }
        (_, false) => {
            receive(stream, true)?;
            stream.write_all(&data::pattern(false))?;
            stream.shutdown(Shutdown::Write)?;
            // The ends of a pair do not outlive one another.
            if way != "pair" && !stream.wait_peer_closed(Some(LONG)) {
                return Err(Error::new(ErrorKind::TimedOut, "the connector does not close"));
            }
            match stream.undelivered() {
                Some(0) | None => Ok(()),
                Some(n) => Err(Error::other(format!("the connector has not read {n} bytes"))),
            }
        }
    }
}

/// All that the other side sends.
fn receive(mut stream: &Stream, by_connector: bool) -> io::Result<()> {
    let mut came = Vec::with_capacity(BYTES);
    let result = stream.read_to_end(&mut came);
    data::check(&came, by_connector);
    result?;
    data::whole(&came, by_connector)
}
