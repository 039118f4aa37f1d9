//! How the two sides agree on what to do next: lines of text over a socket.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::str::FromStr;

use crate::plan::Pattern;
use crate::transport::Waiting;

/// The longest line that a side accepts.
const MAX_LINE: u64 = 8192;

/// What the second side is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Use these CPUs only.
    Cpus(Vec<usize>),
    /// Open an address of a transport as this end, for messages of up to so many bytes.
    Open { end: usize, transport: String, waiting: Waiting, longest: usize, address: String },
    /// Play the other side of so many messages or trips of this size at this end.
    Run { end: usize, pattern: Pattern, size: usize, count: u64 },
    /// Play the other side of a floor: so many turns.
    Floor { name: String, count: u64 },
    /// That was all.
    End,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpus(cpus) => {
                let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
                write!(f, "cpus {}", cpus.join(","))
            }
            Self::Open { end, transport, waiting, longest, address } => {
                write!(f, "open {end} {transport} {} {longest} {address}", waiting.name())
            }
            Self::Run { end, pattern, size, count } => write!(f, "run {end} {} {size} {count}", pattern.name()),
            Self::Floor { name, count } => write!(f, "floor {name} {count}"),
            Self::End => f.write_str("end"),
        }
    }
}

impl FromStr for Order {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        parse(line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("unknown order '{line}'")))
    }
}

fn parse(line: &str) -> Option<Order> {
    // An address comes last and may hold spaces.
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split(' ').collect();
    Some(match (verb, words.as_slice()) {
        ("cpus", [list]) => Order::Cpus(list.split(',').map(|cpu| cpu.parse().ok()).collect::<Option<_>>()?),
        ("open", [_, _, _, _, ..]) => {
            let mut words = rest.splitn(5, ' ');
            Order::Open {
                end: words.next()?.parse().ok()?,
                transport: words.next()?.to_owned(),
                waiting: Waiting::named(words.next()?)?,
                longest: words.next()?.parse().ok()?,
                address: words.next()?.to_owned(),
            }
        }
        ("run", [end, pattern, size, count]) => Order::Run {
            end: end.parse().ok()?,
            pattern: Pattern::named(pattern)?,
            size: size.parse().ok()?,
            count: count.parse().ok()?,
        },
        ("floor", [name, count]) => Order::Floor { name: (*name).to_owned(), count: count.parse().ok()? },
        ("end", [""]) => Order::End,
        _ => return None,
    })
}

/// One end of the conversation.
pub struct Control {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Control {
    /// Speaks over a connected socket.
    pub fn over(socket: UnixStream) -> io::Result<Self> {
        Ok(Self { output: socket.try_clone()?, input: BufReader::new(socket) })
    }

    /// Sends one line.
    pub fn send(&mut self, line: impl fmt::Display) -> io::Result<()> {
        self.output.write_all(format!("{line}\n").as_bytes())
    }

    /// Receives one line; the end of the conversation is an error. A line `error …` is the other side's, and becomes
    /// one here.
    pub fn receive(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.input).take(MAX_LINE).read_line(&mut line)?;
        let Some(line) = line.strip_suffix('\n') else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side has ended"));
        };
        match line.strip_prefix("error ") {
            Some(error) => Err(io::Error::other(error.to_owned())),
            None => Ok(line.to_owned()),
        }
    }

    /// Receives one line that must be this one.
    pub fn expect(&mut self, expected: &str) -> io::Result<()> {
        let line = self.receive()?;
        if line == expected {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("the other side said '{line}', not '{expected}'")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_wire() {
        let (transport, waiting) = ("smstream".to_owned(), Waiting::Asleep);
        for order in [
            Order::Cpus(vec![0, 3]),
            Order::Open { end: 7, transport, waiting, longest: 9, address: "file:/a b/c".to_owned() },
            Order::Run { end: 7, pattern: Pattern::RoundTrip, size: 64, count: u64::MAX },
            Order::Floor { name: "futex".to_owned(), count: 7 },
            Order::End,
        ] {
            assert_eq!(order.to_string().parse::<Order>().expect("an order"), order);
        }
        for junk in ["", "cpus x", "open a", "open 1 a b 1 x", "run 1 x 1 1", "floor x", "stop", "end x"] {
            assert!(junk.parse::<Order>().is_err(), "{junk}");
        }
    }

    #[test]
    fn the_other_sides_error_is_an_error_here() {
        let (here, there) = UnixStream::pair().expect("sockets");
        let (mut here, mut there) = (Control::over(here).expect("control"), Control::over(there).expect("control"));
        there.send("ok").expect("sent");
        here.expect("ok").expect("heard");
        there.send("error no room").expect("sent");
        assert_eq!(here.expect("ok").expect_err("an error").to_string(), "no room");
        drop(there);
        assert_eq!(here.receive().expect_err("the end").kind(), io::ErrorKind::UnexpectedEof);
    }
}
