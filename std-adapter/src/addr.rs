//! Addresses: where a listener can be found.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a listener can be found.
///
/// ```
/// use smstream::Addr;
///
/// let addr: Addr = "file:/tmp/chat".parse().unwrap();
/// assert_eq!(addr.to_string(), "file:/tmp/chat");
/// assert!("/tmp/chat".parse::<Addr>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Addr {
    /// `file:PATH`: a region file under this name. The parties find each other by shared memory and file locks alone.
    File(PathBuf),
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseAddrError {
    text: String,
    why: &'static str,
}

impl fmt::Display for ParseAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not an address: {}. Use file:PATH, for example file:/tmp/chat",
            self.text.escape_debug(),
            self.why
        )
    }
}

impl std::error::Error for ParseAddrError {}

impl FromStr for Addr {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, ParseAddrError> {
        let wrong = |why| Err(ParseAddrError { text: text.to_owned(), why });
        match text.split_once(':') {
            Some(("file", "")) => wrong("the path is empty"),
            Some(("file", path)) if path.contains('\0') => wrong("a path cannot have a NUL byte"),
            Some(("file", path)) if path.ends_with('/') => wrong("the path names a directory, not a file"),
            Some(("file", path)) => Ok(Addr::File(PathBuf::from(path))),
            Some(_) => wrong("the kind before the colon is not known"),
            None => wrong("it does not say which kind"),
        }
    }
}

impl fmt::Display for Addr {
    /// The form that [`FromStr`] takes. A path that is not UTF-8 is shown with replacement characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// What can be used as an address: an [`Addr`], a text like `file:PATH`, or a path.
pub trait ToAddr {
    /// The address.
    ///
    /// # Errors
    /// The text is none.
    fn to_addr(&self) -> Result<Addr, ParseAddrError>;
}

impl ToAddr for Addr {
    fn to_addr(&self) -> Result<Addr, ParseAddrError> {
        Ok(self.clone())
    }
}

impl ToAddr for str {
    fn to_addr(&self) -> Result<Addr, ParseAddrError> {
        self.parse()
    }
}

impl ToAddr for String {
    fn to_addr(&self) -> Result<Addr, ParseAddrError> {
        self.parse()
    }
}

impl ToAddr for Path {
    fn to_addr(&self) -> Result<Addr, ParseAddrError> {
        if self.as_os_str() == OsStr::new("") {
            return Err(ParseAddrError { text: String::new(), why: "the path is empty" });
        }
        Ok(Addr::File(self.to_owned()))
    }
}

impl ToAddr for PathBuf {
    fn to_addr(&self) -> Result<Addr, ParseAddrError> {
        self.as_path().to_addr()
    }
}

impl<T: ToAddr + ?Sized> ToAddr for &T {
    fn to_addr(&self) -> Result<Addr, ParseAddrError> {
        (**self).to_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        for text in ["file:/tmp/x", "file:x", "file:a:b", "file:/tmp/with space"] {
            assert_eq!(text.parse::<Addr>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn says_what_is_allowed() {
        for text in ["", "x", "/tmp/x", "file:", "file:/tmp/", "file:\0", "http://x", "FILE:x"] {
            let error = text.parse::<Addr>().unwrap_err().to_string();
            assert!(error.contains("Use file:PATH"), "{error}");
        }
    }
}
