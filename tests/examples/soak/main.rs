//! A process of `tests/soak`: one connection after the other, each in one of the ways to wait, until it is killed.
//!
//! usage: `soak listen|connect ADDRESS SEED`, or `soak clean DIRECTORY`, which removes what the killed ones have left
//!
//! Each connection carries bytes of a seed both ways at once, in pieces of all sizes; every byte is checked. Each that is over is a line
//! on standard output: `connection WAY OUTCOME BYTES OPERATIONS`. What must not be is a line that begins with `WRONG`, and ends the process.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::exit;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use smstream::{BufMode, Builder, Listener, Pollable, ReadHalf, Reason, Stream, WriteHalf, wait_any};
use smstream_tests::flow::{Flow, Random};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The most bytes of a direction.
const LONGEST: u64 = 3 << 20;
/// The bytes of a plan.
const PLAN: usize = 32;

/// What a connection is to carry; the connector says it.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    /// The bytes that the listener and the connector send.
    lens: [u64; 2],
    /// After so many bytes the connector takes no more.
    stop: u64,
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let mut len = || if random.below(4) == 0 { random.below(LONGEST) } else { random.below(20_000) };
        let lens = [len(), len()];
        let stop = if random.below(6) == 0 { random.below(lens[0] + 1) } else { u64::MAX };
        Plan { seed: random.draw(), lens, stop }
    }

    fn bytes(&self) -> [u8; PLAN] {
        let mut bytes = [0; PLAN];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.seed, self.lens[0], self.lens[1], self.stop]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn read(bytes: &[u8; PLAN]) -> Self {
        let number = |n: usize| u64::from_le_bytes(std::array::from_fn(|at| bytes[8 * n + at]));
        Plan { seed: number(0), lens: [number(1), number(2)], stop: number(3) }
    }
}

/// How a connection ended.
enum Outcome {
    /// Both have sent all and said so.
    Whole,
    /// The peer was killed.
    Gone,
    /// The reader wanted no more.
    Stopped,
}

/// One end of a connection, and what it has done.
struct Side {
    sending: Flow,
    receiving: Flow,
    /// The bytes to send, and to receive before this end stops.
    lens: [u64; 2],
    stop: u64,
    sizes: Random,
    operations: u64,
    sent_all: bool,
    stopped: bool,
    ended: bool,
}

fn say(text: &str) {
    // The driver has gone, if this fails.
    if writeln!(io::stdout(), "{text}").is_err() {
        exit(0);
    }
}

fn wrong(what: impl std::fmt::Display) -> ! {
    say(&format!("WRONG {what}"));
    exit(1);
}

/// What an error means: `Ok`: try again.
fn meaning(e: &io::Error) -> Result<(), Outcome> {
    match (e.kind(), Reason::of(e)) {
        (ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut, _) => Ok(()),
        (_, Some(Reason::PeerGone)) => Err(Outcome::Gone),
        (_, Some(Reason::WriteAfterClose)) => Err(Outcome::Stopped),
        _ => wrong(format!("{e} ({:?})", e.kind())),
    }
}

