//! A stream to a child process: one that is executed and inherits a socket, as a worker of a pool would.
//!
//! `cargo run --example fork_exec` starts itself as the child.

use std::io::{self, Read, Write};
use std::process::Command;

use smstream::{Builder, Stream};

fn main() -> io::Result<()> {
    match std::env::args().nth(1) {
        None => parent(),
        Some(addr) => child(&addr),
    }
}

fn parent() -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    // The child inherits one end of a socket, and an environment variable that says so.
    let handover = Builder::new().hand_over(&mut command)?;
    let mut child = command.arg(handover.addr().to_string()).spawn()?;
    // From here on the bytes go through memory. A child that ends without connecting is an error.
    let mut stream = handover.accept()?;
    stream.write_all(b"work")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    child.wait()?;
    Ok(())
}

/// The address is something like `fd:5`.
fn child(addr: &str) -> io::Result<()> {
    let mut stream = Stream::connect(addr)?;
    let mut work = String::new();
    stream.read_to_string(&mut work)?;
    write!(stream, "process {} has done the {work}", std::process::id())
}
