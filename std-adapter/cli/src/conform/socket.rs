//! The rendezvous over a socket, step by step: S.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, accept_with, bind, listen};
use smstream::memory::{Access, page_size};
use smstream::smstream_core::geometry::Config;
use smstream::smstream_core::layout::{HEADER_LEN, VERSION};

use super::header;
use super::meeting::{Link, Meeting};
use super::packet::{self, Message, Wire, kind};
use super::segment::{SEALS, Segment, whole};
use super::trouble::{Trouble, broke, need};
use super::words::Speaks;
use crate::transport::Addr;

/// The largest lane that this side accepts.
pub const MOST: u32 = 64 << 20;
/// What a segment may be longer than it has to be.
const SPARE: u64 = 2 << 20;
/// The kind of file system that memfds are in.
const TMPFS: u64 = 0x0102_1994;

/// What this side says to a listener up to WELCOME, and what came of it.
pub struct Greeting {
    /// The socket.
    pub wire: Wire,
    /// What WELCOME described.
    pub config: Config,
    /// The listener's segment.
    pub peer: Segment,
}

/// HELLO without a proposal, and the WELCOME to it.
pub fn greet(addr: &Addr, patience: Duration) -> Result<Greeting, Trouble> {
    let wire = Wire::connect(addr, patience)?;
    wire.say(&Message::hello(MOST), &[])?;
    let (welcome, fds) = wire.expect(kind::WELCOME, &["S2"])?;
    let config = welcomed(&welcome)?;
    let peer = segment_of(&fds, &config, 0)?;
    Ok(Greeting { wire, config, peer })
}

/// The whole rendezvous of a connector, in four messages.
pub fn connect(addr: &Addr, speaks: Speaks, patience: Duration) -> Result<Meeting, Trouble> {
    let Greeting { wire, config, peer } = greet(addr, patience)?;
    let (fd, own) = Segment::sealed(&config, 1)?;
    own.say_what_it_carries(speaks);
    wire.say(&Message::new(kind::SEGMENT), &[fd.as_fd()])?;
    let (_, fds) = wire.expect(kind::ACCEPTED, &["S8"])?;
    need(fds.is_empty(), &["S3"], || format!("{} descriptors came with an ACCEPTED that has none", fds.len()))?;
    Ok(Meeting::new(config, 1, [own, peer], Link::Socket(wire), patience))
}

/// The rendezvous of a connector that proposes: two messages if the listener wants the same.
pub fn propose(addr: &Addr, config: &Config, patience: Duration) -> Result<Meeting, Trouble> {
    let wire = Wire::connect(addr, patience)?;
    let (fd, own) = Segment::sealed(config, 1)?;
    wire.say(&Message::proposal(config, MOST), &[fd.as_fd()])?;
    let (_, fds) = wire.expect(kind::ACCEPTED, &["S9"])?;
    let peer = segment_of(&fds, config, 0)?;
    Ok(Meeting::new(*config, 1, [own, peer], Link::Socket(wire), patience))
}

/// What a WELCOME has to say: S14, C2, P4.
pub fn welcomed(welcome: &Message) -> Result<Config, Trouble> {
    let config = welcome.welcomed();
    need(welcome.0[7] == VERSION, &["S2"], || {
        format!("WELCOME is to layout version {}, which this side did not offer", welcome.0[7])
    })?;
    need(welcome.0[14..] == [0, 0], &["S1"], || {
        format!("words 14 and 15 of WELCOME are {:?} and not 0", &welcome.0[14..])
    })?;
    for bytes in config.capacities {
        need(bytes == 0 || bytes.is_power_of_two(), &["A11"], || format!("WELCOME is to a lane of {bytes} bytes"))?;
        need(bytes <= MOST, &["S14"], || {
            format!("WELCOME is to a lane of {bytes} bytes, and HELLO said at most {MOST}")
        })?;
    }
    need(config.capacities != [0, 0], &["C2"], || "WELCOME is to two lanes of no bytes".into())?;
    let align =
        config.align.is_power_of_two() && config.align.is_multiple_of(page_size() as u32) && config.align <= 1 << 26;
    need(align, &["P4", "A9"], || format!("WELCOME says an align of {}", config.align))?;
    need(config.start < 1 << 31, &["A13"], || format!("WELCOME says a start of {:#010x}", config.start))?;
    Ok(config)
}

