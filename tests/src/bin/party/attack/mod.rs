//! A party that tries to write to the other one's segment, in every way there is.
//!
//! It made its end by hand, so it has what every peer gets: the descriptor of the other segment, and a mapping of it.

mod descriptor;
mod mapping;
mod process;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use smstream::memory::{Access, Mapping};
use smstream_core::geometry::Config;
use smstream_tests::flow::{Flow, Manner};
use smstream_tests::wire::{self, Rig, Stage, Wire};

use crate::{Words, wrong};

/// What the attacker has.
#[derive(Default)]
pub(crate) struct Attacker {
    door: Option<OwnedFd>,
    rig: Option<Rig>,
    flows: Option<[Flow; 2]>,
    stage: Option<Stage>,
    flying: Option<[OwnedFd; 2]>,
}

/// What came of an attempt, as the system says it.
type Tried = Result<(), No>;

/// How the system says no.
#[derive(Clone, Copy, Debug)]
enum No {
    Error(Errno),
    /// By a SIGSEGV.
    Killed,
}

impl From<Errno> for No {
    fn from(e: Errno) -> Self {
        No::Error(e)
    }
}

/// The result of a call, of which nothing else is wanted.
fn no<T>(result: Result<T, Errno>) -> Tried {
    result.map(drop).map_err(No::Error)
}

/// An attempt.
type Attempt = fn(&Scene<'_>) -> Tried;

/// What an attempt has to do with.
struct Scene<'a> {
    /// The segment.
    fd: BorrowedFd<'a>,
    /// How the attacker may map it.
    access: Access,
    /// Its length in bytes.
    len: usize,
    /// Where the byte is that is to be changed, from the start of the owner's segment.
    at: usize,
    /// What it is to become.
    new: u8,
    /// The process that owns the segment.
    owner: i32,
    /// The owner's descriptor of it.
    owner_fd: i32,
    /// Where the owner has mapped it.
    owner_start: usize,
}

impl Scene<'_> {
    /// A fresh mapping of the segment, for an attempt that may spoil it.
    fn map(&self) -> Mapping {
        Mapping::new(self.fd, 0, self.len, self.access).expect("it can be mapped so")
    }

    /// Where the byte is in the owner's memory.
    fn in_owner(&self) -> usize {
        self.owner_start + self.at
    }
}

/// Everything about a segment that could change.
#[derive(PartialEq, Eq)]
struct State {
    bytes: Vec<u8>,
    size: i64,
    seals: rustix::fs::SealFlags,
}

impl State {
    fn of(fd: impl AsFd) -> io::Result<Self> {
        let size = rustix::fs::fstat(&fd)?.st_size;
        let mut bytes = vec![0; size as usize];
        rustix::io::pread(&fd, &mut bytes[..], 0)?;
        Ok(State { bytes, size, seals: rustix::fs::fcntl_get_seals(&fd)? })
    }
}

impl Attacker {
    pub(crate) fn run(&mut self, command: &str, words: &mut Words<'_>) -> io::Result<String> {
        match command {
            "rig-connect" => self.take(Rig::connect(words.text()?)?),
            "rig-listen" => self.door = Some(wire::door(words.text()?)?),
            "rig-accept" => {
                let door = self.door.as_ref().ok_or_else(|| wrong("no process listens"))?;
                self.take(Rig::accept(door, &wire::config(words.number()?))?);
            }
            "rig-stage" => {
                let addr = words.text()?;
                self.stage = Some(Stage::reach(addr, words.number()?)?);
            }
            "rig-propose" => {
                let addr = words.text()?;
                let config = Config { start: 0, channel: 1, ..wire::config(words.number()?) };
                self.stage = Some(Stage::propose(addr, &config)?);
            }
            // So many descriptors are on the way to a reader that does not receive them, until they land.
            "rig-fly" => {
                let (from, to) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
                for _ in 0..words.number()? {
                    Wire(from.try_clone()?).send(b"!", &[from.as_fd()])?;
                }
                self.flying = Some([from, to]);
            }
            "rig-land" => self.flying = None,
            // Lets a connector in, and tells what comes first.
            "rig-hear" => {
                let door = self.door.as_ref().ok_or_else(|| wrong("no process listens"))?;
                return Ok(match Wire::accept(door)?.hear()? {
                    None => "nothing".to_owned(),
                    Some((message, _)) => message.kind().to_string(),
                });
            }
            "rig-send" => self.flow(words.number()?, true)?,
            "rig-receive" => self.flow(words.number()?, false)?,
            "rig-control" => return control(words),
            "rig-try" => return self.attempt(words),
            other => return Err(wrong(format!("{other} is no command"))),
        }
        Ok(String::new())
    }

