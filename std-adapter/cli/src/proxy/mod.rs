//! `smstream proxy`: connections that come in at one endpoint go on to another one.

mod acceptor;
mod connections;
mod endpoint;
mod network;
mod server;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::{Context, Failure, say};
use crate::json::Json;
use crate::mode;
use crate::options::{EXIT_CODES, StreamArgs, parse_pause, parse_seconds};
use crate::service;
use crate::signals::{self, Interrupt};
use crate::size::Bytes;
use crate::stdio::Output;
use crate::transport::in_options;
use acceptor::{Acceptor, Terms};
use connections::{Connections, Tally};
use endpoint::Endpoint;
use network::Network;
use server::{Accepted, Proxy};

/// The help's last part.
pub fn more() -> String {
    format!("{MORE}\n\n{EXIT_CODES}")
}

const MORE: &str = "\
Addresses:
  Those of streams, as for listen and connect; and sockets that carry the bytes themselves:
  tcp:HOST:PORT (port 0: the system chooses one, and a line on standard error says which),
  uds:PATH, uds:@NAME. As FROM also fd:N, a listening TCP or Unix socket that was inherited:
  fd:3 is the first one of systemd's socket activation. As FROM, uds:PATH replaces what a proxy
  that was killed has left there, and nothing else: a dead socket of another program stays.

What becomes of a connection:
  When one side says that no more will come, the other one learns it, and the opposite
  direction goes on. A slow side slows the other one down. When one side breaks off, the other
  one gets what was sent before, and then an error: a stream's peer sees that its partner died, a
  TCP peer sees a reset (which may overtake the last bytes). A Unix socket has no such error: a
  uds: peer sees an ordinary end, and a uds: peer that dies looks like one that closed. If a side
  has ended, and the other side leaves its last bytes unread, the first side is broken off.
  TCP connections are sent without delay (TCP_NODELAY), and a vanished peer is noticed
  (--keepalive).

Beyond one machine:
  A pair of proxies carries streams over TCP. What they send can be read on the way: for secrecy
  use `ssh -L` or stunnel between them, which speak TLS or SSH on one side and TCP on the other.

A signal (SIGINT, SIGTERM, SIGHUP) ends the command: it breaks open connections off, and shows the
counts.

Examples:
  smstream proxy -k tcp:127.0.0.1:8080 shm:/web      a server's streams for TCP clients
  smstream proxy -k shm:/web tcp:127.0.0.1:80        a TCP server for stream clients
  smstream proxy file:/tmp/x uds:/run/app.sock       one connection, then the end
  ssh -N -L 7000:127.0.0.1:7000 server &             streams to another machine, encrypted
  smstream proxy -k --wait 30 unix:/tmp/web tcp:127.0.0.1:7000

Keys of --json (with --counts, a line for each time):
  connections     that came in
  failed          of these: no connection to TO, or broken off by one side
  interrupted     of these: broken off because this command was interrupted
  from_to         bytes that FROM sent and TO took
  to_from         bytes that TO sent and FROM took
  dropped         bytes that were sent, but not taken by the other side
  seconds         since the start
  open            connections that have not ended yet";

/// `smstream proxy`.
#[derive(Debug, Args)]
pub struct ProxyArgs {
    /// Where to listen
    #[arg(value_parser = Endpoint::parser())]
    pub from: Endpoint,
    /// Where to connect to, for each connection that comes in
    #[arg(value_parser = Endpoint::parser())]
    pub to: Endpoint,
    /// Serve all connections that come, at once, until a signal ends it
    #[arg(short, long)]
    pub keep_open: bool,
    /// With --keep-open: serve at most so many connections at once; others wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
    /// Keep trying for so long while there is no listener at TO, at growing intervals (fractions are allowed)
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub wait: Option<Duration>,
    /// Over TCP: after so long in silence, probe whether the peer is still there, and break off if not; 0: never probe
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_keepalive)]
    pub keepalive: Duration,
    /// At tcp: let only this address, or this network, connect (may be given several times)
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub allow_address: Vec<Network>,
    /// The permissions of the socket's file at unix:PATH or uds:PATH, octal [default: 600]
    #[arg(long, value_name = "MODE", value_parser = mode::parse)]
    pub mode: Option<u32>,
    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,
    /// Report who connects, and how each connection ends
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Write the counts as one line of JSON to standard output
    #[arg(long)]
    pub json: bool,
    /// Write the counts at this interval, too
    #[arg(long, value_name = "SECONDS", requires = "json", value_parser = parse_pause)]
    pub counts: Option<Duration>,
    /// What the streams are to be like.
    #[command(flatten)]
    pub stream: StreamArgs,
}

