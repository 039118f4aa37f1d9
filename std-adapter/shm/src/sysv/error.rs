//! What can go wrong with a System V object.

use std::borrow::Cow;
use std::fmt;
use std::io;

use super::key::Key;

/// What kind of thing went wrong. Each has an [`io::ErrorKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// An object with this key exists already.
    Exists,
    /// No object has this key or id.
    NotFound,
    /// The object was there, and somebody removed it: before the call, or while it waited.
    Removed,
    /// The mode of the object, or its owner, forbids this.
    Denied,
    /// The call would have to wait, and was told not to.
    WouldBlock,
    /// A timeout passed.
    TimedOut,
    /// A limit of the system is reached: see [`Error::limit`].
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
    /// The set is there, and nobody has given it its first values yet.
    NotReady,
    /// An argument that makes no sense.
    InvalidInput,
    /// Anything else the system says.
    System,
}

impl Reason {
    fn kind(self) -> Option<io::ErrorKind> {
        Some(match self {
            Reason::Exists => io::ErrorKind::AlreadyExists,
            Reason::NotFound | Reason::Removed => io::ErrorKind::NotFound,
            Reason::Denied => io::ErrorKind::PermissionDenied,
            Reason::WouldBlock => io::ErrorKind::WouldBlock,
            Reason::TimedOut | Reason::NotReady => io::ErrorKind::TimedOut,
            Reason::Limit => io::ErrorKind::QuotaExceeded,
            Reason::NoMemory => io::ErrorKind::OutOfMemory,
            Reason::Size | Reason::Address | Reason::Range | Reason::TooLong | Reason::InvalidInput => {
                io::ErrorKind::InvalidInput
            }
            Reason::System => return None,
        })
    }
}

/// The three kinds of System V objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A segment of shared memory.
    Shm,
    /// A set of semaphores.
    Sem,
    /// A message queue.
    Msg,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Shm => "shared memory",
            Kind::Sem => "semaphore set",
            Kind::Msg => "message queue",
        })
    }
}

/// Which object a call was about: by its key, its id, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub(super) kind: Kind,
    pub(super) key: Option<Key>,
    pub(super) id: Option<i32>,
}

impl Object {
    /// What kind of object.
    #[must_use]
    pub fn kind(&self) -> Kind {
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

impl fmt::Display for Object {
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

    /// Its value at that moment, if `/proc` told it.
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
pub struct Error {
    pub(super) reason: Reason,
    pub(super) errno: Option<i32>,
    pub(super) object: Object,
    pub(super) tried: &'static str,
    pub(super) limit: Option<Box<Limit>>,
    pub(super) advice: Cow<'static, str>,
}

/// The result of the operations on System V objects.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What kind of thing went wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
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
    pub fn object(&self) -> Object {
        self.object
    }

    /// The limit that was reached, for [`Reason::Limit`].
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.limit.as_deref().copied()
    }

    /// An error that the arguments have in themselves: the system was not asked.
    pub(super) fn refuse(
        reason: Reason,
        object: Object,
        tried: &'static str,
        advice: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { reason, errno: None, object, tried, limit: None, advice: advice.into() }
    }

    /// What the system said, with the reason that follows from it for any object.
    pub(super) fn system(errno: i32, object: Object, tried: &'static str) -> Self {
        let (reason, advice) = match errno {
            libc::EEXIST => (Reason::Exists, "open it, remove it first (`ipcrm`), or use another key"),
            libc::ENOENT => (Reason::NotFound, "create it first, or look for the right key with `ipcs`"),
            libc::EIDRM => (Reason::Removed, "create it again"),
            libc::EACCES => (Reason::Denied, "its mode forbids it: ask its owner (`ipcs` shows who that is)"),
            libc::EPERM => (Reason::Denied, "only its owner, its creator or root may do that"),
            libc::ENOMEM => (Reason::NoMemory, "ask for less, or free some memory"),
            _ => (Reason::System, ""),
        };
        Self { reason, errno: Some(errno), object, tried, limit: None, advice: Cow::Borrowed(advice) }
    }

    /// The same with another reason and other advice.
    pub(super) fn because(mut self, reason: Reason, advice: impl Into<Cow<'static, str>>) -> Self {
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
        self.because(Reason::Limit, "raise it, or free what is not used any more (`ipcs`, `ipcrm`)")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} {}", self.tried, self.object)?;
        match (self.reason, self.errno) {
            (Reason::Removed, Some(errno)) => write!(f, ": it was removed (os error {errno})")?,
            (Reason::Limit, Some(errno)) => write!(f, ": a limit is reached (os error {errno})")?,
            (Reason::WouldBlock, Some(errno)) => write!(f, ": that would have to wait (os error {errno})")?,
            (Reason::TimedOut, Some(errno)) => write!(f, ": the time is over (os error {errno})")?,
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

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(e: Error) -> Self {
        io::Error::new(e.kind(), e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Object = Object { kind: Kind::Msg, key: Some(Key::new(0x4d01_0203)), id: Some(7) };

    #[test]
    fn says_what_was_tried_on_what_and_what_to_do() {
        let e = Error::system(libc::EEXIST, QUEUE, "create");
        let text = e.to_string();
        assert!(
            text.starts_with("could not create System V message queue (key 0x4d010203, id 7): File exists"),
            "{text}"
        );
        assert!(text.ends_with("use another key"), "{text}");
        assert_eq!((e.reason(), e.raw_os_error()), (Reason::Exists, Some(libc::EEXIST)));
    }

    #[test]
    fn an_io_error_carries_it() {
        let e: io::Error = Error::system(libc::EIDRM, QUEUE, "read from").into();
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        let inner = e.get_ref().and_then(|e| e.downcast_ref::<Error>()).unwrap();
        assert_eq!(inner.reason(), Reason::Removed);
    }

    #[test]
    fn a_limit_is_named() {
        let limit = Limit { name: "MSGMNI", sysctl: "kernel.msgmni", value: Some(3) };
        let e = Error::system(libc::ENOSPC, QUEUE, "create").limited(limit);
        assert!(e.to_string().contains("MSGMNI is 3 (kernel.msgmni)"), "{e}");
        assert_eq!(e.kind(), io::ErrorKind::QuotaExceeded);
    }
}
