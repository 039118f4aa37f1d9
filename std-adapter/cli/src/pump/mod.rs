//! One connection, as `nc` handles it: standard input is sent, and what is received goes to standard output.
//!
//! Each direction has a thread of its own; the calling thread waits for what they report. It ends when both directions
//! have ended and the peer has closed. A thread that waits for standard input is called off when the peer has closed
//! altogether: what a person might still type could go nowhere.

mod feed;
mod lines;
mod threads;

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

pub use feed::Feed;
use feed::FeedEnd;
use threads::{Event, ReceiveEnd, Threads};

use crate::failure::{Context, Failure, say};
use crate::options::TransferArgs;
use crate::progress::{Meter, Reports};
use crate::signals::Interrupt;
use crate::size::Bytes;
use crate::stdio::{Input, Output, output_failed};
use crate::transport::Stream;

/// How long the sending thread may take to notice that the stream has failed.
const GRACE: Duration = Duration::from_secs(5);
/// How long the peer may take to close when both directions have ended. A peer whose output takes no more, or whose command
/// fails, breaks off instead of closing, and then what was sent is lost.
const CLOSING: Duration = Duration::from_secs(5);

/// What went wrong with a connection, if anything did.
pub type Trouble = Option<String>;

/// What connections have in common.
pub struct Pump<'a> {
    /// Where they are made.
    pub place: &'a dyn fmt::Display,
    /// What goes where.
    pub args: &'a TransferArgs,
    /// Standard input.
    pub feed: Arc<Feed>,
    /// What ends this process.
    pub interrupt: Arc<Interrupt>,
}

/// Prepares standard input and standard output. `keep`: another connection may follow.
pub fn prepare(args: &TransferArgs, keep: bool) -> Result<Arc<Feed>, Failure> {
    if !args.send_only && Output::is_closed() {
        let what = "standard output is not open, so what the peer says would be lost: open it, or use --send-only";
        return Err(Failure::broken(what));
    }
    if Input::is_closed() && !args.recv_only {
        say("standard input is not open: nothing will be sent");
    }
    Feed::new(args, keep).map(Arc::new).or_broken("could not prepare standard input")
}

/// The result of the only connection.
pub fn conclude(trouble: Trouble) -> Result<u8, Failure> {
    trouble.map_or(Ok(0), |trouble| Err(Failure::broken(trouble)))
}

