//! The threads that move the bytes of one connection, and what they report.

use std::io::{self, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::feed::{BUFFER, Feed, FeedEnd};
use super::lines::Lines;
use crate::options::TransferArgs;
use crate::progress::Meter;
use crate::stdio::Output;
use crate::transport::Stream;

/// How the receiving direction ended.
pub enum ReceiveEnd {
    /// The peer will send no more.
    End,
    /// The stream failed.
    Stream(io::Error),
    /// Standard output failed.
    Output(io::Error),
}

/// What happens to a connection.
pub enum Event {
    /// The receiving direction has ended.
    Received(ReceiveEnd),
    /// The sending direction has ended.
    Sent(FeedEnd),
    /// The peer has closed altogether, or died.
    PeerClosed,
    /// A signal has asked this process to end.
    Interrupted,
}

/// The threads of one connection.
pub struct Threads {
    over: Arc<AtomicBool>,
}

impl Threads {
    /// Starts them.
    pub fn start(
        stream: &Arc<Stream>,
        meter: &Arc<Meter>,
        feed: &Arc<Feed>,
        args: &TransferArgs,
        tell: Sender<Event>,
    ) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        start_receiver(stream, meter, &over, args, tell.clone())?;
        start_sender(stream, meter, feed, tell)?;
        Ok(Self { over })
    }

    /// The connection is over: there is nothing to wait for.
    pub fn over(self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Moves what the stream gives to standard output, and waits then for the peer to close altogether.
fn start_receiver(
    stream: &Arc<Stream>,
    meter: &Arc<Meter>,
    over: &Arc<AtomicBool>,
    args: &TransferArgs,
    tell: Sender<Event>,
) -> io::Result<()> {
    let (stream, meter, over) = (Arc::clone(stream), Arc::clone(meter), Arc::clone(over));
    let (takes, lines) = (!args.send_only, Lines::new(args.lines));
    thread::Builder::new().name("receive".to_owned()).spawn(move || {
        if takes {
            let end = receive(&stream, &meter, lines);
            let is_end = matches!(end, ReceiveEnd::End);
            // A connection that is over has no receiver of events any more.
            let _ = tell.send(Event::Received(end));
            if !is_end {
                return;
            }
        } else {
            let _ = stream.shutdown(Shutdown::Read);
        }
        if watch(&stream, &over) {
            let _ = tell.send(Event::PeerClosed);
        }
    })?;
    Ok(())
}

/// Waits for the peer, which has no more to say, to be gone or to take no more either. `false`: the connection is over.
fn watch(stream: &Stream, over: &AtomicBool) -> bool {
    let mut pause = Duration::from_millis(10);
    while !over.load(Ordering::Relaxed) {
        // A peer that is gone wakes this thread. One that lives on, and has only said that it takes no more, wakes a writer
        // alone, and here none may wait: so it is looked for now and then.
        if stream.peer_stopped_reading() || stream.wait_peer_closed(Some(pause)) {
            return true;
        }
        pause = (pause * 2).min(Duration::from_secs(1));
    }
    false
}

/// Moves what the stream gives to standard output.
fn receive(mut stream: &Stream, meter: &Meter, mut lines: Lines) -> ReceiveEnd {
    let output = Output::new();
    let mut buffer = vec![0; BUFFER];
    let mut whole = Vec::new();
    loop {
        let (count, end) = match stream.read(&mut buffer) {
            Ok(0) => (0, Some(ReceiveEnd::End)),
            Ok(count) => (count, None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => (0, Some(ReceiveEnd::Stream(error))),
        };
        if let Some(end) = end {
            return match output.write_all(&lines.rest()) {
                Ok(()) => end,
                Err(error) => ReceiveEnd::Output(error),
            };
        }
        let passed = lines.take(buffer.get(..count).unwrap_or_default(), &mut whole);
        if let Err(error) = output.write_all(passed) {
            return ReceiveEnd::Output(error);
        }
        meter.received(count);
    }
}

/// Moves standard input into the stream.
fn start_sender(stream: &Arc<Stream>, meter: &Arc<Meter>, feed: &Arc<Feed>, tell: Sender<Event>) -> io::Result<()> {
    let (stream, meter, feed) = (Arc::clone(stream), Arc::clone(meter), Arc::clone(feed));
    thread::Builder::new().name("send".to_owned()).spawn(move || {
        let end = feed.send(&stream, &meter);
        let _ = tell.send(Event::Sent(end));
    })?;
    Ok(())
}
