//! The streams of running processes, found through the descriptors that these have open.

use super::look::{Holder, InspectedStream};
use super::names::{address, name_of, named};
use super::process::{self, Descriptor, printable};
use super::sample::{self, Channel};
use super::skipped::Skipped;
use super::sockets::{self, Sockets};
use super::source::Source;
use crate::header::words::{HeaderCopy, LEN};
use smstream_shm::posix::identity;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a memfd with a segment is called, without the number of its party.
const SEGMENT: &[u8] = b"/memfd:smstream:";

/// A listener at a `unix:` address. It has no memory before a connector comes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListeningSocket {
    /// Its address, escaped for terminals.
    pub addr: String,
    /// The same byte for byte, as [`Addr::from_os_str`](crate::Addr::from_os_str) reads it.
    pub written: OsString,
    /// The process that listens.
    pub holder: Holder,
    /// When its socket got its path, as the file system says. An abstract name has no such time.
    pub since: Option<SystemTime>,
}

impl ListeningSocket {
    /// How long ago its socket got its path, by the clock of this machine.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        SystemTime::now().duration_since(self.since?).ok()
    }
}

/// What a look at all processes has found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Scan {
    /// Listeners that wait in a region, and streams.
    pub streams: Vec<InspectedStream>,
    /// Listeners that wait at a socket.
    pub listeners: Vec<ListeningSocket>,
    /// What could not be seen, and why.
    pub unseen: Vec<Skipped>,
}

/// The addresses at which each process has accepted streams, with their paths.
type MetAt = BTreeMap<u32, BTreeMap<OsString, (String, Option<PathBuf>)>>;

/// A file that a process has open and that may be part of a stream.
struct Candidate {
    source: Arc<Source>,
    segment: bool,
    holders: Vec<Holder>,
    /// The path that the connector opened, if it is known.
    path: Option<PathBuf>,
    /// The directory in which a listener made it.
    directory: Option<PathBuf>,
}

/// What a look has found so far.
struct Found {
    /// What is open from an earlier look.
    known: BTreeMap<(u64, u64), Arc<Source>>,
    /// The files that processes have open, by device and inode.
    files: BTreeMap<(u64, u64), Candidate>,
    /// All sockets of the right type.
    sockets: Sockets,
    /// Where streams were accepted.
    met_at: MetAt,
    /// Sockets with an abstract name that listen. Nothing but a stream tells that one is a listener of streams.
    abstract_listeners: Vec<ListeningSocket>,
}

/// Looks at the processes of this user, or of everybody, as far as the system lets one see them.
///
/// It opens the memory of streams through `/proc/PID/fd`, for reading, and nothing else: a descriptor is looked at only if
/// it holds one of the locks of a region, or is called as the memory of a `unix:` stream is. Processes come and go
/// meanwhile; what was there the whole time is found. A pair of streams within one process
/// ([`Stream::pair`](crate::Stream::pair)) keeps no descriptor and cannot be seen, nor can what processes in another
/// PID namespace have. A listener at `unix:@NAME` holds nothing that tells it from another program's socket. So a socket
/// that may be one is among what is not seen, until a stream that met there shows what it is.
///
/// # Errors
/// There is no `/proc`.
///
/// # References
/// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html)
pub fn scan(everybody: bool) -> io::Result<Scan> {
    scan_again(everybody, &[])
}

/// Looks like [`scan`], and opens nothing that is part of the streams of an earlier look: what stays open is not seen
/// being closed.
///
/// # Errors
/// As for [`scan`].
pub fn scan_again(everybody: bool, known: &[InspectedStream]) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let known = known
        .iter()
        .flat_map(|stream| [0, 1].map(|party| Arc::clone(stream.channel.segment(party).0)))
        .map(|source| (source.id(), source))
        .collect();
    let process::Processes { pids, unseen } = process::all(everybody)
        .map_err(|e| smstream_shm::explain::explain(e, "cannot look at the processes: is /proc mounted?"))?;
    for (pid, e) in unseen {
        scan.unseen.push(Skipped::process(pid, &e));
    }
    let sockets = Sockets::now().unwrap_or_else(|e| {
        scan.unseen.push(Skipped::failure("all sockets (/proc/net/unix)", &e));
        Sockets::default()
    });
    let mut found =
        Found { known, files: BTreeMap::new(), sockets, met_at: BTreeMap::new(), abstract_listeners: Vec::new() };
    for pid in pids {
        look_at(pid, &mut found, &mut scan);
    }
    let mut segments = Vec::new();
    for candidate in found.files.into_values() {
        if candidate.segment { segments.push(candidate) } else { scan.add_region(candidate) }
    }
    scan.add_pairs(segments, &found.met_at);
    scan.add_abstract(found.abstract_listeners);
    scan.streams.sort_by_key(|stream| {
        let first = stream.holders.first().map(|holder| (holder.pid, holder.fd));
        (stream.addr.is_none(), stream.addr.clone(), first)
    });
    Ok(scan)
}

