//! The rendezvous through a file, step by step: F.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use smstream::memory::{self, Access, page_size};
use smstream::smstream_core::geometry::Config;

use super::header;
use super::lock::{self, Byte};
use super::segment::{Segment, at};
use super::trouble::{Trouble, broke, need};
use super::words::Speaks;

const ARMED: u32 = 1;
/// What the listener's `state` says to a connector that it takes.
pub const ACCEPTED: u32 = 2;
const HELLO: u32 = 1;

/// A region, through a description of its own.
#[derive(Debug)]
pub struct Region {
    file: OwnedFd,
    path: PathBuf,
    config: Config,
}

/// Where segment 1 begins: P3.
fn second(config: &Config) -> u64 {
    (config.describe(0).segment_len() as u64).next_multiple_of(u64::from(config.align))
}

fn byte_of(party: usize) -> Byte {
    if party == 0 { Byte::Listener } else { Byte::Connector }
}

impl Region {
    /// Whether the other party's byte is free: F9.
    pub fn is_peer_gone(&self, party: usize) -> io::Result<bool> {
        Ok(!lock::is_held(self.file.as_fd(), byte_of(1 - party))?)
    }

    /// Lets go of what says that this party lives.
    pub fn die(&self, party: usize) -> io::Result<()> {
        lock::release(self.file.as_fd(), byte_of(party))?;
        if party == 0 { lock::release(self.file.as_fd(), Byte::Name) } else { Ok(()) }
    }

