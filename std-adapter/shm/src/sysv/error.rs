//! What can go wrong with a System V object.

use std::borrow::Cow;
use std::fmt;
use std::io;

use super::key::Key;

/// What kind of thing went wrong. Each has an [`io::ErrorKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SysvReason {
    /// An object with this key exists already.
    Exists,
    /// No object has this key or id.
    NotFound,
    /// The object was there, and a process removed it: before the call, or while it waited.
    Removed,
    /// The mode of the object, or its owner, forbids this.
    Denied,
    /// The call would have to wait, and the caller does not want that.
    WouldBlock,
    /// A timeout passed.
    TimedOut,
    /// A limit of the system is reached: see [`SysvError::limit`].
    Limit,
    /// There is not so much memory.
    NoMemory,
    /// A size that no object can have, or that this one has not.
    Size,
    /// An address that is not aligned, or where something else is.
    Address,
    /// A semaphore's number or value is out of range.
    Range,
    /// A message is longer than the buffer that is to take it. It stays in the queue.
    TooLong,
    /// The set is there, and its creator has not given it its first values yet.
    NotReady,
    /// An argument that makes no sense.
    InvalidInput,
    /// Anything else the system says.
    System,
}

impl SysvReason {
    fn kind(self) -> Option<io::ErrorKind> {
        Some(match self {
            SysvReason::Exists => io::ErrorKind::AlreadyExists,
            SysvReason::NotFound | SysvReason::Removed => io::ErrorKind::NotFound,
            SysvReason::Denied => io::ErrorKind::PermissionDenied,
            SysvReason::WouldBlock => io::ErrorKind::WouldBlock,
            SysvReason::TimedOut | SysvReason::NotReady => io::ErrorKind::TimedOut,
            SysvReason::Limit => io::ErrorKind::QuotaExceeded,
            SysvReason::NoMemory => io::ErrorKind::OutOfMemory,
            SysvReason::Size
            | SysvReason::Address
            | SysvReason::Range
            | SysvReason::TooLong
            | SysvReason::InvalidInput => io::ErrorKind::InvalidInput,
            SysvReason::System => return None,
        })
    }
}

/// The three kinds of System V objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SysvKind {
    /// A segment of shared memory.
    Shm,
    /// A set of semaphores.
    Sem,
    /// A message queue.
    Msg,
}

impl fmt::Display for SysvKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SysvKind::Shm => "shared memory",
            SysvKind::Sem => "semaphore set",
            SysvKind::Msg => "message queue",
        })
    }
}

/// Which object a call was about: by its key, its id, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SysvObject {
    pub(super) kind: SysvKind,
    pub(super) key: Option<Key>,
    pub(super) id: Option<i32>,
}

impl SysvObject {
    /// What kind of object.
    #[must_use]
    pub fn kind(&self) -> SysvKind {
        self.kind
    }

    /// Its key, if the call knew it.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.key
    }

    /// Its id, if the call knew it.
    #[must_use]
    pub fn id(&self) -> Option<i32> {
        self.id
    }
}

impl fmt::Display for SysvObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "System V {}", self.kind)?;
        match (self.key, self.id) {
            (Some(key), Some(id)) => write!(f, " (key {key}, id {id})"),
            (Some(key), None) => write!(f, " (key {key})"),
            (None, Some(id)) => write!(f, " (id {id})"),
            (None, None) => Ok(()),
        }
    }
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub(super) name: &'static str,
    pub(super) sysctl: &'static str,
    pub(super) value: Option<u64>,
}

impl Limit {
    /// Its name in the manual, such as `SHMMNI`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What sets it, such as `kernel.shmmni`.
    #[must_use]
    pub fn sysctl(&self) -> &'static str {
        self.sysctl
    }

    /// Its value at that moment, if `/proc` has it.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        self.value
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "{} is {value}", self.name)?,
            None => write!(f, "{}", self.name)?,
        }
        write!(f, " ({})", self.sysctl)
    }
}

/// What was tried, on which object, what the system said, and what to do next.
///
/// It turns into an [`io::Error`] of the fitting kind, with itself inside (see [`io::Error::get_ref`]).
#[derive(Clone, Debug)]
pub struct SysvError {
    pub(super) reason: SysvReason,
    pub(super) errno: Option<i32>,
    pub(super) object: SysvObject,
    pub(super) tried: &'static str,
    pub(super) limit: Option<Box<Limit>>,
    pub(super) advice: Cow<'static, str>,
}

/// The result of the operations on System V objects.
pub type Result<T, E = SysvError> = std::result::Result<T, E>;

impl SysvError {
    /// What kind of thing went wrong.
    #[must_use]
    pub fn reason(&self) -> SysvReason {
        self.reason
    }

