//! What a hostile party hands out where its segment is due, and other things that no party should wait for.

use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, ftruncate, memfd_create};
use smstream_core::geometry::Config;

use crate::wire::{SEALS, segment};

/// Memory of this length with these seals.
///
/// # Errors
/// What the system says.
pub fn memory(len: u64, flags: MemfdFlags, seals: SealFlags) -> io::Result<OwnedFd> {
    let fd = memfd_create("smstream-lie", flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, len)?;
    rustix::fs::fcntl_add_seals(&fd, seals)?;
    Ok(fd)
}

/// A file without a name on a tmpfs. It has seals as memory has, but other ones.
fn file_in_memory(len: u64) -> io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::open("/dev/shm", flags, Mode::RUSR | Mode::WUSR)?;
    ftruncate(&fd, len)?;
    Ok(fd)
}

/// Everything that is not one sealed segment of `party`: each with its name.
///
/// # Errors
/// What the system says.
pub fn not_a_segment(config: &Config, party: usize) -> io::Result<Vec<(String, Vec<OwnedFd>)>> {
    let (good, mapping) = segment(config, party)?;
    let len = mapping.len() as u64;
    let none = MemfdFlags::empty();
    let mut all: Vec<(String, Vec<OwnedFd>)> = vec![
        ("nothing".into(), vec![]),
        ("two segments".into(), vec![good.try_clone()?, good.try_clone()?]),
        ("as many as a packet holds".into(), (0..253).map(|_| good.try_clone()).collect::<Result<_, _>>()?),
        ("a device".into(), vec![File::open("/dev/null")?.into()]),
        ("a device that never ends".into(), vec![File::open("/dev/zero")?.into()]),
        ("a directory".into(), vec![File::open("/")?.into()]),
        ("a file".into(), vec![File::open("/proc/self/exe")?.into()]),
        ("a pipe".into(), vec![io::pipe()?.0.into()]),
        ("a socket".into(), vec![std::os::unix::net::UnixStream::pair()?.0.into()]),
        ("a path".into(), vec![rustix::fs::open("/dev/shm", OFlags::PATH, Mode::empty())?]),
        ("memory that is not sealed".into(), vec![memory(len, none, SealFlags::empty())?]),
        ("too little memory".into(), vec![memory(len - 1, none, SEALS)?]),
        ("no memory".into(), vec![memory(0, none, SEALS)?]),
        ("far too much memory".into(), vec![memory(len + (4 << 20), none, SEALS)?]),
        ("a file in memory".into(), vec![file_in_memory(len)?]),
        ("huge pages".into(), vec![memory(2 << 20, MemfdFlags::HUGETLB, SEALS)?]),
    ];
    for missing in SEALS.iter() {
        all.push((format!("memory without {missing:?}"), vec![memory(len, none, SEALS - missing)?]));
    }
    Ok(all)
}

/// A descriptor that takes as long to close as its sender likes: a TCP socket that waits for its last bytes to be read,
/// which the reader never does.
#[derive(Debug)]
pub struct Lingering {
    fd: Option<OwnedFd>,
    _reader: TcpStream,
}

impl Lingering {
    /// A new one.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let mut writer = TcpStream::connect(listener.local_addr()?)?;
        let (reader, _) = listener.accept()?;
        writer.set_nonblocking(true)?;
        while writer.write(&[0; 1 << 16]).is_ok() {}
        rustix::net::sockopt::set_socket_linger(&writer, Some(Duration::from_secs(3600)))?;
        Ok(Lingering { fd: Some(writer.into()), _reader: reader })
    }

    /// The descriptor.
    ///
    /// # Panics
    /// After it was given away.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("not given away").as_fd()
    }

    /// Closes this process's own, so that the peer, which has it by now, is the last one, who waits. A peer that has been quick has
    /// closed its own already: then this process is the last one, so it closes in a thread, which waits until the reader goes
    /// with this.
    pub fn give_away(&mut self) {
        let fd = self.fd.take();
        std::thread::spawn(move || drop(fd));
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // No process is to wait if the test has failed.
        if let Some(fd) = &self.fd {
            let _ = rustix::net::sockopt::set_socket_linger(fd, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The peer has received it and closed it before this process gives it away.
    #[test]
    fn who_gives_away_what_the_peer_has_closed_does_not_wait() {
        let _watchdog = crate::watchdog::Watchdog::new();
        let mut lingering = Lingering::new().unwrap();
        let peers = lingering.fd().try_clone_to_owned().unwrap();
        drop(peers);
        lingering.give_away();
    }
}
