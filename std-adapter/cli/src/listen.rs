//! `smstream listen`: one connection, or one after another.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use clap::{Args, ValueHint};

use crate::backoff::Backoff;
use crate::exec;
use crate::failure::{Context, Failure, say};
use crate::mode;
use crate::options::{EXIT_CODES, StreamArgs, TransferArgs};
use crate::pump::{self, Pump};
use crate::service;
use crate::signals::{self, Interrupt};
use crate::transport::{self, Addr, Listener, addr_parser, in_options, shown};

/// The help's last part.
pub fn more() -> String {
    format!("{EXAMPLES}\n\n{}\n\n{EXIT_CODES}", exec::HELP)
}

const EXAMPLES: &str = "\
When it ends:
  Without --keep-open the command ends with its connection. A connection ends when both
  directions have ended and the peer has closed: the end of standard input ends one direction,
  the peer ends the other. When the peer has closed both, the connection ends at once. A terminal
  as standard input is read only in the foreground. The command does not wait for a terminal when
  the peer has sent everything and standard output is no terminal: so
  `smstream listen ADDR > file &` ends with the file.

Examples:
  smstream listen unix:/tmp/x > copy           receive a file
  smstream listen unix:/tmp/x < data           offer a file to the first that connects
  smstream listen -k unix:/tmp/x >> log        one connection after another
  smstream listen -d unix:/tmp/x | tar -x      receive only
  smstream listen -k unix:/tmp/x -- wc -c      a program for each connection
  smstream listen -k fd:3 -- wc -c             at a socket of systemd (ListenSequentialPacket=)";

/// `smstream listen`.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Where to listen, such as unix:/tmp/NAME; or fd:N, a listening socket that was inherited
    #[arg(value_parser = addr_parser())]
    pub addr: Addr,
    /// Serve one connection after another, until a signal ends it
    ///
    /// Standard input goes to the current connection. What was read of it and could not be sent goes to the next one. A
    /// connector that fails costs that connection only; where descriptors or memory are short, the command tries again to
    /// accept until that works.
    #[arg(short, long)]
    pub keep_open: bool,
    /// With --keep-open and a command: serve at most so many connections at once; others wait
    #[arg(long, value_name = "N", requires = "command", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
    /// The permissions of the socket's file at unix:PATH, octal [default: 600, or 666 if other users are allowed]
    #[arg(long, value_name = "MODE", value_parser = mode::parse)]
    pub mode: Option<u32>,
    /// What the stream is to be like.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// What goes where.
    #[command(flatten)]
    pub transfer: TransferArgs,
    /// A program to run, with the stream as its standard input and output
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandName)]
    pub command: Vec<OsString>,
}

/// Serves one connection, or one after another.
pub fn run(args: &ListenArgs) -> Result<u8, Failure> {
    args.stream.notes().for_each(say);
    args.stream.check([&args.addr])?;
    if args.mode.is_some() && !matches!(args.addr, Addr::Unix(_)) {
        return Err(Failure::usage("--mode is for unix:PATH: only there other users can connect to a file"));
    }
    if args.command.is_empty() {
        serve(args)
    } else {
        let place = shown(&args.addr);
        let interrupt = Interrupt::install().or_broken("could not wait for signals")?;
        let server = exec::Server {
            addr: &args.addr,
            place: &place,
            command: &args.command,
            keep_open: args.keep_open,
            most: args.max_connections,
            verbose: args.transfer.verbose,
            progress: args.transfer.progress,
        };
        exec::listen(&server, &interrupt, || bind(args))
    }
}

/// Standard input and output are the other side.
fn serve(args: &ListenArgs) -> Result<u8, Failure> {
    let place = shown(&args.addr);
    let feed = pump::prepare(&args.transfer, args.keep_open)?;
    let interrupt = Interrupt::install().or_broken("could not wait for signals")?;
    let pump = Pump { place: &place, args: &args.transfer, feed, interrupt };
    let mut backoff = Backoff::default();
    let mut listener = Arc::new(bind(args)?);
    let code = |pump: &Pump<'_>| pump.interrupt.signal().map(signals::code);
    loop {
        pump.interrupt.set({
            let listener = Arc::downgrade(&listener);
            move |_| {
                if let Some(listener) = listener.upgrade() {
                    listener.shutdown();
                }
            }
        });
        let stream = listener.accept().map_err(io::Error::from);
        if let Some(code) = code(&pump) {
            // This removes the name.
            service::stop_listening(listener);
            return Ok(code);
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) if backoff.is_lost(&error) => {
                say(format_args!("{}: listening anew", in_options(&error)));
                service::stop_listening(listener);
                listener = Arc::new(bind(args)?);
                backoff.restore();
                continue;
            }
            Err(error) => {
                backoff.after(&place, &error);
                continue;
            }
        };
        backoff.restore();
        if args.transfer.verbose {
            service::log_accepted(&place, &stream);
        }
        if !args.keep_open {
            pump.interrupt.clear();
            // The next connector shall not wait for an answer that never comes.
            service::stop_listening(listener);
            let trouble = pump.run(stream)?;
            return code(&pump).map_or_else(|| pump::conclude(trouble), Ok);
        }
        let trouble = pump.run(stream);
        if let Some(code) = code(&pump) {
            service::stop_listening(listener);
            return Ok(code);
        }
        if let Some(trouble) = trouble? {
            say(trouble);
        }
    }
}

/// Listens.
fn bind(args: &ListenArgs) -> Result<Listener, Failure> {
    let place = shown(&args.addr);
    let cannot =
        |error: &io::Error| Failure::no_connection(format!("could not listen at {place}: {}", in_options(error)));
    let listener =
        transport::bind(&args.addr, &args.stream.listening(args.transfer.verbose)).map_err(|error| cannot(&error))?;
    if let (Some(mode), Addr::Unix(path)) = (args.mode, &args.addr) {
        mode::set(path, mode).map_err(|error| cannot(&error))?;
    }
    if args.transfer.verbose {
        say(format_args!("listening at {place}"));
    }
    service::ready();
    Ok(listener)
}
