//! Makes every system call of the adapter and of the command fail, one at a time, with every error that its manual page
//! names, and sees that there is a clear error or success: no hang, no panic, no leak, no lie. See `tests/faults/run`.

mod calls;
mod cell;
mod descendants;
mod group;
mod judge;
mod names;
mod notify;
mod options;
mod outcome;
mod program;
mod report;
mod result;
mod room;
mod row;
mod rule;
mod scenario;
mod self_test;
mod setup;
mod supervise;
mod work;

use options::{Options, USAGE};
use report::Report;
use result::Line;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// How many scenarios run at once. Most of the time all wait.
const WORKERS: usize = 6;

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1), work::SAMPLE) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let done = match (options.worker, options.self_test) {
        (true, true) => self_test::work(options.share).map(|()| true),
        (true, false) => work::work(&options).map(|()| true),
        (false, _) => gather(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("tests/faults: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the workers, each in namespaces of its own, and puts together what they say.
fn gather(options: &Options) -> io::Result<bool> {
    let mut workers = Vec::new();
    for share in 0..WORKERS {
        let mut command = Command::new("unshare");
        // SAFETY: it asks for a number.
        if unsafe { libc::geteuid() } != 0 {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        command
            .arg("mount -t tmpfs -o size=64m faults /dev/shm && exec \"$@\"")
            .arg("sh")
            .arg(std::env::current_exe()?);
        command.args(["--worker", &share.to_string(), &WORKERS.to_string()]).args(std::env::args_os().skip(1));
        workers.push(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    }
    let mut report = Report::default();
    let mut tested = Vec::new();
    let (send, lines) = std::sync::mpsc::channel();
    for worker in &mut workers {
        let (send, output) = (send.clone(), worker.stdout.take());
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
    }
    drop(send);
    for line in lines {
        match Line::parse(&line) {
            Some(line) if options.self_test => tested.push(line),
            Some(line) => report.add(line).into_iter().for_each(|wrong| eprintln!("{wrong}")),
            None => eprintln!("a worker says: {line}"),
        }
    }
    let mut well = true;
    for worker in &mut workers {
        well &= worker.wait()?.success();
    }
    if options.self_test {
        return Ok(self_test::judge(&tested) && well);
    }
    report.show(options);
    if options.write {
        report.write()?;
    }
    Ok(well && report.is_well())
}
