//! What can go wrong, for people and for programs.

mod names;
mod rendezvous;

use std::fmt;
use std::io;
use std::sync::Arc;

use smstream_core::error::ErrorCode;

/// What kind of thing went wrong: *the* way to tell errors apart.
///
/// Everything else is derived from it: the [`io::ErrorKind`] ([`Error::kind`]), for code that knows `std` only, where several
/// reasons can share a kind; and the [`ErrorCode`] of the libraries that this replaces ([`Error::code`]), for programs that are
/// ported from them. [`Reason::of`] finds the reason in an [`io::Error`].
///
/// ```
/// use smstream::{Reason, Stream};
/// use std::io::Read;
///
/// let (mut here, _there) = Stream::pair()?;
/// here.set_nonblocking(true)?;
/// match here.read(&mut [0; 8]) {
///     Err(e) => match Reason::of(&e) {
///         Some(Reason::WouldBlock) => println!("later"),
///         Some(Reason::PeerGone) => println!("it died"),
///         _ => return Err(e),
///     },
///     Ok(n) => println!("{n} bytes"),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The peer died without closing. All it had sent has been read.
    PeerGone,
    /// The peer takes no more bytes, or this half was shut down.
    WriteAfterClose,
    /// The peer's words broke the rules of the stream, or its memory was cut short (see
    /// [`Builder::guard_truncation`](crate::Builder::guard_truncation)). It cannot be used any more.
    Corrupt,
    /// Both parties wait for each other. It does not stay: do something else, and the other goes on.
    Deadlock,
    /// This end was given up by [`Stream::abort`](crate::Stream::abort).
    Aborted,
    /// The peer closed the stream, and more bytes were wanted than had come.
    UnexpectedEnd,
    /// A timeout passed.
    TimedOut,
    /// The call would have to wait, and the stream or listener does not block.
    WouldBlock,
    /// No listener there: no such name, or the listener is gone.
    NotReady,
    /// Another listener has the address.
    AddrInUse,
    /// Another connector has the region already, or it is one left over, kept by a hard link.
    Claimed,
    /// What the name leads to is no region of this kind.
    NotARegion,
    /// A region of another layout version or byte order.
    Version,
    /// Another owner, or no permission.
    Denied,
    /// A capacity that no lane can have.
    Capacity,
    /// An argument that makes no sense.
    InvalidInput,
    /// What this kind of address cannot do.
    Unsupported,
    /// Anything else the system says.
    System,
}

/// What was tried, on what, what came of it, and what to do next.
///
/// It turns into an [`io::Error`] of the fitting kind, with itself inside: [`Error::from_io`] finds it there.
#[derive(Clone, Debug)]
pub struct Error {
    reason: Reason,
    name: &'static str,
    kind: io::ErrorKind,
    code: Option<ErrorCode>,
    text: String,
    written: Option<usize>,
    read: Option<usize>,
    source: Option<Arc<io::Error>>,
}

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a system call behind it.
    pub(crate) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Error {
            reason,
            name: reason.name(),
            kind: reason.kind(),
            code: reason.code(),
            text: text.into(),
            written: None,
            read: None,
            source: None,
        }
    }

    /// An error that the system gave. Its text says everything.
    pub(crate) fn system(reason: Reason, source: io::Error) -> Self {
        let kind = if reason == Reason::System { source.kind() } else { reason.kind() };
        let text = source.to_string();
        Error {
            reason,
            name: reason.name(),
            kind,
            code: reason.code(),
            text,
            written: None,
            read: None,
            source: Some(Arc::new(source)),
        }
    }

    /// The error of a `write_all` of `all` bytes that failed when `written` of them had gone.
    pub(crate) fn after_writing(mut self, written: usize, all: usize) -> Self {
        self.text = format!("{}; {written} of {all} bytes were written before", self.text);
        self.written = Some(written);
        self
    }

    /// The error of a `read_exact` of `all` bytes that failed when `read` of them had come.
    pub(crate) fn after_reading(mut self, read: usize, all: usize) -> Self {
        self.text = format!("{}; {read} of {all} bytes were read before", self.text);
        self.read = Some(read);
        self
    }

    /// The same with another code than its reason has.
    pub(crate) fn with_code(self, code: ErrorCode) -> Self {
        Error { code: Some(code), ..self }
    }

    /// The error of an attempt to connect: whatever keeps the name from being opened means that no listener can be reached
    /// there.
    pub(crate) fn of_connecting(mut self) -> Self {
        if self.code.is_none() && matches!(self.reason, Reason::Denied | Reason::System) {
            self.code = Some(ErrorCode::ConnectionNotReady);
        }
        self
    }

    /// The error of this crate in an [`io::Error`], if there is one.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::net::Shutdown;
    /// let (mut here, there) = smstream::Stream::pair()?;
    /// there.shutdown(Shutdown::Read)?;
    /// let e = here.write_all(b"hello").unwrap_err();
    /// let e = smstream::Error::from_io(&e).unwrap();
    /// assert_eq!(e.code(), Some(smstream::ErrorCode::WriteAfterClose));
    /// assert_eq!(e.written(), Some(0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn from_io(error: &io::Error) -> Option<&Error> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The name that peers in C, Python and Go have for it, too: `PeerGone`, `Refused`, `LaneOffset`. It says more than the
    /// [reason](Error::reason) where a region or a rendezvous is wrong. `docs/LAYOUT.md` has the names of faults, the table
    /// `SMS_ERRORS` of `smstream.h` all others.
    ///
    /// ```
    /// let refused = smstream::Stream::connect("unix:@smstream-doc-no-such-name").unwrap_err();
    /// assert_eq!(refused.name(), "NoListener");
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The standard library's kind for its [reason](Error::reason); for [`Reason::System`] that of the system's error.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }

    /// The code of the older libraries for its [reason](Error::reason), if they had one: see `docs/PREDECESSORS.md`.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.code
    }

    /// How many bytes a `write_all` had put into the lane when it failed. How many of them the peer will never read, says
    /// [`Stream::undelivered`](crate::Stream::undelivered). `None` for every other call: one that fails has written nothing.
    #[must_use]
    pub fn written(&self) -> Option<usize> {
        self.written
    }

    /// How many bytes a `read_exact` had put into the caller's buffer when it failed: they are taken from the stream, and the
    /// next read goes on behind them. `None` for every other call: one that fails has taken nothing.
    #[must_use]
    pub fn read(&self) -> Option<usize> {
        self.read
    }
}