impl Pump<'_> {
    /// Serves one connection to its end.
    ///
    /// An error is one of this process (its input, its output): no other connection could do better. The stream is then
    /// broken off, so that the peer does not take what it got for all.
    pub fn run(&self, stream: Stream) -> Result<Trouble, Failure> {
        let stream = Arc::new(stream);
        let meter = Arc::new(Meter::new());
        let (tell, events) = mpsc::channel();
        self.feed.resume();
        self.interrupt.set({
            let tell = tell.clone();
            move |_| drop(tell.send(Event::Interrupted))
        });
        let threads =
            Threads::start(&stream, &meter, &self.feed, self.args, tell).or_broken("could not start a thread");
        let mut reports = Reports::start(self.args.progress, false);
        let result = threads.and_then(|threads| {
            let result = self.conduct(&events, &stream, &meter, &mut reports);
            threads.over();
            result
        });
        reports.finish(&meter);
        let result = result.map(|trouble| match trouble {
            None if self.interrupt.signal().is_none() => self.closing(&stream, &events),
            trouble => trouble,
        });
        self.interrupt.clear();
        if result.is_err() || self.interrupt.signal().is_some() {
            stream.abort();
        }
        if self.args.verbose {
            let (sent, received) = meter.read();
            let how = match &result {
                Ok(None) if self.interrupt.signal().is_none() => "ended",
                _ => "broken off",
            };
            let (sent, received, place) = (Bytes(sent), Bytes(received), self.place);
            let seconds = meter.elapsed().as_secs_f64();
            say(format_args!("connection at {place} {how}: sent {sent}, received {received} in {seconds:.2} s"));
        }
        result
    }

    /// Waits until both directions have ended, or something of this process fails.
    ///
    /// With nothing to show it sleeps until something happens.
    fn conduct(
        &self,
        events: &Receiver<Event>,
        stream: &Stream,
        meter: &Meter,
        reports: &mut Reports,
    ) -> Result<Trouble, Failure> {
        let feed = &self.feed;
        let (mut receiving, mut sending) = (!self.args.send_only, true);
        // Standard input has ended, and the peer does not know yet.
        let mut held = false;
        let (mut failed, mut undelivered) = (None, 0);
        let mut refused = None;
        let mut give_up: Option<Instant> = None;
        while receiving || sending {
            if held && !receiving {
                (held, sending) = (false, false);
                let _ = feed::end(stream);
                continue;
            }
            reports.tick(meter);
            let now = Instant::now();
            if give_up.is_some_and(|time| now >= time) {
                break;
            }
            let idle = self.args.idle.filter(|_| give_up.is_none()).map(|idle| (idle, meter.last() + idle));
            if let Some((idle, _)) = idle.filter(|(_, end)| now >= *end) {
                failed = Some(io::Error::other(format!(
                    "nothing has gone either way at {} for {} seconds (--idle): the connection is broken off",
                    self.place,
                    idle.as_secs_f64()
                )));
                give_up = Some(now + GRACE);
                stream.abort();
                feed.stop();
                continue;
            }
            let until = reports.due().into_iter().chain(give_up).chain(idle.map(|(_, end)| end)).min();
            let event = match until {
                Some(time) => events.recv_timeout(time.saturating_duration_since(now)),
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) | Ok(Event::Interrupted) => break,
                Ok(Event::Received(ReceiveEnd::Output(error))) => {
                    return Err(Failure::broken(output_failed(&error)));
                }
                Ok(Event::Received(ReceiveEnd::End)) => {
                    receiving = false;
                    if sending {
                        self.peer_has_said_all();
                    }
                }
                Ok(Event::Received(ReceiveEnd::Stream(error))) => {
                    receiving = false;
                    failed.get_or_insert(error);
                    give_up = Some(Instant::now() + GRACE);
                    feed.stop();
                }
                Ok(Event::PeerClosed) => feed.stop(),
                Ok(Event::Sent(FeedEnd::Input(error))) => {
                    return Err(Failure::broken(format!("could not read standard input: {error}")));
                }
                Ok(Event::Sent(FeedEnd::End)) => sending = false,
                Ok(Event::Sent(FeedEnd::Held)) => held = true,
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
        parts.extend(unread_part(unread));
        Ok(match reason {
            None if parts.is_empty() => None,
            None => Some(format!("the peer at {} has closed; {}", self.place, parts.join("; "))),
            Some(reason) => {
                parts.insert(0, reason);
                Some(parts.join("; "))
            }
        })
    }

    /// The peer sends no more. A terminal that nothing shows, or at which the keys are for another process, is not waited
    /// for; a person at one learns how to end it.
    fn peer_has_said_all(&self) {
        if !self.feed.is_terminal() || self.args.recv_only {
            return;
        }
        if self.feed.is_attended() {
            say("the peer sends no more; Ctrl-D ends this side, too");
        } else {
            self.feed.finish();
        }
    }

    /// Both directions have ended. Says so to the peer, and waits for the peer to do the same: one that cannot use what it
    /// was sent breaks off instead.
    fn closing(&self, stream: &Stream, events: &Receiver<Event>) -> Trouble {
        let _ = stream.shutdown(Shutdown::Read);
        let end = Instant::now() + CLOSING;
        let mut pause = Duration::from_micros(100);
        loop {
            if stream.peer_stopped_reading() {
                let unread = unread_part(stream.undelivered().unwrap_or(0) as u64);
                return unread.map(|unread| format!("the peer at {} has closed; {unread}", self.place));
            }
            if stream.wait_peer_closed(Some(pause)) && !stream.peer_stopped_reading() {
                return Some(format!(
                    "the peer at {} died without closing the stream, or broke it off: what was sent may be lost",
                    self.place
                ));
            }
            let interrupted = matches!(events.try_recv(), Ok(Event::Interrupted));
            if interrupted || self.interrupt.signal().is_some() || Instant::now() >= end {
                return None;
            }
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

/// What to say of bytes that the peer has left in its lane.
fn unread_part(bytes: u64) -> Option<String> {
    match bytes {
        0 => None,
        1 => Some("it did not read the last byte that was sent".to_owned()),
        bytes => Some(format!("it did not read the last {bytes} bytes that were sent")),
    }
}
