//! `smstream msg`: texts in a System V message queue, as Free Pascal's msgtool has them.

use clap::{Args, Subcommand};
use smstream::sysv::{MessageType as Type, Queue, Select, limits};

use super::common::{Common, MODE, Report, failed, key, octal, parse_mode};
use crate::failure::Failure;
use crate::json::Json;

/// The bytes of a message: a Pascal string, whose first byte is the length of its text.
const SIZE: usize = 256;

/// The help's last part.
pub const MORE: &str = "\
The queue has the key that ftok makes of the current directory and the letter M, and its
messages are Pascal strings of 256 bytes: what Free Pascal's msgtool uses. What others send
is shown as it is. Every command creates the queue if it is not there, with the mode 0666,
so that every user may use it. Modes are octal here; msgtool's are decimal (438 there is 666
here).

Examples:
  smstream msg send 1 hello
  smstream msg receive 1
  smstream msg receive 0 --nowait              any message, if there is one
  smstream msg receive -3                      a message of the lowest type up to 3
  smstream msg delete

Keys of --json:
  action, key, id, type and text (send, receive), old_mode and new_mode (mode)";

/// `smstream msg`.
#[derive(Debug, Args)]
pub struct MsgArgs {
    /// What to do.
    #[command(subcommand)]
    command: MsgCommand,
}

#[derive(Debug, Subcommand)]
enum MsgCommand {
    /// Send a text
    #[command(visible_alias = "s")]
    Send {
        /// The type of the message, from 1 on
        #[arg(value_name = "TYPE", value_parser = parse_type)]
        ty: Type,
        /// The text, of at most 255 bytes
        text: String,
        /// Fail if the queue is full, instead of waiting
        #[arg(long)]
        nowait: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Receive a text
    #[command(visible_alias = "r")]
    Receive {
        /// Which type: 0 for any, a negative number for the lowest type up to that
        #[arg(value_name = "TYPE", allow_negative_numbers = true, value_parser = parse_select)]
        select: Select,
        /// Fail if there is no such message, instead of waiting
        #[arg(long)]
        nowait: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Remove the queue and what is in it; waiting processes get an error
    #[command(visible_alias = "d")]
    Delete {
        #[command(flatten)]
        common: Common,
    },
    /// Change who may use the queue
    #[command(visible_alias = "m")]
    Mode {
        /// The new mode, octal, such as 644
        #[arg(value_parser = parse_mode)]
        mode: u32,
        #[command(flatten)]
        common: Common,
    },
}

/// Does what the command line says.
pub fn run(args: &MsgArgs) -> Result<(), Failure> {
    match &args.command {
        MsgCommand::Send { ty, text, nowait, common } => send(*ty, text, *nowait, Report::new(*common, "send")),
        MsgCommand::Receive { select, nowait, common } => receive(*select, *nowait, Report::new(*common, "receive")),
        MsgCommand::Delete { common } => {
            let mut report = Report::new(*common, "delete");
            let queue = open(&mut report)?;
            queue.remove().map_err(failed)?;
            report.line(format!("Removed Queue with id {}", queue.id()))?;
            report.finish()
        }
        MsgCommand::Mode { mode, common } => {
            let mut report = Report::new(*common, "mode");
            let queue = open(&mut report)?;
            let old = queue.stat().map_err(failed)?.perm.mode;
            report.line(format!("Old permissions : {}", octal(old)))?;
            queue.set_mode(*mode).map_err(failed)?;
            report.line(format!("New permissions : {}", octal(*mode)))?;
            report.modes(old, *mode);
            report.finish()
        }
    }
}

fn send(ty: Type, text: &str, nowait: bool, mut report: Report) -> Result<(), Failure> {
    let message = pascal(text)
        .ok_or_else(|| Failure::usage(format!("a text has at most {} bytes, not {}", SIZE - 1, text.len())))?;
    let queue = open(&mut report)?;
    report.line("Sending message.")?;
    if nowait { queue.try_send(ty, &message) } else { queue.send(ty, &message) }.map_err(failed)?;
    report.fact("type", whole(ty));
    report.fact("text", Json::text(text));
    report.finish()
}

fn receive(select: Select, nowait: bool, mut report: Report) -> Result<(), Failure> {
    let queue = open(&mut report)?;
    report.line("Reading message.")?;
    let room = limits().ok().and_then(|limits| usize::try_from(limits.msg_max_bytes).ok()).unwrap_or(0);
    let mut buffer = vec![0; room.max(8192)];
    let received = match nowait {
        true => queue.try_recv(select, &mut buffer),
        false => queue.recv(select, &mut buffer),
    };
    let received = received.map_err(failed)?;
    let text = text(&buffer[..received.len]);
    report.line([format!("Type : {} Text : ", received.ty.raw()).as_bytes(), text].concat())?;
    report.fact("type", whole(received.ty));
    report.fact("text", Json::text(String::from_utf8_lossy(text)));
    report.finish()
}

/// Finds the queue, or creates it.
fn open(report: &mut Report) -> Result<Queue, Failure> {
    let key = key(b'M')?;
    let queue = Queue::options().create(true).mode(MODE).open(key).map_err(failed)?;
    report.object(key, queue.id());
    Ok(queue)
}

/// A text as msgtool sends it.
fn pascal(text: &str) -> Option<[u8; SIZE]> {
    let mut message = [0; SIZE];
    message[0] = u8::try_from(text.len()).ok()?;
    message[1..=text.len()].copy_from_slice(text.as_bytes());
    Some(message)
}

/// The text of a message, from msgtool or another program.
fn text(message: &[u8]) -> &[u8] {
    match message {
        [len, text @ ..] if message.len() == SIZE => &text[..usize::from(*len)],
        _ => message,
    }
}

fn whole(ty: Type) -> Json {
    Json::Whole(ty.raw().unsigned_abs())
}

fn parse_type(text: &str) -> Result<Type, String> {
    let ty = text.parse().ok().and_then(Type::new);
    ty.ok_or_else(|| "write a whole number from 1 on".to_owned())
}

fn parse_select(text: &str) -> Result<Select, String> {
    let number: i64 = text.parse().map_err(|_| "write a whole number".to_owned())?;
    if number == 0 {
        return Ok(Select::Any);
    }
    let ty = Type::new(number.checked_abs().unwrap_or(0)).ok_or("this number is too large")?;
    Ok(if number > 0 { Select::Type(ty) } else { Select::AtMost(ty) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pascal_strings() {
        let longest = "x".repeat(255);
        assert_eq!(text(&pascal("hello").unwrap()), b"hello");
        assert_eq!(text(&pascal("").unwrap()), b"");
        assert_eq!(text(&pascal(&longest).unwrap()), longest.as_bytes());
        assert_eq!(pascal(&"x".repeat(256)), None);
        assert_eq!(text(b"raw"), b"raw");
    }

    #[test]
    fn selections() {
        let three = Type::new(3).unwrap();
        assert_eq!(parse_select("0"), Ok(Select::Any));
        assert_eq!(parse_select("3"), Ok(Select::Type(three)));
        assert_eq!(parse_select("-3"), Ok(Select::AtMost(three)));
        for junk in ["", "x", "1.5", "9223372036854775808", "-9223372036854775808"] {
            assert!(parse_select(junk).is_err(), "{junk}");
        }
        assert!(parse_type("0").is_err() && parse_type("-1").is_err() && parse_type("1").is_ok());
    }
}
