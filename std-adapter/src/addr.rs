//! Addresses: where a listener can be found.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::chance;
use crate::error::{Error, Reason};

/// Where POSIX shared memory has its names: shm_open(3).
const SHM: &str = "/dev/shm";
/// The longest name of `shm:`: what a file may have, less the `.new` that a listener puts behind it for a moment.
const LONGEST_SHM: usize = 251;
/// The longest path of a socket: unix(7), less the NUL at its end.
const LONGEST_SOCKET: usize = 107;

/// Where a listener can be found.
///
/// | form | the parties find each other by | who may be the other party |
/// |---|---|---|
/// | `file:PATH` | a region file with this name, and file locks | the same user, trusted not to shorten the file |
/// | `shm:/NAME` | the same, with a name as `shm_open` has it | the same |
/// | `unix:PATH` | a Unix socket with this name, which hands out sealed memory | whomever the [`Builder`](crate::Builder) allows; neither needs to trust the other |
/// | `unix:@NAME` | the same, in the abstract namespace: no file is left behind, and no file permissions apply | the same |
/// | `fd:N` | a socket that this process has inherited as descriptor `N` | the process that has its other end |
///
/// A text that begins with `/` or `.`, or has no colon, is a bare path: `chat` is `file:chat`, as it is for the command
/// `smstream`, and as a [`Path`] is.
///
/// ```
/// use smstream::Addr;
///
/// let addr: Addr = "file:/tmp/chat".parse().unwrap();
/// assert_eq!(addr.to_string(), "file:/tmp/chat");
/// assert_eq!("shm:/chat".parse(), Ok(Addr::Shm("chat".into())));
/// assert_eq!("unix:@chat".parse(), Ok(Addr::Abstract("chat".into())));
/// assert_eq!("fd:3".parse(), Ok(Addr::Fd(3)));
/// assert_eq!("/tmp/chat".parse(), Ok(Addr::File("/tmp/chat".into())));
/// assert_eq!("./a:b".parse(), Ok(Addr::File("./a:b".into())));
/// assert!("http://chat".parse::<Addr>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Addr {
    /// `file:PATH`: a region file under this name. The parties find each other by shared memory and file locks alone.
    File(PathBuf),
    /// `shm:/NAME`: the same with a name of POSIX shared memory, here without its slash: it lies in `/dev/shm`.
    Shm(OsString),
    /// `unix:PATH`: a Unix socket under this name.
    Unix(PathBuf),
    /// `unix:@NAME`: a Unix socket with a name in the abstract namespace, here without its `@`.
    Abstract(OsString),
    /// `fd:N`: a Unix stream socket that this process has open already. One can connect to it, once, and not listen.
    Fd(RawFd),
}

/// A kind of address that one can listen at, for [`Builder::bind_temp`](crate::Builder::bind_temp).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `file:PATH`, in the directory for temporary files.
    File,
    /// `shm:/NAME`.
    Shm,
    /// `unix:PATH`, in the directory for temporary files.
    Unix,
    /// `unix:@NAME`.
    Abstract,
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
            "\"{}\" is not an address: {}. Use file:PATH, shm:/NAME, unix:PATH, unix:@NAME or fd:N, for example \
             file:/tmp/chat; or a path, which means file: (one with a colon begins with / or ./)",
            self.text.escape_debug(),
            self.why
        )
    }
}

impl std::error::Error for ParseAddrError {}

impl From<ParseAddrError> for Error {
    fn from(e: ParseAddrError) -> Self {
        Error::new(Reason::InvalidInput, e.to_string())
    }
}

