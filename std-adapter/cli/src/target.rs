//! What to look at: an address, a descriptor of a process, or a file.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::{OsStringValueParser, TypedValueParser};
use smstream::Addr;
use smstream::inspect::{self, Channel, DoctorTarget, Holder, InspectedStream, Scan, Source, printable};

use crate::failure::{Failure, say};
use crate::probe;
use crate::transport;

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file with a region: of an address `file:` or `shm:`, or by its path.
    File(PathBuf),
    /// A descriptor of a process.
    Descriptor {
        /// The process.
        pid: u32,
        /// The descriptor.
        fd: u32,
    },
    /// A process: all its streams.
    Process(u32),
    /// An address without a file of its own.
    Other(Addr),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.written().as_bytes()))
    }
}

/// Reads a target: `PID`, `PID:FD`, an address, or a path (one with a colon, or of digits alone, begins with `./` or `/`).
pub fn parse(text: &OsStr) -> Result<Target, String> {
    if let Some(text) = text.to_str() {
        if let Some((pid, fd)) = text.split_once(':')
            && let (Ok(pid), Ok(fd)) = (number(pid), number(fd))
        {
            return Ok(Target::Descriptor { pid, fd });
        }
        if let Ok(pid) = number(text) {
            return Ok(Target::Process(pid));
        }
    }
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err("the name is empty".into());
    }
    if bytes.starts_with(b"/") || bytes.starts_with(b".") || !bytes.contains(&b':') {
        return Ok(Target::File(PathBuf::from(text)));
    }
    match Addr::from_os_str(text) {
        Ok(Addr::File(path)) => Ok(Target::File(path)),
        Ok(Addr::Shm(name)) => Ok(Target::File(Path::new("/dev/shm").join(name))),
        Ok(addr) => Ok(Target::Other(addr)),
        Err(error) => Err(format!("{error}; or PID:FD, as `smstream ls` shows it, or the path of a file")),
    }
}

/// Reads a target from the command line.
pub fn parser() -> impl TypedValueParser<Value = Target> {
    OsStringValueParser::new().try_map(|text| parse(&text))
}

/// A number as `ls` shows it.
fn number(text: &str) -> Result<u32, ()> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().map_err(drop) } else { Err(()) }
}

/// Looks at all processes that can be seen.
pub fn scan(all_users: bool) -> Result<Scan, Failure> {
    inspect::scan(all_users).map_err(|error| Failure::no_connection(error.to_string()))
}

/// The same, and says what the system failed to show.
fn scan_all() -> Result<Scan, Failure> {
    let scan = scan(true)?;
    say_what_failed(&scan);
    Ok(scan)
}

/// What cannot be looked at.
fn cannot(error: &io::Error) -> Failure {
    Failure::no_connection(error.to_string())
}

impl Target {
    /// As it is written on the command line.
    pub fn written(&self) -> OsString {
        match self {
            Self::File(path) => path.clone().into_os_string(),
            Self::Descriptor { pid, fd } => format!("{pid}:{fd}").into(),
            Self::Process(pid) => pid.to_string().into(),
            Self::Other(addr) => transport::written(addr),
        }
    }

    /// The streams that it means: a listener and what it has accepted, or a single one. `known` is what was found
    /// before, so that nothing of it is opened again, and becomes what is found now.
    pub fn streams(&self, known: &mut Vec<InspectedStream>) -> Result<Vec<InspectedStream>, Failure> {
        let mut scan = inspect::scan_again(true, known).map_err(|error| cannot(&error))?;
        say_what_failed(&scan);
        known.clone_from(&scan.streams);
        match self {
            Self::Descriptor { pid, fd } => {
                let source = Source::descriptor(*pid, *fd).map_err(|error| cannot(&error))?;
                let id = source.id();
                let known = scan.streams.into_iter().find(|stream| uses(stream, id));
                known.map_or_else(|| region(source), Ok).map(|stream| vec![stream])
            }
            Self::File(path) => {
                let place = place(path);
                let id = std::fs::symlink_metadata(path).ok().map(|it| (it.dev(), it.ino()));
                let is_it = |stream: &InspectedStream| {
                    let named = stream.path.as_deref().is_some_and(|it| self::place(it) == place);
                    named || id.is_some_and(|id| uses(stream, id))
                };
                let found: Vec<InspectedStream> = scan.streams.into_iter().filter(is_it).collect();
                if !found.is_empty() {
                    return Ok(found);
                }
                // No process has it open: a region that was left over.
                let source = Source::path(path).map_err(|error| cannot(&error))?;
                region(source).map(|stream| vec![stream])
            }
            Self::Process(pid) => {
                let found = of_process(*pid, &mut scan.streams);
                if found.is_empty() { Err(none_of(*pid)) } else { Ok(found) }
            }
            Self::Other(addr) => {
                let found: Vec<InspectedStream> = scan.streams.extract_if(.., |stream| met_at(stream, addr)).collect();
                if found.is_empty() { Err(none_met_at(addr, &scan)) } else { Ok(found) }
            }
        }
    }

