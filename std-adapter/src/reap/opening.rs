//! Opening what may be left over, to look at it.

use crate::inspect::Source;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// The permission of the owner to read, which all has that smstream makes.
const READABLE: u32 = 0o400;

/// Opens a file for reading: `None` if it has gone, or is no regular file that its owner may read.
pub(super) fn open(path: &Path) -> io::Result<Option<Source>> {
    match rustix::fs::lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_mode & READABLE != 0 => {}
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    match Source::path(path) {
        Ok(source) => Ok(Some(source)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
