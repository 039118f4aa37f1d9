//! The ways to wait: blocking, with timeouts, in place, buffered, by conditions, by poll, in tokio.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use smstream::{BufMode, Pollable, ReadHalf, Stream, WriteHalf, wait_any};
use smstream_tests::flow::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::side::{Outcome, Plan, Side, meaning, wrong};

/// The ways to wait. The last ones need a socket.
const WAYS: [&str; 7] = ["blocking", "timeouts", "chunks", "buffered", "conditions", "poll", "tokio"];
const ANYWHERE: u64 = 5;

/// Serves one connection; what it came to.
pub(crate) fn serve(stream: Stream, party: usize, way: &str, plan: Plan) -> (Outcome, u64, u64) {
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

/// One of the ways that there are at an address.
pub(crate) fn way(random: &mut Random, addr: &str) -> &'static str {
    let ways = if addr.starts_with("unix:") { WAYS.len() as u64 } else { ANYWHERE };
    WAYS[random.below(ways) as usize]
}
