//! What lies under a name is neither removed nor changed unless it is a dead region, byte for byte.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use proptest::prelude::*;
use smstream::reap::ReapOutcome;
use smstream::{Listener, Stream};
use smstream_tests::leftover::{Change, Content, Directory, make, region, second, try_all, try_name};

fn a_change() -> impl Strategy<Value = Change> {
    let word = || prop_oneof![Just(0), Just(1), Just(2), Just(4096), 0..u32::MAX];
    prop_oneof![
        4 => (any::<bool>(), 0..768 * 8_usize).prop_map(|(second, bit)| Change::Bit { second, bit }),
        4 => (any::<bool>(), 0..128_usize, word()).prop_map(|(second, word, value)| Change::Word { second, word, value }),
        2 => (0..region().len(), any::<u8>()).prop_map(|(at, value)| Change::Byte(at, value)),
        1 => (0..192_usize, any::<bool>()).prop_map(|(word, before)| Change::Cut { word, before }),
        1 => (-5000..5000_i16).prop_map(Change::Length),
    ]
}

fn a_content() -> impl Strategy<Value = Content> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..3000);
    prop_oneof![
        1 => bytes().prop_map(Content::Bytes),
        1 => "smstream[ -~\n]{0,2000}".prop_map(|text| Content::Bytes(text.into_bytes())),
        1 => bytes().prop_map(Content::Magic),
        8 => proptest::collection::vec(a_change(), 0..4).prop_map(Content::Region),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn only_dead_regions_go(content in a_content()) {
        try_all(&content);
    }
}

/// Contents that people have had.
#[test]
fn files_of_people_stay() {
    let region = region();
    let mut half = region.to_vec();
    half[second() + 4096..].fill(b'x');
    let texts = [
        &b"smstream: cannot connect to file:/x: no listener"[..],
        b"smstream/\0\0\0\0\0\0",
        b"#!/bin/sh\nsmstream gc\n",
        b"",
        b"\x89SMS\r\n\x1a\n",
        &region[..768],
        &half,
    ];
    for text in texts {
        try_all(&Content::Bytes(text.to_vec()));
    }
    try_all(&Content::Copy);
}

/// Bits of every byte of both headers, each by itself, and a region as it is.
#[test]
fn every_bit_counts() {
    try_all(&Content::Region(Vec::new()));
    for second in [false, true] {
        for bit in (0..768 * 8).step_by(3) {
            try_name(&Content::Region(vec![Change::Bit { second, bit }]));
        }
    }
}

/// A listener may have a smaller lane, or one that begins earlier, with the connector's segment at the same place. If that is not set up, or only
/// in part, all of it fits; otherwise it says what the lane was.
#[test]
fn a_listener_with_a_lane_of_another_shape_has_left_a_region_too() {
    for (name, value) in
        [(8, 1), (8, 2), (8, 2048), (8, 4096), (7, 3968), (7, 768), (7, 640), (7, 800), (6, 8192), (6, 16384)]
    {
        let other = Change::Word { second: false, word: name, value };
        try_name(&Content::Region(vec![other]));
        // Each word of the identity, and some of those behind it.
        for word in (0..16).chain((16..192).step_by(8)) {
            for before in [false, true] {
                try_name(&Content::Region(vec![other, Change::Cut { word, before }]));
            }
        }
    }
}

/// A region gets to its name by way of NAME.new. That is the name of another listener here.
#[test]
fn a_living_listener_at_name_new_stays() {
    let place = Directory::new();
    let (path, new) = (place.path("svc"), place.path("svc.new"));
    let other = Listener::bind(&new).expect("a listener");
    let listener = Listener::bind(&path).expect("a listener");
    let inode = || fs::metadata(&new).expect("the other listener's name").ino();
    let before = inode();
    let limit = Duration::from_secs(10);
    for (listener, path) in [(&listener, &path), (&listener, &path), (&other, &new), (&listener, &path)] {
        std::thread::scope(|scope| {
            let connector = scope.spawn(|| Stream::connect(path).expect("a stream"));
            listener.accept_timeout(limit).expect("a connector");
            connector.join().expect("no panic");
        });
        if std::ptr::eq(listener, &raw const other) {
            assert_ne!(inode(), before, "the other listener has the next region");
        } else if path == &place.path("svc") {
            assert!(new.exists());
        }
    }
    let mut names: Vec<_> =
        fs::read_dir(place.path("")).expect("a directory").map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["svc", "svc.new"]);
}

/// A cleaner leaves what a process has open, though it is dead; a listener may have the name.
#[test]
fn an_open_leftover_stays_for_a_cleaner() {
    let place = Directory::new();
    let path = place.path("name");
    assert!(make(&path, &Content::Region(Vec::new())).expect("a file"));
    let open = fs::File::open(&path).expect("it can be opened");
    assert!(matches!(place.reap("name"), Some(ReapOutcome::InUse(_))));
    fs::hard_link(&path, place.path("second")).expect("a link");
    drop(open);
    assert!(matches!(place.reap("name"), Some(ReapOutcome::Doubt(_))), "it has another name");
    Listener::bind(&path).expect_err("it has another name");
    assert!(path.exists() && place.path("second").exists());
    fs::remove_file(place.path("second")).expect("removed");
    let open = fs::File::open(&path).expect("it can be opened");
    Listener::bind(&path).expect("the name of a dead listener");
    drop(open);
}

