//! `smstream shm`: a text in System V shared memory, as Free Pascal's shmtool has it.

use clap::{Args, Subcommand};
use smstream::sysv::{Attachment, Shm, SysvReason as Reason};

use super::common::{Common, MODE, Report, failed, key, octal, parse_mode};
use crate::failure::Failure;
use crate::json::Json;

/// The bytes of the segment, with the 0 that ends the text.
const SIZE: usize = 100;

/// The help's last part.
pub const MORE: &str = "\
The segment has 100 bytes and the key that ftok makes of the current directory and the
letter S: what Free Pascal's shmtool uses. Every command creates it if it is not there,
with the mode 0666, so that every user may use it. Modes are octal here; shmtool's are
decimal (438 there is 666 here). `read` writes the text alone to standard output, and what
shmtool says beside it to standard error.

Examples:
  smstream shm write hello
  smstream shm read
  smstream shm mode 600
  smstream shm delete

Keys of --json:
  action, key, id, created (whether it was), text (write, read), old_mode and new_mode (mode)";

/// `smstream shm`.
#[derive(Debug, Args)]
pub struct ShmArgs {
    /// What to do.
    #[command(subcommand)]
    command: ShmCommand,
}

#[derive(Debug, Subcommand)]
enum ShmCommand {
    /// Write a text into the segment
    #[command(visible_alias = "w")]
    Write {
        /// The text, of at most 99 bytes
        text: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show the text that is in the segment
    #[command(visible_alias = "r")]
    Read {
        #[command(flatten)]
        common: Common,
    },
    /// Remove the segment; its memory goes when no process is attached any more
    #[command(visible_alias = "d")]
    Delete {
        #[command(flatten)]
        common: Common,
    },
    /// Change who may use the segment
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
pub fn run(args: &ShmArgs) -> Result<(), Failure> {
    match &args.command {
        ShmCommand::Write { text, common } => {
            if text.len() >= SIZE || text.contains('\0') {
                return Err(Failure::usage(format!("the segment has room for {} bytes, none of them 0", SIZE - 1)));
            }
            let mut report = Report::new(*common, "write");
            let shm = open(&mut report)?;
            put(&shm.attach().map_err(failed)?, text.as_bytes());
            report.fact("text", Json::text(text));
            report.finish()
        }
        ShmCommand::Read { common } => {
            let mut report = Report::new(*common, "read");
            let (shm, created) = find(&mut report)?;
            report.remark(said(created));
            let text = get(&shm.attach_read_only().map_err(failed)?);
            report.line(&text[..])?;
            report.fact("text", Json::text(String::from_utf8_lossy(&text)));
            report.finish()
        }
        ShmCommand::Delete { common } => {
            let mut report = Report::new(*common, "delete");
            open(&mut report)?.remove().map_err(failed)?;
            report.line("Shared memory marked for deletion")?;
            report.finish()
        }
        ShmCommand::Mode { mode, common } => {
            let mut report = Report::new(*common, "mode");
            let shm = open(&mut report)?;
            let old = shm.stat().map_err(failed)?.perm.mode;
            report.line(format!("Old permissions : {}", octal(old)))?;
            shm.set_mode(*mode).map_err(failed)?;
            report.line(format!("New permissions : {}", octal(*mode)))?;
            report.modes(old, *mode);
            report.finish()
        }
    }
}

/// Creates the segment, or finds it, and says which.
fn open(report: &mut Report) -> Result<Shm, Failure> {
    let (shm, created) = find(report)?;
    report.line(said(created))?;
    Ok(shm)
}

/// Creates the segment, or finds it.
fn find(report: &mut Report) -> Result<(Shm, bool), Failure> {
    let key = key(b'S')?;
    let options = Shm::options().size(SIZE).mode(MODE);
    let (shm, created) = match options.create_new(true).open(key) {
        Ok(shm) => (shm, true),
        Err(error) if error.reason() == Reason::Exists => (options.open(key).map_err(failed)?, false),
        Err(error) => return Err(failed(error)),
    };
    report.object(key, shm.id());
    report.fact("created", Json::Bool(created));
    Ok((shm, created))
}

/// What shmtool says of a segment that it has found or created.
fn said(created: bool) -> &'static str {
    match created {
        true => "Creating new shared memory segment.",
        false => "Shared memory exists. Opening as client",
    }
}

/// Writes a text and the 0 that ends it.
fn put(attached: &Attachment, text: &[u8]) {
    let Some(start) = attached.as_mut_ptr() else { return };
    for (place, &byte) in text.iter().chain(&[0]).enumerate().take(attached.len()) {
        // SAFETY: the segment is attached for writing and has more bytes than `place`. Others may write there, too; a
        // volatile byte is written whatever they do.
        unsafe { start.wrapping_add(place).write_volatile(byte) };
    }
}

/// Reads a text up to the 0 that ends it.
fn get(attached: &Attachment) -> Vec<u8> {
    // SAFETY: the segment is attached and has more bytes than `place`. Others may write there; a volatile byte is read,
    // whatever it is.
    let byte = |place| unsafe { attached.as_ptr().wrapping_add(place).read_volatile() };
    (0..attached.len().min(SIZE)).map(byte).take_while(|&byte| byte != 0).collect()
}
