//! The names of regions: what a descriptor shows, and what a directory has.

use super::process::{self, printable};
use rustix::io::Errno;
use smstream_shm::posix::identity;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// What the kernel puts behind a name that is gone.
const DELETED: &[u8] = b" (deleted)";

/// The path that the kernel shows for a file that was opened by its name, whether it still has that or not.
pub(super) fn named(link: &[u8]) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(link.strip_suffix(DELETED).unwrap_or(link)));
    // A file made without a name is shown with a number.
    path.file_name().filter(|name| !name.as_bytes().starts_with(b"#")).map(|_| path.to_path_buf())
}

/// The name in a directory that leads to a file.
pub(super) fn name_of(directory: &Path, id: (u64, u64)) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if process::has_gone(&e) => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.ino() != id.1 {
            continue;
        }
        match rustix::fs::lstat(entry.path()) {
            Ok(stat) if identity(&stat) == id => return Ok(Some(entry.path())),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(None)
}

/// A path as an address, for people and byte for byte.
pub(super) fn address(path: &Path) -> (String, OsString) {
    let mut written = OsString::from("file:");
    written.push(path);
    (format!("file:{}", printable(path.as_os_str().as_bytes())), written)
}