impl Side {
    fn new(plan: &Plan, party: usize) -> Self {
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
    fn sender(&self) -> Side {
        Side { sending: self.sending.clone(), receiving: Flow::new(0, 1), sizes: Random::new(7), ..*self }
    }

    fn take_back(&mut self, sender: Side) {
        self.operations += sender.operations;
        self.sending = sender.sending;
    }

    fn size(&mut self) -> usize {
        match self.sizes.below(4) {
            0 => 1 + self.sizes.below(64) as usize,
            1 => 1 + self.sizes.below(100_000) as usize,
            _ => 1 + self.sizes.below(5000) as usize,
        }
    }

    /// The next piece to send; `None`: all is sent.
    fn piece(&mut self) -> Option<Vec<u8>> {
        let left = self.lens[0] - self.sending.at();
        let mut bytes = vec![0; self.size().min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.sending.fill(&mut bytes);
        (left > 0).then_some(bytes)
    }

    fn sent(&mut self, n: usize) {
        self.sending.skip(n as u64);
        self.operations += 1;
    }

    /// Whether more bytes are wanted after these.
    fn received(&mut self, bytes: &[u8]) {
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

    fn is_over(&self) -> bool {
        self.sent_all && (self.ended || self.stopped)
    }

    /// One attempt to send, unless all is sent. Whether it did something.
    fn try_send(&mut self, to: &mut impl Write) -> Result<bool, Outcome> {
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
    fn try_receive(&mut self, from: &mut impl Read) -> Result<bool, Outcome> {
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

/// The ways to wait. The last ones need a socket.
const WAYS: [&str; 7] = ["blocking", "timeouts", "chunks", "buffered", "conditions", "poll", "tokio"];
const ANYWHERE: u64 = 5;

/// Serves one connection; what it came to.
fn serve(stream: Stream, party: usize, way: &str, plan: Plan) -> (Outcome, u64, u64) {
    let mut side = Side::new(&plan, party);
    let outcome = match way {
        "conditions" => conditions(&stream, &mut side),
        "poll" => polled(stream, &mut side),
        "tokio" => asynchronous(stream, &mut side),
        _ => {
            if way == "timeouts" {
                let time = Some(Duration::from_micros(50 + side.sizes.below(5000)));
                stream.set_read_timeout(time).unwrap_or_else(|e| wrong(e));
                stream.set_write_timeout(time).unwrap_or_else(|e| wrong(e));
            }
            if way == "buffered" {
                stream.set_buf_mode(BufMode::Full);
            }
            in_two_threads(stream, &mut side, way == "chunks")
        }
    };
    let bytes = side.sending.at() + side.receiving.at();
    (outcome.err().unwrap_or(Outcome::Whole), bytes, side.operations)
}

/// A half whose bytes are written and read in place.
struct InPlace<H>(H);

impl Write for InPlace<WriteHalf> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // No lane here has less than twice as many.
        let bytes = &bytes[..bytes.len().min(32)];
        let mut chunk = self.0.reserve(bytes.len())?;
        chunk.write_all(bytes)?;
        chunk.commit_filled()
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Read for InPlace<ReadHalf> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let chunk = self.0.peek(1)?;
        let n = chunk.copy_to(0, out);
        chunk.consume(n)
    }
}

/// A thread for each direction, which block.
fn in_two_threads(stream: Stream, side: &mut Side, in_place: bool) -> Result<(), Outcome> {
    let (reader, writer) = stream.split();
    if in_place {
        return by_halves(InPlace(reader), InPlace(writer), side, |it| it.0.shutdown(), |it| it.0.shutdown());
    }
    by_halves(reader, writer, side, ReadHalf::shutdown, WriteHalf::shutdown)
}

fn by_halves<R: Read, W: Write + Send>(
    mut reader: R,
    mut writer: W,
    side: &mut Side,
    stop: fn(&mut R),
    finish: fn(&mut W),
) -> Result<(), Outcome> {
    let mut sender = side.sender();
    let (sender, result) = thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let mut result = Ok(());
            while result.is_ok() && !sender.sent_all {
                result = sender.try_send(&mut writer).map(drop);
            }
            if result.is_ok() {
                finish(&mut writer);
            }
            (sender, result)
        });
        let mut result = Ok(());
        while result.is_ok() && !side.ended && !side.stopped {
            result = side.try_receive(&mut reader).map(drop);
        }
        if side.stopped {
            stop(&mut reader);
        }
        let (sender, sent) = sending.join().unwrap_or_else(|_| wrong("a thread panicked"));
        (sender, result.and(sent))
    });
    side.take_back(sender);
    result
}

/// One thread, which waits for either direction.
fn conditions(stream: &Stream, side: &mut Side) -> Result<(), Outcome> {
    stream.set_nonblocking(true).unwrap_or_else(|e| wrong(e));
    let mut shut = Shut::default();
    while !side.is_over() {
        let sent = side.try_send(&mut &*stream)?;
        let received = side.try_receive(&mut &*stream)?;
        shut.follow(side, stream);
        if sent || received || side.is_over() {
            continue;
        }
        let mut wanted = Vec::new();
        if !side.sent_all {
            wanted.push(stream.writable());
        }
        if !(side.ended || side.stopped) {
            wanted.push(stream.readable());
        }
        if let Err(e) = wait_any(&mut wanted, Some(Duration::from_secs(1))) {
            meaning(&e.into())?;
        }
    }
    Ok(())
}

/// The same by `poll`.
fn polled(stream: Stream, side: &mut Side) -> Result<(), Outcome> {
    let mut stream = Pollable::new(stream).unwrap_or_else(|e| wrong(e));
    let mut shut = Shut::default();
    while !side.is_over() {
        let sent = side.try_send(&mut stream)?;
        let received = side.try_receive(&mut stream)?;
        shut.follow(side, stream.get_ref());
        if !sent && !received && !side.is_over() {
            match poll(&mut [PollFd::new(&stream, PollFlags::IN)], None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => wrong(e),
            }
        }
    }
    Ok(())
}

/// Which directions have been shut down.
#[derive(Default)]
struct Shut {
    write: bool,
    read: bool,
}

impl Shut {
    /// Shuts down what has come to its end.
    fn follow(&mut self, side: &Side, stream: &Stream) {
        let shut = |how| stream.shutdown(how).unwrap_or_else(|e| wrong(e));
        if side.sent_all && !std::mem::replace(&mut self.write, side.sent_all) {
            shut(Shutdown::Write);
        }
        if side.stopped && !std::mem::replace(&mut self.read, side.stopped) {
            shut(Shutdown::Read);
        }
    }
}