/// What came as the segment of `party`: S3, S6, and its header.
pub fn segment_of(fds: &[OwnedFd], config: &Config, party: usize) -> Result<Segment, Trouble> {
    let [fd] = fds else { return Err(broke(&["S3"], format!("{} descriptors came and not one", fds.len()))) };
    let seals = rustix::fs::fcntl_get_seals(fd)
        .map_err(|error| broke(&["S6"], format!("its segment has no seals: {error}")))?;
    need(seals.contains(SEALS), &["S6"], || format!("its segment has the seals {seals:?} and not all of {SEALS:?}"))?;
    let system = rustix::fs::fstatfs(fd).map_err(io::Error::from)?;
    need(system.f_type as u64 == TMPFS, &["S6"], || {
        format!("its segment lies in a file system of kind {:#x}", system.f_type)
    })?;
    let len = rustix::fs::fstat(fd).map_err(io::Error::from)?.st_size as u64;
    let least = config.describe(party).segment_len() as u64;
    need(len.is_multiple_of(page_size() as u64), &["S6"], || {
        format!("its segment has {len} bytes, no multiple of the page size")
    })?;
    need((least..=least + SPARE).contains(&len), &["S6"], || {
        format!("its segment has {len} bytes, and {least} are needed")
    })?;
    let mut segment = Segment::new(fd, 0, len as usize, Access::ReadOnly)?;
    let (offset, capacity) = header::check(&segment, party)?;
    header::agrees(&segment, config, party)?;
    header::is_fresh(&segment, config, party)?;
    let wanted = HEADER_LEN.next_multiple_of(config.align) as usize;
    need(offset == wanted, &["S6"], || format!("its lane_offset is {offset} and not {wanted}"))?;
    segment.set_lane(offset, capacity);
    Ok(segment)
}

/// A name at which this side listens.
#[derive(Debug)]
pub struct Door {
    socket: OwnedFd,
    path: Option<PathBuf>,
    patience: Duration,
}

impl Door {
    /// Begins to listen.
    pub fn open(addr: &Addr, patience: Duration) -> io::Result<Self> {
        let socket = packet::socket()?;
        rustix::fs::fchmod(&socket, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        bind(&socket, &packet::address(addr)?)?;
        let path = if let Addr::Unix(path) = addr { Some(path.clone()) } else { None };
        let door = Door { socket, path, patience };
        listen(&door.socket, 16)?;
        Ok(door)
    }

    /// The next connector.
    pub fn accept(&self) -> Result<Wire, Trouble> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let limit =
            Timespec { tv_sec: self.patience.as_secs() as i64, tv_nsec: i64::from(self.patience.subsec_nanos()) };
        let came = poll(&mut fds, Some(&limit)).map_err(io::Error::from)?;
        need(came == 1, &["S2"], || format!("no connector came within {:?}", self.patience))?;
        let socket = accept_with(&self.socket, SocketFlags::CLOEXEC).map_err(io::Error::from)?;
        Ok(Wire::new(socket, self.patience)?)
    }

    /// HELLO of the next connector, whose proposal is looked at and not taken.
    pub fn hello(&self) -> Result<(Wire, Message, Vec<OwnedFd>), Trouble> {
        let wire = self.accept()?;
        let (hello, fds) = wire.expect(kind::HELLO, &["S2"])?;
        if let Some(config) = hello.proposed() {
            segment_of(&fds, &config, 1)?;
            need(config.channel != 0, &["S9"], || "it proposes a channel with the number 0".into())?;
        } else {
            need(fds.is_empty(), &["S3"], || {
                format!("{} descriptors came with a HELLO that proposes nothing", fds.len())
            })?;
        }
        Ok((wire, hello, fds))
    }

    /// The whole rendezvous of a listener with lanes of its own, in four messages.
    pub fn meet(&self, config: &Config, speaks: Speaks) -> Result<Meeting, Trouble> {
        let (wire, hello, _) = self.hello()?;
        let most = config.capacities[0].max(config.capacities[1]);
        need(hello.0[8] >= most && hello.0[9] == hello.0[8], &["S14"], || {
            format!("HELLO accepts lanes of up to {} and {} bytes", hello.0[8], hello.0[9])
        })?;
        let (fd, own) = Segment::sealed(config, 0)?;
        own.say_what_it_carries(speaks);
        wire.say(&Message::welcome(config), &[fd.as_fd()])?;
        let (_, fds) = wire.expect(kind::SEGMENT, &["S2"])?;
        let peer = segment_of(&fds, config, 1)?;
        wire.say(&Message::new(kind::ACCEPTED), &[])?;
        Ok(Meeting::new(*config, 0, [own, peer], Link::Socket(wire), self.patience))
    }

    /// The rendezvous of a listener that takes what is proposed. `None`: nothing was.
    pub fn meet_as_proposed(&self) -> Result<Option<Meeting>, Trouble> {
        let (wire, hello, fds) = self.hello()?;
        let Some(config) = hello.proposed() else { return Ok(None) };
        let peer = segment_of(&fds, &config, 1)?;
        let (fd, own) = Segment::sealed(&config, 0)?;
        wire.say(&Message::new(kind::ACCEPTED), &[fd.as_fd()])?;
        Ok(Some(Meeting::new(config, 0, [own, peer], Link::Socket(wire), self.patience)))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = rustix::fs::unlink(path);
        }
    }
}

/// Sets up in a file what would be a segment if the file were the right kind of memory.
pub fn set_up(fd: OwnedFd, config: &Config, party: usize) -> io::Result<OwnedFd> {
    Segment::new(&fd, 0, whole(config, party), Access::ReadWrite)?.set_up(config, party)?;
    Ok(fd)
}
