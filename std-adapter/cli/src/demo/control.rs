//! How the demo's two processes agree on what to do next: lines of text over a Unix socket.
//!
//! The second process has the socket as its standard input; with the first byte it gets the descriptors to measure.

use std::fmt;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::str::FromStr;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// The hidden subcommand that the second process runs.
pub const PEER: &str = "demo-peer";

/// The longest line that a party accepts.
const MAX_LINE: u64 = 8192;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Throughput one way.
    Bulk,
    /// Round trip, both ends running.
    Busy,
    /// Round trip, both ends asleep.
    Asleep,
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// This library.
    Smstream,
    /// A pipe each way.
    Pipe,
    /// A pair of Unix stream sockets.
    Socket,
    /// No bytes at all: the least that this machine needs to hand something over and back.
    Floor,
}

/// What the first process has the second one do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Stay on this processor.
    Pin(usize),
    /// Connect to this address and keep the stream for this test, or for `None` to verify.
    Connect(Option<Test>, String),
    /// Send and receive this many bytes at once and tell the checksums.
    Verify(u64),
    /// Play the other side of so many blocks or round trips.
    Run(Test, Contestant, u64),
    /// That was all.
    End,
}

impl Test {
    fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Busy => "busy",
            Self::Asleep => "asleep",
        }
    }
}

impl Contestant {
    /// The name in orders and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smstream => "smstream",
            Self::Pipe => "pipe",
            Self::Socket => "socket",
            Self::Floor => "floor",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin(cpu) => write!(f, "pin {cpu}"),
            Self::Connect(test, addr) => {
                write!(f, "connect {} {addr}", test.map_or("verify", Test::name))
            }
            Self::Verify(bytes) => write!(f, "verify {bytes}"),
            Self::Run(test, contestant, count) => {
                write!(f, "run {} {} {count}", test.name(), contestant.name())
            }
            Self::End => write!(f, "end"),
        }
    }
}

impl FromStr for Order {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, format!("unknown order '{line}'"));
        let test = |name| [Test::Bulk, Test::Busy, Test::Asleep].into_iter().find(|test| test.name() == name);
        // The address comes last and may hold spaces.
        let mut words = line.splitn(3, ' ');
        let mut next = || words.next().ok_or_else(unknown);
        Ok(match next()? {
            "pin" => Self::Pin(next()?.parse().map_err(|_| unknown())?),
            "connect" => {
                let name = next()?;
                let test = if name == "verify" { None } else { Some(test(name).ok_or_else(unknown)?) };
                Self::Connect(test, next()?.to_owned())
            }
            "verify" => Self::Verify(next()?.parse().map_err(|_| unknown())?),
            "run" => {
                let test = test(next()?).ok_or_else(unknown)?;
                let (name, count) = next()?.split_once(' ').ok_or_else(unknown)?;
                let all = [Contestant::Smstream, Contestant::Pipe, Contestant::Socket, Contestant::Floor];
                let contestant = all.into_iter().find(|it| it.name() == name).ok_or_else(unknown)?;
                Self::Run(test, contestant, count.parse().map_err(|_| unknown())?)
            }
            "end" => Self::End,
            _ => return Err(unknown()),
        })
    }
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

    /// Says one line.
    pub fn say(&mut self, line: impl fmt::Display) -> io::Result<()> {
        self.output.write_all(format!("{line}\n").as_bytes())
    }

    /// Hears one line; the end of the conversation is an error.
    pub fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.input).take(MAX_LINE).read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other process ended the conversation")),
        }
    }

    /// Hears one line that must be this one.
    pub fn expect(&mut self, expected: &str) -> io::Result<()> {
        let heard = self.hear()?;
        if heard == expected {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("the other process said '{heard}', not '{expected}'")))
    }
}

/// How many descriptors the second process gets: a pipe's end each way, a socket, the words.
pub const DESCRIPTORS: usize = 4;

/// Gives descriptors to the process at the other end.
pub fn give(socket: &UnixStream, descriptors: [BorrowedFd<'_>; DESCRIPTORS]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room to pass descriptors"));
    }
    sendmsg(socket.as_fd(), &[IoSlice::new(b"!")], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes what [`give`] gave.
pub fn take(socket: &UnixStream) -> io::Result<[OwnedFd; DESCRIPTORS]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut taken = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            taken.extend(descriptors);
        }
    }
    let count = taken.len();
    taken.try_into().map_err(|_| {
        let text =
            format!("{count} descriptors came instead of {DESCRIPTORS}: this command is for `smstream demo` only");
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_wire() {
        for order in [
            Order::Pin(3),
            Order::Connect(None, "file:/tmp/with space/x".to_owned()),
            Order::Connect(Some(Test::Asleep), "file:x".to_owned()),
            Order::Verify(1 << 40),
            Order::Run(Test::Bulk, Contestant::Pipe, 7),
            Order::Run(Test::Busy, Contestant::Floor, u64::MAX),
            Order::End,
        ] {
            assert_eq!(order.to_string().parse::<Order>().expect("an order"), order);
        }
        for junk in ["", "pin", "pin x", "run bulk pipe", "run x pipe 1", "run bulk x 1", "connect verify", "stop"] {
            assert!(junk.parse::<Order>().is_err(), "{junk}");
        }
    }

    #[test]
    fn descriptors_reach_the_other_end() {
        let (here, there) = UnixStream::pair().expect("sockets");
        let (one, two) = UnixStream::pair().expect("sockets");
        give(&here, [one.as_fd(), two.as_fd(), one.as_fd(), two.as_fd()]).expect("given");
        let taken = take(&there).expect("taken");
        (&one).write_all(b"x").expect("written");
        let mut byte = [0];
        UnixStream::from(taken[1].try_clone().expect("a clone")).read_exact(&mut byte).expect("read");
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_conversation_that_ends_is_an_error() {
        let (here, there) = UnixStream::pair().expect("sockets");
        let (mut here, mut there) = (Control::over(here).expect("control"), Control::over(there).expect("control"));
        there.say("ready").expect("said");
        here.expect("ready").expect("heard");
        there.say("no").expect("said");
        assert!(here.expect("ready").is_err());
        drop(there);
        assert!(here.hear().is_err());
    }
}
