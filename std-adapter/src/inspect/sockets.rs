//! Sockets, as `/proc/net/unix` shows them: who listens for `unix:` streams, and at which address one was accepted.

use super::process::Descriptor;
use rustix::io::Errno;
use smstream_shm::posix::identity;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The flag of a socket that listens.
const LISTENS: u32 = 0x1_0000;
/// The type of the sockets that carry the rendezvous (SOCK_SEQPACKET).
const SEQPACKET: u32 = 5;

/// A named socket of the right type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) listens: bool,
    /// Its path, or `@` and its abstract name.
    pub(super) name: Vec<u8>,
}

/// The sockets that may be those of streams, by inode.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<u64, Socket>);

impl Sockets {
    /// Those of this network namespace; none if there is no such table.
    pub(super) fn now() -> io::Result<Self> {
        match fs::read("/proc/net/unix") {
            Ok(table) => Ok(Self::of(&table)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// # References
    /// [proc_pid_net(5)](https://man7.org/linux/man-pages/man5/proc_pid_net.5.html), `/proc/net/unix`
    fn of(table: &[u8]) -> Self {
        let lines = table.split(|&byte| byte == b'\n').skip(1);
        Self(lines.filter_map(Self::socket).collect())
    }

    /// Number, references, protocol, flags, type, state, inode, and the name, which may have spaces in it.
    fn socket(line: &[u8]) -> Option<(u64, Socket)> {
        let mut words = line.splitn(2, |&byte| byte == b':');
        let rest = words.nth(1)?;
        let mut at = 0;
        let mut word = || {
            at += rest[at..].iter().take_while(|&&byte| byte == b' ').count();
            let len = rest[at..].iter().take_while(|&&byte| byte != b' ').count();
            at += len;
            std::str::from_utf8(&rest[at - len..at]).ok()
        };
        let (_, _, flags, kind, _, inode) = (word()?, word()?, word()?, word()?, word()?, word()?);
        let name = rest.get(at + 1..).filter(|name| !name.is_empty())?.to_vec();
        let (flags, kind) = (u32::from_str_radix(flags, 16).ok()?, u32::from_str_radix(kind, 16).ok()?);
        let socket = Socket { listens: flags & LISTENS != 0, name };
        (kind == SEQPACKET).then_some((inode.parse().ok()?, socket))
    }

    /// The one that a descriptor is, by what the kernel shows for it: `socket:[INODE]`.
    pub(super) fn find(&self, link: &[u8]) -> Option<&Socket> {
        let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
        self.0.get(&std::str::from_utf8(inode).ok()?.parse().ok()?)
    }
}

impl Socket {
    /// Its address, escaped for terminals.
    pub(super) fn addr(&self) -> String {
        format!("unix:{}", super::process::printable(&self.name))
    }

    /// Its address, byte for byte.
    pub(super) fn written(&self) -> OsString {
        OsString::from_vec([b"unix:", &self.name[..]].concat())
    }

    /// Whether its name is abstract.
    pub(super) fn is_abstract(&self) -> bool {
        self.name.starts_with(b"@")
    }

    /// Its path, unless its name is abstract.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.name.starts_with(b"/").then(|| PathBuf::from(OsStr::from_bytes(&self.name)))
    }
}

/// Whether a process that listens at a socket with a path has the right to it, as a listener of streams has: the lock file beside
/// it. A lock file that had no name when it was opened is shown without the one that it has now: then it is known by its inode.
///
/// # Errors
/// The system does not say. What has gone is no right.
pub(super) fn has_right(pid: u32, socket: &Socket, descriptors: &[Descriptor]) -> io::Result<bool> {
    let name = [&socket.name[..], b".lock"].concat();
    if descriptors.iter().any(|it| it.link.as_bytes() == name) {
        return Ok(true);
    }
    let Some(path) = inside(pid, Path::new(OsStr::from_bytes(&name))) else { return Ok(false) };
    let mut nameless = descriptors.iter().filter(|it| is_nameless(&it.link)).peekable();
    if nameless.peek().is_none() {
        return Ok(false);
    }
    let id = |stat: rustix::io::Result<rustix::fs::Stat>| match stat {
        Ok(stat) => Ok(Some(identity(&stat))),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(e) => Err(io::Error::from(e)),
    };
    let Some(named) = id(rustix::fs::lstat(&path))? else { return Ok(false) };
    for it in nameless {
        if id(rustix::fs::stat(format!("/proc/{pid}/fd/{}", it.number)))? == Some(named) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether this is what the kernel shows for a file that was made without a name: its number behind `#`.
fn is_nameless(link: &OsStr) -> bool {
    Path::new(link).file_name().is_some_and(|name| name.as_bytes().starts_with(b"#"))
}

/// A path of a process, as this process reaches it.
fn inside(pid: u32, path: &Path) -> Option<PathBuf> {
    Some(Path::new("/proc").join(pid.to_string()).join("root").join(path.strip_prefix("/").ok()?))
}

/// When a process's socket got its path, which is a file there and nowhere else in the file system.
pub(super) fn named_since(pid: u32, path: &Path) -> Option<SystemTime> {
    let found = fs::symlink_metadata(inside(pid, path)?).ok().filter(|found| found.file_type().is_socket())?;
    found.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_table() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 1905 /tmp/a b\n\
            0000000000000000: 00000003 00000000 00000000 0005 03 1906 @name\n\
            0000000000000000: 00000003 00000000 00010000 0001 01 1907 /run/stream\n\
            0000000000000000: 00000003 00000000 00000000 0005 03 1908\n\
            nonsense\n0: x";
        let sockets = Sockets::of(table);
        let of = |link: &str| sockets.find(link.as_bytes()).cloned();
        let listener = of("socket:[1905]").expect("the first");
        assert!(listener.listens && listener.addr() == "unix:/tmp/a b");
        assert_eq!(listener.path(), Some("/tmp/a b".into()));
        let accepted = of("socket:[1906]").expect("the second");
        assert!(!accepted.listens && accepted.addr() == "unix:@name" && accepted.path().is_none());
        assert!(accepted.is_abstract() && !listener.is_abstract());
        for none in ["socket:[1907]", "socket:[1908]", "socket:[1]", "pipe:[1905]", "socket:[x]"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert!(Sockets::of(b"").0.is_empty());
    }

    #[test]
    fn a_lock_file_that_could_not_be_looked_at_is_no_answer() {
        let below_a_file = std::env::current_exe().unwrap().join("socket");
        let socket = Socket { listens: true, name: below_a_file.into_os_string().into_vec() };
        let link = OsString::from("/tmp/#1");
        let nameless = Descriptor { number: 0, link, locks: [false; 3], read_only: false };
        let error = has_right(std::process::id(), &socket, &[nameless]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }
}
