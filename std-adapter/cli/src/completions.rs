//! `smstream completions`: what a shell needs to complete command lines.

use clap::Args;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::help;
use crate::options::EXIT_CODES;
use crate::stdio::Output;

/// The help's last part.
pub fn more() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

const EXAMPLES: &str = "\
Examples:
  smstream completions bash > ~/.local/share/bash-completion/completions/smstream
  smstream completions zsh > ~/.zfunc/_smstream          (a directory in zsh's fpath)
  smstream completions fish > ~/.config/fish/completions/smstream.fish";

/// `smstream completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// Writes what a shell needs to complete command lines.
pub fn run(args: &CompletionsArgs, command: &clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::for_people(command), "smstream", &mut script);
    Output::new().print(&String::from_utf8_lossy(&script))
}
