//! What was tried on an object, and what to do next.

use super::name::ShmName;
use rustix::io::Errno;

/// What was tried, and what to do.
pub(super) fn failed(verb: &str, name: &ShmName, e: Errno) -> String {
    let advice = match e {
        Errno::NOENT => "; no process has created it, or this container has another /dev/shm",
        Errno::EXIST => "; use another name, open it without create_new, or unlink it if it is left over",
        Errno::ACCESS | Errno::PERM => "; look at its owner and mode with `ls -l /dev/shm`",
        Errno::LOOP => "; it is a symbolic link, which is not followed",
        Errno::NODEV | Errno::ISDIR | Errno::NXIO => "; what has this name is no shared memory",
        Errno::MFILE => "; this process has too many open files (RLIMIT_NOFILE, `ulimit -n`)",
        Errno::NFILE => "; the system has too many open files (fs.file-max)",
        Errno::NOSPC => room(),
        _ => "",
    };
    format!("cannot {verb} the shared memory object {name}{advice}")
}

/// What to do when there is no room.
pub(super) fn room() -> &'static str {
    "; see `df /dev/shm` (a mount option of /dev/shm, size=, sets its limit)"
}
