//! `smstream proxy`: connections that come in at one place go on to another one.

mod acceptor;
mod connections;
mod place;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::backoff::{self, Backoff};
use crate::failure::{Context, Failure, say};
use crate::json::Json;
use crate::link::line::Line;
use crate::link::{Link, Outcome, Side};
use crate::options::{EXIT_CODES, parse_seconds};
use crate::progress::Meter;
use crate::signals;
use crate::size::{self, Bytes, Capacity};
use crate::stdio::Output;
use crate::transport::Options;
use acceptor::{Acceptor, dial};
use connections::{Connections, Count, Tally};
use place::Place;

/// The help's last part.
pub fn more() -> String {
    format!("{MORE}\n\n{EXIT_CODES}")
}

const MORE: &str = "\
Addresses:
  Those of streams, as for listen and connect; and sockets that carry the bytes themselves:
  tcp:HOST:PORT (port 0: the system chooses one, and a line on standard error says which),
  uds:PATH, uds:@NAME.

What becomes of a connection:
  When one side says that no more will come, the other one is told, and the opposite
  direction goes on. A side that is slow slows the other one down. When one side breaks off,
  the other one gets what was sent before, and then an error: a stream's peer sees that its
  partner died, a TCP peer a reset (which may overtake the last bytes). A Unix socket has
  nothing of the kind: a uds: peer sees an ordinary end, and one that dies looks like one that
  closed.

Interrupting (SIGINT, SIGTERM, SIGHUP) stops it: open connections are broken off, and the
counts are shown. That is success with --keep-open, and otherwise 128 and the signal's number.

Examples:
  smstream proxy -k tcp:127.0.0.1:8080 shm:/web      a server's streams for TCP clients
  smstream proxy -k shm:/web tcp:127.0.0.1:80        a TCP server for stream clients
  smstream proxy file:/tmp/x uds:/run/app.sock       one connection, then the end

Keys of --json:
  connections     that came in
  failed          of these: no connection to TO, or broken off by one side
  interrupted     of these: broken off because this command was interrupted
  from_to         bytes that FROM sent and TO took
  to_from         bytes that TO sent and FROM took
  dropped         bytes that were sent, but not taken by the other side
  seconds         from the start to the end";

