//! What could not be made into something else, given back.

use crate::error::Error;
use std::fmt;
use std::io;

/// A stream or listener could not be made into another kind: why, and the thing itself, as it was before.
///
/// With `?` it becomes an [`Error`] or an [`io::Error`], and the thing is dropped.
///
/// ```
/// use smstream::{Pollable, Reason, Stream};
/// use std::io::Write;
///
/// let (here, there) = Stream::pair()?;
/// let failed = Pollable::new(here).unwrap_err(); // The ends of a pair share memory and no socket.
/// assert_eq!(failed.error().reason(), Reason::Unsupported);
/// let mut here = failed.into_inner();
/// here.write_all(b"still good")?;
/// # drop(there);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ConvertError<T> {
    error: Error,
    value: T,
}

impl<T> ConvertError<T> {
    pub(crate) fn new(error: Error, value: T) -> Self {
        ConvertError { error, value }
    }

    /// Why not.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What was to be converted.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Both.
    #[must_use]
    pub fn into_parts(self) -> (Error, T) {
        (self.error, self.value)
    }
}

impl<T> fmt::Debug for ConvertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConvertError").field(&self.error).finish()
    }
}

impl<T> fmt::Display for ConvertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for ConvertError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<T> From<ConvertError<T>> for Error {
    fn from(e: ConvertError<T>) -> Self {
        e.error
    }
}

impl<T> From<ConvertError<T>> for io::Error {
    fn from(e: ConvertError<T>) -> Self {
        e.error.into()
    }
}
