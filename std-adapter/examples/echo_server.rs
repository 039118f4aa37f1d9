//! Sends back what comes, one thread for each connection.
//!
//! `cargo run --example echo_server -- unix:/tmp/echo`, and then `echo_client` in another terminal.

use std::io::{self, Read, Write};
use std::thread;

use smstream::{Listener, Stream};

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "file:/tmp/smstream-echo".into());
    let listener = Listener::bind(addr)?;
    println!("listening at {}", listener.local_addr());
    for stream in &listener {
        match stream {
            Ok(stream) => drop(thread::spawn(move || report(echo(stream)))),
            // One connector's trouble, or a shortage that may pass.
            Err(e) => eprintln!("cannot accept: {e}"),
        }
    }
    Ok(())
}

fn echo(mut stream: Stream) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()), // The client has closed.
            n => stream.write_all(&bytes[..n])?,
        }
    }
}

fn report(result: io::Result<()>) {
    if let Err(e) = result {
        eprintln!("{e}");
    }
}
