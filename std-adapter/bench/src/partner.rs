//! The second side: does what the first one orders. It is another process, or a thread of the same one.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::channel::Runner;
use crate::control::{Control, Order};
use crate::cpus;
use crate::floor::{self, Floor, Words};
use crate::plan::Pattern;
use crate::transport::Transport;
use crate::usage::Usage;

/// How often something went on, in this process: for a thread that watches that a measurement does not stand still.
pub static BEATS: AtomicU64 = AtomicU64::new(0);

/// What a side reports of a turn: one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// When it was done, on the shared clock.
    pub end: u64,
    /// What the turn has used.
    pub usage: Usage,
    /// How many system calls it made, if it is known.
    pub calls: Option<u64>,
}

impl Outcome {
    fn line(self) -> String {
        let calls = self.calls.map_or_else(|| "unknown".to_owned(), |calls| calls.to_string());
        format!("done {} {} {} {calls}", self.end, self.usage.cpu, self.usage.sleeps)
    }

    /// Reads what the other side says.
    pub fn parse(line: &str) -> io::Result<Self> {
        let fail = || io::Error::new(io::ErrorKind::InvalidData, format!("the other side said '{line}'"));
        let words: Vec<&str> = line.split(' ').collect();
        let ["done", end, cpu, sleeps, calls] = words[..] else { return Err(fail()) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| fail());
        Ok(Self {
            end: number(end)?,
            usage: Usage { cpu: number(cpu)?, sleeps: number(sleeps)? },
            calls: calls.parse().ok(),
        })
    }
}

type Ends = HashMap<usize, Box<dyn Runner>>;

/// Obeys until the first side says that it is done, or is gone.
pub fn serve(mut control: Control, transports: &[&dyn Transport], words: &Words) -> io::Result<()> {
    let mut ends = Ends::new();
    loop {
        let line = match control.receive() {
            // The first side has ended early, and says why itself.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            line => line?,
        };
        BEATS.fetch_add(1, Ordering::Relaxed);
        let order: Order = line.parse()?;
        if order == Order::End {
            return Ok(());
        }
        if let Err(error) = obey(order, &mut control, transports, words, &mut ends) {
            control.send(format!("error {}", error.to_string().replace('\n', " ")))?;
        }
    }
}

fn obey(
    order: Order,
    control: &mut Control,
    transports: &[&dyn Transport],
    words: &Words,
    ends: &mut Ends,
) -> io::Result<()> {
    match order {
        Order::Cpus(list) => {
            cpus::allow(&list)?;
            control.send("ok")
        }
        Order::Open { end, transport, waiting, longest, address } => {
            let found = transports.iter().find(|it| it.name() == transport);
            let found = found.ok_or_else(|| io::Error::other(format!("unknown transport {transport}")))?;
            ends.insert(end, found.open(&address, longest, waiting)?);
            control.send("ok")
        }
        Order::Run { end, pattern, size, count } => {
            let end = ends.get_mut(&end);
            let end = end.ok_or_else(|| io::Error::other("this end was not opened"))?;
            control.send("ok")?;
            let (before, calls) = (Usage::of_thread(), end.calls());
            let till = match pattern {
                Pattern::Throughput => end.recv_messages(size, count)?,
                Pattern::RoundTrip => {
                    end.pong(size, count)?;
                    0
                }
            };
            let usage = Usage::of_thread().since(before);
            let calls = end.calls().zip(calls).map(|(after, before)| after - before);
            control.send(Outcome { end: till, usage, calls }.line())
        }
        Order::Floor { name, count } => {
            let floor = Floor::named(&name).ok_or_else(|| io::Error::other(format!("unknown floor {name}")))?;
            words.reset();
            control.send("ok")?;
            let before = Usage::of_thread();
            floor::pong(words, floor, count)?;
            let usage = Usage::of_thread().since(before);
            control.send(Outcome { end: 0, usage, calls: None }.line())
        }
        Order::End => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_survives_the_wire() {
        for calls in [None, Some(3)] {
            let outcome = Outcome { end: 1, usage: Usage { cpu: 2, sleeps: 4 }, calls };
            assert_eq!(Outcome::parse(&outcome.line()).expect("a line"), outcome);
        }
        for junk in ["", "done", "done 1 2", "done a b c d", "ok"] {
            assert!(Outcome::parse(junk).is_err(), "{junk}");
        }
    }
}
