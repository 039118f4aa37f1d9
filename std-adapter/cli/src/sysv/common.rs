//! What the commands `shm`, `sem` and `msg` have in common.

use clap::Args;
use smstream::sysv::{Key, SysvError as Error, SysvReason as Reason};

use crate::failure::{Failure, say};
use crate::json::Json;
use crate::stdio::{Output, output_failed};

/// The mode that Free Pascal's tools give what they create: everybody may use it.
pub const MODE: u32 = 0o666;

/// The exit codes, as the help texts show them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  not done: what was tried, why not and what to do is on standard error
  2  the command line is wrong
  4  not done, because it would have had to wait";

/// What all of them understand.
#[derive(Clone, Copy, Debug, Args)]
pub struct Common {
    /// Write one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// What a command says: lines for people while it goes on, or one line of JSON at the end.
pub struct Report {
    json: bool,
    out: Output,
    facts: Vec<(&'static str, Json)>,
}

impl Report {
    /// Of a command with this name.
    pub fn new(common: Common, action: &'static str) -> Self {
        Self { json: common.json, out: Output::new(), facts: vec![("action", Json::text(action))] }
    }

    /// A line for people.
    pub fn line(&mut self, line: impl Into<Vec<u8>>) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let mut line = line.into();
        line.push(b'\n');
        self.out.write_all(&line).map_err(|error| Failure::broken(output_failed(&error)))
    }

    /// A remark for people, which is no result: it goes to standard error.
    pub fn remark(&self, text: &str) {
        if !self.json {
            say(text);
        }
    }

    /// A fact for programs.
    pub fn fact(&mut self, name: &'static str, value: Json) {
        self.facts.push((name, value));
    }

    /// The object that it is about.
    pub fn object(&mut self, key: Key, id: i32) {
        self.fact("key", Json::text(key.to_string()));
        self.fact("id", Json::Whole(id.unsigned_abs().into()));
    }

    /// That a mode was another one.
    pub fn modes(&mut self, old: u32, new: u32) {
        self.fact("old_mode", Json::text(octal(old)));
        self.fact("new_mode", Json::text(octal(new)));
    }

    /// The end.
    pub fn finish(mut self) -> Result<(), Failure> {
        if self.json { self.out.print(&format!("{}\n", Json::Object(self.facts))) } else { Ok(()) }
    }
}

/// The key that Free Pascal's tools use: of the current directory, and a letter for each kind.
pub fn key(letter: u8) -> Result<Key, Failure> {
    Key::from_path(".", letter).map_err(|error| Failure::broken(error.to_string()))
}

/// How a command fails with what the library says.
pub fn failed(error: Error) -> Failure {
    match error.reason() {
        Reason::WouldBlock | Reason::TimedOut => Failure::would_wait(error.to_string()),
        _ => Failure::broken(error.to_string()),
    }
}

/// Reads a mode.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 && !digits.starts_with('+') => Ok(mode),
        _ => Err("write an octal number from 0 to 777, such as 644".to_owned()),
    }
}

/// Shows a mode.
pub fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("644"), Ok(0o644));
        assert_eq!(parse_mode("0644"), Ok(0o644));
        assert_eq!(parse_mode("0o644"), Ok(0o644));
        for junk in ["", "8", "438", "1000", "-1", "+7", "rw", "0x1"] {
            assert!(parse_mode(junk).is_err(), "{junk}");
        }
        assert_eq!(octal(0o640), "0640");
    }
}
