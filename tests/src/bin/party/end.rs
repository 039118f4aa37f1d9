//! What a party does with a stream.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::thread;

use smstream::Stream;
use smstream_tests::flow::{Flow, Manner};
use smstream_tests::party::asleep;

use crate::deadlock;
use crate::system::in_a_child;
use crate::{Words, held, refusal, wrong};

/// A stream, what is sent through it, and what is expected from it.
pub(crate) struct End {
    stream: Stream,
    out: Flow,
    into: Flow,
}

impl End {
    pub(crate) fn new(stream: Stream, seeds: [u64; 2]) -> Self {
        let [out, into] = stream.stats().capacities;
        End { stream, out: Flow::new(seeds[0], out), into: Flow::new(seeds[1], into) }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    pub(crate) fn run(&mut self, command: &str, words: &mut Words<'_>) -> io::Result<String> {
        let done = Ok(String::new());
        match command {
            // One call each.
            "read" => {
                let mut bytes = vec![0; words.number()?];
                let n = self.stream.read(&mut bytes)?;
                self.into.check(&bytes[..n]);
                Ok(n.to_string())
            }
            "write" => {
                let mut bytes = vec![0; words.number()?];
                self.out.fill(&mut bytes);
                let n = self.stream.write(&bytes)?;
                assert!(n <= bytes.len());
                self.out.skip(n as u64);
                Ok(n.to_string())
            }
            // Words as they are, in one write: no flow of bytes, and perhaps no records.
            "words" => {
                let mut bytes = Vec::new();
                while let Ok(word) = words.number::<u32>() {
                    bytes.extend_from_slice(&word.to_ne_bytes());
                }
                self.stream.write_all(&bytes)?;
                Ok(bytes.len().to_string())
            }
            // Up to a place of the flow.
            "send" => {
                self.out.send(&mut self.stream, words.number()?, Manner::of(words.text()?))?;
                Ok(self.out.at().to_string())
            }
            "receive" => {
                self.into.receive(&mut self.stream, words.number()?, Manner::of(words.text()?))?;
                Ok(self.into.at().to_string())
            }
            "drain" => {
                let end = self.into.drain(&mut self.stream);
                Ok(format!("{} {}", self.into.at(), end.map_or("eof".into(), |e| refusal(&e))))
            }
            "fill" => {
                let end = self.out.send(&mut self.stream, u64::MAX, Manner::Some).expect_err("it never ends");
                Ok(format!("{} {}", self.out.at(), refusal(&end)))
            }
            // Messages of a fixed size, with their number in front: little work besides the stream's.
            "pour" => {
                let (count, size): (u64, usize) = (words.number()?, words.number()?);
                let mut bytes = vec![0x5a; size.max(8)];
                for i in 0..count {
                    bytes[..8].copy_from_slice(&i.to_ne_bytes());
                    self.stream.write_all(&bytes)?;
                }
                done
            }
            "drink" => {
                let (count, size): (u64, usize) = (words.number()?, words.number()?);
                let mut bytes = vec![0; size.max(8)];
                for i in 0..count {
                    self.stream.read_exact(&mut bytes)?;
                    assert_eq!(bytes[..8], i.to_ne_bytes(), "another message");
                }
                done
            }
            "deadlocks" => deadlock::rounds(&mut self.stream, (&mut self.out, &mut self.into), words),
            "fork-and-poll" => self.fork_and_poll(),
            "drain-on-small-stack" => {
                let Self { stream, into, .. } = self;
                let end = crate::bus::on_small_stack(|| into.drain(&mut &*stream))?;
                Ok(format!("{} {}", self.into.at(), end.map_or("eof".into(), |e| refusal(&e))))
            }
            "shut-under" => self.shut_under(words.text()?),
            "both" => self.both_by_reference(words),
            // Sends back what comes, until the end.
            "echo" => {
                let mut bytes = vec![0; 1 << 16];
                let mut sum = 0;
                loop {
                    let n = self.stream.read(&mut bytes)?;
                    if n == 0 {
                        return Ok(sum.to_string());
                    }
                    self.stream.write_all(&bytes[..n])?;
                    sum += n;
                }
            }
            // As the first of two: a byte there and back, this often.
            "ping" => {
                let mut byte = [0];
                for i in 0..words.number::<u64>()? {
                    self.stream.write_all(&[i as u8])?;
                    self.stream.read_exact(&mut byte)?;
                    assert_eq!(byte, [i as u8], "the answer is another");
                }
                done
            }
            "pong" => {
                let mut byte = [0];
                for _ in 0..words.number::<u64>()? {
                    self.stream.read_exact(&mut byte)?;
                    self.stream.write_all(&byte)?;
                }
                done
            }
            "shutdown" => {
                let how = match words.text()? {
                    "read" => Shutdown::Read,
                    "write" => Shutdown::Write,
                    _ => Shutdown::Both,
                };
                self.stream.shutdown(how)?;
                done
            }
            "timeout" => {
                let (direction, time) = (words.text()?, words.time()?);
                match direction {
                    "read" => self.stream.set_read_timeout(time)?,
                    _ => self.stream.set_write_timeout(time)?,
                }
                done
            }
            "nonblocking" => {
                self.stream.set_nonblocking(words.text()? == "on")?;
                done
            }
            "stats" => {
                let s = self.stream.stats();
                let counts = |c: smstream::Counts| {
                    let all = [c.bytes, c.operations, c.parks, c.wakes_sent, c.wakes_avoided()];
                    all.map(|n| n.to_string()).join(" ")
                };
                Ok(format!("{:?} {} {}", s.watch, counts(s.sent), counts(s.received)))
            }
            "wait-closed" => Ok(self.stream.wait_peer_closed(words.time()?).to_string()),
            other => held::run(&mut self.stream, other, words),
        }
    }

    /// Makes a child that reads without waiting until there is an error: which, and after how many bytes.
    fn fork_and_poll(&mut self) -> io::Result<String> {
        self.stream.set_nonblocking(true)?;
        in_a_child(|| {
            loop {
                match self.into.receive(&mut self.stream, u64::MAX, Manner::Some) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                    Err(e) => {
                        let inner = e.get_ref().and_then(|e| e.downcast_ref::<smstream::Error>());
                        let reason = inner.map_or("the end".into(), |e| format!("{:?}", e.reason()));
                        return format!("{reason} after {}", self.into.at());
                    }
                    Ok(()) => unreachable!("no peer sends so much"),
                }
            }
        })
    }

