//! Bad input: what stands where a listener should be, and what was asked for. Each message says where, and what to do.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use smstream::{Builder, ErrorCode, LARGEST_CAPACITY, Listener, Reason, Stream};
use smstream_core::layout::{FIELDS, MAGIC};
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");

/// A party that listens at the name of `scratch`.
fn listener(scratch: &Scratch) -> Party {
    let mut party = Party::start(PARTY);
    party.does(format!("bind {} 4096 4096 {NEAR_WRAP}", scratch.addr()));
    party
}

/// The error is of this reason and kind, and its message has all these words, the path among them.
#[track_caller]
fn is<T: std::fmt::Debug>(result: Result<T, smstream::Error>, reason: Reason, path: &Path, words: &[&str]) {
    let e = result.unwrap_err();
    let text = e.to_string();
    assert_eq!(e.reason(), reason, "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text:?} does not say where");
    for word in words {
        assert!(text.contains(word), "{text:?} has no {word:?}");
    }
}

fn connect(path: &Path) -> Result<Stream, smstream::Error> {
    Stream::connect_timeout(path, PATIENCE)
}

#[test]
fn there_is_no_such_name() {
    let scratch = Scratch::new();
    is(connect(&scratch.name()), Reason::NotReady, &scratch.name(), &["no such file", "start the listener"]);
    let e = connect(&scratch.name()).unwrap_err();
    assert_eq!((e.code(), e.kind()), (Some(ErrorCode::ConnectionNotReady), ErrorKind::NotFound));
    let nowhere = scratch.path().join("no/name");
    is(connect(&nowhere), Reason::System, &nowhere, &["make the directory first"]);
    is(Listener::bind(&nowhere), Reason::System, &nowhere, &["make the directory first"]);
    let long = scratch.path().join("x".repeat(252));
    is(Listener::bind(&long), Reason::InvalidInput, &long, &["251 bytes"]);
    assert!(scratch.names().is_empty());
    // A bare "name" is an address: see `Addr`.
    for text in ["", "name/", "file:", "http://name"] {
        let e = Stream::connect(text).unwrap_err();
        assert_eq!(e.reason(), Reason::InvalidInput);
        assert!(e.to_string().contains("Use file:PATH") && e.to_string().contains(text), "{e}");
    }
}

#[test]
fn the_name_is_in_use() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = listener(&scratch);
    is(Listener::bind(scratch.addr()), Reason::AddrInUse, &scratch.name(), &["already", "choose another name"]);
    let e = Listener::bind(scratch.addr()).unwrap_err();
    assert_eq!((e.code(), e.kind()), (Some(ErrorCode::NotAlone), ErrorKind::AddrInUse));
    // It listens on.
    party.tell("accept");
    connect(&scratch.name()).unwrap();
    party.hear().unwrap();
}

#[test]
fn the_name_is_left_over() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    listener(&scratch).kill_and_reap();
    assert_eq!(scratch.names(), ["name"]);
    is(connect(&scratch.name()), Reason::NotReady, &scratch.name(), &["the listener died", "start it again"]);
    let e = connect(&scratch.name()).unwrap_err();
    assert_eq!((e.code(), e.kind()), (Some(ErrorCode::PartnerNotAlive), ErrorKind::ConnectionRefused));
    assert_eq!(scratch.names(), ["name"], "a connector removes nothing");
    let mut party = listener(&scratch);
    party.tell("accept");
    connect(&scratch.name()).unwrap();
    party.hear().unwrap();
    party.does("unlisten");
    assert!(scratch.names().is_empty());
}

#[test]
fn what_is_no_region_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.name();
    type Make = fn(&Path);
    let things: [(&str, &str, Make); 7] = [
        ("a text", "some other file", |p| fs::write(p, "a text of a user, longer than a magic").unwrap()),
        ("a short text", "some other file", |p| fs::write(p, "smst").unwrap()),
        ("an empty file", "some other file", |p| fs::write(p, "").unwrap()),
        ("a directory", "a directory", |p| fs::create_dir(p).unwrap()),
        ("a link", "a symbolic link", |p| symlink("/dev/zero", p).unwrap()),
        ("a fifo", "no regular file", |p| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, p, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
        ("a socket", "a socket", |p| drop(UnixListener::bind(p).unwrap())),
    ];
    for (what, says, make) in things {
        make(&path);
        let look = || {
            let meta = fs::symlink_metadata(&path).unwrap();
            let bytes = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            (meta.ino(), meta.mode(), meta.mtime_nsec(), bytes)
        };
        let before = look();
        is(connect(&path), Reason::NotARegion, &path, &[says, "no process listens there", "check the name"]);
        let e = connect(&path).unwrap_err();
        assert_eq!((e.code(), e.kind()), (Some(ErrorCode::ConnectionNotReady), ErrorKind::InvalidData));
        is(Listener::bind(&path), Reason::NotARegion, &path, &[says, "left alone", "choose another name"]);
        assert_eq!(look(), before, "{what}");
        assert_eq!(scratch.names(), ["name"]);
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    }
}

