//! `smstream conform`: plays the other side to a program in any language, well and badly, and says which clauses of the layout it keeps.

mod clauses;
mod file;
mod frames;
mod header;
mod lock;
mod meeting;
mod packet;
mod plan;
mod play;
mod region;
mod report;
mod scene;
mod segment;
mod socket;
mod trouble;
mod words;

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use crate::failure::{Failure, say};
use crate::json::Json;
use crate::stdio::Output;
use crate::style::Paint;
use crate::transport::{Addr, addr_parser, shown, written};
use plan::Over;
use report::Report;
use scene::{Program, Role, Scene};
use words::Speaks;

/// What the help says beside the options.
pub const MORE: &str = "\
The peer is a program that echoes what comes on each connection until its end, then closes; with
--records it echoes records, and says that it does by bit 17 of features. A
listener serves one connection after another, or many at once, for as long as this command runs. A
connector is started for each play, if its command is given behind --; otherwise start it in a loop,
and some plays are left out.

This side then keeps the rules, or breaks them: it hangs, dies at each step, corrupts a word, rings
too much, never polls, and looks whether the wakes came that are due. A line for each numbered
clause of docs/LAYOUT.md, in its order:

  pass         a play about it went well
  fail         it is broken, and how
  not reached  no play got so far, or what it says does not show from outside

Levels are those of docs/LAYOUT.md: 1 polls, 2 sleeps, 3 also reports deadlocks and knows signals.

Examples:
  smstream conform unix:/tmp/x --as connector -- my-peer listen {addr}
  smstream conform file:/tmp/x --as listener --level 1 -- my-peer connect {addr}
  smstream conform unix:/tmp/x --as connector --records -- my-peer listen-records {addr}
  smstream conform unix:/tmp/x --as connector                 a listener that is there already
  smstream conform unix:/tmp/x --as connector --only W4,K3 -v -- my-peer listen {addr}

Keys of --json:
  target          the address
  role            what this side was: listener or connector
  level
  conforms        whether nothing fails
  clauses         a list:
    clause, level, text
    verdict       pass, fail or not reached

Exit codes:
  0  nothing fails
  1  a clause is broken, or standard output could not be written
  2  the command line is wrong
  3  the two could not meet: no listener, or the name is taken";

/// `smstream conform`.
#[derive(Debug, Args)]
pub struct ConformArgs {
    /// Where the two meet: file:PATH, shm:/NAME, unix:PATH or unix:@NAME
    #[arg(value_name = "ADDR", value_parser = addr_parser())]
    pub addr: Addr,
    /// What this side is; the peer is the other one
    #[arg(long = "as", value_enum)]
    pub role: Role,
    /// The level that the peer claims
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub level: u8,
    /// The peer echoes records: plays what the layout says of these (R), and nothing else
    #[arg(long)]
    pub records: bool,
    /// Only plays about these clauses, and those that are broken beside them
    #[arg(long, value_name = "CLAUSE", value_delimiter = ',', value_parser = clauses::find)]
    pub only: Vec<&'static str>,
    /// How long the peer may take for whatever it has to do
    #[arg(short = 'w', long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Write one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Only what fails
    #[arg(short, long)]
    pub quiet: bool,
    /// Name each play on standard error before it begins, and show what the peer writes there
    #[arg(short, long)]
    pub verbose: bool,
    /// The peer; {addr} in it stands for the address
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Plays all that fits, and says what came of it.
pub fn run(args: &ConformArgs) -> Result<(), Failure> {
    if !matches!(args.addr, Addr::File(_) | Addr::Shm(_) | Addr::Unix(_) | Addr::Abstract(_)) {
        return Err(Failure::usage(format!("{}: use a file:, shm: or unix: address", shown(&args.addr))));
    }
    let program = (!args.command.is_empty()).then(|| Program::new(args.command.clone(), args.verbose));
    let patience = Duration::from_secs(args.timeout);
    let speaks = if args.records { Speaks::Records } else { Speaks::Bytes };
    let scene = Scene::new(args.addr.clone(), args.role, speaks, patience, program);
    let mut scene = scene.map_err(|error| Failure::no_connection(format!("{}: {error}", shown(&args.addr))))?;
    if args.role == Role::Connector {
        let there = scene.wait_for_listener();
        there.map_err(|trouble| Failure::no_connection(format!("{}: {}", shown(&args.addr), trouble.text)))?;
    }
    let over = if scene.file().is_some() { Over::File } else { Over::Socket };
    let mut report = Report::new(args.level, over, speaks);
    for play in play::all() {
        let wanted = args.only.is_empty() || args.only.iter().any(|name| play.about.contains(name));
        if !wanted || !play.fits(&scene, args.level) {
            continue;
        }
        if args.verbose {
            say(play.name);
        }
        let result = (play.run)(&mut scene);
        report.note(play, result);
    }
    drop(scene);
    report.keep(&args.only);
    let failed = report.failed();
    let text =
        if args.json { format!("{}\n", json(args, &report)) } else { report.text(args.quiet, Paint::for_stdout()) };
    Output::new().print(&text)?;
    let clauses = if failed == 1 { "clause is" } else { "clauses are" };
    if failed == 0 { Ok(()) } else { Err(Failure::broken(format!("{}: {failed} {clauses} broken", shown(&args.addr)))) }
}

fn json(args: &ConformArgs, report: &Report) -> Json {
    let role = if args.role == Role::Listener { "listener" } else { "connector" };
    Json::Object(vec![
        ("target", Json::name(&written(&args.addr))),
        ("role", Json::text(role)),
        ("level", Json::Whole(u64::from(args.level))),
        ("conforms", Json::Bool(report.failed() == 0)),
        ("clauses", report.json()),
    ])
}
