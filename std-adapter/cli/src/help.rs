//! The command line as help, manual and completions show it.

use std::io;

use anstream::ColorChoice;
use clap::builder::StyledStr;

use crate::{addresses, bench, demo};

/// The commands that only this program runs, and its scripts.
const NOT_FOR_PEOPLE: [&str; 3] = [demo::PEER, bench::PEER, addresses::NAME];

/// The command line without what is not for people: completion scripts would have it. The commands that the help lists apart stand with the others.
pub fn for_people(all: &clap::Command) -> clap::Command {
    let shown = all
        .get_subcommands()
        .filter(|sub| !NOT_FOR_PEOPLE.contains(&sub.get_name()))
        .map(|sub| sub.clone().hide(false));
    let about = all.get_about().cloned().unwrap_or_default();
    let after = all.get_after_help().cloned().unwrap_or_default();
    let command = clap::Command::new("smstream").version(env!("CARGO_PKG_VERSION")).about(about).after_help(after);
    command.args(all.get_arguments()).subcommands(shown).subcommand_required(true)
}

/// What ends a colour.
pub const PLAIN: &str = "\x1b[0m";

/// A text as it is to be shown on standard output: in colour on a terminal, unless `NO_COLOR` or the like says otherwise.
pub fn for_output(text: &StyledStr) -> String {
    shown(text, anstream::AutoStream::choice(&io::stdout()))
}

/// The same for standard error.
pub fn for_errors(text: &StyledStr) -> String {
    shown(text, anstream::AutoStream::choice(&io::stderr()))
}

fn shown(text: &StyledStr, choice: ColorChoice) -> String {
    match choice {
        ColorChoice::Never => text.to_string(),
        _ => text.ansi().to_string(),
    }
}
