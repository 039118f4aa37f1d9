//! Completions, man pages, colours.

use std::fs;
use std::process::{Command, Stdio};

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
