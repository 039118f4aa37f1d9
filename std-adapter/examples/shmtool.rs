//! Free Pascal's shmtool, with this crate: a text in System V shared memory.
//!
//! `cargo run --example shmtool -- write hello`, and then `read`, `mode 600` (octal), `delete`; the first letter is
//! enough. The command `smstream shm` does the same and more.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use smstream::sysv::{Attachment, Key, Reason, Shm};

const SIZE: usize = 100;

fn main() -> ExitCode {
    run().unwrap_or_else(|e| {
        eprintln!("shmtool: {e}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some(command) = args.first().and_then(|word| word.chars().next()) else { return Ok(usage()) };
    let key = Key::from_path(".", b'S')?;
    let options = Shm::options().size(SIZE).mode(0o666);
    let shm = match options.create_new(true).open(key) {
        Ok(shm) => {
            println!("Creating new shared memory segment.");
            shm
        }
        Err(e) if e.reason() == Reason::Exists => {
            println!("Shared memory exists. Opening as client");
            options.open(key)?
        }
        Err(e) => return Err(e.into()),
    };
    match (command.to_ascii_lowercase(), args.get(1)) {
        ('w', Some(text)) if text.len() < SIZE => write(&shm.attach()?, text),
        ('r', None) => println!("Read : {}", read(&shm.attach_read_only()?)),
        ('d', None) => {
            shm.remove()?;
            println!("Shared memory marked for deletion");
        }
        ('m', Some(mode)) => {
            println!("Old permissions : {:04o}", shm.stat()?.perm.mode);
            shm.set_mode(u32::from_str_radix(mode, 8)?)?;
            println!("New permissions : {:04o}", shm.stat()?.perm.mode);
        }
        _ => return Ok(usage()),
    }
    Ok(ExitCode::SUCCESS)
}

fn write(attached: &Attachment, text: &str) {
    let Some(start) = attached.as_mut_ptr() else { return };
    for (place, byte) in text.bytes().chain([0]).enumerate() {
        // SAFETY: the segment is attached for writing, and has room for the text and its end. Others may write there, too:
        // hence a volatile byte, and no reference.
        unsafe { start.wrapping_add(place).write_volatile(byte) };
    }
}

fn read(attached: &Attachment) -> String {
    // SAFETY: the segment is attached and that long. Others may write there: hence a volatile byte, and no reference.
    let byte = |place| unsafe { attached.as_ptr().wrapping_add(place).read_volatile() };
    let text: Vec<u8> = (0..attached.len()).map(byte).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&text).into_owned()
}

fn usage() -> ExitCode {
    println!("Usage : shmtool w(rite) text | r(ead) | d(elete) | m(ode change) mode (octal)");
    ExitCode::FAILURE
}
