//! One thread serves a listener and all its clients, over any kind of address, by `wait_any`.
//!
//! `cargo run --example many_clients` plays the clients, too, in threads of its own.

use std::io::{self, Read, Write};
use std::thread;

use smstream::{Condition, Listener, Stream, wait_any};

const CLIENTS: usize = 20;

fn main() -> io::Result<()> {
    let listener = Listener::bind_temp()?;
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let addr = listener.local_addr();
            scope.spawn(move || ask(addr, number).expect("the server answers"));
        }
        serve(&listener)
    })
}

fn ask(addr: &smstream::Addr, number: usize) -> io::Result<()> {
    let mut stream = Stream::connect(addr)?;
    stream.write_all(format!("client {number}").as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}

/// Serves until all clients have come and gone.
fn serve(listener: &Listener) -> io::Result<()> {
    let mut clients: Vec<Stream> = Vec::new();
    let mut gone = 0;
    while gone < CLIENTS {
        // The listener first, then the clients: at most 127 in all (`smstream::condition::MOST`).
        let ready = {
            let conditions = std::iter::once(listener.acceptable()).chain(clients.iter().map(Stream::readable));
            wait_any(&mut conditions.collect::<Vec<Condition>>(), None)?
        };
        // From the last one on, so that removing one leaves the places of the others before it.
        for place in (1..=clients.len()).rev().filter(|place| ready.contains(*place)) {
            let client = &mut clients[place - 1];
            let mut bytes = [0; 256];
            // Does not wait: it is readable.
            match client.read(&mut bytes)? {
                0 => {
                    clients.swap_remove(place - 1);
                    gone += 1;
                }
                n => client.write_all(&bytes[..n])?,
            }
        }
        if ready.contains(0) {
            clients.push(listener.accept()?);
        }
    }
    Ok(())
}
