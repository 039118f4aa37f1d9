//! `smstream sem`: a set of System V semaphores, as Free Pascal's semtool has it.

use clap::{Args, Subcommand};
use smstream::sysv::{Key, Op, Semaphores, SysvReason as Reason};

use super::common::{Common, MODE, Report, failed, key, octal, parse_mode};
use crate::failure::Failure;
use crate::json::Json;

/// The value that every member begins with, and that it cannot pass.
const MAX: u16 = 5;

/// The help's last part.
pub const MORE: &str = "\
The set has the key that ftok makes of the current directory and the letter s: what Free
Pascal's semtool uses. Every member begins with 5, which it cannot pass. A lock lasts until
an unlock, also when the command has ended. The mode of a new set is 0666, so that every user
may use it. Modes are octal here; semtool's are decimal (438 there is 666 here).

Examples:
  smstream sem create 2
  smstream sem lock 0
  smstream sem lock 0 --wait                   wait while the member is 0
  smstream sem unlock 0
  smstream sem print
  smstream sem delete

Keys of --json:
  action, key, id, count (create), member and value (lock, unlock), values (print),
  old_mode and new_mode (mode)";

/// `smstream sem`.
#[derive(Debug, Args)]
pub struct SemArgs {
    /// What to do.
    #[command(subcommand)]
    command: SemCommand,
}

#[derive(Debug, Subcommand)]
enum SemCommand {
    /// Create a set
    #[command(visible_alias = "c")]
    Create {
        /// How many members
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        count: u16,
        #[command(flatten)]
        common: Common,
    },
    /// Count a member down
    #[command(visible_alias = "l")]
    Lock {
        /// Which member; the first is 0
        member: u16,
        /// Wait while the member is 0
        #[arg(long)]
        wait: bool,
        /// Do not wait (this is the default)
        #[arg(long, conflicts_with = "wait")]
        nowait: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Count a member up
    #[command(visible_alias = "u")]
    Unlock {
        /// Which member; the first is 0
        member: u16,
        /// Do not wait: counting up never does
        #[arg(long)]
        nowait: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Remove the set; waiting processes get an error
    #[command(visible_alias = "d")]
    Delete {
        #[command(flatten)]
        common: Common,
    },
    /// Change who may use the set
    #[command(visible_alias = "m")]
    Mode {
        /// The new mode, octal, such as 644
        #[arg(value_parser = parse_mode)]
        mode: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Show the values of all members
    #[command(visible_alias = "p")]
    Print {
        #[command(flatten)]
        common: Common,
    },
}

/// Does what the command line says.
pub fn run(args: &SemArgs) -> Result<(), Failure> {
    match &args.command {
        SemCommand::Create { count, common } => create(*count, Report::new(*common, "create")),
        SemCommand::Lock { member, wait, common, .. } => lock(*member, *wait, Report::new(*common, "lock")),
        SemCommand::Unlock { member, common, .. } => unlock(*member, Report::new(*common, "unlock")),
        SemCommand::Delete { common } => {
            let mut report = Report::new(*common, "delete");
            open(&mut report)?.remove().map_err(failed)?;
            report.line("Semaphore removed")?;
            report.finish()
        }
        SemCommand::Mode { mode, common } => {
            let mut report = Report::new(*common, "mode");
            let set = open(&mut report)?;
            let old = set.stat().map_err(failed)?.perm.mode;
            report.line(format!("Old permissions were : {}", octal(old)))?;
            set.set_mode(*mode).map_err(failed)?;
            report.line(format!("Set permissions to {}", octal(*mode)))?;
            report.modes(old, *mode);
            report.finish()
        }
        SemCommand::Print { common } => print(Report::new(*common, "print")),
    }
}

fn create(count: u16, mut report: Report) -> Result<(), Failure> {
    let key = letter()?;
    report.line(format!("Trying to create a new semaphore set with {count} members."))?;
    let values = vec![MAX; count.into()];
    let set = Semaphores::options().initial(&values).create_new(true).mode(MODE).open(key);
    let set = set.map_err(|error| match error.reason() {
        Reason::Exists => Failure::broken(format!("Semaphore set already exists. ({error})")),
        _ => failed(error),
    })?;
    report.object(key, set.id());
    report.fact("count", Json::Whole(count.into()));
    report.finish()
}

fn lock(member: u16, wait: bool, mut report: Report) -> Result<(), Failure> {
    let set = open(&mut report)?;
    if value(&set, member)? == 0 && !wait {
        return Err(Failure::would_wait("Semaphore resources exhausted (no lock): unlock it first, or use --wait"));
    }
    report.line(format!("Attempting to lock member {member} of semaphore {}", set.id()))?;
    let down = Op::sub(member, 1);
    set.op(&[if wait { down } else { down.nowait() }]).map_err(|error| match error.reason() {
        Reason::WouldBlock => Failure::would_wait(format!("Lock failed: {error}")),
        _ => Failure::broken(format!("Lock failed: {error}")),
    })?;
    report.line("Semaphore resources decremented by one")?;
    show(&set, member, report)
}

fn unlock(member: u16, mut report: Report) -> Result<(), Failure> {
    let set = open(&mut report)?;
    if value(&set, member)? >= MAX {
        return Err(Failure::broken(format!("Semaphore not locked: member {member} has {MAX} or more already")));
    }
    report.line(format!("Attempting to unlock member {member} of semaphore {}", set.id()))?;
    set.release(member).map_err(|error| Failure::broken(format!("Unlock failed: {error}")))?;
    report.line("Semaphore resources incremented by one")?;
    show(&set, member, report)
}

fn print(mut report: Report) -> Result<(), Failure> {
    let set = open(&mut report)?;
    let values = set.values().map_err(failed)?;
    report.line(format!("Semaphore {} has {} Members", set.id(), values.len()))?;
    for (member, value) in values.iter().enumerate() {
        report.line(format!("Value for member {member} is {value}"))?;
    }
    report.fact("values", Json::List(values.into_iter().map(|value| Json::Whole(value.into())).collect()));
    report.finish()
}

/// The value afterwards.
fn show(set: &Semaphores, member: u16, mut report: Report) -> Result<(), Failure> {
    let value = value(set, member)?;
    report.line(format!("Value for member {member} is {value}"))?;
    report.fact("member", Json::Whole(member.into()));
    report.fact("value", Json::Whole(value.into()));
    report.finish()
}

fn value(set: &Semaphores, member: u16) -> Result<u16, Failure> {
    set.value(member).map_err(|error| match error.reason() {
        Reason::Range => Failure::broken(format!("semaphore member out of range: {error}")),
        _ => failed(error),
    })
}

/// Finds the set, as it is: semtool sets values in its own way.
fn open(report: &mut Report) -> Result<Semaphores, Failure> {
    let key = letter()?;
    let set = Semaphores::options().adopt(true).open(key).map_err(failed)?;
    report.object(key, set.id());
    Ok(set)
}

fn letter() -> Result<Key, Failure> {
    key(b's')
}
