//! Whether what the processes of a scenario have come to is right.

use crate::outcome::{Outcome, Wrong};
use crate::program::Child;
use crate::room::Room;
use crate::scenario::{Kind, Scenario};
use crate::setup::Setup;

/// What is known before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// What a run without faults has shown: what a party has open at its end, or what a command says.
    pub usual: Option<&'a str>,
    /// The trouble lasts: the second time it may fail as well.
    pub lasting: bool,
    /// The system denies that something is there: it is not shown, and not removed.
    pub gone: bool,
    /// The message may be what could not be written.
    pub mute: bool,
    /// The system says that what is written has no reader: a command ends as all do then.
    pub no_reader: bool,
    /// What is to hang, as it is said: it need not be waited for as long as what is to come to an end.
    pub hangs: Option<&'a str>,
}

/// The one whose calls fail: the last that was started.
pub fn tried(children: &[Child]) -> &Child {
    &children[children.len() - 1]
}

/// The one on the other side.
pub fn partner(children: &[Child]) -> Option<&Child> {
    (children.len() > 1).then(|| &children[0])
}

/// The rest of the line that begins so.
pub fn answer(child: &Child, what: &str) -> Option<String> {
    let text = child.output.text();
    text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' ').map(str::to_owned))
}

/// How many lines begin so.
pub fn said(child: &Child, begin: &str) -> usize {
    child.output.text().lines().filter(|line| line.starts_with(begin)).count()
}

/// What the processes, which have ended, have come to.
pub fn judge(scenario: &Scenario, children: &[Child], room: &Room, expected: Expected<'_>) -> Outcome {
    for child in children {
        if child.code() == Some(70) {
            return wrong(Wrong::Lie, "other bytes", children);
        }
        if expected.no_reader && child.code() == Some(128 + libc::SIGPIPE) {
            return Outcome::Ended("it ends by SIGPIPE where its output has no reader".to_owned());
        }
        let grouped = child.program.setup.iter().any(|setup| matches!(setup, Setup::Group(_)));
        if grouped && child.code() == Some(128 + libc::SIGKILL) {
            return Outcome::Ended("the kernel kills it for want of memory in its group".to_owned());
        }
        match crash(child) {
            Some(Ok(text)) => return Outcome::Ended(text),
            Some(Err(text)) => return wrong(Wrong::Panic, &text, children),
            None => {}
        }
    }
    let refusal = partner(children).map(|p| format!("{}{}", p.output.text(), p.errors.text()));
    let refusal = refusal.filter(|text| text.contains("refused"));
    let outcome = match scenario.kind {
        // It was ended because it could serve no connector.
        Kind::Transfer | Kind::Proxy if refusal.is_some() => Outcome::Error(refusal.unwrap_or_default()),
        Kind::Party => party(children, expected),
        Kind::Transfer => transfer(children, room, expected),
        Kind::Proxy => proxy(children, expected),
        Kind::Command => command(children, expected),
    };
    let left = room.left();
    // What could not be removed, and is said so, another one removes.
    let taken_over = tried(children).errors.text().contains("takes the name over");
    let said = (matches!(outcome, Outcome::Error(_)) || taken_over) && scenario.kind != Kind::Party;
    if !left.is_empty() && !said && !expected.gone && !matches!(outcome, Outcome::Wrong(..)) {
        return wrong(Wrong::Leak, &format!("{} is left", left.join(", ")), children);
    }
    outcome
}

fn wrong(wrong: Wrong, what: &str, children: &[Child]) -> Outcome {
    let short = |text: String| text.chars().take(600).collect::<String>();
    let each = children.iter().map(|c| format!("{} {}", short(c.output.text()), short(c.errors.text())));
    Outcome::Wrong(wrong, format!("{what}: {}", each.collect::<Vec<_>>().join(" | ")))
}

