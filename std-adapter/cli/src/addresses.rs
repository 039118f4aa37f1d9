//! What may stand where an address is due: the kinds, the listeners of this machine, and paths. For the completion of command
//! lines, by the scripts that `smstream completions` writes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::Args;
use smstream::inspect::{self, State};

use crate::failure::Failure;
use crate::stdio::Output;

/// The command that scripts call. It is not for people.
pub const NAME: &str = "complete-address";

/// Commands with addresses as arguments, and what kinds of these they take beside those of streams.
pub const COMMANDS: [(&str, &[&str]); 5] =
    [("listen", &[]), ("connect", &[]), ("proxy", &["tcp:", "uds:", "uds:@"]), ("stat", &[]), ("doctor", &[])];

/// The kinds of addresses of streams.
const KINDS: [&str; 5] = ["file:", "shm:/", "unix:", "unix:@", "fd:"];
/// Kinds that go on with a path.
const PATHS: [&str; 3] = ["file:", "unix:", "uds:"];

/// `smstream complete-address`.
#[derive(Debug, Args)]
pub struct CompleteAddressArgs {
    /// The command whose argument it is
    pub command: String,
    /// What has been typed of it
    #[arg(allow_hyphen_values = true)]
    pub typed: OsString,
}

/// Writes what may stand there, a line for each. What is to be gone on with ends in `:`, `/` or `@`.
pub fn run(args: &CompleteAddressArgs) -> Result<(), Failure> {
    let mut found = kinds(&args.command);
    // A new listener wants a name of its own.
    if args.command != "listen" {
        found.extend(listeners());
    }
    found.extend(paths(&args.typed));
    found.retain(|one| one.as_bytes().starts_with(args.typed.as_bytes()) && !one.as_bytes().contains(&b'\n'));
    found.sort();
    found.dedup();
    // What lies beside a socket is nothing to connect to.
    let all = found.clone();
    let is_beside = |one: &OsString| {
        let socket = one.as_bytes().strip_suffix(b".lock");
        socket.is_some_and(|socket| all.iter().any(|other| other.as_bytes() == socket))
    };
    found.retain(|one| !is_beside(one));
    let text: String = found.iter().filter_map(|one| one.to_str()).flat_map(|one| [one, "\n"]).collect();
    Output::new().print(&text)
}

fn kinds(command: &str) -> Vec<OsString> {
    let more = COMMANDS.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, more)| more);
    KINDS.iter().chain(more).map(OsString::from).collect()
}

/// Where there are listeners of this user. If they cannot be seen there are none.
fn listeners() -> Vec<OsString> {
    let Ok(scan) = inspect::scan(false) else { return Vec::new() };
    let regions =
        scan.streams.into_iter().filter(|stream| stream.look().is_ok_and(|look| look.state() == State::Listening));
    let regions = regions.filter_map(|stream| stream.addr);
    let all = regions.chain(scan.listeners.into_iter().map(|listener| listener.addr));
    // Others are shown with escapes.
    all.filter(|addr| !addr.contains('\\')).map(OsString::from).collect()
}

/// The names in the directory that has been typed.
fn paths(typed: &OsStr) -> Vec<OsString> {
    let typed = typed.as_bytes();
    if typed.starts_with(b"shm:/") {
        return names(b"shm:/", Path::new("/dev/shm"), false);
    }
    let Some(kind) = PATHS.iter().find(|kind| typed.starts_with(kind.as_bytes())) else { return Vec::new() };
    let rest = &typed[kind.len()..];
    let directory = rest.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let (before, directory) = (&typed[..kind.len() + directory], &rest[..directory]);
    let directory = if directory.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(directory)) };
    names(before, directory, true)
}

fn names(before: &[u8], directory: &Path, directories: bool) -> Vec<OsString> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let name = |entry: fs::DirEntry| {
        // A link to a directory leads there, too.
        let is_directory = fs::metadata(entry.path()).is_ok_and(|it| it.is_dir());
        let mut name = [before, entry.file_name().as_bytes()].concat();
        if is_directory {
            name.push(b'/');
        }
        (directories || !is_directory).then(|| OsString::from_vec(name))
    };
    entries.flatten().filter_map(name).collect()
}