fn offset(name: &str) -> u64 {
    FIELDS.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no field {name}")).offset as u64
}

/// Words of a live listener's header, overwritten by another process before a connector comes.
#[test]
fn a_header_that_was_scribbled_on() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let path = scratch.name();
    let mut party = listener(&scratch);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let none = None;
    let [mring, sring] = [Some(ErrorCode::MRing), Some(ErrorCode::SRing)];
    let not_ready = Some(ErrorCode::ConnectionNotReady);
    let table: [(&str, u32, Reason, Option<ErrorCode>, &str); 14] = [
        ("magic", 7, Reason::NotARegion, not_ready, "some other file"),
        ("byte_order", 0x0403_0201, Reason::Version, not_ready, "byte order"),
        ("version", 2, Reason::Version, not_ready, "version 2"),
        ("version", 0, Reason::Corrupt, none, "not set up yet"),
        ("features", 1, Reason::Version, not_ready, "feature"),
        ("party", 1, Reason::Corrupt, none, "party"),
        ("align", 100, Reason::Corrupt, none, "alignment"),
        ("lane_offset", 5, Reason::Corrupt, mring, "lane"),
        ("capacity", 3, Reason::Corrupt, mring, "capacity"),
        ("capacity", 8192, Reason::Corrupt, sring, "bytes"),
        ("capacity", 1 << 29, Reason::Corrupt, mring, "bytes"),
        ("lane_offset", 128, Reason::Corrupt, mring, "lane"),
        ("peer_capacity", 3, Reason::Corrupt, sring, "capacity"),
        ("peer_capacity", 1 << 30, Reason::Corrupt, sring, "capacity"),
    ];
    for (field, value, reason, code, word) in table {
        let at = offset(field);
        let mut old = [0; 4];
        file.read_exact_at(&mut old, at).unwrap();
        file.write_all_at(&value.to_ne_bytes(), at).unwrap();
        let before = fs::read(&path).unwrap();
        let advice = match reason {
            Reason::NotARegion => "check the name",
            Reason::Version => "the same version of smstream",
            _ => "end its listener and start it again",
        };
        is(connect(&path), reason, &path, &[word, advice]);
        let e = connect(&path).unwrap_err();
        assert_eq!((e.code(), e.kind()), (code, ErrorKind::InvalidData), "{field} = {value:#x}: {e}");
        assert!(fs::read(&path).unwrap() == before, "{field} = {value:#x}: the connector wrote into it");
        file.write_all_at(&old, at).unwrap();
    }
    // All is as it was.
    party.tell("accept");
    connect(&path).unwrap();
    party.hear().unwrap();
}

/// Where the cursors begin is found to be wrong by both sides when they have met; the listener goes on.
#[test]
fn a_start_that_was_scribbled_on() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = listener(&scratch);
    let file = File::options().write(true).open(scratch.name()).unwrap();
    file.write_all_at(&5_u32.to_ne_bytes(), offset("start")).unwrap();
    party.tell("accept");
    is(connect(&scratch.name()), Reason::Corrupt, &scratch.name(), &["sent"]);
    assert_eq!(party.hear().unwrap_err().reason, "Corrupt");
    party.tell("accept");
    connect(&scratch.name()).unwrap();
    party.hear().unwrap();
}

#[test]
fn a_region_that_is_too_short() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let party = listener(&scratch);
    let whole = fs::read(scratch.name()).unwrap();
    assert_eq!(whole[..8], MAGIC);
    let path = scratch.path().join("short");
    for len in [8, 100, 767, 4096, 8191, 8192, 12288, whole.len() - 1] {
        let mut file = File::create(&path).unwrap();
        file.write_all(&whole[..len]).unwrap();
        file.set_permissions(Permissions::from_mode(0o600)).unwrap();
        is(connect(&path), Reason::Corrupt, &path, &["bytes", "start it again"]);
        // The listener's segment is a page of header and a page of lane; the connector's comes behind it.
        let code = if len < 8192 { ErrorCode::MRing } else { ErrorCode::SRing };
        let e = connect(&path).unwrap_err();
        assert_eq!((e.code(), e.kind()), (Some(code), ErrorKind::InvalidData), "{len} bytes: {e}");
        assert_eq!(fs::read(&path).unwrap(), whole[..len]);
        fs::remove_file(&path).unwrap();
    }
    // A whole copy has no listener.
    fs::write(&path, &whole).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    is(connect(&path), Reason::NotReady, &path, &["the listener died"]);
    // Neither has what a listener that died leaves if a process shortens it. It is not what a listener left any more, so the next
    // one leaves it alone.
    drop(party);
    File::options().write(true).open(scratch.name()).unwrap().set_len(100).unwrap();
    is(connect(&scratch.name()), Reason::Corrupt, &scratch.name(), &["bytes", "start it again"]);
    is(Listener::bind(scratch.name()), Reason::NotARegion, &scratch.name(), &["some other file", "left alone"]);
    assert_eq!(fs::read(scratch.name()).unwrap(), whole[..100]);
    fs::remove_file(scratch.name()).unwrap();
    Listener::bind(scratch.name()).unwrap();
}

