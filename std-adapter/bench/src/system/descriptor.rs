//! What the kernel carries between two descriptors: pipes and sockets.

use std::fs::OpenOptions;
use std::hint;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect, listen, recv,
    send, socket_with,
};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::channel::{Channel, Runner};
use crate::transport::{Opening, Then, Transport, Waiting, name_at};

/// The buffer that pipes are given.
const PIPE_BUFFER: usize = 1 << 20;

/// The longest packet of a seqpacket socket: what fits a send buffer of the default size with room to spare.
const LONGEST_PACKET: usize = 64 << 10;

/// Two pipes. They have no names: the second side opens them through the first one's table of descriptors.
pub struct Pipe;
/// A Unix socket of type stream.
pub struct UnixStreamSocket;
/// A Unix socket of type seqpacket: the kernel keeps the messages apart.
pub struct SeqpacketSocket;
/// TCP over the loopback device, without delay.
pub struct TcpLoopback;

/// Bytes over descriptors.
struct Bytes {
    input: OwnedFd,
    output: OwnedFd,
    calls: u64,
}

impl Bytes {
    fn runner(input: OwnedFd, output: OwnedFd, waiting: Waiting) -> io::Result<Box<dyn Runner>> {
        set_waiting(&input, waiting)?;
        set_waiting(&output, waiting)?;
        Ok(Box::new(Self { input, output, calls: 0 }))
    }
}

impl Channel for Bytes {
    fn send(&mut self, mut message: &[u8]) -> io::Result<()> {
        while !message.is_empty() {
            self.calls += 1;
            match rustix::io::write(&self.output, message) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => message = &message[count..],
                Err(Errno::AGAIN) => hint::spin_loop(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn recv(&mut self, mut message: &mut [u8]) -> io::Result<()> {
        while !message.is_empty() {
            self.calls += 1;
            match rustix::io::read(&self.input, &mut *message) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => message = &mut message[count..],
                Err(Errno::AGAIN) => hint::spin_loop(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn calls(&self) -> Option<u64> {
        Some(self.calls)
    }
}

/// Whole packets over a socket.
struct Packets {
    socket: OwnedFd,
    calls: u64,
}

impl Channel for Packets {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        loop {
            self.calls += 1;
            match send(&self.socket, message, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => hint::spin_loop(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn recv(&mut self, message: &mut [u8]) -> io::Result<()> {
        loop {
            self.calls += 1;
            match recv(&self.socket, &mut *message, RecvFlags::empty()) {
                Ok((count, _)) if count == message.len() => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::AGAIN) => hint::spin_loop(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.calls)
    }
}

/// Lets calls on a descriptor wait, or not.
fn set_waiting(fd: impl AsFd, waiting: Waiting) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    let wanted = if waiting == Waiting::Busy { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK };
    Ok(fcntl_setfl(&fd, wanted)?)
}

/// Makes a pipe, open for both directions at once.
fn make_pipe() -> io::Result<OwnedFd> {
    let (end, _other) = pipe_with(PipeFlags::CLOEXEC)?;
    let pipe = open_pipe(&path_of(&end))?;
    // An ordinary user who has many pipes may not enlarge another one: then it stays as it is.
    let _ = fcntl_setpipe_size(&pipe, PIPE_BUFFER);
    Ok(pipe)
}

/// Opens a pipe for both directions at once, as Linux allows, without waiting.
fn open_pipe(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    Ok(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?.into())
}

/// Where other processes of this user find a descriptor of this one.
fn path_of(fd: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", process::id(), fd.as_raw_fd())
}

/// A name of a socket that is in no directory: it goes with the socket.
fn abstract_name(prefix: &Path, kind: &str, waiting: Waiting) -> io::Result<String> {
    let name = name_at(prefix, &format!("{kind}-{}", waiting.name()));
    let text = std::str::from_utf8(name.as_os_str().as_bytes());
    Ok(text.map_err(|_| io::Error::other("the directory's name is no UTF-8"))?.to_owned())
}

impl Transport for Pipe {
    fn name(&self) -> &'static str {
        "pipe"
    }

    fn description(&self) -> String {
        format!("pipe(7), a buffer of {} KiB", PIPE_BUFFER >> 10)
    }

    fn can_wait(&self, _: Waiting) -> bool {
        true
    }

    fn begin(&self, _: &Path, _: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let (output, input) = (make_pipe()?, make_pipe()?);
        let address = format!("{} {}", path_of(&output), path_of(&input));
        Ok(Box::new(Then(address, move || Bytes::runner(input, output, waiting))))
    }

    fn open(&self, address: &str, _: usize, waiting: Waiting) -> io::Result<Box<dyn Runner>> {
        let (there, back) = address.split_once(' ').ok_or_else(|| io::Error::other("no descriptors of pipes"))?;
        Bytes::runner(open_pipe(there)?, open_pipe(back)?, waiting)
    }
}

impl Transport for UnixStreamSocket {
    fn name(&self) -> &'static str {
        "unix-stream"
    }

    fn description(&self) -> String {
        "unix(7), SOCK_STREAM".to_owned()
    }

    fn can_wait(&self, _: Waiting) -> bool {
        true
    }

    fn begin(&self, prefix: &Path, _: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let name = abstract_name(prefix, "stream", waiting)?;
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        Ok(Box::new(Then(name, move || {
            let fd = OwnedFd::from(listener.accept()?.0);
            Bytes::runner(fd.try_clone()?, fd, waiting)
        })))
    }

    fn open(&self, address: &str, _: usize, waiting: Waiting) -> io::Result<Box<dyn Runner>> {
        let fd = OwnedFd::from(UnixStream::connect_addr(&SocketAddr::from_abstract_name(address)?)?);
        Bytes::runner(fd.try_clone()?, fd, waiting)
    }
}

impl Transport for SeqpacketSocket {
    fn name(&self) -> &'static str {
        "unix-seqpacket"
    }

    fn description(&self) -> String {
        "unix(7), SOCK_SEQPACKET".to_owned()
    }

    fn longest(&self) -> usize {
        LONGEST_PACKET
    }

    fn can_wait(&self, _: Waiting) -> bool {
        true
    }

    fn begin(&self, prefix: &Path, _: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let name = abstract_name(prefix, "packets", waiting)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        listen(&socket, 1)?;
        Ok(Box::new(Then(name, move || {
            let socket = accept(&socket)?;
            set_waiting(&socket, waiting)?;
            Ok(Box::new(Packets { socket, calls: 0 }) as Box<dyn Runner>)
        })))
    }

    fn open(&self, address: &str, _: usize, waiting: Waiting) -> io::Result<Box<dyn Runner>> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new_abstract_name(address.as_bytes())?)?;
        set_waiting(&socket, waiting)?;
        Ok(Box::new(Packets { socket, calls: 0 }))
    }
}

impl Transport for TcpLoopback {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn description(&self) -> String {
        "tcp(7) over the loopback device, TCP_NODELAY".to_owned()
    }

    fn can_wait(&self, _: Waiting) -> bool {
        true
    }

    fn begin(&self, _: &Path, _: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        Ok(Box::new(Then(address, move || tcp(listener.accept()?.0, waiting))))
    }

    fn open(&self, address: &str, _: usize, waiting: Waiting) -> io::Result<Box<dyn Runner>> {
        tcp(TcpStream::connect(address)?, waiting)
    }
}

fn tcp(stream: TcpStream, waiting: Waiting) -> io::Result<Box<dyn Runner>> {
    stream.set_nodelay(true)?;
    let fd = OwnedFd::from(stream);
    Bytes::runner(fd.try_clone()?, fd, waiting)
}
