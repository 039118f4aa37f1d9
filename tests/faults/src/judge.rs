//! Whether what the processes of a scenario have come to is right.

use crate::outcome::{Outcome, Wrong};
use crate::program::Child;
use crate::room::Room;
use crate::scenario::{Kind, Scenario};

/// What is known before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// What a run without faults has shown: what a party has open at its end, or what a command says.
    pub usual: Option<&'a str>,
    /// The trouble lasts: the second time it may fail as well.
    pub lasting: bool,
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
        match crash(child) {
            Some(Ok(text)) => return Outcome::Ended(text),
            Some(Err(text)) => return wrong(Wrong::Panic, &text, children),
            None => {}
        }
    }
    let outcome = match scenario.kind {
        Kind::Party => party(children, expected),
        Kind::Transfer => transfer(children, room),
        Kind::Command => command(children, expected.usual),
    };
    let left = room.left();
    // What could not be removed, and is said so, another one removes.
    let said = matches!(outcome, Outcome::Error(_)) && scenario.kind != Kind::Party;
    if !left.is_empty() && !said && !matches!(outcome, Outcome::Wrong(..)) {
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
fn transfer(children: &[Child], room: &Room) -> Outcome {
    let tried = tried(children);
    let Some(partner) = partner(children) else { return wrong(Wrong::Lie, "there was no partner", children) };
    let [tried_sent, partner_sent] = room.inputs();
    let whole = tried.output.bytes == partner_sent && partner.output.bytes == tried_sent;
    let well = |child: &Child| child.code() == Some(0);
    if !partner_sent.starts_with(&tried.output.bytes) || !tried_sent.starts_with(&partner.output.bytes) {
        return wrong(Wrong::Lie, "other bytes came than were sent", children);
    }
    if !whole && (well(tried) || well(partner)) {
        let what = if well(tried) { "the tried one" } else { "its partner" };
        return wrong(Wrong::Lie, &format!("{what} says that all is well, and bytes are lost"), children);
    }
    if well(tried) { Outcome::Success } else { failed(tried, children) }
}

/// Another command.
fn command(children: &[Child], usual: Option<&str>) -> Outcome {
    let tried = tried(children);
    if tried.code() != Some(0) {
        return failed(tried, children);
    }
    let shown = plain(&tried.output.text());
    let Some(usual) = usual else { return Outcome::Success };
    if shown == usual {
        return Outcome::Success;
    }
    // It says what it could not see or do.
    let all = format!("{} {}", tried.output.text(), tried.errors.text());
    match all.contains("os error") || all.contains("not seen") || all.contains("cannot") {
        true => Outcome::Error(all),
        false => wrong(Wrong::Lie, &format!("says something else than {usual}, and not why"), children),
    }
}

/// A command that has failed says why.
fn failed(tried: &Child, children: &[Child]) -> Outcome {
    let text = tried.errors.text();
    let first = text.lines().find_map(|line| line.strip_prefix("smstream: "));
    match first {
        Some(_) if text.contains("BUG") => wrong(Wrong::Unclear, &text, children),
        Some(message) => error(message, children),
        // Where standard error cannot be written to, the code says it.
        None => wrong(Wrong::Unclear, &format!("exit code {:?} and no message", tried.code()), children),
    }
}

fn error(message: &str, children: &[Child]) -> Outcome {
    if is_clear(message) { Outcome::Error(message.to_owned()) } else { wrong(Wrong::Unclear, message, children) }
}

/// Whether it has crashed: `Ok` if by the standard library or libc, for what they take for granted.
fn crash(child: &Child) -> Option<Result<String, String>> {
    let errors = child.errors.text();
    let line = |what: &str| errors.lines().find(|line| line.contains(what)).map(str::to_owned);
    if let Some(text) = line("memory allocation of").or_else(|| line("futex facility")) {
        return Some(Ok(text));
    }
    if let Some(text) = line("panicked at") {
        return Some(if text.contains("/library/std/") { Ok(errors) } else { Err(errors) });
    }
    let code = child.code().unwrap_or(0);
    (code > 128 && code != 128 + libc::SIGTERM).then(|| Err(format!("ended by signal {}", code - 128)))
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
    fn numbers_are_all_alike() {
        assert_eq!(plain("pid 123  took 4.5 s"), plain("pid 9 took 17 s"));
    }
}