    /// Shuts a direction down while another thread waits in it. What the stream said to that thread.
    fn shut_under(&mut self, how: &str) -> io::Result<String> {
        let Self { stream, out, .. } = self;
        let stream = &*stream;
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                let _ = sender.send(rustix::thread::gettid());
                match how {
                    "read" => (&*stream).read(&mut [0; 1]).map_or_else(|e| e.kind().to_string(), |n| n.to_string()),
                    _ => format!(
                        "{:?}",
                        out.send(&mut &*stream, u64::MAX, Manner::All).expect_err("it never ends").kind()
                    ),
                }
            });
            let thread = receiver.recv().map_err(|_| wrong("the thread is gone"))?;
            asleep(std::process::id(), thread.as_raw_nonzero().get() as u32);
            stream.shutdown(if how == "read" { Shutdown::Read } else { Shutdown::Write })?;
            waiting.join().map_err(|_| wrong("a thread panicked"))
        })
    }

    /// Both ways at once, by two threads that share the stream.
    fn both_by_reference(&mut self, words: &mut Words<'_>) -> io::Result<String> {
        let (to, from, manner) = (words.number()?, words.number()?, Manner::of(words.text()?));
        let Self { stream, out, into } = self;
        let stream = &*stream;
        thread::scope(|scope| {
            let sender = scope.spawn(move || {
                out.send(&mut &*stream, to, manner)?;
                // The reader may be asleep by now, and so cannot publish what is held back.
                (&*stream).flush()
            });
            let received = into.receive(&mut &*stream, from, manner);
            sender.join().expect("the sender").and(received)
        })?;
        Ok(String::new())
    }

    /// Both ways at once, by a thread for each half. It closes the stream in the end, after the peer has.
    pub(crate) fn both_by_halves(self, words: &mut Words<'_>) -> io::Result<String> {
        let (to, from, manner) = (words.number()?, words.number()?, Manner::of(words.text()?));
        let Self { stream, mut out, mut into } = self;
        let (mut reader, mut writer) = stream.split();
        thread::scope(|scope| {
            let sender = scope.spawn(move || out.send(&mut writer, to, manner));
            let mut received = into.receive(&mut reader, from, manner);
            if received.is_ok() && reader.read(&mut [0])? != 0 {
                received = Err(wrong("more came than was to come"));
            }
            sender.join().expect("the sender").and(received)
        })?;
        Ok(String::new())
    }
}
