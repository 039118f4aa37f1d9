//! `smstream completions`: what a shell needs to complete command lines.

use clap::Args;
use clap_complete::Shell;

use crate::addresses::{COMMANDS, NAME};
use crate::failure::Failure;
use crate::help;
use crate::options::EXIT_CODES;
use crate::stdio::Output;

/// The help's last part.
pub fn more() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

const EXAMPLES: &str = "\
Addresses are completed, too: listeners that run, and paths behind file: and unix: (bash, zsh, fish).

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
    Output::new().print(&with_addresses(args.shell, &String::from_utf8_lossy(&script)))
}

/// A script that asks this command for addresses as well, where they are due, for the shells that people type in most.
fn with_addresses(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}\n{}", BASH.replace("COMMANDS", &commands("|")).replace("NAME", NAME)),
        Shell::Zsh => in_zsh(script),
        Shell::Fish => {
            let more: String = COMMANDS
                .iter()
                .map(|(name, _)| {
                    format!(
                        "complete -c smstream -n \"__fish_seen_subcommand_from {name}\" -f -a \
                         \"(command smstream {NAME} {name} (commandline -ct) 2>/dev/null)\"\n"
                    )
                })
                .collect();
            format!("{script}{more}")
        }
        _ => script.to_owned(),
    }
}

fn commands(between: &str) -> String {
    COMMANDS.map(|(name, _)| name).join(between)
}

/// A colon ends a word in bash, unless the user has it otherwise: then what stands before the last one is not to be repeated.
const BASH: &str = r#"_smstream_with_addresses() {
    _smstream "$@"
    local typed="${COMP_LINE:0:COMP_POINT}" found done IFS=$'\n'
    typed="${typed##*[[:space:]]}"
    [[ "$typed" == -* || COMP_CWORD -lt 2 ]] && return
    case "${COMP_WORDS[1]}" in COMMANDS) ;; *) return ;; esac
    found=($(command smstream NAME "${COMP_WORDS[1]}" "$typed" 2>/dev/null))
    [[ ${#found[@]} -gt 0 ]] || return
    # Options are completed by a dash alone.
    COMPREPLY=()
    [[ "$COMP_WORDBREAKS" == *:* && "$typed" == *:* ]] && done="${typed%:*}:"
    for one in "${found[@]}"; do
        [[ "$one" == *[:/@] ]] && compopt -o nospace 2>/dev/null
        COMPREPLY+=("$(printf %q "${one#"$done"}")")
    done
}
complete -F _smstream_with_addresses -o bashdefault -o default smstream
"#;

/// What completes an address in zsh. Which command it is for stands in its first argument.
const ZSH: &str = r#"_smstream_address() {
    local -a found open
    found=(${(f)"$(command smstream NAME $1 "$PREFIX" 2>/dev/null)"})
    open=(${(M)found:#*[:/@]})
    found=(${found:#*[:/@]})
    compadd -S '' -a open
    compadd -a found
}

"#;

/// Puts the function before the others, and calls it where clap has an address completed as a file.
fn in_zsh(script: &str) -> String {
    let mut command = None;
    let mut text = String::new();
    for line in script.lines() {
        let label = line.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        if let Some(label) = label {
            command = COMMANDS.iter().map(|(name, _)| *name).find(|name| *name == label);
        }
        let address = ["':addr -- ", "':from -- ", "':to -- ", "':target -- ", "'::target -- "];
        match (command, line.strip_suffix(":_default' \\")) {
            (Some(name), Some(start)) if address.iter().any(|it| start.starts_with(it)) => {
                text += &format!("{start}:{{_smstream_address {name}}}' \\\n");
            }
            _ => text += &format!("{line}\n"),
        }
    }
    // The first line says for which command the script is.
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{first}\n\n{}{rest}", ZSH.replace("NAME", NAME))
}
