//! A private temporary directory that is gone however the command ends.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};

use rustix::fs::Mode;

use crate::failure::say;

/// The directory to remove, while there is one.
static DIRECTORY: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Removes the directory when it goes out of scope.
pub struct Place(PathBuf);

impl Place {
    /// Makes the directory, in memory if the system has a place for that: no disk has part in the figures.
    pub fn create() -> io::Result<Self> {
        let places = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (attempt, place) in places.iter().flat_map(|place| (0..8).map(move |attempt| (attempt, place))) {
            let now = smstream_bench::usage::now();
            let path = place.join(format!("smstream-bench-{}-{now}-{attempt}", process::id()));
            // The lock is held across making and noting it, so that a signal finds either none or all.
            let mut directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner);
            match DirBuilder::new().mode(Mode::RWXU.bits()).create(&path) {
                Ok(()) => {
                    *directory = Some(path.clone());
                    return Ok(Self(path));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove();
    }
}

/// Removes the directory, if there is one. To be called before any exit that runs no destructors.
pub fn remove() {
    let directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(directory) = directory
        && let Err(error) = fs::remove_dir_all(&directory)
    {
        say(format_args!("could not remove {}: {error}; remove it by hand", directory.display()));
    }
}
