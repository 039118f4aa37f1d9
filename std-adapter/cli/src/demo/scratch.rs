//! A private temporary directory that is gone however the demo ends.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process;
use std::sync::{Mutex, PoisonError};

use rustix::fs::Mode;

/// The directory to remove, while there is one.
static DIRECTORY: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Removes the directory when it goes out of scope.
pub struct Scratch {
    path: PathBuf,
    /// The kind of the addresses in it.
    kind: &'static str,
}

impl Scratch {
    /// Makes the directory, in memory if the system has a place for that: no disk has part in the figures.
    pub fn create(kind: &'static str) -> io::Result<Self> {
        let places = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (attempt, place) in places.iter().flat_map(|place| (0..8).map(move |attempt| (attempt, place))) {
            let path = place.join(format!("smstream-demo-{}-{}-{attempt}", process::id(), super::workload::now()));
            // The lock is held across making and noting it, so that a signal finds either none or all.
            let mut directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner);
            match DirBuilder::new().mode(Mode::RWXU.bits()).create(&path) {
                Ok(()) => {
                    *directory = Some(path.clone());
                    return Ok(Self { path, kind });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address of a stream in the directory.
    pub fn address(&self, name: &str) -> io::Result<String> {
        let path = self.path.join(name);
        let path = path.to_str().ok_or_else(|| io::Error::other("the temporary directory's name is no UTF-8"))?;
        Ok(format!("{}:{path}", self.kind))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove();
    }
}

/// Removes the directory, if there is one. To be called before any exit that runs no destructors.
pub fn remove() {
    let directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(directory) = directory {
        let _ = fs::remove_dir_all(directory);
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP remove the directory before they end the process. To be called before any other
/// thread is started.
pub fn remove_on_signals() -> io::Result<()> {
    crate::signals::on_end(|signal| {
        remove();
        process::exit(128 + signal);
    })
}
