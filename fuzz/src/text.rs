//! Texts from outside: addresses, the variable `SMSTREAM_FDS`, sizes, command lines. Each is compared with a grammar that is
//! written down here once more.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::OnceLock;

use smstream::{Addr, ToAddr as _};
use smstream_cli::internal::{self, NoSize};

use crate::bytes::Bytes;

/// The most words of a command line.
const MAX_WORDS: usize = 12;

/// The first byte says what the rest is.
pub fn text(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => address(rest),
        1 => descriptors(rest),
        2 => size(&String::from_utf8_lossy(rest)),
        _ => command_line(rest),
    }
}

fn address(text: &[u8]) {
    let text = OsStr::from_bytes(text);
    match (Addr::from_os_str(text), grammar(text.as_bytes())) {
        (Ok(addr), Some((kind, rest))) => {
            let shown = match &addr {
                Addr::File(path) | Addr::Unix(path) => path.as_os_str().as_bytes().to_vec(),
                Addr::Shm(name) => [b"/", name.as_bytes()].concat(),
                Addr::Abstract(name) => [b"@", name.as_bytes()].concat(),
                Addr::Fd(fd) => fd.to_string().into_bytes(),
                other => panic!("{other:?} is of no known kind"),
            };
            assert_eq!(addr.kind().as_bytes(), kind);
            if kind != b"fd" {
                assert_eq!(shown, rest);
            }
            // What is shown can be read, if it is text.
            if text.to_str().is_some() {
                assert_eq!(addr.to_string().parse(), Ok(addr.clone()));
                assert_eq!(text.to_str().expect("text").to_addr(), Ok(addr));
            }
        }
        (Err(error), None) => {
            let error = error.to_string();
            assert!(error.contains("Use file:PATH") && !error.contains(char::is_control), "{error:?}");
        }
        (found, expected) => panic!("{text:?}: {found:?}, {expected:?}"),
    }
}

/// The kind of an address and what follows its colon.
fn grammar(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let bare = text.starts_with(b"/") || text.starts_with(b".") || !text.contains(&b':');
    let (kind, rest) = match bare {
        true => (&b"file"[..], text),
        false => {
            let mut parts = text.splitn(2, |&b| b == b':');
            (parts.next()?, parts.next()?)
        }
    };
    let is_path = !rest.is_empty() && !rest.contains(&0) && !rest.ends_with(b"/");
    let good = match kind {
        b"file" => is_path,
        b"unix" if rest.starts_with(b"@") => {
            (2..=108).contains(&rest.len()) && !rest.contains(&0) && !rest.ends_with(b"/")
        }
        b"unix" => is_path && rest.len() <= 107,
        b"shm" => {
            let name = rest.strip_prefix(b"/")?;
            let is_name = !name.is_empty() && !name.contains(&b'/') && !name.contains(&0) && name.len() <= 251;
            is_name && name != b"." && name != b".."
        }
        b"fd" => {
            let digits = !rest.is_empty() && rest.iter().all(u8::is_ascii_digit);
            digits && rest.iter().skip_while(|&&b| b == b'0').count() <= 10 && number(rest)? <= i32::MAX as u128
        }
        _ => false,
    };
    good.then_some((kind, rest))
}

/// Decimal digits, and nothing else; `None` also if there are very many.
fn number(digits: &[u8]) -> Option<u128> {
    let significant: Vec<u8> = digits.iter().copied().skip_while(|&b| b == b'0').collect();
    let good = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && significant.len() <= 30;
    good.then(|| significant.iter().fold(0, |n, &b| n * 10 + u128::from(b - b'0')))
}

/// Entries `NUMBER:INODE`, of which the last good one for a number counts.
fn descriptors(data: &[u8]) {
    let (wanted, text) = data.split_at(data.len().min(1));
    let wanted = i32::from(wanted.first().copied().unwrap_or(0) % 16);
    let text = String::from_utf8_lossy(text);
    // An integer as the standard library reads it: a plus sign is allowed.
    let integer = |text: &str| {
        let text = text.trim();
        number(text.strip_prefix('+').unwrap_or(text).as_bytes())
    };
    let mut expected = None;
    for entry in text.split(',') {
        let Some(colon) = entry.find(':') else { continue };
        let (fd, inode) = (integer(&entry[..colon]), integer(&entry[colon + 1..]));
        if fd == Some(wanted as u128) && inode.is_some_and(|inode| inode <= u64::MAX.into()) {
            expected = inode;
        }
    }
    assert_eq!(smstream::internal::inherited_inode(&text, wanted).map(u128::from), expected, "{text:?}");
}

fn size(text: &str) {
    let expected = size_by_grammar(text);
    assert_eq!(internal::size(text).map(u128::from), expected, "{text:?}");
    let capacity = expected.ok().filter(|bytes| (1..=1 << 29).contains(bytes)).map(u128::next_power_of_two);
    let found = internal::capacity(text);
    assert_eq!(found.as_ref().ok().map(|&bytes| u128::from(bytes)), capacity, "{text:?}: {found:?}");
}

fn size_by_grammar(text: &str) -> Result<u128, NoSize> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if split == 0 {
        return Err(NoSize::NoNumber);
    }
    let most = u128::from(u64::MAX);
    let number = number(&text.as_bytes()[..split]).filter(|&n| n <= most).ok_or(NoSize::TooLarge)?;
    let suffix = text[split..].trim_start();
    let unit = SUFFIXES.iter().find(|(known, _)| known.eq_ignore_ascii_case(suffix)).ok_or(NoSize::Suffix)?.1;
    Some(number * unit).filter(|&bytes| bytes <= most).ok_or(NoSize::TooLarge)
}

const SUFFIXES: [(&str, u128); 18] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("ki", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1000),
    ("m", 1 << 20),
    ("mi", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gi", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("ti", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

/// Words of the command line: known ones by number, or any bytes.
fn command_line(data: &[u8]) {
    static KNOWN: OnceLock<Vec<String>> = OnceLock::new();
    let known = KNOWN.get_or_init(internal::words);
    let mut bytes = Bytes::new(data);
    let mut words = vec![OsString::from("smstream")];
    while !bytes.is_empty() && words.len() <= MAX_WORDS {
        let code = usize::from(bytes.u8());
        words.push(match known.get(code) {
            Some(word) => word.into(),
            None => {
                let len = usize::from(bytes.u8() % 32);
                OsString::from_vec(bytes.take(len).to_vec())
            }
        });
    }
    if let Err(text) = internal::parse(words.clone()) {
        assert!(!text.trim().is_empty(), "{words:?}");
    }
}
