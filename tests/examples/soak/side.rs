//! What a connection carries, and one end of it.

use std::io::{self, ErrorKind, Read, Write};
use std::process::exit;

use smstream::Reason;
use smstream_tests::flow::{Flow, Random};

/// The most bytes of a direction.
pub(crate) const LONGEST: u64 = 3 << 20;
/// The bytes of a plan.
pub(crate) const PLAN: usize = 32;

/// What a connection is to carry; the connector says it.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The bytes that the listener and the connector send.
    pub(crate) lens: [u64; 2],
    /// After so many bytes the connector takes no more.
    pub(crate) stop: u64,
}

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut len = || if random.below(4) == 0 { random.below(LONGEST) } else { random.below(20_000) };
        let lens = [len(), len()];
        let stop = if random.below(6) == 0 { random.below(lens[0] + 1) } else { u64::MAX };
        Plan { seed: random.draw(), lens, stop }
    }

    pub(crate) fn bytes(&self) -> [u8; PLAN] {
        let mut bytes = [0; PLAN];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.seed, self.lens[0], self.lens[1], self.stop]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn read(bytes: &[u8; PLAN]) -> Self {
        let number = |n: usize| u64::from_le_bytes(std::array::from_fn(|at| bytes[8 * n + at]));
        Plan { seed: number(0), lens: [number(1), number(2)], stop: number(3) }
    }
}

/// How a connection ended.
pub(crate) enum Outcome {
    /// Both have sent all and said so.
    Whole,
    /// The peer was killed.
    Gone,
    /// The reader wanted no more.
    Stopped,
}

/// One end of a connection, and what it has done.
pub(crate) struct Side {
    pub(crate) sending: Flow,
    pub(crate) receiving: Flow,
    /// The bytes to send, and to receive before this end stops.
    pub(crate) lens: [u64; 2],
    pub(crate) stop: u64,
    pub(crate) sizes: Random,
    pub(crate) operations: u64,
    pub(crate) sent_all: bool,
    pub(crate) stopped: bool,
    pub(crate) ended: bool,
}

pub(crate) fn say(text: &str) {
    // The driver has gone, if this fails.
    if writeln!(io::stdout(), "{text}").is_err() {
        exit(0);
    }
}

pub(crate) fn wrong(what: impl std::fmt::Display) -> ! {
    say(&format!("WRONG {what}"));
    exit(1);
}

/// What an error means: `Ok`: try again.
pub(crate) fn meaning(e: &io::Error) -> Result<(), Outcome> {
    match (e.kind(), Reason::of(e)) {
        (ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut, _) => Ok(()),
        (_, Some(Reason::PeerGone)) => Err(Outcome::Gone),
        (_, Some(Reason::WriteAfterClose)) => Err(Outcome::Stopped),
        _ => wrong(format!("{e} ({:?})", e.kind())),
    }
}

impl Side {
    pub(crate) fn new(plan: &Plan, party: usize) -> Self {
        let flow = |of: usize| Flow::new(plan.seed ^ of as u64, 4096);
        Side {
            sending: flow(party),
            receiving: flow(1 - party),
            lens: [plan.lens[party], plan.lens[1 - party]],
            stop: if party == 1 { plan.stop } else { u64::MAX },
            sizes: Random::new(plan.seed ^ 0x55),
            operations: 0,
            sent_all: false,
            stopped: false,
            ended: false,
        }
    }

    /// What sends, for another thread or task.
    pub(crate) fn sender(&self) -> Side {
        Side { sending: self.sending.clone(), receiving: Flow::new(0, 1), sizes: Random::new(7), ..*self }
    }

    pub(crate) fn take_back(&mut self, sender: Side) {
        self.operations += sender.operations;
        self.sending = sender.sending;
    }

    pub(crate) fn size(&mut self) -> usize {
        match self.sizes.below(4) {
            0 => 1 + self.sizes.below(64) as usize,
            1 => 1 + self.sizes.below(100_000) as usize,
            _ => 1 + self.sizes.below(5000) as usize,
        }
    }

    /// The next piece to send; `None`: all is sent.
    pub(crate) fn piece(&mut self) -> Option<Vec<u8>> {
        let left = self.lens[0] - self.sending.at();
        let mut bytes = vec![0; self.size().min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.sending.fill(&mut bytes);
        (left > 0).then_some(bytes)
    }

    pub(crate) fn sent(&mut self, n: usize) {
        self.sending.skip(n as u64);
        self.operations += 1;
    }

    /// Whether more bytes are wanted after these.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.receiving.check(bytes);
        self.operations += 1;
        if bytes.is_empty() {
            if self.receiving.at() != self.lens[1] {
                wrong(format!("the end came after {} of {} bytes", self.receiving.at(), self.lens[1]));
            }
            self.ended = true;
        }
        self.stopped |= self.receiving.at() >= self.stop;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.sent_all && (self.ended || self.stopped)
    }

    /// One attempt to send, unless all is sent. Whether it did something.
    pub(crate) fn try_send(&mut self, to: &mut impl Write) -> Result<bool, Outcome> {
        if self.sent_all {
            return Ok(false);
        }
        let Some(piece) = self.piece() else {
            match to.flush() {
                Ok(()) => self.sent_all = true,
                Err(e) => meaning(&e)?,
            }
            return Ok(self.sent_all);
        };
        match to.write(&piece) {
            Ok(n) => self.sent(n),
            Err(e) => return meaning(&e).map(|()| false),
        }
        Ok(true)
    }

    /// One attempt to receive, unless no more is wanted. Whether it did something.
    pub(crate) fn try_receive(&mut self, from: &mut impl Read) -> Result<bool, Outcome> {
        if self.ended || self.stopped {
            return Ok(false);
        }
        let mut bytes = vec![0; self.size()];
        match from.read(&mut bytes) {
            Ok(n) => self.received(&bytes[..n]),
            Err(e) => return meaning(&e).map(|()| false),
        }
        Ok(true)
    }
}
