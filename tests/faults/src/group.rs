//! A group of processes that may have so much memory (cgroups(7)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where groups with such a limit may be made, and the file that has the limit: in version 2, and in version 1.
const PLACES: [(&str, &str); 3] = [
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/unified", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
];

/// It is removed when this is dropped, and has no process then.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// A new one with a limit in bytes. `None`: there can be none here.
    pub fn with_memory(limit: u64) -> io::Result<Option<Self>> {
        let Some((root, file)) = PLACES.into_iter().find(|(root, file)| is_place(Path::new(root), file)) else {
            return Ok(None);
        };
        // The number of a process is another one's in another namespace; that of its namespace is its own.
        let namespace = fs::metadata("/proc/self/ns/pid").map(|found| std::os::unix::fs::MetadataExt::ino(&found))?;
        let path = Path::new(root).join(format!("smstream-faults-{namespace}"));
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            Err(e) => return Err(io::Error::new(e.kind(), format!("cannot make {}: {e}", path.display()))),
        }
        let group = Self(path);
        fs::write(group.0.join(file), limit.to_string())?;
        Ok(Some(group))
    }

    /// The file into which a process that is to be in it writes its number.
    pub fn members(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

/// Whether a group there has the file for its limit.
fn is_place(root: &Path, file: &str) -> bool {
    match file {
        "memory.max" => {
            let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
            controllers.split_whitespace().any(|controller| controller == "memory")
        }
        file => root.join(file).exists(),
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir(&self.0) {
            eprintln!("tests/faults: cannot remove {}: {e}", self.0.display());
        }
    }
}
