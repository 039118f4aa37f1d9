//! Where one side of a proxy is: a stream's address or a socket's.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::SocketAddrV6;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use smstream::inspect::printable;

use crate::transport::{Addr, shown};

/// An address of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address of this library.
    Stream(Addr),
    /// `tcp:HOST:PORT`, here without its `tcp:`.
    Tcp(String),
    /// `uds:PATH`: a Unix stream socket that carries the bytes itself.
    Uds(PathBuf),
    /// `uds:@NAME`: the same with a name in the abstract namespace, here without its `@`.
    Abstract(OsString),
}

/// The longest path of a socket: unix(7), less the NUL at its end.
const LONGEST: usize = 107;

impl Endpoint {
    /// The address, if it is one of this library.
    pub fn addr(&self) -> Option<&Addr> {
        match self {
            Self::Stream(addr) => Some(addr),
            Self::Tcp(_) | Self::Uds(_) | Self::Abstract(_) => None,
        }
    }

    /// Reads an endpoint, which need not be UTF-8.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        if let Some(rest) = text.as_bytes().strip_prefix(b"tcp:") {
            let rest = String::from_utf8_lossy(rest);
            return tcp(&rest).map(|()| Self::Tcp(rest.into_owned()));
        }
        if let Some(rest) = text.as_bytes().strip_prefix(b"uds:") {
            return uds(rest);
        }
        let addr = Addr::from_os_str(text).map_err(|error| {
            format!("{error}; or write tcp:HOST:PORT, uds:PATH or uds:@NAME for a socket that carries the bytes itself")
        })?;
        Ok(Self::Stream(addr))
    }

    /// Reads an endpoint from the command line.
    pub fn parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(|text| Self::parse(&text))
    }

    /// Whether two endpoints are one, however they are written.
    pub fn is_same(&self, other: &Self) -> bool {
        let region = |addr: &Addr| match addr {
            Addr::File(path) => Some(path.clone()),
            Addr::Shm(name) => Some(Path::new("/dev/shm").join(name)),
            _ => None,
        };
        match (self, other) {
            (Self::Uds(one), Self::Uds(other)) | (Self::Stream(Addr::Unix(one)), Self::Stream(Addr::Unix(other))) => {
                absolute(one) == absolute(other)
            }
            (Self::Stream(one), Self::Stream(other)) => match (region(one), region(other)) {
                (Some(one), Some(other)) => absolute(&one) == absolute(&other),
                _ => one == other,
            },
            _ => self == other,
        }
    }
}

/// A path without the detours of its directory; the name itself may not exist yet.
fn absolute(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (parent.canonicalize(), path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

/// Checks `HOST:PORT`, without asking who the host is.
fn tcp(text: &str) -> Result<(), String> {
    let wrong = || format!("\"tcp:{text}\" needs a host and a port, such as tcp:127.0.0.1:8080 or tcp:[::1]:8080");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>().map_err(|_| wrong())?;
    // An IPv6 address has colons of its own, and brackets around them.
    let special = host.contains([':', '[', ']']) && text.parse::<SocketAddrV6>().is_err();
    if host.is_empty() || special || host.contains(char::is_whitespace) || port.starts_with('+') {
        return Err(wrong());
    }
    Ok(())
}

/// Reads what follows `uds:`.
fn uds(text: &[u8]) -> Result<Endpoint, String> {
    let wrong = |why: &str| Err(format!("\"uds:{}\" is not an address: {why}", printable(text)));
    let name = text.strip_prefix(b"@");
    match name.unwrap_or(text) {
        b"" => wrong("the path is empty; write uds:PATH or uds:@NAME"),
        path if path.contains(&0) => wrong("it has a NUL byte"),
        path if path.len() > LONGEST => wrong("it is longer than the 107 bytes that a socket's name may have"),
        path => Ok(match name {
            Some(name) => Endpoint::Abstract(OsStr::from_bytes(name).to_owned()),
            None => Endpoint::Uds(PathBuf::from(OsStr::from_bytes(path))),
        }),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(addr) => f.write_str(&shown(addr)),
            Self::Tcp(text) => write!(f, "tcp:{text}"),
            Self::Uds(path) => write!(f, "uds:{}", printable(path.as_os_str().as_bytes())),
            Self::Abstract(name) => write!(f, "uds:@{}", printable(name.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        for text in
            ["file:/tmp/x", "shm:/x", "unix:@x", "tcp:localhost:80", "tcp:[::1]:0", "uds:/run/x", "uds:@a b", "uds:x"]
        {
            assert_eq!(Endpoint::parse(OsStr::new(text)).map(|endpoint| endpoint.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn the_same_endpoint_in_other_words() {
        let endpoint = |text: &str| Endpoint::parse(OsStr::new(text)).expect("an endpoint");
        let here = std::env::current_dir().expect("a directory").display().to_string();
        for (one, other) in [
            (format!("unix:{here}/x"), "unix:./x".to_owned()),
            (format!("file:{here}/x"), "file:x".to_owned()),
            ("uds:/tmp/../tmp/x".to_owned(), "uds:/tmp/x".to_owned()),
            ("shm:/x".to_owned(), "file:/dev/shm/x".to_owned()),
        ] {
            assert!(endpoint(&one).is_same(&endpoint(&other)), "{one} and {other}");
        }
        assert!(!endpoint("unix:x").is_same(&endpoint("uds:x")) && !endpoint("unix:x").is_same(&endpoint("unix:y")));
    }

    #[test]
    fn says_what_is_allowed() {
        let long = format!("uds:{}", "x".repeat(108));
        let tcp =
            ["tcp:", "tcp:80", "tcp::80", "tcp:x:", "tcp:x:+1", "tcp:x:65536", "tcp:::1:80", "tcp:a b:1", "tcp:[x:1"];
        let others = ["", "x/", "udp:x:1", "uds:", "uds:@", "uds:a\0b", &long];
        for text in tcp.into_iter().chain(others) {
            let error = Endpoint::parse(OsStr::new(text)).expect_err(text);
            assert!(error.contains("tcp:") || error.contains("uds:"), "{error}");
        }
    }
}
