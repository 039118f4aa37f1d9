//! One connection, as `nc` handles it: standard input goes in, what comes goes to standard output.
//!
//! Each direction has a thread of its own; the calling thread waits for what they tell. It ends when both directions
//! have ended. A thread that waits for standard input is called off when the peer has closed altogether: what a person
//! might still type could go nowhere.

mod feed;

use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Context, Failure, say};
use crate::options::When;
use crate::progress::{INTERVAL, Meter, Progress};
use crate::stdio::{Input, Output, output_failed};
use crate::transport::Stream;
pub use feed::Feed;
use feed::{BUFFER, FeedEnd};

/// How long the sending thread may take to notice that the stream has failed.
const GRACE: Duration = Duration::from_secs(5);

/// How the receiving direction ended.
enum ReceiveEnd {
    /// The peer will send no more.
    End,
    /// The stream failed.
    Stream(io::Error),
    /// Standard output failed.
    Output(io::Error),
}

/// What the threads tell.
enum Event {
    Received(ReceiveEnd),
    Sent(FeedEnd),
    PeerClosed,
}

/// What went wrong with a connection, if anything did.
pub type Trouble = Option<String>;

/// Standard input.
pub fn standard_input(keep: bool) -> Result<Arc<Feed>, Failure> {
    if Input::is_closed() {
        say("standard input is not open: nothing will be sent");
    }
    Feed::new(keep).map(Arc::new).or_broken("could not prepare standard input")
}

/// The result of the only connection.
pub fn conclude(trouble: Trouble) -> Result<u8, Failure> {
    trouble.map_or(Ok(0), |trouble| Err(Failure::broken(trouble)))
}

/// Serves one connection to its end.
///
/// An error is one of this process (its input, its output): no other connection could do better. The stream is then
/// left without an end of stream, so that the peer does not take what it got for all.
pub fn run(stream: Stream, name: &dyn fmt::Display, feed: &Arc<Feed>, when: When) -> Result<Trouble, Failure> {
    let stream = Arc::new(stream);
    let meter = Arc::new(Meter::default());
    let over = Arc::new(AtomicBool::new(false));
    let (tell, events) = mpsc::channel();
    feed.resume();
    start_receiver(&stream, &meter, &over, tell.clone()).or_broken("could not start a thread")?;
    start_sender(&stream, &meter, feed, tell).or_broken("could not start a thread")?;
    let mut progress = Progress::start(when);
    let result = conduct(&events, feed, &stream, name, progress.as_mut().map(|p| || p.tick(&meter)));
    over.store(true, Ordering::Relaxed);
    if let Some(progress) = progress {
        progress.finish(&meter);
    }
    if result.is_err() {
        // Whoever drops the last handle would close the stream in order.
        mem::forget(stream);
    }
    result
}

/// Waits until both directions have ended, or something of this process fails.
///
/// With nothing to `tick` it sleeps until something happens.
fn conduct(
    events: &Receiver<Event>,
    feed: &Feed,
    stream: &Stream,
    name: &dyn fmt::Display,
    mut tick: Option<impl FnMut()>,
) -> Result<Trouble, Failure> {
    let (mut receiving, mut sending) = (true, true);
    let (mut failed, mut undelivered) = (None, 0);
    let mut refused = None;
    let mut next_tick = Instant::now() + INTERVAL;
    let mut give_up: Option<Instant> = None;
    while receiving || sending {
        let now = Instant::now();
        if let Some(tick) = &mut tick
            && now >= next_tick
        {
            tick();
            next_tick = now + INTERVAL;
        }
        if give_up.is_some_and(|time| now >= time) {
            break;
        }
        let until = tick.as_ref().map(|_| next_tick).into_iter().chain(give_up).min();
        let event = match until {
            Some(time) => events.recv_timeout(time.saturating_duration_since(now)),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
            Ok(Event::Received(ReceiveEnd::Output(error))) => {
                return Err(Failure::broken(output_failed(&error)));
            }
            Ok(Event::Received(ReceiveEnd::End)) => receiving = false,
            Ok(Event::Received(ReceiveEnd::Stream(error))) => {
                receiving = false;
                failed = Some(error);
                give_up = Some(Instant::now() + GRACE);
                feed.stop();
            }
            Ok(Event::PeerClosed) => feed.stop(),
            Ok(Event::Sent(FeedEnd::Input(error))) => {
                return Err(Failure::broken(format!("could not read standard input: {error}")));
            }
            Ok(Event::Sent(FeedEnd::End)) => sending = false,
            Ok(Event::Sent(FeedEnd::Stopped { undelivered: count })) => {
                sending = false;
                undelivered = count;
            }
            Ok(Event::Sent(FeedEnd::Refused { error, undelivered: count })) => {
                sending = false;
                undelivered = count;
                refused = Some(error);
            }
        }
    }
    // What lies in the lane of a peer that has closed or died is lost, too, and cannot be sent again.
    let unread = stream.undelivered().unwrap_or(0) as u64;
    // The stream's errors say what was tried with whom. That the peer takes no more is no trouble if there is no more.
    let refused = refused.filter(|error| undelivered > 0 || error.kind() != io::ErrorKind::BrokenPipe);
    let reason = failed.or(refused).map(|error| error.to_string());
    let mut parts = Vec::new();
    if undelivered > 0 {
        parts.push(feed.account(undelivered));
    }
    if unread > 0 {
        parts.push(format!("it did not read the last {unread} bytes that were sent"));
    }
    Ok(match reason {
        None if parts.is_empty() => None,
        None => Some(format!("the peer at {name} has closed; {}", parts.join("; "))),
        Some(reason) => {
            parts.insert(0, reason);
            Some(parts.join("; "))
        }
    })
}

/// Moves what the stream gives to standard output, and waits then for the peer to close altogether.
fn start_receiver(
    stream: &Arc<Stream>,
    meter: &Arc<Meter>,
    over: &Arc<AtomicBool>,
    tell: Sender<Event>,
) -> io::Result<()> {
    let (stream, meter, over) = (Arc::clone(stream), Arc::clone(meter), Arc::clone(over));
    thread::Builder::new().name("receive".to_owned()).spawn(move || {
        let end = receive(&stream, &meter);
        let watch = matches!(end, ReceiveEnd::End);
        // Nobody listens any more: then there is nothing to tell.
        let _ = tell.send(Event::Received(end));
        // Without a time limit, so that an idle connection is silent. If this outlasts the connection, then until the
        // peer, which has said all it had to say, has gone.
        if watch && !over.load(Ordering::Relaxed) && stream.wait_peer_closed(None) {
            let _ = tell.send(Event::PeerClosed);
        }
    })?;
    Ok(())
}

/// Moves what the stream gives to standard output.
fn receive(mut stream: &Stream, meter: &Meter) -> ReceiveEnd {
    let output = Output::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return ReceiveEnd::End,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return ReceiveEnd::Stream(error),
        };
        if let Err(error) = output.write_all(buffer.get(..count).unwrap_or_default()) {
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
