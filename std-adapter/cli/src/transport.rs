//! The library as this command uses it: the one place that names its API.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use smstream::Builder;
use smstream::inspect::printable;
pub use smstream::internal::BoundName;
pub use smstream::{Addr, Listener, Stream, TurnedAway};

use crate::inherited;

/// What to ask of a stream beyond the defaults.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The bytes of each lane; the listener decides about them.
    pub capacity: Option<u64>,
    /// The most bytes that a lane may have which the listener decides about.
    pub max_capacity: Option<u64>,
    /// How long to look before sleeping.
    pub spin: Option<Duration>,
    /// Who may be on the other side, beside this user.
    pub users: Users,
    /// What to do when a listener has turned a connector away.
    pub on_turned_away: Option<fn(&TurnedAway)>,
}

/// Other users that may be on the other side.
#[derive(Clone, Debug, Default)]
pub struct Users {
    /// Any.
    pub any: bool,
    /// These.
    pub uids: Vec<u32>,
}

impl Options {
    fn builder(&self) -> Builder {
        // A file that is cut short under the command is an error, and no SIGBUS.
        let mut builder = Builder::new().guard_truncation(true);
        // What does not fit is too large, which the library says.
        let whole = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Some(bytes) = self.capacity {
            builder = builder.capacity(whole(bytes));
        }
        // What this end would offer itself, it accepts.
        let most =
            self.max_capacity.or(self.capacity.filter(|&bytes| bytes > smstream::DEFAULT_MAX_PEER_CAPACITY as u64));
        if let Some(bytes) = most {
            builder = builder.max_peer_capacity(whole(bytes));
        }
        if let Some(spin) = self.spin {
            builder = builder.spin(spin);
        }
        if let Some(report) = self.on_turned_away {
            builder = builder.on_turned_away(report);
        }
        if self.users.any {
            builder = builder.allow_any();
        }
        self.users.uids.iter().fold(builder, |builder, &uid| builder.allow_uid(uid))
    }
}

/// Listens at an address; at a descriptor, goes on with the listening socket that was inherited.
pub fn bind(addr: &Addr, options: &Options) -> io::Result<Listener> {
    match addr {
        Addr::Fd(number) => adopt(inherited::listening(*number)?, options),
        addr => Ok(options.builder().bind(addr)?),
    }
}

/// Goes on with a socket that listens already.
pub fn adopt(socket: OwnedFd, options: &Options) -> io::Result<Listener> {
    Ok(options.builder().adopt(socket)?)
}

/// Connects to an address; with a limit, for no longer than that.
pub fn connect(addr: &Addr, options: &Options, limit: Option<Duration>) -> io::Result<Stream> {
    let builder = options.builder();
    Ok(match limit {
        Some(limit) => builder.connect_timeout(addr, limit)?,
        None => builder.connect(addr)?,
    })
}

/// What an error of the library says, with the options of this command instead of the library's settings.
pub fn in_options(error: &io::Error) -> String {
    words_in_options(&error.to_string())
}

/// The same of what the library says in other ways.
pub fn words_in_options(text: &str) -> String {
    let mut text = printable(text.as_bytes());
    while let Some(start) = text.find("`Builder::allow_uid(") {
        let Some(end) = text[start..].find(")`") else { break };
        let uid = text[start + "`Builder::allow_uid(".len()..start + end].to_owned();
        text.replace_range(start..start + end + 2, &format!("`--allow-user {uid}`"));
    }
    text.replace("let it call `Builder::allow_uid`", "give the listener `--allow-user`")
        .replace("`Builder::allow_uid`", "`--allow-user`")
        .replace("`Builder::allow_any`", "`--allow-any-user`")
        .replace("`Builder::max_peer_capacity`", "`--max-capacity`")
}

/// Reads an address, which need not be UTF-8, from the command line.
pub fn addr_parser() -> impl TypedValueParser<Value = Addr> {
    OsStringValueParser::new().try_map(|text| Addr::from_os_str(&text))
}

/// An address as it is written, byte for byte.
pub fn written(addr: &Addr) -> OsString {
    let (kind, rest): (&str, &OsStr) = match addr {
        Addr::File(path) => ("file:", path.as_os_str()),
        Addr::Shm(name) => ("shm:/", name),
        Addr::Unix(path) => ("unix:", path.as_os_str()),
        Addr::Abstract(name) => ("unix:@", name),
        other => return other.to_string().into(),
    };
    let mut text = kind.as_bytes().to_vec();
    text.extend(rest.as_encoded_bytes());
    OsString::from_vec(text)
}

/// An address for people: control characters are escaped.
pub fn shown(addr: &Addr) -> String {
    printable(written(addr).as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_were_read() {
        for text in [&b"file:/tmp/\xff\n"[..], b"shm:/\xfe", b"unix:/tmp/\x1b", b"unix:@\x80", b"fd:3"] {
            let text = OsString::from_vec(text.to_vec());
            let addr = Addr::from_os_str(&text).expect("an address");
            assert_eq!(written(&addr), text);
        }
    }

    #[test]
    fn errors_name_options() {
        let text = |said: &str| in_options(&io::Error::other(said.to_owned()));
        assert_eq!(text("user 7; `Builder::allow_uid(7)` would allow it"), "user 7; `--allow-user 7` would allow it");
        assert_eq!(text("raise `Builder::max_peer_capacity` if"), "raise `--max-capacity` if");
        assert_eq!(text("let it call `Builder::allow_uid`, or"), "give the listener `--allow-user`, or");
        assert_eq!(text("`Builder::allow_any`, or"), "`--allow-any-user`, or");
    }

    /// Whatever setting an error of a rendezvous may name, this command has an option for it.
    #[test]
    fn no_error_names_a_setting_of_the_library() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/rendezvous/error.rs");
        let source = std::fs::read_to_string(source).expect("the library beside this command");
        let said: Vec<&str> =
            source.lines().filter(|line| line.contains("Builder::") && !line.contains("///")).collect();
        assert!(said.len() > 2, "the errors are somewhere else by now: {said:?}");
        for line in said {
            let shown = in_options(&io::Error::other(line.replace("{uid}", "7")));
            assert!(!shown.contains("Builder::"), "{shown}");
        }
    }
}
