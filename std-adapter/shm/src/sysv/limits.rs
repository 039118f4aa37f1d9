//! The system's limits, and how much of them is used.

use std::fs;
use std::io;

use super::error::Limit;
use crate::explain::explain;

/// The greatest value that a semaphore can have. No sysctl changes it.
pub const MAX_VALUE: u16 = 32767;

/// What the IPC namespace of the calling thread allows.
///
/// # References
/// proc(5), sysvipc(7); Free Pascal's constants `SHM…`, `SEM…`, `MSG…`, which are out of date on any Linux of today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// `kernel.shmmax`: the bytes of one segment.
    pub shm_max_bytes: u64,
    /// `kernel.shmall`: the pages of all segments together.
    pub shm_total_pages: u64,
    /// `kernel.shmmni`: how many segments.
    pub shm_segments: u64,
    /// `kernel.shm_rmid_forced`: whether the kernel removes segments that no process has attached.
    pub shm_removed_when_unused: bool,
    /// First number of `kernel.sem`, SEMMSL: the semaphores of one set.
    pub sem_per_set: u64,
    /// Second number of `kernel.sem`, SEMMNS: the semaphores of all sets together.
    pub sem_total: u64,
    /// Third number of `kernel.sem`, SEMOPM: the operations of one call.
    pub sem_operations: u64,
    /// Fourth number of `kernel.sem`, SEMMNI: how many sets.
    pub sem_sets: u64,
    /// `kernel.msgmax`: the bytes of one message.
    pub msg_max_bytes: u64,
    /// `kernel.msgmnb`: the bytes of a new queue.
    pub msg_queue_bytes: u64,
    /// `kernel.msgmni`: how many queues.
    pub msg_queues: u64,
}

/// Reads the limits.
///
/// ```
/// let limits = smstream_shm::sysv::limits()?;
/// println!("a message has at most {} bytes", limits.msg_max_bytes);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What the system says if `/proc` is not there, or `InvalidData` if it says something unexpected.
pub fn limits() -> io::Result<Limits> {
    let [sem_per_set, sem_total, sem_operations, sem_sets] = numbers("sem")?;
    let one = |name| numbers::<1>(name).map(|[number]| number);
    Ok(Limits {
        shm_max_bytes: one("shmmax")?,
        shm_total_pages: one("shmall")?,
        shm_segments: one("shmmni")?,
        shm_removed_when_unused: one("shm_rmid_forced")? != 0,
        sem_per_set,
        sem_total,
        sem_operations,
        sem_sets,
        msg_max_bytes: one("msgmax")?,
        msg_queue_bytes: one("msgmnb")?,
        msg_queues: one("msgmni")?,
    })
}

/// What is used of the limits, by all processes in the IPC namespace of the calling thread.
///
/// # References
/// proc(5); Free Pascal `TSHMinfo`, `TSEMinfo`, `TMSGinfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Segments of shared memory.
    pub shm_segments: u64,
    /// Their bytes together.
    pub shm_bytes: u64,
    /// Sets of semaphores.
    pub sem_sets: u64,
    /// Their semaphores together.
    pub sem_total: u64,
    /// Message queues.
    pub msg_queues: u64,
    /// The messages in them.
    pub msg_messages: u64,
    /// The bytes of those messages.
    pub msg_bytes: u64,
}

/// Reads what is used.
///
/// # Errors
/// What the system says if `/proc` is not there, or `InvalidData` if it says something unexpected.
pub fn usage() -> io::Result<Usage> {
    let mut usage = Usage::default();
    for [size] in rows("shm", ["size"])? {
        usage.shm_segments += 1;
        usage.shm_bytes += size;
    }
    for [count] in rows("sem", ["nsems"])? {
        usage.sem_sets += 1;
        usage.sem_total += count;
    }
    for [messages, bytes] in rows("msg", ["qnum", "cbytes"])? {
        usage.msg_queues += 1;
        usage.msg_messages += messages;
        usage.msg_bytes += bytes;
    }
    Ok(usage)
}

/// The numbers in a file of `/proc/sys/kernel`.
fn numbers<const N: usize>(name: &str) -> io::Result<[u64; N]> {
    let path = format!("/proc/sys/kernel/{name}");
    let text = fs::read_to_string(&path).map_err(|e| explain(e, format!("could not read the limit {path}")))?;
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
    numbers.ok_or_else(|| unexpected(&path, &text))
}

/// Columns of a table of `/proc/sysvipc`.
fn rows<const N: usize>(name: &str, columns: [&str; N]) -> io::Result<Vec<[u64; N]>> {
    let path = format!("/proc/sysvipc/{name}");
    let text = fs::read_to_string(&path).map_err(|e| explain(e, format!("could not read the table {path}")))?;
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let places = columns.map(|column| head.split_whitespace().position(|word| word == column));
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut row = [0; N];
        for (number, place) in row.iter_mut().zip(places) {
            *number = words.get(place?)?.parse().ok()?;
        }
        Some(row)
    };
    lines.map(|line| row(line).ok_or_else(|| unexpected(&path, line))).collect()
}

fn unexpected(path: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} holds something unexpected: {text:?}"))
}

/// A limit with its present value.
pub(super) fn limit(name: &'static str, sysctl: &'static str, value: impl FnOnce(&Limits) -> u64) -> Limit {
    Limit { name, sysctl, value: limits().ok().map(|limits| value(&limits)) }
}

/// Which limit on shared memory keeps a segment of `size` bytes from being made.
pub(super) fn shm_limit() -> Limit {
    let full = limits().ok().zip(usage().ok()).is_some_and(|(limits, usage)| usage.shm_segments >= limits.shm_segments);
    if full {
        limit("SHMMNI", "kernel.shmmni", |limits| limits.shm_segments)
    } else {
        limit("SHMALL (in pages)", "kernel.shmall", |limits| limits.shm_total_pages)
    }
}

/// Which limit on semaphores keeps a set from being made.
pub(super) fn sem_limit() -> Limit {
    let full = limits().ok().zip(usage().ok()).is_some_and(|(limits, usage)| usage.sem_sets >= limits.sem_sets);
    if full {
        limit("SEMMNI", "kernel.sem, fourth number", |limits| limits.sem_sets)
    } else {
        limit("SEMMNS", "kernel.sem, second number", |limits| limits.sem_total)
    }
}
