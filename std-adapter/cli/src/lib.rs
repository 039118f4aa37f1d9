//! The command `smstream`: byte streams between processes through shared memory, for the shell.
//!
//! It is a program: this library has no interface that other crates could rely on. Their library is `smstream`.

mod addresses;
mod args;
mod backoff;
mod bench;
mod completions;
mod conform;
mod connect;
mod demo;
mod doctor;
mod exec;
mod failure;
mod gc;
mod help;
mod inherited;
#[doc(hidden)]
pub mod internal;
mod json;
mod link;
mod listen;
mod ls;
mod man;
mod mode;
mod options;
mod probe;
mod progress;
mod proxy;
mod pump;
mod refusals;
mod service;
mod signals;
mod size;
mod stat;
mod stdio;
mod style;
mod sysv;
mod target;
mod transport;
mod users;

use std::panic;
use std::process::{self, ExitCode};

use args::{Cli, Command};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use failure::Failure;

/// What clap puts in front of its messages.
const PREFIX: &str = "error:";

/// A panic in any thread ends this process, of which its peers hear at once. Otherwise the rest would go on, and wait for that thread.
fn end_on_panic() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        say(info);
        process::abort();
    }));
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    end_on_panic();
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.code())
        }
    }
}

/// Does what the command line says; the exit code of a success.
fn run() -> Result<u8, Failure> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error).map(|()| 0),
    };
    let done = match cli.command {
        Command::Listen(args) => return listen::run(&args),
        Command::Connect(args) => return connect::run(&args),
        Command::Proxy(args) => return proxy::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Conform(args) => conform::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Shm(args) => sysv::shm::run(&args),
        Command::Sem(args) => sysv::sem::run(&args),
        Command::Msg(args) => sysv::msg::run(&args),
        Command::Completions(args) => completions::run(&args, &Cli::command()),
        Command::Man(args) => man::run(&args, &Cli::command()),
        Command::CompleteAddress(args) => addresses::run(&args),
        Command::DemoPeer { parent } => demo::run_peer(parent),
        Command::BenchPeer { parent, memory } => bench::run_peer(parent, &memory),
    };
    done.map(|()| 0)
}

/// Shows help where it was asked for, and otherwise what is wrong with the command line.
fn explain(error: &clap::Error) -> Result<(), Failure> {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => stdio::Output::new().print(&help::for_output(&text)),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Err(Failure::coloured_usage(format!("say what to do\n\n{}", help::for_errors(&text))))
        }
        _ => {
            // Its own prefix makes way for the one that all messages have.
            let shown = help::for_errors(&text);
            let rest = if text.to_string().starts_with(PREFIX) { shown.split_once(PREFIX) } else { None };
            let said = rest.map_or(shown.as_str(), |(_, rest)| rest.strip_prefix(help::PLAIN).unwrap_or(rest));
            Err(Failure::coloured_usage(said.trim()))
        }
    }
}
