//! Free Pascal's msgtool, with this crate: texts in a System V message queue.
//!
//! `cargo run --example msgtool -- send 1 hello`, and then `receive 1`, `mode 600` (octal), `delete`; the first letter is
//! enough. The command `smstream msg` does the same and more.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use smstream::sysv::{Key, Queue, Select, Type};

/// A message is a Pascal string: its length, its text, and what is left of 256 bytes.
const SIZE: usize = 256;

fn main() -> ExitCode {
    run().unwrap_or_else(|e| {
        eprintln!("msgtool: {e}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some(command) = args.first().and_then(|word| word.chars().next()) else { return Ok(usage()) };
    let queue = Queue::options().create(true).mode(0o666).open(Key::from_path(".", b'M')?)?;
    match (command.to_ascii_lowercase(), args.get(1), args.get(2)) {
        ('s', Some(ty), Some(text)) => {
            println!("Sending message.");
            let ty = Type::new(ty.parse()?).ok_or("a type is a number from 1 on")?;
            let mut message = [0; SIZE];
            message[0] = u8::try_from(text.len())?;
            message[1..=text.len()].copy_from_slice(text.as_bytes());
            queue.send(ty, &message)?;
        }
        ('r', Some(ty), None) => {
            println!("Reading message.");
            let select = Type::new(ty.parse()?).map_or(Select::Any, Select::Type);
            let mut message = [0; SIZE];
            let received = queue.recv(select, &mut message)?;
            let text = &message[1..=usize::from(message[0])];
            println!("Type : {} Text : {}", received.ty.raw(), String::from_utf8_lossy(text));
        }
        ('d', None, None) => {
            queue.remove()?;
            println!("Removed Queue with id {}", queue.id());
        }
        ('m', Some(mode), None) => {
            println!("Old permissions : {:04o}", queue.stat()?.perm.mode);
            queue.set_mode(u32::from_str_radix(mode, 8)?)?;
            println!("New permissions : {:04o}", queue.stat()?.perm.mode);
        }
        _ => return Ok(usage()),
    }
    Ok(ExitCode::SUCCESS)
}

fn usage() -> ExitCode {
    println!(
        "Usage : msgtool s(end) <type> <text> (max 255 characters) | r(eceive) <type> | d(elete) | m(ode) <octal mode>"
    );
    ExitCode::FAILURE
}
