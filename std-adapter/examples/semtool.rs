//! Free Pascal's semtool, with this crate: a set of System V semaphores.
//!
//! `cargo run --example semtool -- create 2`, and then `lock 0`, `unlock 0`, `print`, `mode 600` (octal), `delete`; the
//! first letter is enough. The command `smstream sem` does the same and more.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use smstream::sysv::{self, Key, Op, Semaphores};

/// The value that every member begins with.
const MAX: u16 = 5;

fn main() -> ExitCode {
    run().unwrap_or_else(|e| {
        eprintln!("semtool: {e}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some(command) = args.first().and_then(|word| word.chars().next()) else { return Ok(usage()) };
    let key = Key::from_path(".", b's')?;
    // The old tool sets values without an operation: its sets are taken as they are.
    let open = || Semaphores::options().adopt(true).open(key);
    match (command.to_ascii_lowercase(), args.get(1)) {
        ('c', Some(count)) => {
            println!("Trying to create a new semaphore set with {count} members.");
            let values = vec![MAX; count.parse()?];
            Semaphores::options().initial(&values).create_new(true).mode(0o666).open(key)?;
        }
        ('l', Some(member)) => change(&open()?, member.parse()?, "lock", "decremented")?,
        ('u', Some(member)) => change(&open()?, member.parse()?, "unlock", "incremented")?,
        ('d', None) => {
            open()?.remove()?;
            println!("Semaphore removed");
        }
        ('m', Some(mode)) => {
            let set = open()?;
            println!("Old permissions were : {:04o}", set.stat()?.perm.mode);
            set.set_mode(u32::from_str_radix(mode, 8)?)?;
            println!("Set permissions to {:04o}", set.stat()?.perm.mode);
        }
        ('p', None) => {
            let set = open()?;
            let values = set.values()?;
            println!("Semaphore {} has {} Members", set.id(), values.len());
            for (member, value) in values.iter().enumerate() {
                println!("Value for member {member} is {value}");
            }
        }
        _ => return Ok(usage()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts a member down or up, without waiting.
fn change(set: &Semaphores, member: u16, what: &str, how: &str) -> sysv::Result<()> {
    println!("Attempting to {what} member {member} of semaphore {}", set.id());
    let op = if what == "lock" { Op::sub(member, 1) } else { Op::add(member, 1) };
    set.op(&[op.nowait()])?;
    println!("Semaphore resources {how} by one");
    println!("Value for member {member} is {}", set.value(member)?);
    Ok(())
}

fn usage() -> ExitCode {
    println!("Usage : semtool c(reate) <count> | l(ock) <member> | u(nlock) <member> | d(elete) | m(ode) <octal mode>");
    println!("                | p(rint)");
    ExitCode::FAILURE
}
