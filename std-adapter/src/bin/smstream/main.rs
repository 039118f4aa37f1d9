//! The command `smstream`: byte streams between processes through shared memory, for the shell.

mod args;
mod demo;
mod failure;
mod pump;
mod serve;
mod size;
mod stdio;
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