/// A party of the library's.
fn party(children: &[Child], expected: Expected<'_>) -> Outcome {
    let tried = tried(children);
    let (Some(first), Some(second)) = (answer(tried, "first"), answer(tried, "second")) else {
        return wrong(Wrong::Panic, "it has not said how it ended", children);
    };
    if second != "ok" && !expected.lasting {
        return wrong(Wrong::Stuck, "the second time failed", children);
    }
    if let Some(partner) = partner(children)
        && said(partner, "end ok") < usize::from(second == "ok") + usize::from(first == "ok")
    {
        return wrong(Wrong::Lie, "the partner has not got all", children);
    }
    if let Some(open) = expected.usual
        && Some(open) != answer(tried, "left").as_deref()
    {
        return wrong(Wrong::Leak, &format!("without a fault there is open: {open}"), children);
    }
    match first.strip_prefix("error: ") {
        None => Outcome::Success,
        Some(message) => error(message, children),
    }
}

/// `smstream listen` or `connect` at both sides.
fn transfer(children: &[Child], room: &Room, expected: Expected<'_>) -> Outcome {
    let tried = tried(children);
    let Some(partner) = partner(children) else { return wrong(Wrong::Lie, "there was no partner", children) };
    let [mut tried_sent, partner_sent] = room.inputs();
    if tried.program.setup.contains(&Setup::Closed(0)) {
        // It has nothing to send, and is to say so.
        tried_sent.clear();
        let says = tried.errors.text().contains("standard input is not open");
        if !says && !tried.program.setup.contains(&Setup::Closed(2)) {
            return wrong(Wrong::Lie, "it does not say that it sends nothing", children);
        }
    }
    let whole = tried.output.bytes == partner_sent && partner.output.bytes == tried_sent;
    let well = |child: &Child| child.code() == Some(0);
    if !partner_sent.starts_with(&tried.output.bytes) || !tried_sent.starts_with(&partner.output.bytes) {
        return wrong(Wrong::Lie, "other bytes came than were sent", children);
    }
    if !whole && (well(tried) || well(partner)) {
        let what = if well(tried) { "the tried one" } else { "its partner" };
        return wrong(Wrong::Lie, &format!("{what} says that all is well, and bytes are lost"), children);
    }
    if well(tried) { Outcome::Success } else { failed(tried, children, expected) }
}

/// A proxy: the partner has both ends of what goes through it.
fn proxy(children: &[Child], expected: Expected<'_>) -> Outcome {
    let tried = tried(children);
    if tried.code() != Some(0) {
        return failed(tried, children, expected);
    }
    match partner(children).map(|partner| said(partner, "end ok")) {
        Some(2..) => Outcome::Success,
        _ => wrong(Wrong::Lie, "it says that all is well, and the parties do not", children),
    }
}

/// Another command.
fn command(children: &[Child], expected: Expected<'_>) -> Outcome {
    let tried = tried(children);
    if tried.code() != Some(0) {
        return failed(tried, children, expected);
    }
    let shown = plain(&tried.output.text());
    let all = format!("{} {}", tried.output.text(), tried.errors.text());
    let Some(usual) = expected.usual else {
        let says = all.contains("os error") || all.contains("it is not certain");
        return if says { Outcome::Error(all) } else { Outcome::Success };
    };
    if all.contains("os error")
        || all.contains(": left")
        || PARTIAL.iter().any(|some| all.contains(some) && !usual.contains(some))
    {
        // It says what it could not see or do.
        return Outcome::Error(all);
    }
    // A detail that is not known is shown as not known. What is there is there.
    if extent(&shown) >= extent(usual) || expected.gone {
        return Outcome::Success;
    }
    match all.contains("not seen")
        || all.contains("seems to have ended")
        || all.contains("cannot")
        || all.contains("could not")
    {
        true => Outcome::Error(all),
        false => {
            let missing = |of: &str, from: &str| {
                let lines = of.lines().filter(|line| !from.lines().any(|other| other == *line));
                lines.collect::<Vec<_>>().join(" / ")
            };
            let text = format!(
                "does not say why it says [{}] instead of [{}]",
                missing(&shown, usual),
                missing(usual, &shown)
            );
            Outcome::Wrong(Wrong::Lie, format!("{text}; {}", tried.errors.text()))
        }
    }
}

