//! What both sides do during a turn: send messages one way, or hand one message back and forth.

use std::io;

use crate::usage::now;

/// One side's end of what carries messages. The other side has the other end.
pub trait Channel: Send {
    /// Sends one message, all of it. It may wait.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Receives one message of just this length. It may wait.
    fn recv(&mut self, message: &mut [u8]) -> io::Result<()>;

    /// How many system calls this end has made, if it is known.
    fn calls(&self) -> Option<u64> {
        None
    }
}

/// The loops over a [`Channel`], compiled for each kind, so that no call inside of them is indirect.
pub trait Runner: Send {
    /// Sends `count` messages of `size` bytes; returns when it began.
    fn send_messages(&mut self, size: usize, count: u64) -> io::Result<u64>;

    /// Receives what the other side sends; returns when the last byte was here.
    fn recv_messages(&mut self, size: usize, count: u64) -> io::Result<u64>;

    /// Makes `count` round trips; returns how long they took in nanoseconds.
    fn ping(&mut self, size: usize, count: u64) -> io::Result<u64>;

    /// The same, and notes how long each took. Reading the clock is part of each.
    fn ping_timed(&mut self, size: usize, count: u64, times: &mut Vec<f64>) -> io::Result<()>;

    /// The other side of the two kinds of ping.
    fn pong(&mut self, size: usize, count: u64) -> io::Result<()>;

    /// How many system calls this end has made, if it is known.
    fn calls(&self) -> Option<u64>;
}

impl<C: Channel> Runner for C {
    fn send_messages(&mut self, size: usize, count: u64) -> io::Result<u64> {
        let mut message = vec![0xa5; size];
        let start = now();
        for number in 0..count {
            stamp(&mut message, number);
            self.send(&message)?;
        }
        Ok(start)
    }

    fn recv_messages(&mut self, size: usize, count: u64) -> io::Result<u64> {
        let mut message = vec![0; size];
        for number in 0..count {
            self.recv(&mut message)?;
            check(&message, number)?;
        }
        Ok(now())
    }

    fn ping(&mut self, size: usize, count: u64) -> io::Result<u64> {
        let (mut sent, mut received) = (vec![0x5a; size], vec![0; size]);
        let start = now();
        for number in 0..count {
            trip(self, &mut sent, &mut received, number)?;
        }
        Ok(now() - start)
    }

    fn ping_timed(&mut self, size: usize, count: u64, times: &mut Vec<f64>) -> io::Result<()> {
        let (mut sent, mut received) = (vec![0x5a; size], vec![0; size]);
        let mut from = now();
        for number in 0..count {
            trip(self, &mut sent, &mut received, number)?;
            let till = now();
            times.push((till - from) as f64);
            from = till;
        }
        Ok(())
    }

    fn pong(&mut self, size: usize, count: u64) -> io::Result<()> {
        let mut message = vec![0; size];
        for number in 0..count {
            self.recv(&mut message)?;
            check(&message, number)?;
            self.send(&message)?;
        }
        Ok(())
    }

    fn calls(&self) -> Option<u64> {
        Channel::calls(self)
    }
}

/// There and back.
fn trip<C: Channel>(channel: &mut C, sent: &mut [u8], received: &mut [u8], number: u64) -> io::Result<()> {
    stamp(sent, number);
    channel.send(sent)?;
    channel.recv(received)?;
    check(received, number)
}

/// Numbers a message, so that one that comes twice, or not at all, is noticed.
fn stamp(message: &mut [u8], number: u64) {
    let number = number.to_le_bytes();
    match message.first_chunk_mut() {
        Some(head) => *head = number,
        None => message.iter_mut().zip(number).for_each(|(byte, part)| *byte = part),
    }
}

/// Checks the number of a message.
fn check(message: &[u8], number: u64) -> io::Result<()> {
    if message.iter().zip(number.to_le_bytes()).all(|(byte, part)| *byte == part) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("message {number} did not arrive as it was sent")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_came_twice_is_noticed() {
        for size in [1, 7, 8, 64] {
            let mut message = vec![0; size];
            stamp(&mut message, 7);
            assert!(check(&message, 7).is_ok(), "{size}");
            assert!(check(&message, 8).is_err(), "{size}");
        }
    }
}
