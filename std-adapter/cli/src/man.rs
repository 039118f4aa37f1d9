//! `smstream man`: the manual, as pages for man.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::failure::{Context, Failure};
use crate::help;
use crate::options::EXIT_CODES;
use crate::stdio::Output;

/// The help's last part.
pub fn more() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

const EXAMPLES: &str = "\
Examples:
  smstream man | man -l -                      read it
  smstream man ~/.local/share/man/man1         install all of them";

/// `smstream man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this directory, which is made if need be
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// Writes the man page, or all pages.
pub fn run(args: &ManArgs, command: &clap::Command) -> Result<(), Failure> {
    // What is shown by `help` has a page of its own.
    let mut command = help::for_people(command).disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => {
            let page = page(&command).or_broken("could not make the man page")?;
            Output::new().print(&String::from_utf8_lossy(&page))
        }
        Some(dir) => {
            fs::create_dir_all(dir).or_broken(format_args!("could not make the directory {}", dir.display()))?;
            pages(&command, dir)
        }
    }
}

/// Writes the page of a command and those of its subcommands.
fn pages(command: &clap::Command, dir: &Path) -> Result<(), Failure> {
    let path = dir.join(format!("{}.1", full_name(command)));
    page(command)
        .and_then(|page| fs::write(&path, page))
        .or_broken(format_args!("could not write {}", path.display()))?;
    command.get_subcommands().try_for_each(|sub| pages(sub, dir))
}

/// The name of a command's page.
fn full_name(command: &clap::Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-")
}

/// The page of a command.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_subcommands = command.has_subcommands();
    let man = Man::new(command.clone().after_help("")).title(full_name(command));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_subcommands {
        man.render_subcommands_section(&mut page)?;
    }
    for block in after.split("\n\n").filter(|block| !block.is_empty()) {
        block_of_help(block).to_writer(&mut page)?;
    }
    if command.get_version().is_some() {
        man.render_version_section(&mut page)?;
    }
    Ok(page)
}

/// How the command is called: each option with the name of its value.
fn synopsis(command: &clap::Command) -> Roff {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let mut line = vec![bold(name)];
    let value = |arg: &clap::Arg| {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
    };
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_positional()) {
        line.push(roman(" ["));
        let short = arg.get_short().map(|short| bold(format!("-{short}")));
        let long = arg.get_long().map(|long| bold(format!("--{long}")));
        for (number, inline) in short.into_iter().chain(long).enumerate() {
            line.extend((number > 0).then(|| roman("|")));
            line.push(inline);
        }
        if arg.get_action().takes_values() {
            line.extend([roman(" "), italic(value(arg))]);
        }
        line.push(roman("]"));
    }
    for arg in command.get_positionals() {
        let (needed, name) = (arg.is_required_set(), value(arg));
        line.push(roman(if needed { " " } else { " [" }));
        if arg.is_last_set() {
            line.extend([bold("--"), roman(" ")]);
        }
        line.push(italic(name));
        let more = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        line.extend(more.then(|| roman("...")));
        line.extend((!needed).then(|| roman("]")));
    }
    if command.has_subcommands() {
        line.extend([roman(" "), italic("COMMAND")]);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).text(line);
    roff
}

/// A paragraph of a help's last part as a section of a page. What has a heading is left as it stands.
fn block_of_help(block: &str) -> Roff {
    let mut roff = Roff::new();
    match block.split_once(":\n") {
        Some((heading, lines)) if !heading.contains('\n') => {
            roff.control("SH", [heading.to_uppercase().as_str()]).control("nf", []);
            for line in lines.lines() {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            roff.control("fi", []);
        }
        _ => {
            roff.control("SH", ["NOTES"]).text([roman(block)]);
        }
    }
    roff
}
