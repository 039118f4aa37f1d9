//! Colours, where a person looks: on a terminal, unless the environment says `NO_COLOR`.

use std::fmt::Display;
use std::io;

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