impl Reason {
    /// The reason of an error that came as an [`io::Error`]. `None`: it is not of this crate.
    ///
    /// [`Reason::WouldBlock`] is known by the kind alone, for such an error carries nothing: it is the ordinary course of a
    /// stream that does not block, and costs no allocation.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Reason> {
        match Error::from_io(error) {
            Some(error) => Some(error.reason),
            None => (error.kind() == io::ErrorKind::WouldBlock).then_some(Reason::WouldBlock),
        }
    }

    fn code(self) -> Option<ErrorCode> {
        Some(match self {
            Reason::PeerGone => ErrorCode::PartnerNotAlive,
            Reason::WriteAfterClose => ErrorCode::WriteAfterClose,
            Reason::Claimed | Reason::AddrInUse => ErrorCode::NotAlone,
            Reason::NotReady | Reason::NotARegion | Reason::Version => ErrorCode::ConnectionNotReady,
            Reason::Deadlock => ErrorCode::Deadlock,
            Reason::Capacity => ErrorCode::MRing,
            _ => return None,
        })
    }

    fn kind(self) -> io::ErrorKind {
        match self {
            Reason::PeerGone => io::ErrorKind::ConnectionReset,
            Reason::WriteAfterClose => io::ErrorKind::BrokenPipe,
            Reason::Corrupt | Reason::NotARegion | Reason::Version => io::ErrorKind::InvalidData,
            Reason::Deadlock => io::ErrorKind::Deadlock,
            Reason::Aborted => io::ErrorKind::ConnectionAborted,
            Reason::UnexpectedEnd => io::ErrorKind::UnexpectedEof,
            Reason::TimedOut => io::ErrorKind::TimedOut,
            Reason::WouldBlock => io::ErrorKind::WouldBlock,
            Reason::NotReady => io::ErrorKind::ConnectionRefused,
            Reason::AddrInUse => io::ErrorKind::AddrInUse,
            Reason::Claimed => io::ErrorKind::ResourceBusy,
            Reason::Denied => io::ErrorKind::PermissionDenied,
            Reason::Capacity | Reason::InvalidInput => io::ErrorKind::InvalidInput,
            Reason::Unsupported => io::ErrorKind::Unsupported,
            Reason::System => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().and_then(|e| std::error::Error::source(&**e))
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> Self {
        match e.reason {
            // The ordinary course of a stream that does not block: no allocation, unless there is something to say.
            Reason::WouldBlock if e.written.or(e.read).unwrap_or(0) == 0 => e.kind.into(),
            _ => io::Error::new(e.kind, e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_carries_it() {
        let e: io::Error = Error::new(Reason::PeerGone, "gone").into();
        assert_eq!(e.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(Error::from_io(&e).unwrap().code(), Some(ErrorCode::PartnerNotAlive));
        assert!(Error::from_io(&io::ErrorKind::ConnectionReset.into()).is_none());
    }

    #[test]
    fn one_that_would_have_to_wait_tells_what_went_before() {
        let e: io::Error = Error::new(Reason::WouldBlock, "no room").after_writing(0, 9).into();
        assert!(Error::from_io(&e).is_none(), "nothing to tell, so nothing is allocated");
        let e: io::Error = Error::new(Reason::WouldBlock, "no room").after_writing(4, 9).into();
        assert_eq!((e.kind(), Error::from_io(&e).unwrap().written()), (io::ErrorKind::WouldBlock, Some(4)));
        assert_eq!(e.to_string(), "no room; 4 of 9 bytes were written before");
    }
}
