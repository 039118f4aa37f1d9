//! Processes and their descriptors, as `/proc` shows them.

use smstream_shm::explain::explain;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// An open descriptor of a process.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) number: u32,
    /// What it is open on, as the kernel shows it.
    pub(super) link: OsString,
    /// The lock bytes 0, 1 and 2 of the file that its description holds.
    pub(super) locks: [bool; 3],
    /// It was opened for reading only.
    pub(super) read_only: bool,
}

/// What a process has open.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// What may lead to memory.
    pub(super) files: Vec<Descriptor>,
    pub(super) sockets: Vec<Descriptor>,
    /// What the system did not say about others.
    pub(super) unseen: Vec<io::Error>,
}

/// Whether an error says that what was asked about has gone.
pub(super) fn has_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH)
}

/// The processes that one can see.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub(super) pids: Vec<u32>,
    /// Those of which the system does not say whose they are.
    pub(super) unseen: Vec<(u32, io::Error)>,
}

/// The processes of this user, or all.
pub(super) fn all(everybody: bool) -> io::Result<Processes> {
    let me = rustix::process::geteuid().as_raw();
    let Processes { mut pids, mut unseen } = Processes::default();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        match entry.metadata() {
            Ok(metadata) if everybody || metadata.uid() == me => pids.push(pid),
            Ok(_) => {}
            // One that has ended meanwhile is none.
            Err(e) if has_gone(&e) => {}
            Err(e) => unseen.push((pid, e)),
        }
    }
    pids.sort_unstable();
    Ok(Processes { pids, unseen })
}

/// What a process calls itself, escaped for terminals: its command line, or in brackets its short name.
pub(super) fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = line.split(|&byte| byte == 0).filter(|word| !word.is_empty()).map(printable).collect();
    if !words.is_empty() {
        return words.join(" ");
    }
    match fs::read(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("[{}]", printable(name.trim_ascii_end())),
        Err(_) => "?".into(),
    }
}

/// Bytes that another process chose, so that they do nothing to a terminal: control characters, and what would turn the
/// line round, are escaped.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for char in String::from_utf8_lossy(bytes).chars() {
        let turns = matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || turns || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            text.extend(char.escape_default());
        } else {
            text.push(char);
        }
    }
    text
}

/// The descriptors of a process. Those that are closed meanwhile are none.
pub(super) fn descriptors(pid: u32) -> io::Result<Descriptors> {
    let mut found = Descriptors::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                // The rest of them.
                found.unseen.extend(Some(e).filter(|e| !has_gone(e)));
                break;
            }
        };
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        match descriptor(pid, number, &entry.path()) {
            Ok(Some(socket)) if socket.link.as_bytes().starts_with(b"socket:") => found.sockets.push(socket),
            Ok(file) => found.files.extend(file),
            Err(e) if has_gone(&e) => {}
            Err(e) => found.unseen.push(explain(e, format!("descriptor {number}"))),
        }
    }
    found.files.sort_by_key(|descriptor| descriptor.number);
    Ok(found)
}

/// One of them, if it may lead to memory or is a socket.
fn descriptor(pid: u32, number: u32, path: &Path) -> io::Result<Option<Descriptor>> {
    let link = fs::read_link(path)?;
    if link.as_os_str().as_bytes().starts_with(b"socket:") {
        return Ok(Some(Descriptor { number, link: link.into(), locks: [false; 3], read_only: false }));
    }
    if !link.as_os_str().as_bytes().starts_with(b"/") {
        return Ok(None);
    }
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"))?;
    Ok(Some(Descriptor { number, link: link.into(), locks: locks(&info), read_only: is_read_only(&info) }))
}

/// Whether a description was opened for reading only, by its `fdinfo`.
fn is_read_only(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_RDONLY)
}

/// Which lock bytes a description holds, by its `fdinfo`.
///
/// # References
/// [proc_pid_fdinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html)
fn locks(info: &str) -> [bool; 3] {
    let mut held = [false; 3];
    for line in info.lines().filter_map(|line| line.strip_prefix("lock:")) {
        // A number, the kind, whether it binds, for what, the process, the file, the first and the last byte.
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "OFDLCK", _, "WRITE", _, _, first, last] = words[..] else { continue };
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else { continue };
        for (byte, held) in held.iter_mut().enumerate() {
            *held |= (first..=last).contains(&byte);
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Byte, try_lock};
    use rustix::fd::AsRawFd;

    #[test]
    fn locks_are_seen_where_they_are_held() {
        let fd = smstream_shm::memory::memfd("smstream:inspect-test", 4096).unwrap();
        assert!(try_lock(&fd, Byte::Party1).unwrap() && try_lock(&fd, Byte::Name).unwrap());
        let number = fd.as_raw_fd().unsigned_abs();
        let found = descriptors(std::process::id()).unwrap().files;
        let found = found.iter().find(|found| found.number == number).unwrap();
        assert_eq!(found.locks, [false, true, true]);
        assert!(!found.read_only);
        assert_eq!(found.link, "/memfd:smstream:inspect-test (deleted)");
    }

    #[test]
    fn odd_lines_are_no_locks() {
        let line = |rest: &str| locks(&format!("pos:\t0\nlock:\t{rest}\n"));
        assert_eq!(line("1: OFDLCK  ADVISORY  WRITE -1 00:1a:77 0 0"), [true, false, false]);
        assert_eq!(line("1: OFDLCK  ADVISORY  WRITE -1 00:1a:77 1 2"), [false, true, true]);
        for rest in
            ["", "1: POSIX  ADVISORY  WRITE 12 00:1a:77 0 0", "1: OFDLCK  ADVISORY  READ -1 00:1a:77 0 0", "1: x"]
        {
            assert_eq!(line(rest), [false; 3], "{rest}");
        }
    }

    #[test]
    fn names_do_nothing_to_a_terminal() {
        assert_eq!(printable(b"a\x1b[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert_eq!(printable("\u{202e}ü".as_bytes()), "\\u{202e}ü");
        assert_eq!(printable(b"\xff"), "\u{fffd}");
        assert!(command(std::process::id()).len() > 1);
        assert_eq!(command(u32::MAX), "?");
    }
}
