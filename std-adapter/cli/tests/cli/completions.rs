//! Completions, man pages, colours.

use std::fs;
use std::process::{Command, Stdio};

use smstream::Listener;

use crate::command::{Dir, Running, smstream};

/// The commands that help shows.
fn commands() -> Vec<String> {
    let help = String::from_utf8(Running::start(&mut smstream(["--help"])).end().expect(0).stdout).expect("text");
    // There is a list of most of them, and one of those for System V objects.
    let sections = help.split("\n\n").filter(|section| section.starts_with("Commands"));
    let lines: Vec<&str> = sections.flat_map(|section| section.lines().skip(1)).collect();
    assert!(
        lines.iter().any(|line| line.starts_with("  listen")) && lines.iter().any(|line| line.starts_with("  shm"))
    );
    let lines = lines.into_iter().filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|&name| name != "help").map(str::to_owned).collect()
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = Running::start(&mut smstream(["completions", shell])).end().expect(0);
        let script = String::from_utf8(ended.stdout).expect("text");
        for command in commands() {
            assert!(script.contains(&command), "no {command} for {shell}");
        }
        assert!(script.contains("keep-open") && !script.contains("demo-peer"), "for {shell}");
    }
    Running::start(&mut smstream(["completions", "tcsh"])).end().expect(2);
}

#[test]
fn bash_completes() {
    let script = "eval \"$(\"$0\" completions bash)\"; COMP_WORDS=(smstream pro); COMP_CWORD=1; \
                  _smstream smstream pro smstream; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script, env!("CARGO_BIN_EXE_smstream")]).stdin(Stdio::null());
    let ended = Running::start(bash.stdout(Stdio::piped()).stderr(Stdio::piped())).end().expect(0);
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "proxy\n");
}

