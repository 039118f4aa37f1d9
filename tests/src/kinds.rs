//! The kinds of addresses, for tests that hold for all of them.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use smstream::{Builder, Stream};

use crate::party::{Party, Scratch};
use crate::watchdog::PATIENCE;

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `file:PATH`
    File,
    /// `shm:/NAME`
    Shm,
    /// `unix:PATH`
    Unix,
    /// `unix:@NAME`
    Abstract,
    /// `fd:N`, which a child inherits.
    Fd,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::File, Kind::Shm, Kind::Unix, Kind::Abstract, Kind::Fd];
    /// Those where a listener listens.
    pub const NAMED: [Kind; 4] = [Kind::File, Kind::Shm, Kind::Unix, Kind::Abstract];
}

/// An address that no other process or test has. What is left of its name goes when this is dropped.
#[derive(Debug)]
pub struct Place {
    kind: Kind,
    scratch: Scratch,
    name: String,
}

impl Place {
    /// A new one of this kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("smstream-place-{}-{number}-", std::process::id());
        Place { kind, scratch: Scratch::new(), name }
    }

    /// The address.
    ///
    /// # Panics
    /// For [`Kind::Fd`], which has none before a child inherits it.
    #[must_use]
    pub fn addr(&self) -> String {
        let path = self.scratch.name();
        match self.kind {
            Kind::File => format!("file:{}", path.display()),
            Kind::Shm => format!("shm:/{}", self.name),
            Kind::Unix => format!("unix:{}", path.display()),
            Kind::Abstract => format!("unix:@{}", self.name),
            Kind::Fd => panic!("no process listens at a descriptor"),
        }
    }

    /// The names that exist because of it.
    ///
    /// # Panics
    /// If the system does not say.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = self.scratch.names();
        names.extend(self.objects());
        let sockets = fs::read_to_string("/proc/net/unix").expect("the table of sockets");
        names.extend(sockets.lines().filter(|line| line.contains(&self.name)).map(str::to_owned));
        names
    }

    /// Its names in `/dev/shm`.
    fn objects(&self) -> Vec<String> {
        let entries = fs::read_dir("/dev/shm").expect("shared memory");
        let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(&self.name)).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in self.objects() {
            let _ = fs::remove_file(format!("/dev/shm/{name}"));
        }
    }
}

/// A stream from this process to a party, the path of whose program this is. The party is the connector.
///
/// # Panics
/// If they do not meet.
#[must_use]
pub fn meet(kind: Kind, builder: &Builder, program: &str, arguments: &[&str]) -> (Stream, Party) {
    meet_prepared(kind, builder, program, arguments, |_| {})
}

/// The same; the caller gives the party some commands first.
///
/// # Panics
/// If they do not meet.
#[must_use]
pub fn meet_prepared(
    kind: Kind,
    builder: &Builder,
    program: &str,
    arguments: &[&str],
    prepare: impl FnOnce(&mut Party),
) -> (Stream, Party) {
    if kind == Kind::Fd {
        let mut command = Command::new(program);
        let handover = builder.hand_over(&mut command).expect("a socket for a child");
        let mut party = Party::start_as(command, arguments);
        prepare(&mut party);
        party.tell(format!("connect {}", handover.addr()));
        let stream = handover.accept_timeout(PATIENCE).expect("the child connects");
        party.hear().expect("connected");
        return (stream, party);
    }
    let place = Place::new(kind);
    let listener = builder.bind(place.addr()).expect("no other process has this address");
    let mut party = Party::start_with(program, arguments);
    prepare(&mut party);
    party.tell(format!("connect {}", place.addr()));
    let stream = listener.accept_timeout(PATIENCE).expect("the party connects");
    party.hear().expect("connected");
    (stream, party)
}
