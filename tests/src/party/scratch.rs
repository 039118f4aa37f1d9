//! Directories for the names that a test makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, removed in the end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one in shared memory.
    #[must_use]
    pub fn new() -> Self {
        Self::under(Path::new("/dev/shm"))
    }

    /// A new one where temporary files go: on a disk, most often.
    #[must_use]
    pub fn on_disk() -> Self {
        Self::under(&std::env::temp_dir())
    }

    /// A new one in this directory.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn under(directory: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("smstream-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        Scratch(path)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    #[must_use]
    pub fn name(&self) -> PathBuf {
        self.0.join("name")
    }

    /// An address in it.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("file:{}", self.name().display())
    }

    /// All names in it.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the scratch directory");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