    /// What `doctor` is to examine, and the streams of running processes beside it.
    pub fn patient(&self) -> Result<(DoctorTarget, Vec<InspectedStream>), Failure> {
        let source = match self {
            Self::Descriptor { pid, fd } => Source::descriptor(*pid, *fd),
            Self::File(path) => Source::path(path),
            Self::Process(pid) => {
                let mut scan = scan_all()?;
                let found = of_process(*pid, &mut scan.streams.clone());
                if found.is_empty() {
                    return Err(none_of(*pid));
                }
                return only_one(&format!("process {pid}"), &found.iter().collect::<Vec<_>>(), &mut scan);
            }
            Self::Other(addr) => return only_one_at(addr),
        };
        let source = Arc::new(source.map_err(|error| cannot(&error))?);
        let streams = scan_all()?.streams;
        let id = source.id();
        let both = streams.iter().find(|stream| !stream.channel.is_region() && uses(stream, id));
        let patient = match both {
            Some(stream) => segments(stream),
            None if self.is_segment() => DoctorTarget::Segment(source),
            None => DoctorTarget::Region(source),
        };
        Ok((patient, streams))
    }

    /// Whether it is the memory of a `unix:` stream, which holds one segment.
    fn is_segment(&self) -> bool {
        let Self::Descriptor { pid, fd } = self else { return false };
        let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
        link.is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(b"/memfd:smstream:"))
    }
}

/// The streams of a process.
fn of_process(pid: u32, streams: &mut Vec<InspectedStream>) -> Vec<InspectedStream> {
    streams.extract_if(.., |stream| stream.holders.iter().any(|holder| holder.pid == pid)).collect()
}

/// What to say of a process that has no streams.
fn none_of(pid: u32) -> Failure {
    let why = match Path::new(&format!("/proc/{pid}")).exists() {
        true => "it has no stream that can be seen: `smstream ls --all` shows all, and what could not be seen",
        false => "there is no such process",
    };
    Failure::no_connection(format!("process {pid}: {why}"))
}

/// Says what the system failed to show, the first time. What it keeps from this user is no failure; `smstream ls` says that.
fn say_what_failed(scan: &Scan) {
    static SAID: AtomicBool = AtomicBool::new(false);
    let mut failed = scan.unseen.iter().filter(|skipped| skipped.failed).peekable();
    if failed.peek().is_none() || SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    for skipped in failed {
        say(format_args!("could not see {skipped}"));
    }
}

/// The stream whose parties met at a socket, if there is one only, and the streams of running processes beside it.
fn only_one_at(addr: &Addr) -> Result<(DoctorTarget, Vec<InspectedStream>), Failure> {
    let mut scan = scan_all()?;
    let met: Vec<InspectedStream> = scan.streams.iter().filter(|stream| met_at(stream, addr)).cloned().collect();
    if met.is_empty() {
        return Err(none_met_at(addr, &scan));
    }
    only_one(&transport::shown(addr), &met.iter().collect::<Vec<_>>(), &mut scan)
}

