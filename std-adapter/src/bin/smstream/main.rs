//! The command `smstream`: byte streams between processes through shared memory, for the shell.

mod args;
mod demo;
mod doctor;
mod failure;
mod gc;
mod ls;
#[cfg(feature = "sysv")]
mod msg;
mod pump;
#[cfg(feature = "sysv")]
mod sem;
mod serve;
#[cfg(feature = "sysv")]
mod shm;
mod signals;
mod size;
mod stat;
mod stdio;
mod style;
#[cfg(feature = "sysv")]
mod sysv;
mod target;
mod transport;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser;
use clap::error::ErrorKind;
use failure::{Failure, say};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Does what the command line says.
fn run() -> Result<(), Failure> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    match cli.command {
        Command::Listen(args) => serve::listen(&args),
        Command::Connect(args) => serve::connect(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Gc(args) => gc::run(&args),
        #[cfg(feature = "sysv")]
        Command::Shm(args) => shm::run(&args),
        #[cfg(feature = "sysv")]
        Command::Sem(args) => sem::run(&args),
        #[cfg(feature = "sysv")]
        Command::Msg(args) => msg::run(&args),
        Command::DemoPeer { parent } => demo::run_peer(parent),
    }
}

/// Shows help where it was asked for, and otherwise what is wrong with the command line.
fn explain(error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => stdio::Output::new().print(&error.render().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Err(Failure::usage(format!("say what to do\n\n{}", error.render())))
        }
        _ => {
            let text = error.render().to_string();
            Err(Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end()))
        }
    }
}