/// Adds what a process has open. One that ends meanwhile has nothing.
fn look_at(pid: u32, found: &mut Found, scan: &mut Scan) {
    let unseen = &mut scan.unseen;
    let began = match smstream_shm::cleanup::began(pid) {
        Ok(Some(began)) => began,
        Ok(None) => return,
        Err(e) => return unseen.push(Skipped::process(pid, &e)),
    };
    let all = match process::descriptors(pid) {
        Ok(all) => all,
        Err(e) if process::has_gone(&e) => return,
        Err(e) => return unseen.push(Skipped::all_descriptors(pid, &e)),
    };
    unseen.extend(Skipped::descriptors(pid, &all.unseen));
    let (descriptors, sockets) = (all.files, all.sockets);
    for descriptor in sockets {
        let Some(socket) = found.sockets.find(descriptor.link.as_bytes()) else { continue };
        if !socket.listens {
            found.met_at.entry(pid).or_default().insert(socket.written(), (socket.addr(), socket.path()));
            continue;
        }
        let listener = || {
            let command = process::command(pid);
            let holder = Holder { pid, fd: descriptor.number, command, party: Some(0), began };
            let since = socket.path().and_then(|path| sockets::named_since(pid, &path));
            ListeningSocket { addr: socket.addr(), written: socket.written(), holder, since }
        };
        match sockets::has_right(pid, socket, &descriptors) {
            Ok(true) => scan.listeners.push(listener()),
            Ok(false) if socket.is_abstract() => found.abstract_listeners.push(listener()),
            Ok(false) => {}
            Err(e) => {
                let what = format!("{} of process {pid} ({})", socket.addr(), process::command(pid));
                unseen.push(Skipped::of_process(pid, what, &e));
            }
        }
    }
    let myself = pid == std::process::id();
    for descriptor in descriptors {
        let name = descriptor.link.as_bytes();
        let segment = name.starts_with(SEGMENT);
        // What this process has open to look into it is not its own.
        if !(segment || descriptor.locks != [false; 3]) || (myself && descriptor.read_only) {
            continue;
        }
        match open(pid, &descriptor, segment, found) {
            Ok(None) => {}
            Ok(Some(candidate)) => {
                let party = match descriptor.locks {
                    [true, false, _] => Some(0),
                    [false, true, _] => Some(1),
                    _ => None,
                };
                if party != Some(0) && !segment {
                    candidate.path = candidate.path.take().or_else(|| named(name));
                }
                if party == Some(0) {
                    candidate.directory = Path::new(OsStr::from_bytes(name)).parent().map(Path::to_path_buf);
                }
                let command = process::command(pid);
                candidate.holders.push(Holder { pid, fd: descriptor.number, command, party, began });
            }
            Err(e) if process::has_gone(&e) => {}
            Err(e) => {
                let what = format!("descriptor {} of process {pid} ({})", descriptor.number, process::command(pid));
                unseen.push(Skipped::of_process(pid, what, &e));
            }
        }
    }
    // If the number went to another process meanwhile, some of this was about the one and some about the other.
    let changed = match smstream_shm::cleanup::began(pid) {
        Ok(now) if now == Some(began) => return,
        Ok(_) => Skipped::unknown(format!("process {pid}"), "it seems to have ended while it was looked at"),
        Err(e) => Skipped::process(pid, &e),
    };
    unseen.push(changed);
    for candidate in found.files.values_mut() {
        candidate.holders.retain(|holder| holder.pid != pid);
    }
}

/// The file of a descriptor, opened if it was not yet: nothing if it is not a stream's.
fn open<'a>(
    pid: u32,
    descriptor: &Descriptor,
    segment: bool,
    found: &'a mut Found,
) -> io::Result<Option<&'a mut Candidate>> {
    let stat = rustix::fs::stat(format!("/proc/{pid}/fd/{}", descriptor.number))?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() || stat.st_size < LEN as i64 {
        return Ok(None);
    }
    let id = identity(&stat);
    let place = match found.files.entry(id) {
        Entry::Occupied(known) => return Ok(Some(known.into_mut())),
        Entry::Vacant(place) => place,
    };
    let source = match found.known.get(&id) {
        Some(source) => Arc::clone(source),
        None => Arc::new(Source::descriptor(pid, descriptor.number)?),
    };
    // Between the two looks the descriptor may have become another one.
    if source.id() != id || !sample::header(&source, 0)?.is_ours() {
        return Ok(None);
    }
    Ok(Some(place.insert(Candidate { source, segment, holders: Vec::new(), path: None, directory: None })))
}

impl Scan {
    fn add_region(&mut self, candidate: Candidate) {
        let Candidate { source, holders, path, directory, .. } = candidate;
        if holders.is_empty() {
            return;
        }
        let id = source.id();
        match Channel::of_region(source) {
            Ok(channel) => {
                let path = path.or_else(|| self.look_for_name(&directory?, id));
                let (addr, written) = path.as_deref().map(address).unzip();
                self.streams.push(InspectedStream { channel, addr, written, path, holders });
            }
            Err(e) => self.unseen.push(Skipped::failure("a region", &e)),
        }
    }

