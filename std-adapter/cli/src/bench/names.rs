//! What the names of a measurement begin with, and how they go if a signal ends the command.
//!
//! There is no directory: names lie where `smstream gc` looks, and most are gone as soon as both sides have opened them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;

use rustix::fs::{Access, access};

/// What the names of this process begin with, if it measures.
static PREFIX: OnceLock<PathBuf> = OnceLock::new();

/// What names begin with: in memory if the system has a place for that, so that no disk has part in the figures.
pub fn prefix() -> &'static Path {
    PREFIX.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let directory = if access(memory, Access::WRITE_OK).is_ok() { memory.to_owned() } else { std::env::temp_dir() };
        directory.join(format!("smstream-bench-{}-{}", process::id(), smstream_bench::usage::now()))
    })
}

/// Removes what has such a name: what a listener had that waited when a signal came. To be called before any exit that
/// runs no destructors.
pub fn remove() {
    let Some(prefix) = PREFIX.get() else { return };
    let (Some(directory), Some(begin)) = (prefix.parent(), prefix.file_name()) else { return };
    let is_ours = |name: &OsStr| name.as_bytes().starts_with(begin.as_bytes());
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().filter(|entry| is_ours(&entry.file_name())) {
        // Most often the listener has removed it.
        let _ = fs::remove_file(entry.path());
    }
}
