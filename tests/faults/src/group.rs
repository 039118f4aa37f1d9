//! A group of processes that may have so much memory (cgroups(7)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
        let group = match fs::create_dir(&path) {
            Ok(()) => Self(path),
            // A container may see the groups of its machine and make none.
            Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                return Ok(None);
            }
            // The namespace is this process's own, so that the group is of a run that was killed, whose number was the same.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Self(path),
            Err(e) => return Err(io::Error::new(e.kind(), format!("cannot make {}: {e}", path.display()))),
        };
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

/// How long the kernel may take to end the processes of a group.
const BOUND: Duration = Duration::from_secs(10);
/// Between two attempts: version 1 has no event for a group that has become empty.
const PAUSE: Duration = Duration::from_millis(2);

impl Drop for Group {
    /// What the process that was in it has started may still be there, as the child to which a party hands a stream.
    fn drop(&mut self) {
        let until = Instant::now() + BOUND;
        loop {
            let members = fs::read_to_string(self.members()).unwrap_or_default();
            for member in
                members.lines().filter_map(|line| line.parse().ok()).filter(|&member: &libc::pid_t| member > 0)
            {
                // SAFETY: it takes numbers. Only what this program has started is in the group.
                unsafe { libc::kill(member, libc::SIGKILL) };
            }
            match fs::remove_dir(&self.0) {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {
                    std::thread::sleep(PAUSE)
                }
                Err(e) => return eprintln!("tests/faults: cannot remove {}: {e}", self.0.display()),
                Ok(()) => return,
            }
        }
    }
}
