//! Where a scenario takes place: namespaces of its own, so that nothing else is seen there, and nothing of it elsewhere.

use crate::setup::check;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Its file system, which is small.
const ROOT: &str = "/dev/shm";

/// The names of what the commands read.
pub const GIVEN: [&str; 2] = ["tried", "partner"];

/// How many bytes they send: more than fit in a lane.
const SENT: usize = 20_000;

/// The place.
#[derive(Clone, Debug)]
pub struct Room {
    /// Where the programs are.
    pub programs: PathBuf,
    /// A directory for files.
    pub directory: PathBuf,
    /// Another, for what the commands read.
    pub given: PathBuf,
}

impl Room {
    /// In the namespaces that this process is in: see `tests/faults/run`, which makes them.
    pub fn enter() -> io::Result<Self> {
        let programs = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
        let directory = Path::new(ROOT).join("room");
        let room = Self { programs, directory, given: Path::new(ROOT).join("given") };
        match fs::read_dir(ROOT)?.count() {
            0 => {
                room.clear()?;
                fs::create_dir(&room.given)?;
                for (name, bytes) in GIVEN.into_iter().zip(room.inputs()) {
                    fs::write(room.given.join(name), bytes)?;
                }
                Ok(room)
            }
            n => Err(io::Error::other(format!("{ROOT} is not a fresh one, there are {n} files: use tests/faults/run"))),
        }
    }

    /// An address there.
    pub fn address(&self, kind: &str) -> String {
        match kind {
            "shm" => "shm:/faults".to_owned(),
            "abstract" => "unix:@faults".to_owned(),
            kind => format!("{kind}:{}/name", self.directory.display()),
        }
    }

    /// What the tried command sends, and its partner.
    pub fn inputs(&self) -> [Vec<u8>; 2] {
        [3, 11].map(|factor: usize| (0..SENT).map(|i| (i * factor % 251) as u8).collect())
    }

    /// What is there, and should not be.
    pub fn left(&self) -> Vec<String> {
        let names = |path: &Path| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.path())
                .filter(|path| *path != self.directory && *path != self.given)
                .collect::<Vec<_>>()
        };
        let files = names(Path::new(ROOT)).into_iter().chain(names(&self.directory));
        files.map(|path| path.display().to_string()).collect()
    }

    /// Makes it as new.
    pub fn clear(&self) -> io::Result<()> {
        for path in self.left() {
            if Path::new(&path).is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        clear_sysv();
        fs::create_dir_all(&self.directory)
    }
}

/// The file that takes the room.
const FILLER: &str = "filler";

impl Room {
    /// Takes all pages of the file system but so many.
    pub fn fill(&self, pages: u64) -> io::Result<()> {
        let file = fs::File::create(self.given.join(FILLER))?;
        // SAFETY: all zero is a valid value of this struct.
        let mut free: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, and the struct outlives the call.
        check(unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut free) })?;
        let bytes = free.f_bavail.saturating_sub(pages) as libc::off_t * free.f_bsize;
        // SAFETY: it takes numbers only.
        check(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes) })
    }

    /// Gives them back.
    pub fn empty(&self) -> io::Result<()> {
        match fs::remove_file(self.given.join(FILLER)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// Removes the System V objects of this namespace.
fn clear_sysv() {
    let ids = |kind: &str| -> Vec<i32> {
        let table = fs::read_to_string(Path::new("/proc/sysvipc").join(kind)).unwrap_or_default();
        table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect()
    };
    for id in ids("shm") {
        // SAFETY: removing takes numbers only.
        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
    for id in ids("sem") {
        // SAFETY: as above.
        unsafe { libc::semctl(id, 0, libc::IPC_RMID) };
    }
    for id in ids("msg") {
        // SAFETY: as above.
        unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}
