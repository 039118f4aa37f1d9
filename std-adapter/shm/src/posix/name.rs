//! Names of shared memory objects.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the objects are.
#[doc(hidden)]
pub const DIRECTORY: &str = "/dev/shm";

/// The longest name, the slash included.
const LONGEST: usize = 255;

/// The name of a shared memory object: a slash, then at most 254 bytes without another one.
///
/// POSIX leaves all other names to the system. With this form the object is the same one for programs in Rust,
/// C and Python.
///
/// ```
/// use smstream_shm::posix::ShmName;
///
/// let name: ShmName = "/numbers".parse()?;
/// assert_eq!(name.as_str(), "/numbers");
/// for wrong in ["numbers", "/", "/a/b", "/..", ""] {
///     assert!(wrong.parse::<ShmName>().is_err());
/// }
/// # Ok::<(), smstream_shm::posix::BadShmName>(())
/// ```
///
/// # References
/// [shm_open(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html)
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShmName(String);

/// Why a text is no name of a shared memory object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadShmName {
    text: String,
    why: &'static str,
}

impl ShmName {
    /// Checks a name.
    ///
    /// # Errors
    /// It has not the form.
    pub fn new(name: impl AsRef<str>) -> Result<Self, BadShmName> {
        let text = name.as_ref();
        let wrong = |why| Err(BadShmName { text: text.to_owned(), why });
        match text.strip_prefix('/') {
            None => wrong("it does not begin with a slash"),
            Some("") => wrong("there is nothing after the slash"),
            Some("." | "..") => wrong("that is a directory"),
            Some(rest) if rest.contains('/') => wrong("there is a second slash"),
            Some(rest) if rest.contains('\0') => wrong("it has a NUL byte"),
            Some(_) if text.len() > LONGEST => wrong("it is longer than 255 bytes"),
            Some(_) => Ok(Self(text.to_owned())),
        }
    }

    /// The name with its slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file that is the object.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(self.base())
    }

    /// The name without its slash.
    pub(super) fn base(&self) -> &OsStr {
        OsStr::new(&self.0[1..])
    }
}

impl AsRef<str> for ShmName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ShmName {
    type Err = BadShmName;

    fn from_str(text: &str) -> Result<Self, BadShmName> {
        Self::new(text)
    }
}

impl fmt::Display for ShmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadShmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, why } = self;
        write!(f, "\"{}\" is no name of a shared memory object: {why}. Use /NAME, ", text.escape_debug())?;
        f.write_str("for example /numbers")
    }
}

impl std::error::Error for BadShmName {}

impl From<BadShmName> for io::Error {
    fn from(e: BadShmName) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_a_name() {
        let longest = format!("/{}", "n".repeat(254));
        for text in ["/a", "/.hidden", "/...", "/with space", "/ü", &longest] {
            let name: ShmName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.path(), Path::new(&format!("/dev/shm{text}")));
        }
    }

    #[test]
    fn says_why_not() {
        let long = format!("/{}", "n".repeat(255));
        let cases = [
            ("", "begin with a slash"),
            ("a", "begin with a slash"),
            ("/", "nothing after"),
            ("//", "second slash"),
            ("/a/b", "second slash"),
            ("/a/", "second slash"),
            ("/.", "a directory"),
            ("/..", "a directory"),
            ("/a\0", "NUL"),
            (&long, "longer than 255"),
        ];
        for (text, why) in cases {
            let e: io::Error = text.parse::<ShmName>().unwrap_err().into();
            assert_eq!(e.kind(), io::ErrorKind::InvalidInput);
            assert!(e.to_string().contains(why), "{text:?}: {e}");
            assert!(e.to_string().contains("Use /NAME"), "{e}");
        }
    }
}