/// That something was not measured by `bench --json`, or in no round, because one side was awake; or not seen by `ls --json`.
const PARTIAL: [&str; 3] = ["\"skipped\":[{", "\"each_round\":[]", "\"unseen\":[{"];

/// How much is said: lines, and objects of JSON.
fn extent(text: &str) -> usize {
    text.lines().count() + text.matches('{').count()
}

/// A command that has failed says why.
fn failed(tried: &Child, children: &[Child], expected: Expected<'_>) -> Outcome {
    let text = tried.errors.text();
    let first = text.lines().find_map(|line| line.strip_prefix("smstream: "));
    match first {
        Some(_) if text.contains("BUG") => wrong(Wrong::Unclear, &text, children),
        Some(message) => error(message, children),
        // Where standard error is closed, the code says it.
        None if expected.mute || tried.program.setup.contains(&Setup::Closed(2)) => {
            Outcome::Error("(standard error cannot be written)".to_owned())
        }
        None => wrong(Wrong::Unclear, &format!("exit code {:?} and no message", tried.code()), children),
    }
}

fn error(message: &str, children: &[Child]) -> Outcome {
    if is_clear(message) { Outcome::Error(message.to_owned()) } else { wrong(Wrong::Unclear, message, children) }
}

/// How std and glibc end a process when they cannot go on.
const ENDED: [&str; 4] = ["memory allocation of", "futex facility", "IO Safety violation", "Fatal glibc error"];

/// Whether it has crashed: `Ok` if by the standard library or libc, for what they take for granted.
fn crash(child: &Child) -> Option<Result<String, String>> {
    let errors = child.errors.text();
    let line = |what: &'static str| errors.lines().find(|line| line.contains(what)).map(str::to_owned);
    if let Some(text) = ENDED.into_iter().find_map(line) {
        return Some(Ok(text));
    }
    if let Some(text) = line("panicked at") {
        return Some(if is_theirs(&text) { Ok(text) } else { Err(errors) });
    }
    let code = child.code().unwrap_or(0);
    (code > 128 && code != 128 + libc::SIGTERM).then(|| Err(format!("ended by signal {}", code - 128)))
}

/// Whether the code that panicked is the standard library's, or that of a crate from a registry, wherever these lie.
fn is_theirs(panic: &str) -> bool {
    ["/library/std/", "/registry/src/"].iter().any(|place| panic.contains(place))
}

/// Whether a message says what was tried, and not only what the system said.
fn is_clear(message: &str) -> bool {
    match message.split_once(" (os error ") {
        Some((before, _)) => before.contains(": "),
        None => message.contains(' '),
    }
}

/// Without what differs from run to run.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' | '.' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            ' ' if plain.ends_with(' ') => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_system_said_is_not_clear() {
        assert!(!is_clear("No space left on device (os error 28)"));
        assert!(is_clear("cannot make the region /x: No space left on device (os error 28)"));
    }

    #[test]
    fn a_registry_is_one_wherever_cargo_has_it() {
        let at = |place: &str| format!("thread 'main' panicked at {place}:7:5:");
        for cargo in ["~/.cargo", "$CARGO_HOME"] {
            assert!(is_theirs(&at(&format!(
                "{cargo}/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.0.0/src/a.rs"
            ))));
        }
        assert!(is_theirs(&at("/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/time.rs")));
        assert!(!is_theirs(&at("std-adapter/src/stream.rs")));
    }

    #[test]
    fn numbers_are_all_alike() {
        assert_eq!(plain("pid 123  took 4.5 s"), plain("pid 9 took 17 s"));
    }
}