    /// The same file, through a description that holds no lock.
    pub fn second_description(&self) -> io::Result<Self> {
        let number = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file));
        let file = rustix::fs::open(number, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Region { file, path: self.path.clone(), config: self.config })
    }

    /// Whether the name still leads to this region.
    pub fn has_name(&self) -> bool {
        let (Ok(named), Ok(own)) = (rustix::fs::lstat(&self.path), rustix::fs::fstat(&self.file)) else { return false };
        (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)
    }

    /// Maps a segment.
    pub fn segment(&self, party: usize, access: Access) -> io::Result<Segment> {
        let offset = if party == 0 { 0 } else { second(&self.config) };
        Segment::new(&self.file, offset, self.config.describe(party).segment_len(), access)
    }

    /// Opens what has the name, and checks what a connector must check before it claims: F1, F3, F4, A. `None`: there is no name, or its region is in use.
    pub fn open(path: &Path) -> Result<Option<Self>, Trouble> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        need(regular, &["F1"], || "what has the name is no regular file".into())?;
        need(stat.st_mode & 0o777 == 0o600, &["F1"], || {
            format!("the file has the mode {:o} and not 600", stat.st_mode & 0o777)
        })?;
        need(stat.st_uid == rustix::process::geteuid().as_raw(), &["F1"], || {
            format!("the file belongs to user {}", stat.st_uid)
        })?;
        let len = stat.st_size as u64;
        let head = Segment::new(&file, 0, len.min(1 << 31) as usize, Access::ReadOnly)?;
        let (_, capacity) = header::check(&head, 0)?;
        let word = |name| head.load(at(name));
        let config = Config {
            align: word("align"),
            start: word("start"),
            channel: u64::from(word("channel")) | u64::from(head.load(at("channel") + 4)) << 32,
            ..Config::new([capacity, word("peer_capacity")])
        };
        let region = Region { file, path: path.to_owned(), config };
        if word("state") != ARMED {
            return Ok(None);
        }
        need(config.channel == stat.st_ino, &["F3", "H6"], || {
            format!("`channel` is {} and not the inode number {}", config.channel, stat.st_ino)
        })?;
        let wanted = second(&region.config) + region.config.describe(1).segment_len() as u64;
        need(len == wanted, &["F3", "P3"], || format!("the file has {len} bytes and not {wanted}"))?;
        let blocks = stat.st_blocks as u64 * 512;
        need(blocks >= len.next_multiple_of(page_size() as u64), &["F3"], || {
            format!("only {blocks} of its {len} bytes are allocated")
        })?;
        Ok(Some(region))
    }

    /// Whether the listener holds a byte.
    pub fn is_held(&self, byte: Byte) -> io::Result<bool> {
        lock::is_held(self.file.as_fd(), byte)
    }

    /// Claims it, if no other connector has.
    pub fn claim(&self) -> io::Result<bool> {
        lock::take(self.file.as_fd(), Byte::Connector)
    }

    /// What the listener wants.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A connector's segment, set up after the claim, and the listener's.
    pub fn set_up(&self) -> io::Result<[Segment; 2]> {
        let (own, peer) = (self.segment(1, Access::ReadWrite)?, self.segment(0, Access::ReadOnly)?);
        own.set_up(&self.config, 1)?;
        Ok([own, peer])
    }

    /// Says HELLO.
    pub fn say_hello(&self, own: &Segment) {
        own.store(at("state"), HELLO);
        own.wake(at("state"));
    }

    /// The steps of a connector up to HELLO, after the claim: F8.
    pub fn greet(&self, speaks: Speaks) -> io::Result<[Segment; 2]> {
        let segments = self.set_up()?;
        segments[0].say_what_it_carries(speaks);
        self.say_hello(&segments[0]);
        Ok(segments)
    }

    /// Claims the region that has the name, as soon as there is one.
    pub fn claim_any(path: &Path, patience: Duration) -> Result<Self, Trouble> {
        let end = Instant::now() + patience;
        loop {
            if let Some(region) = Self::open(path)?
                && region.claim()?
            {
                let (own, peer) = (region.segment(1, Access::ReadOnly)?, region.segment(0, Access::ReadOnly)?);
                let fresh = peer.load(at("state")) == ARMED && own.load(at("state")) == 0;
                if fresh && region.is_held(Byte::Listener)? {
                    let named = region.is_held(Byte::Name)?;
                    need(named, &["F4"], || {
                        "the listener holds byte 0 of the region that waits, and not byte 2".into()
                    })?;
                    return Ok(region);
                }
                lock::release(region.file.as_fd(), Byte::Connector)?;
            }
            need(Instant::now() < end, &["F4", "F5", "F10"], || {
                format!("no region waits at {}, for {patience:?}", path.display())
            })?;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Listens: makes a region and gives it the name.
    pub fn listen(path: &Path, config: &Config, speaks: Speaks) -> io::Result<Self> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = rustix::fs::open(dir, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let len = second(config) + config.describe(1).segment_len() as u64;
        let file = memory::unnamed_file(&dir, len)?;
        let channel = rustix::fs::fstat(&file)?.st_ino;
        let region = Region { file, path: path.to_owned(), config: Config { channel, ..*config } };
        let own = region.segment(0, Access::ReadWrite)?;
        own.set_up(&region.config, 0)?;
        own.say_what_it_carries(speaks);
        own.store(at("state"), ARMED);
        for byte in [Byte::Listener, Byte::Name] {
            lock::take(region.file.as_fd(), byte)?;
        }
        let number = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&region.file));
        rustix::fs::linkat(CWD, number, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
        Ok(region)
    }

    /// Waits until a connector says HELLO, and checks its segment: F8. This side's segment and the peer's.
    pub fn hello(&self, patience: Duration) -> Result<[Segment; 2], Trouble> {
        let (own, mut peer) = (self.segment(0, Access::ReadWrite)?, self.segment(1, Access::ReadOnly)?);
        let end = Instant::now() + patience;
        while peer.load(at("state")) != HELLO {
            need(Instant::now() < end, &["F8"], || format!("no connector said HELLO within {patience:?}"))?;
            std::thread::sleep(Duration::from_micros(200));
        }
        let claimed = self.is_held(Byte::Connector)?;
        need(claimed, &["F8"], || "it said HELLO and does not hold byte 1".into())?;
        let (offset, capacity) = header::check(&peer, 1)?;
        header::agrees(&peer, &self.config, 1)?;
        header::is_fresh(&peer, &self.config, 1)?;
        let wanted = self.config.describe(1).lane_offset as usize;
        need(offset == wanted, &["F8"], || format!("its lane_offset is {offset} and not {wanted}"))?;
        peer.set_lane(offset, capacity);
        Ok([own, peer])
    }

    /// Says ACCEPTED to the connector, and gives up the right to the name, which it has lost before: F5, F6.
    pub fn say_accepted(&self, own: &Segment) -> io::Result<()> {
        self.unname();
        own.store(at("state"), ACCEPTED);
        own.wake(at("state"));
        lock::release(self.file.as_fd(), Byte::Name)
    }

    /// Removes the name, if it leads to this region.
    pub fn unname(&self) {
        if self.has_name() {
            let _ = rustix::fs::unlink(&self.path);
        }
    }

    /// The state of the listener's segment, as soon as it is another than ARMED.
    pub fn verdict(&self, peer: &Segment, patience: Duration) -> Result<u32, Trouble> {
        let end = Instant::now() + patience;
        while peer.load(at("state")) == ARMED {
            if Instant::now() >= end {
                return Err(broke(&["F6"], format!("HELLO was not answered within {patience:?}")));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(peer.load(at("state")))
    }
}
