//! `smstream doctor`: every rule of a region, and whether it holds.

use clap::Args;
use smstream::inspect::{self, Check, Verdict};

use crate::failure::Failure;
use crate::json::Json;
use crate::stdio::Output;
use crate::style::{Paint, Role};
use crate::target::{self, Target};

/// What the help says beside the options.
pub const MORE: &str = "\
The command only reads, and needs no party to answer: it works on regions that are damaged, cut
off, orphaned, or of another version or byte order. It writes a line for each rule:

  ok    the rule holds
  bad   it does not: damage, or a party that breaks the rules
  note  no fault, but worth knowing when looking for one

A unix: address stands for the stream that was accepted there. If there are several, the command
lists them, and you choose one by PID:FD. The streams of a process that has accepted at several
such addresses are named by PID:FD only: the address of each cannot be found out.

Examples:
  smstream doctor file:/dev/shm/x              the region that waits there
  smstream doctor unix:/tmp/x                  the stream that met at that socket
  smstream doctor copy-of-a-region             a file, wherever it came from
  smstream doctor 4711:9                       a connected one: `smstream ls` shows the numbers

Keys of --json:
  target          what was examined
  sound           whether nothing is bad
  checks          a list:
    verdict       ok, bad or note
    part, rule, found, meaning

Exit codes:
  0  nothing is bad
  1  something is bad, or standard output could not be written
  2  the command line is wrong
  3  the target cannot be opened or read; no stream, or more than one, was accepted at the address";

/// `smstream doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// What to examine: file:PATH, shm:/NAME, unix:PATH, unix:@NAME, the path of a file, or PID:FD
    #[arg(value_name = "ADDR|FILE|PID:FD", value_parser = target::parser())]
    pub target: Target,
    /// Write one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Only what is not ok
    #[arg(short, long)]
    pub quiet: bool,
}

/// Examines it.
pub fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let (patient, users) = args.target.patient()?;
    let checks = inspect::examine(&patient, &users).map_err(|error| Failure::no_connection(error.to_string()))?;
    let bad = checks.iter().filter(|check| check.verdict == Verdict::Bad).count();
    let shown: Vec<&Check> = checks.iter().filter(|it| !args.quiet || it.verdict != Verdict::Ok).collect();
    let text = if args.json {
        format!("{}\n", json(&args.target, bad == 0, &shown))
    } else {
        let paint = Paint::for_stdout();
        let lines: String = shown.iter().map(|check| line(check, paint)).collect();
        lines + &summary(checks.len(), bad, paint)
    };
    Output::new().print(&text)?;
    let one = if bad == 1 { "rule is" } else { "rules are" };
    if bad == 0 { Ok(()) } else { Err(Failure::broken(format!("{}: {bad} {one} broken", args.target))) }
}

fn line(check: &Check, paint: Paint) -> String {
    let role = match check.verdict {
        Verdict::Ok => Role::Good,
        Verdict::Bad => Role::Bad,
        Verdict::Note => Role::Note,
    };
    let text = check.to_string();
    // The verdict is the first word.
    let (verdict, rest) = text.split_at(check.verdict.name().len());
    format!("{}{rest}\n", paint.text(role, verdict))
}

fn summary(all: usize, bad: usize, paint: Paint) -> String {
    let text = match bad {
        0 => paint.text(Role::Good, format!("{all} lines, nothing is bad")),
        _ => paint.text(Role::Bad, format!("{all} lines, {bad} of them bad")),
    };
    format!("{text}\n")
}

fn json(target: &Target, sound: bool, checks: &[&Check]) -> Json {
    let check = |it: &&Check| {
        Json::Object(vec![
            ("verdict", Json::text(it.verdict.name())),
            ("part", Json::text(it.part.to_string())),
            ("rule", Json::text(it.rule)),
            ("found", Json::text(it.found.clone())),
            ("meaning", Json::text(it.meaning.clone())),
        ])
    };
    Json::Object(vec![
        ("target", Json::name(&target.written())),
        ("sound", Json::Bool(sound)),
        ("checks", Json::List(checks.iter().map(check).collect())),
    ])
}