/// Two tasks of tokio.
fn asynchronous(stream: Stream, side: &mut Side) -> Result<(), Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap_or_else(|e| wrong(e));
    let mut sender = side.sender();
    let result = runtime.block_on(async {
        let stream = smstream::tokio::Stream::from_std(stream).unwrap_or_else(|e| wrong(e));
        let (mut reader, mut writer) = stream.into_split();
        let sending = async {
            while let Some(piece) = sender.piece() {
                match writer.write(&piece).await {
                    Ok(n) => sender.sent(n),
                    Err(e) => meaning(&e)?,
                }
            }
            writer.shutdown().await.or_else(|e| meaning(&e))
        };
        let receiving = async {
            while !side.ended && !side.stopped {
                let mut bytes = vec![0; side.size()];
                match reader.read(&mut bytes).await {
                    Ok(n) => side.received(&bytes[..n]),
                    Err(e) => meaning(&e)?,
                }
            }
            drop(reader);
            Ok(())
        };
        let (sent, received) = tokio::join!(sending, receiving);
        received.and(sent)
    });
    side.take_back(sender);
    result
}

/// Says what came of a connection.
fn tell(way: &str, (outcome, bytes, operations): (Outcome, u64, u64)) {
    let outcome = match outcome {
        Outcome::Whole => "whole",
        Outcome::Gone => "gone",
        Outcome::Stopped => "stopped",
    };
    say(&format!("connection {way} {outcome} {bytes} {operations}"));
}

fn way(random: &mut Random, addr: &str) -> &'static str {
    let ways = if addr.starts_with("unix:") { WAYS.len() as u64 } else { ANYWHERE };
    WAYS[random.below(ways) as usize]
}

/// A connection that may be cut short at any moment: what the plan says.
fn plan_of(mut stream: &Stream) -> Result<Plan, Outcome> {
    let mut bytes = [0; PLAN];
    let mut at = 0;
    while at < PLAN {
        match stream.read(&mut bytes[at..]) {
            Ok(0) => wrong("a connector said nothing and closed"),
            Ok(n) => at += n,
            Err(e) => meaning(&e)?,
        }
    }
    Ok(Plan::read(&bytes))
}

fn listen(addr: &str, random: &mut Random) -> ! {
    let listener = loop {
        let capacity = 1 << (6 + random.below(12));
        match Builder::new().capacities(capacity, 1 << (6 + random.below(12))).bind(addr) {
            Ok(listener) => break listener,
            // The one before has just been killed, or others look at the name.
            Err(e) if matches!(e.reason(), Reason::AddrInUse | Reason::Claimed | Reason::TimedOut) => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(e) => wrong(e),
        }
    };
    serve_all(&listener, addr, random)
}

fn serve_all(listener: &Listener, addr: &str, random: &mut Random) -> ! {
    loop {
        let stream = match listener.accept_timeout(Duration::from_secs(1)) {
            Ok(stream) => stream,
            Err(e) if e.reason() == Reason::TimedOut || e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => wrong(e),
        };
        let way = way(random, addr);
        thread::spawn(move || match plan_of(&stream) {
            Ok(plan) => tell(way, serve(stream, 0, way, plan)),
            Err(outcome) => tell(way, (outcome, 0, 0)),
        });
    }
}

fn connect(addr: &str, random: &mut Random) -> ! {
    loop {
        let mut stream = match Builder::new().connect_timeout(addr, Duration::from_secs(10)) {
            Ok(stream) => stream,
            // The listener has been killed, or is not there yet; or others are before this one.
            Err(e)
                if matches!(e.reason(), Reason::NotReady | Reason::Claimed | Reason::TimedOut | Reason::PeerGone)
                    || e.kind() == ErrorKind::Interrupted =>
            {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            Err(e) => wrong(e),
        };
        let (way, plan) = (way(random, addr), Plan::new(random));
        match stream.write_all(&plan.bytes()).or_else(|e| meaning(&e)) {
            Ok(()) => tell(way, serve(stream, 1, way, plan)),
            Err(outcome) => tell(way, (outcome, 0, 0)),
        }
    }
}

/// A signal that interrupts system calls and does nothing else.
fn let_signals_interrupt() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all zeros is a valid value of this C struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, and the struct lives during the call.
    if unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) } != 0 {
        wrong(io::Error::last_os_error());
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, clean, directory] = &arguments[..]
        && clean == "clean"
    {
        for found in smstream::reap::Reaper::of(directory).run().unwrap_or_else(|e| wrong(e)) {
            println!("{found:?}");
        }
        return;
    }
    let [_, role, addr, seed] = &arguments[..] else {
        eprintln!("usage: soak listen|connect ADDRESS SEED");
        exit(2);
    };
    let_signals_interrupt();
    let mut random = Random::new(seed.parse().unwrap_or_else(|e| wrong(e)));
    match role.as_str() {
        "listen" => listen(addr, &mut random),
        _ => connect(addr, &mut random),
    }
}
