//! The command `smstream`: byte streams between processes through shared memory, for the shell.

mod args;
mod bench;
mod demo;
mod doctor;
mod exec;
mod failure;
mod gc;
mod ls;
mod manners;
mod msg;
mod proxy;
mod pump;
mod sem;
mod serve;
mod shm;
mod signals;
mod size;
mod stat;
mod stdio;
mod style;
mod sysv;
mod target;
mod transport;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser;
use clap::error::ErrorKind;
use failure::{Failure, say};

/// What clap puts in front of its messages.
const PREFIX: &str = "error:";

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            say(&failure);
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
        Command::Listen(args) => return serve::listen(&args),
        Command::Connect(args) => return serve::connect(&args),
        Command::Proxy(args) => return proxy::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Shm(args) => shm::run(&args),
        Command::Sem(args) => sem::run(&args),
        Command::Msg(args) => msg::run(&args),
        Command::Completions(args) => manners::completions(&args),
        Command::Man(args) => manners::man(&args),
        Command::DemoPeer { parent } => demo::run_peer(parent),
        Command::BenchPeer { parent, memory } => bench::run_peer(parent, &memory),
    };
    done.map(|()| 0)
}

/// Shows help where it was asked for, and otherwise what is wrong with the command line.
fn explain(error: &clap::Error) -> Result<(), Failure> {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => stdio::Output::new().print(&manners::for_output(&text)),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Err(Failure::usage(format!("say what to do\n\n{}", manners::for_errors(&text))))
        }
        _ => {
            // Its own prefix makes way for the one that all messages have.
            let shown = manners::for_errors(&text);
            let rest = if text.to_string().starts_with(PREFIX) { shown.split_once(PREFIX) } else { None };
            let said = rest.map_or(shown.as_str(), |(_, rest)| rest.strip_prefix(manners::PLAIN).unwrap_or(rest));
            Err(Failure::usage(said.trim()))
        }
    }
}
