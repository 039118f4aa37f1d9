//! Where one side of a proxy is: a stream's address or a socket's.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddrV6;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::transport::Addr;

/// An address of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address of this library.
    Stream(Addr),
    /// `tcp:HOST:PORT`, here without its `tcp:`.
    Tcp(String),
    /// `uds:PATH`: a Unix stream socket that carries the bytes itself.
    Uds(PathBuf),
    /// `uds:@NAME`: the same with a name in the abstract namespace, here without its `@`.
    Abstract(String),
}

/// The longest path of a socket: unix(7), less the NUL at its end.
const LONGEST: usize = 107;

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("tcp:") {
            return tcp(rest).map(|()| Self::Tcp(rest.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("uds:") {
            return uds(rest);
        }
        let addr = Addr::from_os_str(OsStr::new(text)).map_err(|error| {
            format!("{error}; or write tcp:HOST:PORT, uds:PATH or uds:@NAME for a socket that carries the bytes itself")
        })?;
        Ok(Self::Stream(addr))
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
fn uds(text: &str) -> Result<Place, String> {
    let wrong = |why: &str| Err(format!("\"uds:{}\" is not an address: {why}", text.escape_debug()));
    let name = text.strip_prefix('@');
    match name.unwrap_or(text) {
        "" => wrong("the path is empty; write uds:PATH or uds:@NAME"),
        path if path.contains('\0') => wrong("it has a NUL byte"),
        path if path.len() > LONGEST => wrong("it is longer than the 107 bytes that a socket's name may have"),
        path => Ok(match name {
            Some(name) => Place::Abstract(name.to_owned()),
            None => Place::Uds(PathBuf::from(OsStr::from_bytes(path.as_bytes()))),
        }),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(addr) => write!(f, "{addr}"),
            Self::Tcp(text) => write!(f, "tcp:{text}"),
            Self::Uds(path) => write!(f, "uds:{}", path.display()),
            Self::Abstract(name) => write!(f, "uds:@{name}"),
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
            assert_eq!(text.parse::<Place>().map(|place| place.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn says_what_is_allowed() {
        let long = format!("uds:{}", "x".repeat(108));
        let tcp =
            ["tcp:", "tcp:80", "tcp::80", "tcp:x:", "tcp:x:+1", "tcp:x:65536", "tcp:::1:80", "tcp:a b:1", "tcp:[x:1"];
        let others = ["", "x", "udp:x:1", "uds:", "uds:@", "uds:a\0b", &long];
        for text in tcp.into_iter().chain(others) {
            let error = text.parse::<Place>().expect_err(text);
            assert!(error.contains("tcp:") || error.contains("uds:"), "{error}");
        }
    }
}