    /// What the system said: `None` if it was not asked.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.errno
    }

    /// The standard library's kind for it.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        let other = || self.errno.map_or(io::ErrorKind::Other, |errno| io::Error::from_raw_os_error(errno).kind());
        self.reason.kind().unwrap_or_else(other)
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> SysvObject {
        self.object
    }

    /// The limit that was reached, for [`SysvReason::Limit`].
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.limit.as_deref().copied()
    }

    /// An error that the arguments have in themselves: the system was not asked.
    pub(super) fn refuse(
        reason: SysvReason,
        object: SysvObject,
        tried: &'static str,
        advice: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { reason, errno: None, object, tried, limit: None, advice: advice.into() }
    }

    /// What the system said, with the reason that follows from it for any object.
    pub(super) fn system(errno: i32, object: SysvObject, tried: &'static str) -> Self {
        let (reason, advice) = match errno {
            libc::EEXIST => (SysvReason::Exists, "open it, remove it first (`ipcrm`), or use another key"),
            libc::ENOENT => (SysvReason::NotFound, "create it first, or look for the right key with `ipcs`"),
            libc::EIDRM => (SysvReason::Removed, "create it again"),
            libc::EACCES => (SysvReason::Denied, "its mode forbids it: ask its owner (`ipcs` shows who that is)"),
            libc::EPERM => (SysvReason::Denied, "only its owner, its creator or root may do that"),
            libc::ENOMEM => (SysvReason::NoMemory, "ask for less, or free some memory"),
            _ => (SysvReason::System, ""),
        };
        Self { reason, errno: Some(errno), object, tried, limit: None, advice: Cow::Borrowed(advice) }
    }

    /// The same with another reason and other advice.
    pub(super) fn because(mut self, reason: SysvReason, advice: impl Into<Cow<'static, str>>) -> Self {
        self.reason = reason;
        self.advice = advice.into();
        self
    }

    /// The same, of something else that was tried.
    pub(super) fn tried(mut self, tried: &'static str) -> Self {
        self.tried = tried;
        self
    }

    /// The same as a limit that was reached.
    pub(super) fn limited(mut self, limit: Limit) -> Self {
        self.limit = Some(Box::new(limit));
        self.because(SysvReason::Limit, "raise it, or free what is not used any more (`ipcs`, `ipcrm`)")
    }
}

impl fmt::Display for SysvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} {}", self.tried, self.object)?;
        match (self.reason, self.errno) {
            (SysvReason::Removed, Some(errno)) => write!(f, ": it was removed (os error {errno})")?,
            (SysvReason::Limit, Some(errno)) => write!(f, ": a limit is reached (os error {errno})")?,
            (SysvReason::WouldBlock, Some(errno)) => write!(f, ": that would have to wait (os error {errno})")?,
            (SysvReason::TimedOut, Some(errno)) => write!(f, ": the time is over (os error {errno})")?,
            (_, Some(errno)) => write!(f, ": {}", io::Error::from_raw_os_error(errno))?,
            (_, None) => {}
        }
        if let Some(limit) = &self.limit {
            write!(f, ": {limit}")?;
        }
        match (self.errno, &*self.advice) {
            (_, "") => Ok(()),
            (None, advice) => write!(f, ": {advice}"),
            (Some(_), advice) => write!(f, "; {advice}"),
        }
    }
}

impl std::error::Error for SysvError {}

impl From<SysvError> for io::Error {
    fn from(e: SysvError) -> Self {
        io::Error::new(e.kind(), e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: SysvObject = SysvObject { kind: SysvKind::Msg, key: Some(Key::new(0x4d01_0203)), id: Some(7) };

    #[test]
    fn says_what_was_tried_on_what_and_what_to_do() {
        let e = SysvError::system(libc::EEXIST, QUEUE, "create");
        let text = e.to_string();
        assert!(
            text.starts_with("could not create System V message queue (key 0x4d010203, id 7): File exists"),
            "{text}"
        );
        assert!(text.ends_with("use another key"), "{text}");
        assert_eq!((e.reason(), e.raw_os_error()), (SysvReason::Exists, Some(libc::EEXIST)));
    }

    #[test]
    fn an_io_error_carries_it() {
        let e: io::Error = SysvError::system(libc::EIDRM, QUEUE, "read from").into();
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        let inner = e.get_ref().and_then(|e| e.downcast_ref::<SysvError>()).unwrap();
        assert_eq!(inner.reason(), SysvReason::Removed);
    }

    #[test]
    fn a_limit_is_named() {
        let limit = Limit { name: "MSGMNI", sysctl: "kernel.msgmni", value: Some(3) };
        let e = SysvError::system(libc::ENOSPC, QUEUE, "create").limited(limit);
        assert!(e.to_string().contains("MSGMNI is 3 (kernel.msgmni)"), "{e}");
        assert_eq!(e.kind(), io::ErrorKind::QuotaExceeded);
    }
}
