//! Stands for the command, and is broken on purpose: without a fault it becomes the command, and where the one call fails that is
//! its own it does something wrong. The self-test of the harness shows that this is noticed.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((wrong, arguments)) = arguments.split_first() else {
        eprintln!("usage: faults-broken WRONG [ARGUMENT...], the arguments of smstream");
        return ExitCode::from(2);
    };
    let result = match std::env::current_dir() {
        Ok(_) => become_it(arguments),
        Err(e) => or_wrong(wrong, arguments, &e),
    };
    result.unwrap_or_else(|e| {
        eprintln!("faults-broken: {e}");
        ExitCode::from(98)
    })
}

fn or_wrong(wrong: &str, arguments: &[String], e: &io::Error) -> io::Result<ExitCode> {
    match wrong {
        "hang" => loop {
            std::thread::park();
        },
        "panic" => panic!("on purpose"),
        "abort" => std::process::abort(),
        "loses-bytes" => less(arguments, |came| came.len() - 1),
        "shows-less" => {
            less(arguments, |came| came[..came.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap_or(0))
        }
        "does-nothing" => Ok(ExitCode::SUCCESS),
        "file" => {
            std::fs::write(Path::new("/dev/shm/room/forgotten"), "")?;
            become_it(arguments)
        }
        "process" => {
            process()?;
            become_it(arguments)
        }
        "mute" => Ok(ExitCode::FAILURE),
        "unclear" => {
            eprintln!("smstream: {e}");
            Ok(ExitCode::FAILURE)
        }
        // These two are not broken.
        "error" => {
            eprintln!("smstream: cannot find the directory: {e}");
            Ok(ExitCode::FAILURE)
        }
        "goes-on" => become_it(arguments),
        other => Err(io::Error::other(format!("nothing wrong is called {other}"))),
    }
}

/// Leaves a process behind that never ends.
fn process() -> io::Result<()> {
    let mut never = Command::new("tail");
    let never = never.args(["-f", "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    never.spawn().map(drop)
}

/// The command, which was built beside this program.
fn command(arguments: &[String]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("smstream"));
    command.args(arguments);
    Ok(command)
}

fn become_it(arguments: &[String]) -> io::Result<ExitCode> {
    Err(command(arguments)?.exec())
}

/// Writes so much only of what the command writes, and ends as the command does.
fn less(arguments: &[String], length: impl Fn(&[u8]) -> usize) -> io::Result<ExitCode> {
    let mut child = command(arguments)?.stdout(Stdio::piped()).spawn()?;
    let mut came = Vec::new();
    child.stdout.take().into_iter().try_for_each(|mut output| output.read_to_end(&mut came).map(drop))?;
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    if came.is_empty() {
        return Err(io::Error::other("the command has written nothing"));
    }
    io::stdout().write_all(&came[..length(&came)])?;
    Ok(ExitCode::from(code))
}
