//! What the processes of a scenario have started, and have left behind: this process, the first of its namespace, is the parent of
//! these then.

use std::fs;
use std::io;
use std::ptr;

/// Whether there are any. Those that have ended are reaped. It is asked when all children of this process's own have been.
pub fn any() -> io::Result<bool> {
    loop {
        // SAFETY: no status is wanted.
        match unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } {
            0 => return Ok(true),
            n if n > 0 => {}
            _ => match io::Error::last_os_error() {
                e if e.raw_os_error() == Some(libc::ECHILD) => return Ok(false),
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
}

/// What they are called and where they are, for a message.
pub fn names() -> String {
    let own = std::process::id();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let each = numbers.filter(|&number| number != own).map(|number| {
        let look = |name: &str| fs::read_to_string(format!("/proc/{number}/{name}")).unwrap_or_default();
        format!("{} at {}", look("cmdline").replace('\0', " ").trim_end(), look("syscall").trim())
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Ends all of them, and waits until they have.
pub fn kill() {
    // The first process of a namespace reaches all others in it by this number, and in the machine's own it would be everybody's.
    if std::process::id() != 1 {
        return;
    }
    // SAFETY: it takes numbers. This process is spared.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    // SAFETY: no status is wanted.
    while unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } > 0 {}
}
