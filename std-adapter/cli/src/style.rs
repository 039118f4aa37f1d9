//! Colours, where a person looks: on a terminal, unless the environment says `NO_COLOR`.

use std::fmt::Display;
use std::io::{self, IsTerminal};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// What a text is, which decides how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// Something to look at.
    Note,
    /// A heading.
    Strong,
    /// Beside the point.
    Faint,
}

/// Whether and how to colour.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// As standard output and the environment (`NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`, `TERM`) want it.
    pub fn for_stdout() -> Self {
        Self { on: AutoStream::choice(&io::stdout()) != ColorChoice::Never }
    }

    /// No colours.
    #[cfg(test)]
    pub fn off() -> Self {
        Self { on: false }
    }

    /// Whether there are colours.
    pub fn is_on(self) -> bool {
        self.on
    }

    /// The text, coloured or not.
    pub fn text(self, role: Role, text: impl Display) -> String {
        if !self.on {
            return text.to_string();
        }
        let style = match role {
            Role::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Role::Bad => Style::new().fg_color(Some(AnsiColor::Red.into())).bold(),
            Role::Note => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            Role::Strong => Style::new().bold(),
            Role::Faint => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// Whether what looks at standard output can show more than ASCII, by its locale.
pub fn is_unicode() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// How many columns the terminal has that is standard output; 0 if it is none.
pub fn columns() -> usize {
    let out = io::stdout();
    if !out.is_terminal() {
        return 0;
    }
    rustix::termios::tcgetwinsize(out).map_or(0, |size| size.ws_col.into())
}

/// As much of a line as fits, with dots where something is left out; with 0 columns, all of it.
pub fn fitted(line: &str, columns: usize) -> String {
    if columns == 0 || line.chars().count() <= columns {
        return line.to_owned();
    }
    let kept: String = line.chars().take(columns.saturating_sub(3)).collect();
    format!("{kept}...").chars().take(columns).collect()
}

/// A text in lines that fit, each of which begins with `indent`; with 0 columns, one line. A word that does not fit has a line of
/// its own.
pub fn folded(text: &str, columns: usize, indent: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let room = columns.saturating_sub(indent.chars().count() + line.chars().count() + 1);
        if !line.is_empty() && columns != 0 && word.chars().count() > room {
            lines.push(format!("{indent}{line}"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(format!("{indent}{line}"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit() {
        assert_eq!(fitted("a line", 0), "a line");
        assert_eq!(fitted("a line", 6), "a line");
        assert_eq!(fitted("a line", 5), "a ...");
        assert_eq!(fitted("a line", 2), "..");
    }

    #[test]
    fn texts_are_folded_at_words() {
        assert_eq!(folded("one two  three", 0, "> "), ["> one two  three"]);
        assert_eq!(folded("one two three", 9, "> "), ["> one two", "> three"]);
        assert_eq!(folded("one two three", 8, "> "), ["> one", "> two", "> three"]);
        assert_eq!(folded("one", 2, ""), ["one"]);
        assert_eq!(folded("", 2, ""), [""]);
    }
}
