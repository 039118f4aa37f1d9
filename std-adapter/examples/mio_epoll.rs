//! Streams in an event loop, beside whatever else it waits for: `Pollable` and `PollableListener` with mio.
//!
//! `cargo run --example mio_epoll` plays the clients, too, in threads of its own.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::thread;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use smstream::{Builder, Kind, Pollable, PollableListener, Stream};

const LISTENER: Token = Token(0);
const CLIENTS: usize = 10;

/// A client, and what it has not been sent yet.
struct Client {
    stream: Pollable,
    answer: Vec<u8>,
    at_end: bool,
}

fn main() -> io::Result<()> {
    let listener = PollableListener::new(Builder::new().bind_temp(Kind::Abstract)?)?;
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let addr = listener.get_ref().local_addr();
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

fn serve(listener: &PollableListener) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    // Both directions of a stream are signalled as *readable*.
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
    let mut clients: HashMap<Token, Client> = HashMap::new();
    let (mut came, mut gone) = (0, 0);
    while gone < CLIENTS {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                continue;
            }
            // mio is edge-triggered: accept until there is none.
            while let Some(stream) = listener.accept()? {
                came += 1;
                let client = Client { stream: Pollable::new(stream)?, answer: Vec::new(), at_end: false };
                let token = Token(came);
                poll.registry().register(&mut SourceFd(&client.stream.as_raw_fd()), token, Interest::READABLE)?;
                clients.insert(token, client);
            }
        }
        // Those that an event named.
        for token in events.iter().map(|event| event.token()) {
            let Some(client) = clients.get_mut(&token) else { continue };
            if client.go_on()? {
                poll.registry().deregister(&mut SourceFd(&client.stream.as_raw_fd()))?;
                clients.remove(&token);
                gone += 1;
            }
        }
    }
    Ok(())
}

impl Client {
    /// Reads and writes as far as that goes without waiting. `true`: all is done.
    fn go_on(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 256];
        while !self.at_end {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.at_end = true,
                Ok(n) => self.answer.extend_from_slice(&bytes[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        while !self.answer.is_empty() {
            match self.stream.write(&self.answer) {
                Ok(n) => drop(self.answer.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(self.at_end && self.answer.is_empty())
    }
}
