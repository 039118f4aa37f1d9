//! For the tests of this project: the command line as text. No part of the interface.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use crate::args::Cli;
use crate::size::{self, SizeError};

/// Reads a command line, whose first word is the program's name.
///
/// # Errors
/// What is wrong with it, or the help that it asks for.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    Cli::try_parse_from(words).map(drop).map_err(|error| error.render().to_string())
}

/// The names of all subcommands and options.
pub fn words() -> Vec<String> {
    let mut words = Vec::new();
    let mut commands = vec![Cli::command()];
    while let Some(command) = commands.pop() {
        words.push(command.get_name().to_owned());
        words.extend(command.get_arguments().filter_map(|it| it.get_long().map(|long| format!("--{long}"))));
        words.extend(command.get_arguments().filter_map(|it| it.get_short().map(|short| format!("-{short}"))));
        commands.extend(command.get_subcommands().cloned());
    }
    words.sort();
    words.dedup();
    words
}

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSize {
    /// It does not begin with a digit.
    NoNumber,
    /// Something follows the number that is no suffix.
    Suffix,
    /// More than 64 bits hold.
    TooLarge,
}

/// Reads a size.
///
/// # Errors
/// Why the text is none.
pub fn size(text: &str) -> Result<u64, NoSize> {
    size::parse(text).map_err(|error| match error {
        SizeError::NoNumber => NoSize::NoNumber,
        SizeError::Suffix(_) => NoSize::Suffix,
        SizeError::TooLarge => NoSize::TooLarge,
    })
}

/// Reads the capacity of a lane: the bytes that it will have.
///
/// # Errors
/// What is wrong with the text.
pub fn capacity(text: &str) -> Result<u64, String> {
    size::parse_capacity(text).map(size::Capacity::bytes)
}