impl Addr {
    /// The kind, as it stands before the colon.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Addr::File(_) => "file",
            Addr::Shm(_) => "shm",
            Addr::Unix(_) | Addr::Abstract(_) => "unix",
            Addr::Fd(_) => "fd",
        }
    }

    /// The path of the region file that a listener at this address has: `None` for an address that has none.
    pub(crate) fn region(&self) -> Option<Cow<'_, Path>> {
        match self {
            Addr::File(path) => Some(Cow::Borrowed(path)),
            Addr::Shm(name) => Some(Cow::Owned(Path::new(SHM).join(name))),
            _ => None,
        }
    }

    /// [`region`](Self::region), for an address that must have one.
    pub(crate) fn region_path(&self) -> Result<Cow<'_, Path>, Error> {
        self.region().ok_or_else(|| Error::new(Reason::InvalidInput, format!("{self} is no region")))
    }

    /// A new address of this kind, which no other listener is likely to have.
    pub(crate) fn unique(kind: Kind) -> Self {
        let name = format!("smstream-{}-{:016x}", std::process::id(), chance::number());
        match kind {
            Kind::File => Addr::File(std::env::temp_dir().join(name)),
            Kind::Shm => Addr::Shm(name.into()),
            Kind::Unix => Addr::Unix(std::env::temp_dir().join(name)),
            Kind::Abstract => Addr::Abstract(name.into()),
        }
    }

    /// Parses what need not be UTF-8.
    ///
    /// # Errors
    /// The text is no address.
    pub fn from_os_str(text: &OsStr) -> Result<Self, ParseAddrError> {
        let wrong = |why| Err(ParseAddrError { text: text.to_string_lossy().into_owned(), why });
        let bytes = text.as_bytes();
        let colon = bytes.iter().position(|&b| b == b':');
        let (kind, rest) = match colon {
            Some(colon) if !bytes.starts_with(b"/") && !bytes.starts_with(b".") => {
                (&bytes[..colon], &bytes[colon + 1..])
            }
            // A bare path.
            _ => (&b"file"[..], bytes),
        };
        let path = || PathBuf::from(OsString::from_vec(rest.to_vec()));
        let nul = rest.contains(&0);
        match (kind, rest) {
            (b"file" | b"unix", b"") => wrong("the path is empty"),
            (b"file" | b"unix", _) if nul => wrong("a path cannot have a NUL byte"),
            (b"file" | b"unix", [.., b'/']) => wrong("the path names a directory, not a file"),
            (b"file", _) => Ok(Addr::File(path())),
            (b"shm", [b'/', name @ ..]) => match name {
                b"" => wrong("the name is empty"),
                b"." | b".." => wrong("the name is that of a directory"),
                _ if name.contains(&b'/') => wrong("a name of shared memory has one slash, at its start"),
                _ if nul => wrong("a name cannot have a NUL byte"),
                _ if name.len() > LONGEST_SHM => wrong("the name is longer than 251 bytes"),
                _ => Ok(Addr::Shm(OsString::from_vec(name.to_vec()))),
            },
            (b"shm", _) => wrong("a name of shared memory begins with a slash"),
            (b"unix", b"@") => wrong("the name is empty"),
            // The name has a NUL byte in front where a path has one behind.
            (b"unix", [b'@', ..]) if rest.len() > LONGEST_SOCKET + 1 => wrong("the name is longer than 107 bytes"),
            (b"unix", [b'@', name @ ..]) => Ok(Addr::Abstract(OsString::from_vec(name.to_vec()))),
            (b"unix", _) if rest.len() > LONGEST_SOCKET => {
                wrong("the path is longer than the 107 bytes that a socket's may have")
            }
            (b"unix", _) => Ok(Addr::Unix(path())),
            (b"fd", _) => match std::str::from_utf8(rest).ok().and_then(|n| n.parse::<RawFd>().ok()) {
                // No sign: what is printed is what was parsed.
                Some(fd) if fd >= 0 && rest.first().is_some_and(u8::is_ascii_digit) => Ok(Addr::Fd(fd)),
                _ => wrong("a descriptor is a number from 0 to 2147483647"),
            },
            _ => wrong("the kind before the colon is not known"),
        }
    }
}

impl FromStr for Addr {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, ParseAddrError> {
        Addr::from_os_str(OsStr::new(text))
    }
}

impl fmt::Display for Addr {
    /// The form that [`FromStr`] takes. What is not UTF-8 is shown with replacement characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::File(path) => write!(f, "file:{}", path.display()),
            Addr::Shm(name) => write!(f, "shm:/{}", name.display()),
            Addr::Unix(path) => write!(f, "unix:{}", path.display()),
            Addr::Abstract(name) => write!(f, "unix:@{}", name.display()),
            Addr::Fd(fd) => write!(f, "fd:{fd}"),
        }
    }
}

