//! Accepting connections and serving each of them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::acceptor::{AcceptResult, Acceptor, Terms, dial};
use super::connections::{Connections, Count};
use super::endpoint::Endpoint;
use crate::backoff::{self, Backoff};
use crate::failure::{Failure, say};
use crate::link::end::LinkEnd;
use crate::link::{Link, Outcome, Side};
use crate::progress::Meter;
use crate::size::Bytes;
use crate::transport::in_options;

/// What all connections need.
pub struct Proxy {
    /// Those of the moment.
    pub connections: Connections,
    /// Where they come from and where they go.
    pub endpoints: [Endpoint; 2],
    /// What they are to be like.
    pub terms: Terms,
    /// How long to keep trying to connect.
    pub wait: Option<Duration>,
    /// Whether there are many.
    pub many: bool,
    /// Whether to say less.
    pub quiet: bool,
    /// Whether to say more.
    pub verbose: bool,
}

/// How accepting has ended.
pub enum Accepted {
    /// No more connections are to come.
    Done,
    /// The name is gone, so that no connector comes any more.
    Lost(io::Error),
}

impl Proxy {
    /// Accepts one connection, or all, and has them served: at most so many at once.
    pub fn accept(self: &Arc<Self>, acceptor: &Acceptor, most: Option<u32>) -> Accepted {
        let mut backoff = Backoff::default();
        loop {
            if let Some(most) = most {
                self.connections.wait_for_less_than(most as usize);
            }
            let (from, who) = match acceptor.accept() {
                Ok(AcceptResult::Connection(from, who)) => (from, who),
                Ok(AcceptResult::Refused(why)) => {
                    if self.verbose {
                        say(format_args!("refused at {}: {why}", self.endpoints[0]));
                    }
                    continue;
                }
                Err(_) if acceptor.is_closed() => return Accepted::Done,
                Err(error) if backoff.is_lost(&error) => return Accepted::Lost(error),
                Err(error) => {
                    backoff.after(&self.endpoints[0], &error);
                    continue;
                }
            };
            backoff.restore();
            let number = self.connections.begin();
            if self.verbose {
                say(format_args!("connection {number}: {who} connected at {}", self.endpoints[0]));
            }
            // The thread takes it from here, so that it is here still if there can be no thread.
            let from = Arc::new(Mutex::new(Some(from)));
            let (this, its) = (Arc::clone(self), Arc::clone(&from));
            let serve = move || {
                if let Some(from) = take(&its) {
                    this.serve(number, from);
                }
            };
            if let Err(error) = thread::Builder::new().name("serve".to_owned()).spawn(serve)
                && let Some(from) = take(&from)
            {
                from.reset();
                self.ended(number, Count { failed: true, ..Count::default() }, Some(no_thread(&error)));
            }
            if !self.many {
                return Accepted::Done;
            }
        }
    }

    /// Serves a connection that came in, to its end.
    fn serve(&self, number: u64, from: LinkEnd) {
        let failed = Count { failed: true, ..Count::default() };
        let to = match backoff::keep_trying(self.wait, |limit| dial(&self.endpoints[1], &self.terms, limit)) {
            Ok(to) => to,
            Err((error, hint)) => {
                // So that no answer does not look like an empty one.
                from.reset();
                drop(from);
                let what = format!("to {}: could not connect: {}{hint}", self.endpoints[1], in_options(&error));
                return self.ended(number, failed, Some(Failure::no_connection(what)));
            }
        };
        let link = match Link::new(from, to, Arc::new(Meter::new())) {
            Ok(link) => Arc::new(link),
            Err((ends, error)) => {
                ends.iter().for_each(LinkEnd::reset);
                let failure = Failure::broken(format!("could not prepare for a connection: {error}"));
                return self.ended(number, failed, Some(failure));
            }
        };
        self.connections.joined(number, &link);
        match link.run() {
            Ok(outcome) => {
                let (cut, dropped) = (outcome.cut, outcome.dropped);
                let count = Count { failed: outcome.broken.is_some(), interrupted: cut, dropped };
                let failure = if cut { None } else { self.judge(&outcome) };
                self.ended(number, count, failure);
            }
            Err(error) => self.ended(number, failed, Some(no_thread(&error))),
        }
    }

    /// Notes the end of a connection. Of many, what went wrong with it is said now.
    fn ended(&self, number: u64, count: Count, failure: Option<Failure>) {
        // What a client does is no matter of the proxy's, but that it cannot connect is.
        let matters = !self.quiet || failure.as_ref().is_some_and(|it| it.code() == Failure::NO_CONNECTION);
        if let Some(failure) = failure.as_ref().filter(|_| self.many && matters) {
            say(format_args!("connection {number}: {failure}"));
        } else if self.verbose {
            say(format_args!("connection {number}: ended"));
        }
        self.connections.end(number, count, failure);
    }

    /// What went wrong with a connection, if anything did.
    fn judge(&self, outcome: &Outcome) -> Option<Failure> {
        let mut parts = Vec::new();
        for side in [Side::From, Side::To] {
            let error =
                outcome.broken.as_ref().filter(|(broken, _)| *broken == side).map(|(_, error)| error.to_string());
            let bytes = outcome.dropped[side.other() as usize];
            let lost = (bytes > 0)
                .then(|| format!("did not take {} that {} sent", Bytes(bytes), self.endpoints[side.other() as usize]));
            let said: Vec<_> = error.into_iter().chain(lost).collect();
            if !said.is_empty() {
                parts.push(format!("{side} {}: {}", self.endpoints[side as usize], said.join("; ")));
            }
        }
        (!parts.is_empty()).then(|| Failure::broken(parts.join("; ")))
    }
}

fn take(end: &Mutex<Option<LinkEnd>>) -> Option<LinkEnd> {
    end.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn no_thread(error: &io::Error) -> Failure {
    Failure::broken(format!("could not start a thread: {error}"))
}