/// What bash offers for a line that is typed to its end, after the script has been read.
fn in_bash(dir: &Dir, line: &str, breaks: &str) -> Vec<String> {
    let script = r#"cd "$1"; eval "$("$0" completions bash)"; PATH="${0%/*}:$PATH"; COMP_WORDBREAKS="$3"
        COMP_LINE="$2"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMP_KEY=9
        # As readline splits it.
        if [[ "$3" == *:* ]]; then read -ra COMP_WORDS <<<"${COMP_LINE//:/ : }"; else read -ra COMP_WORDS <<<"$COMP_LINE"; fi
        [[ "$COMP_LINE" == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        function_of=$(complete -p smstream | sed 's/.*-F \([^ ]*\) .*/\1/')
        "$function_of" smstream "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    let place = dir.path(".").display().to_string();
    bash.args(["-c", script, env!("CARGO_BIN_EXE_smstream"), &place, line, breaks]).stdin(Stdio::null());
    let ended = Running::start(bash.stdout(Stdio::piped()).stderr(Stdio::piped())).end();
    String::from_utf8_lossy(&ended.stdout).lines().map(str::to_owned).collect()
}

/// Addresses: kinds, paths behind a kind, and listeners that run.
#[test]
fn addresses_are_completed() {
    let dir = Dir::new();
    fs::create_dir(dir.path("parts")).expect("a directory");
    fs::write(dir.path("part one"), "").expect("a file");
    let place = dir.path("stream").display().to_string();
    let _region = Listener::bind(format!("file:{}", dir.path("region").display())).expect("a listener");
    let _socket = Listener::bind(format!("unix:{place}")).expect("a listener");
    let candidates = |command: &str, typed: &str| {
        let ended = Running::start(smstream(["complete-address", command, typed]).current_dir(dir.path("."))).end();
        String::from_utf8(ended.expect(0).stdout).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(candidates("connect", "fi").first().map(String::as_str), Some("file:"));
    assert_eq!(candidates("connect", "file:pa"), ["file:part one", "file:parts/"]);
    assert!(candidates("listen", "t").is_empty() && candidates("proxy", "t") == ["tcp:"]);
    let region = format!("file:{}", dir.path("region").display());
    assert_eq!(candidates("connect", &region), std::slice::from_ref(&region));
    // It is offered because it listens, and not for its path: nothing of that has been typed.
    assert!(candidates("connect", "").contains(&format!("unix:{place}")));
    assert!(candidates("stat", "").contains(&region) && !candidates("listen", "").contains(&region));
    // In bash a colon ends a word, unless the user has it otherwise.
    assert_eq!(in_bash(&dir, "smstream listen file:pa", " \t\n\"'><=;|&(:"), ["part\\ one", "parts/"]);
    assert_eq!(in_bash(&dir, "smstream listen file:pa", " \t\n"), ["file:part\\ one", "file:parts/"]);
    assert_eq!(
        in_bash(&dir, &format!("smstream connect --wait 1 unix:{place}"), " \t\n:"),
        std::slice::from_ref(&place)
    );
    assert_eq!(in_bash(&dir, "smstream proxy tc", " \t\n:"), ["tcp:"]);
    assert!(in_bash(&dir, "smstream listen --keep", " \t\n:").contains(&"--keep-open".to_owned()));
}

/// The same in zsh and fish themselves, where they are installed (CI installs them).
#[test]
fn other_shells_complete_addresses() {
    let dir = Dir::new();
    fs::create_dir(dir.path("parts")).expect("a directory");
    let zsh = r#"cd "$1"; zmodload zsh/zpty; zpty z zsh -f -i
        zpty -w z "PS1=; unsetopt zle_bracketed_paste; PATH=${0:h}:\$PATH; autoload -U compinit; compinit -u -D"
        zpty -w z "source <($0 completions zsh); compdef _smstream smstream; print -r -- re''ady"
        zpty -r z seen '*ready*'; zpty -n -w z $'smstream listen file:pa\t'; zpty -r z seen '*file:parts*'
        print -r -- "${seen##*listen }"; zpty -d z"#;
    let fish = r#"cd $argv[2]; set -p PATH (dirname $argv[1]); $argv[1] completions fish | source
        complete --do-complete 'smstream listen file:pa'"#;
    let shells: [(&str, &[&str], &str); 2] =
        [("zsh", &["-f", "-c", zsh], "file:parts"), ("fish", &["-N", "-c", fish], "file:parts/")];
    for (shell, script, expected) in shells {
        let mut command = Command::new(shell);
        command.args(script).args([env!("CARGO_BIN_EXE_smstream"), &dir.path(".").display().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("HOME", dir.path("."));
        if Command::new(shell).arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("not shown here, for want of {shell}: it completes addresses");
            continue;
        }
        let ended = Running::start(&mut command).end();
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(text.contains(expected), "{shell}: {ended:?}");
    }
}

#[test]
fn a_page_for_every_command() {
    let dir = Dir::new();
    let pages = dir.path("share/man1");
    Running::start(&mut smstream(["man", &pages.display().to_string()])).end().expect(0);
    let commands = commands();
    assert!(commands.iter().any(|name| name == "proxy"), "{commands:?}");
    for command in commands {
        let page = fs::read_to_string(pages.join(format!("smstream-{command}.1"))).expect("a page");
        assert!(page.contains(&format!(".TH smstream-{command} 1")), "{command}");
        assert!(page.contains(".SH SYNOPSIS\n\\fBsmstream"), "{command}");
        assert!(page.contains(".SH EXAMPLES") && page.contains(".SH \"EXIT CODES\""), "{command}");
    }
    let page = fs::read_to_string(pages.join("smstream-listen.1")).expect("a page");
    for part in
        ["[\\fB\\-\\-mode\\fR \\fIMODE\\fR]", "\\fIADDR\\fR", "[\\fB\\-\\-\\fR \\fICOMMAND\\fR...]", "\\fB\\-d\\fR|"]
    {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let page = fs::read(pages.join("smstream.1")).expect("a page");
    let ended = Running::start(&mut smstream(["man"])).end().expect(0);
    assert!(ended.stdout == page, "the page on standard output is another one");
    fs::write(dir.path("file"), "").expect("a file");
    let inside = dir.path("file").display().to_string();
    Running::start(&mut smstream(["man", &inside])).end().expect(1).saying(&inside);
}

/// What a command writes to a terminal.
fn on_a_terminal(variables: &str, args: &str) -> String {
    let mut script = Command::new("script");
    let command = format!("{variables} {} {args}", env!("CARGO_BIN_EXE_smstream"));
    script.args(["-qc", &command, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
    script.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("CI").env("TERM", "xterm");
    String::from_utf8(Running::start(&mut script).end().stdout).expect("text")
}

#[test]
fn colours_only_where_they_are_wanted() {
    const ESCAPE: char = '\u{1b}';
    for args in ["--help", "listen", "fly"] {
        assert!(on_a_terminal("", args).contains(ESCAPE), "{args}");
        assert!(!on_a_terminal("NO_COLOR=1", args).contains(ESCAPE), "{args}");
        assert!(!on_a_terminal("TERM=dumb", args).contains(ESCAPE), "{args}");
        let ended = Running::start(&mut smstream([args])).end();
        assert!(!ended.stderr.contains(ESCAPE) && !ended.stdout.contains(&0x1b), "{args}");
    }
    // The form of all messages, in colour as well.
    for args in ["listen", "fly"] {
        let said = on_a_terminal("", args);
        assert!(said.starts_with("smstream: ") && !said.contains("error:"), "{said}");
    }
}