/// The only one of these streams, and all streams beside it.
fn only_one(
    of: &str,
    met: &[&InspectedStream],
    scan: &mut Scan,
) -> Result<(DoctorTarget, Vec<InspectedStream>), Failure> {
    if let [only] = met {
        let patient = match only.channel.is_region() {
            true => DoctorTarget::Region(Arc::clone(only.channel.segment(0).0)),
            false => segments(only),
        };
        return Ok((patient, std::mem::take(&mut scan.streams)));
    }
    let lines: String = met.iter().map(|stream| format!("\n  {}", ends(stream))).collect();
    let count = met.len();
    Err(Failure::no_connection(format!(
        "{of}: {count} streams of it were found, and one is examined at a time: give its PID:FD{lines}"
    )))
}

/// Whether the parties of a stream met at a socket.
fn met_at(stream: &InspectedStream, addr: &Addr) -> bool {
    if stream.channel.is_region() {
        return false;
    }
    match addr {
        Addr::Unix(path) => stream.path.as_deref().is_some_and(|it| place(it) == place(path)),
        _ => stream.addr == Some(shown(addr)),
    }
}

/// A socket's address as streams and listeners that were found show it.
fn shown(addr: &Addr) -> String {
    match addr {
        Addr::Unix(path) => format!("unix:{}", printable(place(path).as_os_str().as_bytes())),
        Addr::Abstract(name) => format!("unix:@{}", printable(name.as_bytes())),
        other => transport::shown(other),
    }
}

/// What to say when no stream is known to have met at a socket.
fn none_met_at(addr: &Addr, scan: &Scan) -> Failure {
    let place = transport::shown(addr);
    if let Some(it) = scan.listeners.iter().find(|listener| listener.addr == shown(addr)) {
        return Failure::no_connection(format!(
            "{place}: process {} listens there, and none of the streams that were found is known to have met there: \
             `smstream ls --all` shows all of them; give one as PID:FD",
            it.holder.pid
        ));
    }
    let seen = match probe::listener(addr) {
        Ok(()) => "there is a listener".to_owned(),
        Err(error) => format!("there is no listener ({error})"),
    };
    Failure::no_connection(format!(
        "{place}: {seen}, and none of the streams that were found is known to have met there: `smstream ls --all` shows \
         all of them; give one as PID:FD"
    ))
}

/// The descriptors of the parties of a stream, each of which names it.
fn ends(stream: &InspectedStream) -> String {
    let who = |party: usize, name: &str| {
        let end = |it: &Holder| format!("{name} {}:{}", it.pid, it.fd);
        stream.of_party(party).map(end).collect::<Vec<_>>()
    };
    [who(0, "listener"), who(1, "connector")].concat().join("  ")
}

/// Both segments of a stream that has a file for each.
fn segments(stream: &InspectedStream) -> DoctorTarget {
    let [listener, connector] = [0, 1].map(|party| Arc::clone(stream.channel.segment(party).0));
    DoctorTarget::Segments(listener, connector)
}

/// Whether a segment of a stream lies in this file.
fn uses(stream: &InspectedStream, id: (u64, u64)) -> bool {
    (0..2).any(|party| stream.channel.segment(party).0.id() == id)
}

/// A region without known users.
fn region(source: Source) -> Result<InspectedStream, Failure> {
    Channel::of_region(Arc::new(source)).map(InspectedStream::unknown).map_err(|error| cannot(&error))
}

/// A path without the detours of its directory; the name itself may be gone.
fn place(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (parent.canonicalize(), path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_what_is_meant() {
        let read = |text: &str| parse(OsStr::new(text));
        assert_eq!(read("12"), Ok(Target::Process(12)));
        assert_eq!(read("12:3"), Ok(Target::Descriptor { pid: 12, fd: 3 }));
        for text in ["file:/tmp/x", "/tmp/x"] {
            assert_eq!(read(text), Ok(Target::File("/tmp/x".into())));
        }
        assert_eq!(read("shm:/x"), Ok(Target::File("/dev/shm/x".into())));
        assert_eq!(read("./12:3"), Ok(Target::File("./12:3".into())));
        assert_eq!(read("x"), Ok(Target::File("x".into())));
        assert_eq!(read("unix:@x"), Ok(Target::Other(Addr::Abstract("x".into()))));
        for text in ["", "file:", "12:", ":3", "12:x", "-1:3", "+1:3", "4294967296:1", "http://x"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