/// What can be used as an address: an [`Addr`], a text like `unix:PATH`, or a path, which means `file:`, as text, too.
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
        let kinds = ["file:/tmp/x", "file:x", "file:a:b", "file:/tmp/with space", "file:@x"];
        let more =
            ["shm:/x", "shm:/a b", "unix:/run/x", "unix:x", "unix:./@x", "unix:@x", "unix:@a/b", "fd:0", "fd:17"];
        for text in kinds.into_iter().chain(more) {
            let addr = text.parse::<Addr>().unwrap();
            assert_eq!(addr.to_string(), text);
            assert_eq!(addr.kind(), text.split(':').next().unwrap());
        }
    }

    /// As for the command, and as a `Path` is.
    #[test]
    fn a_bare_path_is_a_file() {
        for text in ["x", "/tmp/x", "a b", "./x", "../x", "/tmp/a:b", "./unix:x", ".x", "@x"] {
            assert_eq!(text.parse(), Ok(Addr::File(text.into())), "{text}");
            assert_eq!(text.to_addr(), Path::new(text).to_addr());
            assert_eq!(text.parse::<Addr>().unwrap().to_string(), format!("file:{text}"));
        }
    }

    #[test]
    fn says_what_is_allowed() {
        let long = format!("unix:/{}", "x".repeat(107));
        let long_name = format!("unix:@{}", "x".repeat(108));
        let long_shm = format!("shm:/{}", "x".repeat(252));
        let wrong: [(&str, &[&str]); 13] = [
            ("the path is empty", &["", "file:", "unix:"]),
            ("a directory, not a file", &["x/", "/tmp/x/", "file:/tmp/", "unix:/tmp/"]),
            ("a path cannot have a NUL", &["x\0", "file:\0", "unix:a\0b"]),
            ("kind before the colon is not known", &["http://x", "FILE:x", ":x"]),
            ("begins with a slash", &["shm:", "shm:x"]),
            ("the name is empty", &["shm:/", "unix:@"]),
            ("one slash, at its start", &["shm:/a/b"]),
            ("that of a directory", &["shm:/.", "shm:/.."]),
            ("a name cannot have a NUL", &["shm:/a\0"]),
            ("longer than 251 bytes", &[&long_shm]),
            ("name is longer than 107 bytes", &[&long_name]),
            ("longer than the 107 bytes that a socket's", &[&long]),
            ("a number from 0 to 2147483647", &["fd:", "fd:x", "fd:-1", "fd:+3", "fd:2147483648", "fd: 3", "fd:\0"]),
        ];
        for (why, texts) in wrong {
            for text in texts {
                let error = text.parse::<Addr>().unwrap_err();
                assert!(Error::from(error.clone()).to_string().contains(&error.to_string()));
                let error = error.to_string();
                assert!(error.contains("Use file:PATH, shm:/NAME, unix:PATH, unix:@NAME or fd:N"), "{error}");
                assert!(error.contains(why) && error.contains(&*text.escape_debug().to_string()), "{error}");
            }
        }
        assert!(
            Path::new("").to_addr().is_err() && PathBuf::new().to_addr().is_err() && "".to_owned().to_addr().is_err()
        );
    }

    #[test]
    fn an_address_is_one_already() {
        fn of(addr: impl ToAddr) -> Addr {
            addr.to_addr().unwrap()
        }
        for text in ["file:/tmp/x", "shm:/x", "unix:/tmp/x", "unix:@x", "fd:3"] {
            let addr = text.parse::<Addr>().unwrap();
            assert_eq!([of(text), of(text.to_owned()), of(&addr), of(addr.clone())], [(); 4].map(|()| addr.clone()));
        }
        assert_eq!(of(PathBuf::from("unix:x")), Addr::File("unix:x".into()), "a path is a file's");
    }

    #[test]
    fn regions_have_files() {
        let region = |text: &str| text.parse::<Addr>().unwrap().region().map(Cow::into_owned);
        assert_eq!(region("file:/tmp/x"), Some("/tmp/x".into()));
        assert_eq!(region("shm:/x"), Some("/dev/shm/x".into()));
        for text in ["unix:/tmp/x", "unix:@x", "fd:3"] {
            assert_eq!(region(text), None);
            let error = text.parse::<Addr>().unwrap().region_path().unwrap_err();
            assert!(error.reason() == Reason::InvalidInput && error.to_string().contains(text), "{error}");
        }
        assert_eq!(Addr::Shm("x".into()).region_path().unwrap(), Path::new("/dev/shm/x"));
    }

    #[test]
    fn a_new_address_is_of_its_kind_and_no_other_has_it() {
        for (kind, begin) in [
            (Kind::File, "file:/"),
            (Kind::Shm, "shm:/smstream-"),
            (Kind::Unix, "unix:/"),
            (Kind::Abstract, "unix:@smstream-"),
        ] {
            let [one, other] = [(); 2].map(|()| Addr::unique(kind));
            let text = one.to_string();
            assert!(one != other && text.starts_with(begin) && text.contains("smstream-"), "{text}");
            assert_eq!(text.parse(), Ok(one));
        }
    }

    #[test]
    fn the_longest_names_are_allowed() {
        assert!(format!("unix:{}", "x".repeat(107)).parse::<Addr>().is_ok());
        assert!(format!("unix:@{}", "x".repeat(107)).parse::<Addr>().is_ok());
        assert!(format!("shm:/{}", "x".repeat(251)).parse::<Addr>().is_ok());
    }

    #[test]
    fn what_is_not_utf8_is_an_address_too() {
        let addr = Addr::from_os_str(OsStr::from_bytes(b"unix:/tmp/\xff")).unwrap();
        assert_eq!(addr, Addr::Unix(PathBuf::from(OsStr::from_bytes(b"/tmp/\xff"))));
    }
}