    fn take(&mut self, rig: Rig) {
        // As the parties that keep to the rules have them: seeds of 0.
        self.flows = Some([(); 2].map(|()| Flow::new(0, rig.peer.len())));
        self.rig = Some(rig);
    }

    /// Sends, or receives and checks, up to a place of the flow.
    fn flow(&mut self, to: u64, send: bool) -> io::Result<()> {
        let (Some(rig), Some([out, into])) = (&mut self.rig, &mut self.flows) else {
            return Err(wrong("there is no stream"));
        };
        let mut stream = Bytes(rig);
        if send { out.send(&mut stream, to, Manner::All) } else { into.receive(&mut stream, to, Manner::All) }
    }

    /// One way, tried once, and undone if it did something.
    fn attempt(&mut self, words: &mut Words<'_>) -> io::Result<String> {
        let name = words.text()?;
        let rig = self.rig.as_ref().ok_or_else(|| wrong("there is no stream"))?;
        let (owner, owner_fd, owner_start) = (words.number()?, words.number()?, words.number()?);
        let way = find(name)?;
        let before = State::of(&rig.peer_fd)?;
        // In the lane: a byte that is not 0, so that a hole would be seen.
        let lane = rustix::param::page_size();
        let at = (lane..before.bytes.len()).find(|&at| before.bytes[at] != 0);
        let at = at.ok_or_else(|| wrong("the owner has written nothing yet"))?;
        let old = before.bytes[at];
        let (fd, len) = (rig.peer_fd.as_fd(), rig.peer.len());
        let mut scene = Scene { fd, access: Access::ReadOnly, len, at, new: !old, owner, owner_fd, owner_start };
        let tried = way(&scene);
        let after = State::of(fd)?;
        let mut seen = described(tried);
        if after != before {
            seen = format!("{seen}: CHANGED");
        }
        if tried.is_ok() && after.bytes[at] == !old && after.size == before.size && after.seals == before.seals {
            scene.new = old;
            way(&scene).map_err(|e| wrong(format!("{name} once and not twice: {e:?}")))?;
            seen = "writes".to_owned();
        }
        if State::of(fd)? != before {
            return Err(wrong(format!("{name}: {seen}, and it could not be undone")));
        }
        Ok(seen)
    }
}

/// The same way, on memory that is the attacker's own: not sealed, and mapped for writing. What does nothing there would
/// show nothing elsewhere.
fn control(words: &mut Words<'_>) -> io::Result<String> {
    let way = find(words.text()?)?;
    let len = 2 * rustix::param::page_size();
    let fd = rustix::fs::memfd_create("smstream-test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, len as u64)?;
    let own = Mapping::new(&fd, 0, len, Access::ReadWrite)?;
    rustix::io::pwrite(&fd, &vec![7; len], 0)?;
    let before = State::of(&fd)?;
    let scene = Scene {
        fd: fd.as_fd(),
        access: Access::ReadWrite,
        len,
        at: len / 2 + 100,
        new: !7,
        owner: std::process::id() as i32,
        owner_fd: fd.as_raw_fd(),
        owner_start: own.as_ptr().addr(),
    };
    let tried = way(&scene);
    Ok(if State::of(&fd)? == before { described(tried) } else { "changes it".to_owned() })
}

fn find(name: &str) -> io::Result<Attempt> {
    let mut all = [descriptor::WAYS, mapping::WAYS, process::WAYS].concat().into_iter();
    all.find(|(n, _)| *n == name).map(|(_, way)| way).ok_or_else(|| wrong(format!("{name} is no way")))
}

/// What came of a way that changed nothing.
fn described(tried: Tried) -> String {
    match tried {
        Ok(()) => "no effect".to_owned(),
        Err(No::Error(e)) => describe(e),
        Err(No::Killed) => "SIGSEGV".to_owned(),
    }
}

/// The name of an error.
fn describe(e: Errno) -> String {
    match e {
        Errno::PERM => "EPERM",
        Errno::ACCESS => "EACCES",
        Errno::FAULT => "EFAULT",
        Errno::INVAL => "EINVAL",
        Errno::IO => "EIO",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::XDEV => "EXDEV",
        Errno::NOENT => "ENOENT",
        Errno::NOSYS => "ENOSYS",
        Errno::BADF => "EBADF",
        Errno::TXTBSY => "ETXTBSY",
        Errno::SRCH => "ESRCH",
        _ => return format!("{e:?}"),
    }
    .to_owned()
}

/// What a system call of libc's said.
fn check(result: i64) -> Tried {
    if result < 0 { Err(No::Error(last())) } else { Ok(()) }
}

/// The error of the last call of libc's.
fn last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// A rig as a stream of `std`.
struct Bytes<'a>(&'a mut Rig);

impl io::Read for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_exact(out).map(|()| out.len())
    }
}

impl io::Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