/// A lock file of a listener that died, about the socket with this device and inode.
fn a_lock(bound: (u64, u64)) -> Vec<u8> {
    [&b"\x89SML\r\n\x1a\n"[..], &bound.0.to_ne_bytes(), &bound.1.to_ne_bytes()].concat()
}

/// Puts `lock` beside a socket that nothing listens at, or beside none, and lets a cleaner and a listener come by.
fn keep_both(lock: impl Fn((u64, u64)) -> Vec<u8>, socket: bool) {
    let place = Directory::new();
    let (path, lock_path) = (place.path("name"), place.path("name.lock"));
    let bound = if socket {
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        let meta = fs::symlink_metadata(&path).expect("a socket");
        (meta.dev(), meta.ino())
    } else {
        (0, 0)
    };
    let lock = lock(bound);
    fs::write(&lock_path, &lock).expect("a lock file");
    let inodes = || [&path, &lock_path].map(|path| fs::symlink_metadata(path).ok().map(|meta| meta.ino()));
    let before = inodes();
    for name in ["name", "name.lock"] {
        let verdict = place.reap(name);
        assert!(!matches!(verdict, Some(ReapOutcome::Removed)), "{lock:x?}");
    }
    let e = Listener::bind(format!("unix:{}", path.display())).expect_err("something else is there");
    assert!(e.to_string().contains("left alone"), "{e}");
    // A listener with the right to a name may give up a lock file that names another socket; it removes no socket.
    assert_eq!(inodes()[0], before[0], "{lock:x?}");
    if lock.len() != 24 || lock[..8] != *b"\x89SML\r\n\x1a\n" {
        assert_eq!(fs::read(&lock_path).expect("it is there"), lock);
        assert_eq!(inodes(), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn other_lock_files_stay(lock in proptest::collection::vec(any::<u8>(), 0..60), socket in any::<bool>()) {
        keep_both(|_| lock.clone(), socket);
    }

    #[test]
    fn lock_files_that_are_none_stay(
        bit in 0..64_usize, more in proptest::collection::vec(any::<u8>(), 0..3), socket in any::<bool>()
    ) {
        keep_both(|bound| {
            let mut lock = a_lock(bound);
            if more.is_empty() { lock[bit / 8] ^= 1 << (bit % 8) }
            lock.extend(&more);
            lock
        }, socket);
        keep_both(|bound| { let lock = a_lock(bound); lock[..24 - 1 - bit % 24].to_vec() }, socket);
    }

    #[test]
    fn sockets_of_others_stay(bit in 0..128_usize) {
        keep_both(|bound| {
            let mut lock = a_lock(bound);
            lock[8 + bit / 8] ^= 1 << (bit % 8);
            lock
        }, true);
    }
}

/// The control: with the right lock file both go.
#[test]
fn a_dead_socket_with_its_lock_file_goes() {
    let place = Directory::new();
    let path = place.path("name");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let meta = fs::symlink_metadata(&path).expect("a socket");
    fs::write(place.path("name.lock"), a_lock((meta.dev(), meta.ino()))).expect("a lock file");
    assert_eq!(place.reap("name"), Some(ReapOutcome::Removed));
    assert!(!path.exists() && !place.path("name.lock").exists());
}

/// A marked object whose creator is gone goes, and no other does: every bit of the mark that does not say who that was.
#[test]
fn objects_with_a_mark_that_is_none_stay() {
    use smstream::memory::{Access, Mapping};
    let place = Directory::new();
    let path = place.path("object");
    let file = fs::File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
    file.set_len(4096).expect("a length");
    let memory = Mapping::new(&file, 0, 4096, Access::ReadWrite).expect("a mapping");
    smstream::cleanup::mark(&memory).expect("a mark");
    drop((memory, file));
    let mut bytes = fs::read(&path).expect("its bytes");
    // Magic 8, order 4, version 4, machine 16, when the creator began 8, namespaces 16, its number 4, nothing 4.
    bytes[32] ^= 1;
    for bit in (0..64 * 8).filter(|bit| !(32 * 8..40 * 8).contains(bit) && !(56 * 8..60 * 8).contains(bit)) {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &other).expect("written");
        assert!(matches!(place.reap("object"), None | Some(ReapOutcome::Doubt(_))), "bit {bit}");
        assert_eq!(fs::read(&path).expect("it is there"), other);
    }
    fs::write(&path, &bytes).expect("written");
    fs::hard_link(&path, place.path("second")).expect("a link");
    assert!(matches!(place.reap("object"), Some(ReapOutcome::Doubt(_))), "it has another name");
    fs::remove_file(place.path("second")).expect("removed");
    assert_eq!(place.reap("object"), Some(ReapOutcome::Removed), "its creator is gone");
}