/// `smstream proxy`.
#[derive(Debug, Args)]
pub struct ProxyArgs {
    /// Where to listen
    pub from: Place,
    /// Where to connect to, for each connection that comes in
    pub to: Place,
    /// Serve all connections that come, at once, until interrupted
    #[arg(short, long)]
    pub keep_open: bool,
    /// Keep trying for so long while nobody listens at TO (fractions are allowed)
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub wait: Option<Duration>,
    /// The bytes of the lane in each direction if FROM is a stream's address, a power of two up to 512 MiB
    #[arg(long, value_name = "BYTES", value_parser = size::parse_capacity)]
    pub capacity: Option<Capacity>,
    /// Say nothing but what goes wrong
    #[arg(short, long)]
    pub quiet: bool,
    /// Write the counts as one line of JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// Does what the command line says. Success has an exit code, too.
pub fn run(args: &ProxyArgs) -> Result<u8, Failure> {
    let start = Instant::now();
    if args.from == args.to {
        return Err(Failure::usage(format!(
            "{0} would be connected to itself, again and again: give two places",
            args.from
        )));
    }
    if let Some(note) = args.capacity.and_then(|capacity| capacity.note()) {
        say(note);
    }
    let options = Options { capacity: args.capacity.map(|capacity| capacity.bytes()), spin: None };
    let acceptor = Acceptor::open(&args.from, options)
        .map_err(|error| Failure::no_connection(format!("could not listen at {}: {error}", args.from)))?;
    let acceptor = Arc::new(acceptor);
    let from = acceptor.place(&args.from);
    let places = [from.clone(), args.to.clone()];
    let proxy = Arc::new(Proxy { connections: Connections::default(), places, wait: args.wait, many: args.keep_open });
    signals::on_end({
        let (proxy, acceptor) = (Arc::clone(&proxy), Arc::downgrade(&acceptor));
        move |signal| {
            proxy.connections.interrupt(signal);
            if let Some(acceptor) = acceptor.upgrade() {
                acceptor.close();
            }
        }
    })
    .or_broken("could not wait for signals")?;
    if !args.quiet {
        say(format_args!("listening at {from}, connecting to {}", args.to));
    }
    let accepted = accept(&proxy, &acceptor);
    // Whoever comes next shall not wait for an answer that never comes.
    drop(signals::sole(acceptor));
    proxy.connections.wait();
    report(args, &proxy.connections.tally(), start.elapsed())?;
    accepted?;
    if args.keep_open {
        return Ok(0);
    }
    match (proxy.connections.interrupted(), proxy.connections.last()) {
        (Some(signal), _) => Ok(signals::code(signal)),
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(0),
    }
}

/// What all connections need.
struct Proxy {
    connections: Connections,
    places: [Place; 2],
    wait: Option<Duration>,
    many: bool,
}

/// Accepts one connection, or all, and has them served.
fn accept(proxy: &Arc<Proxy>, acceptor: &Acceptor) -> Result<(), Failure> {
    let mut backoff = Backoff::default();
    loop {
        let from = match acceptor.accept() {
            Ok(from) => from,
            Err(_) if acceptor.is_closed() => return Ok(()),
            Err(error) => {
                backoff.after(&proxy.places[0], &error)?;
                continue;
            }
        };
        backoff.restore();
        let number = proxy.connections.begin();
        // The thread takes it from here, so that it is here still if there can be no thread.
        let from = Arc::new(Mutex::new(Some(from)));
        let (this, its) = (Arc::clone(proxy), Arc::clone(&from));
        let serve = move || {
            if let Some(from) = take(&its) {
                this.serve(number, from);
            }
        };
        if let Err(error) = thread::Builder::new().name("serve".to_owned()).spawn(serve)
            && let Some(from) = take(&from)
        {
            from.reset();
            proxy.ended(number, Count { failed: true, ..Count::default() }, Some(no_thread(&error)));
        }
        if !proxy.many {
            return Ok(());
        }
    }
}

fn take(line: &Mutex<Option<Line>>) -> Option<Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn no_thread(error: &io::Error) -> Failure {
    Failure::broken(format!("could not start a thread: {error}"))
}

impl Proxy {
    /// Serves a connection that came in, to its end.
    fn serve(&self, number: u64, from: Line) {
        let failed = Count { failed: true, ..Count::default() };
        let to = match backoff::keep_trying(self.wait, |limit| dial(&self.places[1], limit)) {
            Ok(to) => to,
            Err((error, hint)) => {
                // So that no answer does not look like an empty one.
                from.reset();
                drop(from);
                let what = format!("to {}: could not connect: {error}{hint}", self.places[1]);
                return self.ended(number, failed, Some(Failure::no_connection(what)));
            }
        };
        let link = match Link::new(from, to, Arc::new(Meter::default())) {
            Ok(link) => Arc::new(link),
            Err((lines, error)) => {
                lines.iter().for_each(Line::reset);
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
        if self.many
            && let Some(failure) = &failure
        {
            say(format_args!("connection {number}: {failure}"));
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
            let lost = (bytes > 0).then(|| format!("it did not take {} that were sent", Bytes(bytes)));
            let said: Vec<_> = error.into_iter().chain(lost).collect();
            if !said.is_empty() {
                parts.push(format!("{side} {}: {}", self.places[side as usize], said.join("; ")));
            }
        }
        (!parts.is_empty()).then(|| Failure::broken(parts.join("; ")))
    }
}

/// Shows the counts.
fn report(args: &ProxyArgs, tally: &Tally, time: Duration) -> Result<(), Failure> {
    let [there, back] = tally.moved;
    let dropped = tally.dropped.iter().sum();
    if !args.quiet {
        let connections = if tally.connections == 1 { "connection" } else { "connections" };
        let mut line = format!("{} {connections}", tally.connections);
        for (count, what) in [(tally.failed, "failed"), (tally.interrupted, "interrupted")] {
            if count > 0 {
                line += &format!(", {count} {what}");
            }
        }
        line += &format!("; {} there, {} back", Bytes(there), Bytes(back));
        if dropped > 0 {
            line += &format!(", {} not taken", Bytes(dropped));
        }
        say(format_args!("{line}, in {:.2} s", time.as_secs_f64()));
    }
    if !args.json {
        return Ok(());
    }
    let json = Json::Object(vec![
        ("connections", Json::Whole(tally.connections)),
        ("failed", Json::Whole(tally.failed)),
        ("interrupted", Json::Whole(tally.interrupted)),
        ("from_to", Json::Whole(there)),
        ("to_from", Json::Whole(back)),
        ("dropped", Json::Whole(dropped)),
        ("seconds", Json::Number(time.as_secs_f64())),
    ]);
    Output::new().print(&format!("{json}\n"))
}
