//! Sends standard input to an `echo_server`, and shows what comes back.
//!
//! `echo hello | cargo run --example echo_client -- unix:/tmp/echo`

use std::io::{self, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use smstream::{Reason, Stream};

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "file:/tmp/smstream-echo".into());
    let stream = match Stream::connect_timeout(addr.as_str(), Duration::from_secs(5)) {
        Err(e) if e.reason() == Reason::NotReady => {
            eprintln!("{e}\nStart the example echo_server with the same address first.");
            std::process::exit(3);
        }
        result => result?,
    };
    // One direction for each thread: neither waits for the other, however much there is.
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> io::Result<()> {
            io::copy(&mut io::stdin(), &mut &stream)?;
            // No more will come: the server reads the end.
            stream.shutdown(Shutdown::Write)?;
            Ok(())
        });
        io::copy(&mut &stream, &mut io::stdout())?;
        io::stdout().flush()?;
        sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
