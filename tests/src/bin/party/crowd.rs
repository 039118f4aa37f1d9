//! Many streams in one process, and one server with many clients.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use smstream::condition::MOST;
use smstream::memory::{Access, Mapping};
use smstream::{Builder, Listener, Stream, wait_any};

use crate::{Words, wrong};

/// The streams that this process holds, and the listener that they came from.
#[derive(Default)]
pub(crate) struct Crowd {
    streams: Vec<Stream>,
    listener: Option<Listener>,
}

impl Crowd {
    pub(crate) fn run(&mut self, words: &mut Words<'_>) -> io::Result<String> {
        match words.text()? {
            // ADDR CAPACITY
            "bind" => {
                let addr = words.text()?;
                let capacity = words.number()?;
                self.listener = Some(Builder::new().capacity(capacity).bind(addr)?);
            }
            "accept" => {
                let listener = self.listener.as_ref().ok_or_else(|| wrong("there is no listener"))?;
                for _ in 0..words.number()? {
                    self.streams.push(listener.accept()?);
                }
            }
            "connect" => {
                let addr = words.text()?;
                for _ in 0..words.number()? {
                    self.streams.push(Stream::connect(addr)?);
                }
            }
            // A byte through each, there and back.
            "ping" => {
                for (i, stream) in self.streams.iter_mut().enumerate() {
                    stream.write_all(&[i as u8])?;
                }
                for (i, stream) in self.streams.iter_mut().enumerate() {
                    let mut byte = [0];
                    stream.read_exact(&mut byte)?;
                    assert_eq!(byte, [i as u8], "another stream's byte");
                }
            }
            "pong" => {
                for stream in &mut self.streams {
                    let mut byte = [0];
                    stream.read_exact(&mut byte)?;
                    stream.write_all(&byte)?;
                }
            }
            // Waits for bytes from any of as many as one wait takes.
            "wait" => {
                let mut conditions: Vec<_> = self.streams.iter().take(MOST).map(Stream::readable).collect();
                let ready = wait_any(&mut conditions, words.time()?)?;
                return Ok(ready.iter().map(|place| place.to_string()).collect::<Vec<_>>().join(" "));
            }
            "ask" => return ask(self.streams.first_mut(), words.text()?, words.number()?),
            "close" => *self = Crowd::default(),
            other => return Err(wrong(format!("{other} is nothing that a crowd does"))),
        }
        Ok(self.streams.len().to_string())
    }
}

/// Asks a server `requests` times, and says how many requests it answered, at the most, between a request of this client
/// and its answer, which counts. The server counts its answers in a file, and says with each answer which one it is.
fn ask(stream: Option<&mut Stream>, counter: &str, requests: u64) -> io::Result<String> {
    let stream = stream.ok_or_else(|| wrong("there is no stream"))?;
    let file = File::open(counter)?;
    let mapping = Mapping::new(&file, 0, size_of::<AtomicU64>(), Access::ReadOnly)?;
    // SAFETY: the mapping is page-aligned, of that length, and lives to the end of this function; the file is only ever
    // accessed as one atomic word, and never shortened. A relaxed load does not write.
    let answered = unsafe { &*mapping.as_ptr().cast::<AtomicU64>() };
    let mut most = 0;
    for _ in 0..requests {
        stream.write_all(&[0])?;
        // Read after the request can be seen: a client that the system does not let run asks later, and waits no longer.
        let before = answered.load(Ordering::Relaxed);
        let mut answer = [0; 8];
        stream.read_exact(&mut answer)?;
        most = most.max(u64::from_ne_bytes(answer).saturating_sub(before));
    }
    Ok(most.to_string())
}