    /// The name of a region in the directory in which it was made, if it has one still.
    fn look_for_name(&mut self, directory: &Path, id: (u64, u64)) -> Option<PathBuf> {
        name_of(directory, id).unwrap_or_else(|e| {
            let what = format!("the name of a region in {}", printable(directory.as_os_str().as_bytes()));
            self.unseen.push(Skipped::directory(directory, what, &e));
            None
        })
    }

    /// Tells the listeners of streams from other sockets: they have accepted one.
    fn add_abstract(&mut self, sockets: Vec<ListeningSocket>) {
        for socket in sockets {
            let accepted = |stream: &InspectedStream| {
                let at = stream.addr.as_deref() == Some(&socket.addr);
                at && stream.of_party(0).any(|holder| holder.pid == socket.holder.pid)
            };
            if self.streams.iter().any(accepted) {
                self.listeners.push(socket);
                continue;
            }
            let Holder { pid, fd, command, .. } = &socket.holder;
            let what = format!("{} of process {pid}:{fd} ({command})", socket.addr);
            let why = "a socket listens there, and only a stream would show that it is a listener of streams";
            self.unseen.push(Skipped::unknown(what, why));
        }
    }

    /// Finds the segments that belong together: each party's file has one of them.
    fn add_pairs(&mut self, segments: Vec<Candidate>, met_at: &MetAt) {
        let mut listeners = Vec::new();
        let mut connectors = Vec::new();
        for candidate in segments.into_iter().filter(|candidate| !candidate.holders.is_empty()) {
            match sample::header(&candidate.source, 0) {
                Ok(header) if header.party() == 0 => listeners.push((header, candidate)),
                Ok(header) => connectors.push((header, candidate)),
                Err(e) => self.unseen.push(Skipped::failure(candidate.source.what(), &e)),
            }
        }
        for (header, listener) in listeners {
            let fitting: Vec<usize> = (0..connectors.len())
                .filter(|&n| fit((&header, &listener), (&connectors[n].0, &connectors[n].1)))
                .collect();
            let [only] = fitting[..] else {
                let why = if fitting.is_empty() {
                    "the segment of its connector is not there: not connected yet, or not shown to this user"
                } else {
                    "several segments would fit it, and nothing tells which one is its connector's"
                };
                self.unseen.push(Skipped::unknown(listener.source.what(), why));
                continue;
            };
            let (other, connector) = connectors.swap_remove(only);
            self.add_pair([header, other], listener, connector, met_at);
        }
        for (_, connector) in connectors {
            let why = "the segment of its listener is not there: not connected yet, or not shown to this user";
            self.unseen.push(Skipped::unknown(connector.source.what(), why));
        }
    }

    fn add_pair(&mut self, headers: [HeaderCopy; 2], listener: Candidate, connector: Candidate, met_at: &MetAt) {
        let what = listener.source.what().to_owned();
        match Channel::of_segments(listener.source, connector.source) {
            Ok(channel) => {
                let holders = holders_of_pair(headers.map(|header| header.pid()), listener.holders, connector.holders);
                // If the listener's process has accepted streams at one address only, this one came there.
                let mut at =
                    holders.iter().filter(|it| it.party == Some(0)).filter_map(|it| met_at.get(&it.pid)).flatten();
                let (written, addr, path) = match (at.next(), at.next()) {
                    (Some((written, (addr, path))), None) => (Some(written.clone()), Some(addr.clone()), path.clone()),
                    _ => (None, None, None),
                };
                self.streams.push(InspectedStream { channel, addr, written, path, holders });
            }
            Err(e) => self.unseen.push(Skipped::failure(what, &e)),
        }
    }
}

/// Who has the two segments of a channel, each process once for each party that it is.
fn holders_of_pair(makers: [u32; 2], first: Vec<Holder>, second: Vec<Holder>) -> Vec<Holder> {
    let mut holders = Vec::<Holder>::new();
    for (segment, of_segment) in [(0, &first), (1, &second)] {
        for holder in of_segment {
            let other = if segment == 0 { &second } else { &first };
            let has_both = other.iter().any(|it| it.pid == holder.pid);
            // Who has one segment has made it. Of who has both, what the segments say of their makers must tell.
            let party = if has_both && makers[segment] != holder.pid { None } else { Some(segment) };
            if party.is_none() && makers.contains(&holder.pid) {
                continue;
            }
            if !holders.iter().any(|known| known.pid == holder.pid && known.party == party) {
                holders.push(Holder { party, ..holder.clone() });
            }
        }
    }
    holders
}

/// Whether two segments can be those of one channel: they have the same number, or else one process has both.
fn fit((first, listener): (&HeaderCopy, &Candidate), (second, connector): (&HeaderCopy, &Candidate)) -> bool {
    let shared = listener.holders.iter().any(|a| connector.holders.iter().any(|b| a.pid == b.pid));
    (shared || first.channel() != 0)
        && second.party() == 1
        && first.channel() == second.channel()
        && first.start() == second.start()
        && first.capacity() == second.peer_capacity()
        && second.capacity() == first.peer_capacity()
}
