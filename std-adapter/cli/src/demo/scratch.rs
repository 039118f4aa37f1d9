//! Names of streams that are gone however the demo ends: by itself, by a signal, or, after a SIGKILL, by `smstream gc`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::{Mutex, PoisonError};

use rustix::fs::Access;

/// The paths to remove, as long as the demo runs.
static PATHS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the names when it goes out of scope.
pub struct Scratch {
    directory: PathBuf,
    /// What all names begin with. No other process has it.
    prefix: String,
    /// The kind of the addresses.
    kind: &'static str,
}

impl Scratch {
    /// Chooses the directory, in memory if the system has a place for that: no disk has part in the figures. The names lie in
    /// it and not in a directory of their own, so that `smstream gc` finds what a SIGKILL leaves.
    pub fn create(kind: &'static str) -> io::Result<Self> {
        let usable = |place: &PathBuf| rustix::fs::access(place, Access::WRITE_OK | Access::EXEC_OK);
        let mut last = Err(rustix::io::Errno::NOENT);
        for place in [PathBuf::from("/dev/shm"), std::env::temp_dir()] {
            last = usable(&place);
            if last.is_ok() {
                let prefix = format!("smstream-demo-{}-{}-", process::id(), super::workload::now());
                return Ok(Self { directory: place, prefix, kind });
            }
        }
        last?;
        Err(io::ErrorKind::NotFound.into())
    }

    /// The address of a stream with this name.
    pub fn address(&self, name: &str) -> io::Result<String> {
        let path = self.directory.join(format!("{}{name}", self.prefix));
        let text = path.to_str().ok_or_else(|| io::Error::other("the temporary directory's name is no UTF-8"))?;
        let address = format!("{}:{text}", self.kind);
        let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
        if !paths.contains(&path) {
            paths.push(path);
        }
        Ok(address)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove();
    }
}

/// Removes what has one of the names, or one that a listener makes beside it. To be called before any exit that runs no
/// destructors.
pub fn remove() {
    let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
    for path in paths.drain(..) {
        for suffix in ["", ".new", ".lock"] {
            let mut name = OsString::from(&path);
            name.push(suffix);
            let _ = fs::remove_file(name);
        }
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP remove the names before they end the process. To be called before any other thread is
/// started.
pub fn remove_on_signals() -> io::Result<()> {
    crate::signals::on_end(|signal| {
        remove();
        process::exit(128 + signal);
    })
}
