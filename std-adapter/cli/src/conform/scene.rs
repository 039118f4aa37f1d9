//! Where a play takes place: the address, which side this command plays, and the program that is the peer.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process_group};
use smstream::memory::page_size;
use smstream::smstream_core::geometry::Config;

use super::file;
use super::meeting::Meeting;
use super::region::Region;
use super::socket::{self, Door};
use super::trouble::{Trouble, broke};
use super::words::Speaks;
use crate::transport::{Addr, written};

/// What the command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The command listens, and the peer connects
    Listener,
    /// The command connects, and the peer listens
    Connector,
}

/// The peer's command.
#[derive(Debug)]
pub struct Program {
    words: Vec<OsString>,
    loud: bool,
    running: Option<Child>,
}

impl Program {
    /// A command of which `{addr}` stands for the address.
    pub fn new(words: Vec<OsString>, loud: bool) -> Self {
        Self { words, loud, running: None }
    }

    fn start(&mut self, addr: &Addr) -> io::Result<()> {
        self.end();
        let words: Vec<OsString> = self.words.iter().map(|word| with_addr(word, addr)).collect();
        let [command, args @ ..] = &words[..] else { return Ok(()) };
        let stderr = if self.loud { Stdio::inherit() } else { Stdio::null() };
        let mut command = Command::new(command);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
        let name = words[0].to_string_lossy().into_owned();
        let child =
            command.spawn().map_err(|error| io::Error::new(error.kind(), format!("cannot start {name}: {error}")))?;
        self.running = Some(child);
        Ok(())
    }

    /// How it has ended, if it does within this time.
    pub fn ended(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.running else { return Ok(None) };
        let end = Instant::now() + limit;
        loop {
            let status = child.try_wait()?;
            if status.is_some() || Instant::now() >= end {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(&mut self) {
        if let Some(mut child) = self.running.take() {
            // Its own group: a shell and what it has started. First so that it can remove its name.
            let group = Pid::from_raw(child.id() as i32);
            for signal in [Signal::TERM, Signal::KILL] {
                if let Some(group) = group {
                    let _ = kill_process_group(group, signal);
                }
                let end = Instant::now() + Duration::from_secs(1);
                while Instant::now() < end && !matches!(child.try_wait(), Ok(Some(_))) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let _ = child.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

fn with_addr(word: &OsString, addr: &Addr) -> OsString {
    const MARK: &[u8] = b"{addr}";
    let bytes = word.as_bytes();
    match bytes.windows(MARK.len()).position(|part| part == MARK) {
        Some(at) => {
            let text = [&bytes[..at], written(addr).as_bytes(), &bytes[at + MARK.len()..]].concat();
            OsString::from_vec(text)
        }
        None => word.clone(),
    }
}

/// Where a play takes place.
#[derive(Debug)]
pub struct Scene {
    /// Where the two meet.
    pub addr: Addr,
    /// What this side is.
    pub role: Role,
    /// How long the peer may take for whatever it has to do.
    pub patience: Duration,
    /// The peer, if this command starts it.
    pub program: Option<Program>,
    /// What the peer echoes, and this side sends.
    pub speaks: Speaks,
    door: Option<Door>,
}

impl Scene {
    /// Opens the name, or starts the listener that has it.
    pub fn new(
        addr: Addr,
        role: Role,
        speaks: Speaks,
        patience: Duration,
        mut program: Option<Program>,
    ) -> io::Result<Self> {
        let socket = matches!(addr, Addr::Unix(_) | Addr::Abstract(_));
        let door = (role == Role::Listener && socket).then(|| Door::open(&addr, patience)).transpose()?;
        if let (Role::Connector, Some(program)) = (role, &mut program) {
            program.start(&addr)?;
        }
        Ok(Self { addr, role, patience, program, speaks, door })
    }

    /// The file of a region. `None`: it is a socket's address.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.addr {
            Addr::File(path) => Some(path.clone()),
            Addr::Shm(name) => Some(PathBuf::from("/dev/shm").join(name)),
            _ => None,
        }
    }

    /// The name at which this side listens over a socket.
    pub fn door(&self) -> Result<&Door, Trouble> {
        self.door.as_ref().ok_or_else(|| broke(&[], "this side does not listen at a socket"))
    }

    /// Starts the connector, if this side listens and the command was given.
    pub fn start_connector(&mut self) -> Result<(), Trouble> {
        if let (Role::Listener, Some(program)) = (self.role, &mut self.program) {
            program.start(&self.addr)?;
        }
        Ok(())
    }

    /// Waits until the listener that was started is there.
    pub fn wait_for_listener(&mut self) -> Result<(), Trouble> {
        let end = Instant::now() + self.patience;
        while crate::probe::listener(&self.addr).is_err() {
            if Instant::now() >= end {
                return Err(broke(&[], "no listener is there"));
            }
            if let Some(program) = &mut self.program
                && let Some(status) = program.ended(Duration::ZERO)?
            {
                return Err(broke(&[], format!("the program ended ({status}) and does not listen")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// A good rendezvous, of which this side keeps every rule; as a listener with lanes of this size.
    pub fn meet_with(&mut self, config: &Config) -> Result<Meeting, Trouble> {
        match (self.role, self.file()) {
            (Role::Connector, Some(path)) => file::connect(&path, self.speaks, self.patience),
            (Role::Connector, None) => socket::connect(&self.addr, self.speaks, self.patience),
            (Role::Listener, Some(path)) => {
                let region = Region::listen(&path, config, self.speaks)?;
                self.start_connector()?;
                file::accept(region, self.patience)
            }
            (Role::Listener, None) => {
                self.start_connector()?;
                self.door()?.meet(config, self.speaks)
            }
        }
    }

    /// The same, with the usual lanes.
    pub fn meet(&mut self) -> Result<Meeting, Trouble> {
        self.meet_with(&usual())
    }
}

/// The lanes of a listener: of different sizes, and with cursors that come round soon.
pub fn usual() -> Config {
    lanes([4096, 8192])
}

/// Lanes of these sizes.
pub fn lanes(capacities: [u32; 2]) -> Config {
    Config {
        align: page_size() as u32,
        start: (1 << 31) - 1000,
        channel: 0x0123_4567_89ab_cdef,
        ..Config::new(capacities)
    }
}