/// What a region of another version of the layout looks like when it is left over is not known here: it is kept.
#[test]
fn a_region_of_another_version_is_kept() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let party = listener(&scratch);
    let file = File::options().write(true).open(scratch.name()).unwrap();
    file.write_all_at(&9_u32.to_ne_bytes(), offset("version")).unwrap();
    is(Listener::bind(scratch.name()), Reason::AddrInUse, &scratch.name(), &["already"]);
    drop(party);
    is(connect(&scratch.name()), Reason::Version, &scratch.name(), &["version 9", "same version"]);
    let before = fs::read(scratch.name()).unwrap();
    is(Listener::bind(scratch.name()), Reason::NotARegion, &scratch.name(), &["another version", "left alone"]);
    assert!(fs::read(scratch.name()).unwrap() == before);
}

#[test]
fn capacities() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let bind = |capacities: [usize; 2]| Builder::new().capacities(capacities[0], capacities[1]).bind(scratch.addr());
    for (asked, got) in [([3, 5], [4, 8]), ([1, 0], [1, 0]), ([0, 4097], [0, 8192])] {
        let listener = bind(asked).unwrap();
        assert_eq!(listener.capacities(), got);
        let mut party = Party::start(PARTY);
        party.tell(format!("connect {}", scratch.addr()));
        let stream = listener.accept_timeout(PATIENCE).unwrap();
        assert_eq!(stream.stats().capacities, got);
        party.hear().unwrap();
    }
    for (asked, code, words) in [
        ([0, 0], ErrorCode::MRing, ["0 both ways", "take 1 or more"]),
        ([LARGEST_CAPACITY + 1, 1], ErrorCode::MRing, ["536870913", "512 MiB"]),
        ([1, usize::MAX], ErrorCode::SRing, ["18446744073709551615", "512 MiB"]),
    ] {
        is(bind(asked), Reason::Capacity, Path::new(""), &words);
        let e = bind(asked).unwrap_err();
        assert_eq!((e.code(), e.kind()), (Some(code), ErrorKind::InvalidInput));
    }
    assert!(scratch.names().is_empty());
}

#[test]
fn a_second_name_of_a_region_in_use() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = listener(&scratch);
    let second = scratch.path().join("second");
    fs::hard_link(scratch.name(), &second).unwrap();
    party.tell("accept");
    let stream = connect(&scratch.name()).unwrap();
    party.hear().unwrap();
    is(connect(&second), Reason::Claimed, &second, &["second name", "by the listener's name"]);
    let e = connect(&second).unwrap_err();
    assert_eq!((e.code(), e.kind()), (Some(ErrorCode::NotAlone), ErrorKind::ResourceBusy));
    // The connector is gone, so that its end is free; the region is not fresh, though its listener's end lives.
    drop(stream);
    assert_eq!(party.does("drain"), "0 eof");
    is(connect(&second), Reason::Claimed, &second, &["second name"]);
}

/// The name is taken away under the listener: it says so instead of waiting in vain.
#[test]
fn the_name_was_removed() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut first = listener(&scratch);
    // A connector comes before, so that the listener has something to accept.
    let mut connector = Party::start(PARTY);
    connector.tell(format!("connect {}", scratch.addr()));
    connector.is_asleep();
    fs::remove_file(scratch.name()).unwrap();
    let e = first.ask("accept").unwrap_err();
    assert!(e.text.contains("removed or replaced") && e.text.contains("listen again"), "{e:?}");
    // Another listener has the name now; the first one, on its way out, leaves it alone.
    let mut second = listener(&scratch);
    first.does("unlisten");
    assert_eq!(connector.hear().unwrap_err().reason, "NotReady");
    second.tell("accept");
    let mut stream = connect(&scratch.name()).unwrap();
    second.hear().unwrap();
    second.does("close");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert!(stream.wait_peer_closed(Some(Duration::from_secs(60))));
}