/// Reads the time after which a silent peer is asked.
fn parse_keepalive(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        // The kernel's limit: tcp(7), TCP_KEEPIDLE.
        Ok(seconds @ 0..=32767) => Ok(Duration::from_secs(seconds.into())),
        _ => Err("write a whole number of seconds from 0 to 32767".to_owned()),
    }
}

/// Does what the command line says. Success has an exit code, too.
pub fn run(args: &ProxyArgs) -> Result<u8, Failure> {
    let start = Instant::now();
    if args.from.is_same(&args.to) {
        return Err(Failure::usage(format!(
            "{} would be connected to itself, again and again: give two endpoints",
            args.from
        )));
    }
    args.stream.notes().for_each(say);
    args.stream.check([&args.from, &args.to].into_iter().filter_map(Endpoint::addr))?;
    let terms = Terms {
        stream: args.stream.listening(args.verbose),
        mode: args.mode,
        keepalive: Some(args.keepalive).filter(|time| !time.is_zero()),
        allowed: args.allow_address.clone(),
    };
    let open = || {
        let cannot =
            |error| Failure::no_connection(format!("could not listen at {}: {}", args.from, in_options(&error)));
        Acceptor::open(&args.from, terms.clone()).map(Arc::new).map_err(cannot)
    };
    let interrupt = Interrupt::install().or_broken("could not wait for signals")?;
    let mut acceptor = open()?;
    let from = acceptor.endpoint(&args.from);
    let proxy = Arc::new(Proxy {
        connections: Connections::default(),
        endpoints: [from.clone(), args.to.clone()],
        terms: terms.clone(),
        wait: args.wait,
        many: args.keep_open,
        quiet: args.quiet,
        verbose: args.verbose,
    });
    if !args.quiet {
        say(format_args!("listening at {from}, connecting to {}", args.to));
    }
    service::ready();
    start_counts(args, &proxy, start)?;
    loop {
        interrupt.set({
            let (proxy, acceptor) = (Arc::clone(&proxy), Arc::downgrade(&acceptor));
            move |signal| {
                proxy.connections.interrupt(signal);
                if let Some(acceptor) = acceptor.upgrade() {
                    acceptor.close();
                }
            }
        });
        let accepted = proxy.accept(&acceptor, args.max_connections);
        // The next connector shall not wait for an answer that never comes.
        signals::sole(acceptor).stop();
        match accepted {
            Accepted::Done => break,
            Accepted::Lost(error) => say(format_args!("{}: listening anew", in_options(&error))),
        }
        acceptor = open()?;
    }
    proxy.connections.wait();
    let tally = proxy.connections.tally();
    if !args.quiet {
        summary(&tally, start.elapsed());
    }
    if args.json {
        Output::new().print(&format!("{}\n", json(&tally, 0, start.elapsed())))?;
    }
    match (proxy.connections.interrupted(), proxy.connections.last()) {
        (Some(signal), _) => Ok(signals::code(signal)),
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(0),
    }
}

/// Writes the counts every so often, from a thread.
fn start_counts(args: &ProxyArgs, proxy: &Arc<Proxy>, start: Instant) -> Result<(), Failure> {
    let Some(every) = args.counts else { return Ok(()) };
    let proxy = Arc::clone(proxy);
    let show = move || {
        loop {
            thread::sleep(every);
            let (tally, open) = proxy.connections.so_far();
            // At the end this fails again, and then it is said.
            let _ = Output::new().print(&format!("{}\n", json(&tally, open, start.elapsed())));
        }
    };
    thread::Builder::new().name("counts".to_owned()).spawn(show).or_broken("could not start a thread")?;
    Ok(())
}

/// The counts for people.
fn summary(tally: &Tally, time: Duration) {
    let [there, back] = tally.moved;
    let dropped: u64 = tally.dropped.iter().sum();
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

/// The counts for programs.
fn json(tally: &Tally, open: u64, time: Duration) -> Json {
    let [there, back] = tally.moved;
    Json::Object(vec![
        ("connections", Json::Whole(tally.connections)),
        ("failed", Json::Whole(tally.failed)),
        ("interrupted", Json::Whole(tally.interrupted)),
        ("from_to", Json::Whole(there)),
        ("to_from", Json::Whole(back)),
        ("dropped", Json::Whole(tally.dropped.iter().sum())),
        ("seconds", Json::Number(time.as_secs_f64())),
        ("open", Json::Whole(open)),
    ])
}
