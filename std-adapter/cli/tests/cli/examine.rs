//! `smstream doctor`: regions that are sound, damaged, cut off, of others, or none.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;
use smstream::{Builder, Listener, Stream};
use smstream_core::layout::FIELDS;

use crate::command::{Dir, Running, in_the_end, reach, smstream};
use crate::looking::{descriptor, json};

const CAPACITY: usize = 4096;
/// Cursors that come round soon.
const START: u32 = (1 << 31) - 100;

/// A copy of the region of a connection in which bytes lie both ways, and where its second segment begins.
fn region(dir: &Dir) -> (PathBuf, u64) {
    let addr = dir.addr();
    let builder = Builder::new().capacities(CAPACITY, CAPACITY).start_cursor(START);
    let listener = builder.bind(&addr).expect("a listener");
    let connector = std::thread::spawn({
        let addr = addr.clone();
        move || Stream::connect(&addr).expect("a connection")
    });
    let mut here = listener.accept().expect("a connection");
    let mut there = connector.join().expect("a thread");
    here.write_all(&[1; 300]).expect("written");
    there.read_exact(&mut [0; 200]).expect("read");
    there.write_all(&[2; 50]).expect("written");
    let scan = smstream::inspect::scan(false).expect("a look");
    let wanted = Some(addr);
    let is_it = |it: &&smstream::inspect::InspectedStream| it.addr == wanted && it.of_party(1).next().is_some();
    let stream = scan.streams.iter().find(is_it).expect("the connection");
    let (source, second) = stream.channel.segment(1);
    let mut bytes = vec![0; usize::try_from(source.len().expect("a length")).expect("a length")];
    source.read_at(0, &mut bytes).expect("read");
    let path = dir.path("copy");
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    (path, second)
}

/// The lines of a verdict.
fn lines<'a>(checked: &'a Value, verdict: &str) -> Vec<&'a Value> {
    let checks = checked["checks"].as_array().expect("a list");
    checks.iter().filter(|check| check["verdict"] == verdict).collect()
}

fn examine(path: &Path, code: i32) -> Value {
    json(&["doctor", "--json", &path.display().to_string()], code)
}

fn offset(name: &str) -> u64 {
    FIELDS.iter().find(|field| field.name == name).unwrap_or_else(|| panic!("no field {name}")).offset as u64
}

#[test]
fn a_sound_region_is_sound() {
    let dir = Dir::new();
    let (path, _) = region(&dir);
    let checked = examine(&path, 0);
    assert_eq!(checked["sound"], true);
    let text = checked.to_string();
    for part in ["100 bytes are in the lane", "50 bytes are in the lane", "300 bytes in 1 publications"] {
        assert!(text.contains(part), "no '{part}' in {text}");
    }
    // No process holds its locks any more, and it is said to be a stream with a name.
    assert!(lines(&checked, "note").iter().any(|it| it["rule"] == "orphan"), "{text}");
}

/// Every word that has a rule, damaged, in either segment: the rule says so, and no other word is needed to see it.
#[test]
fn every_damaged_word_is_found() {
    let dir = Dir::new();
    let (path, second) = region(&dir);
    let file = File::options().read(true).write(true).open(&path).expect("the copy");
    // A word, a value that it cannot have, and the rule that finds it.
    let damages: &[(&str, u32, &str)] = &[
        ("magic", 0x1234_5678, "magic"),
        ("byte_order", 0x0102_0305, "byte_order"),
        ("version", 0, "version"),
        ("version", 2, "version"),
        ("features", 1, "features"),
        ("party", 2, "party"),
        ("align", 4095, "align"),
        ("lane_offset", 100, "lane_offset"),
        ("capacity", 4097, "capacity"),
        ("peer_capacity", 3, "peer_capacity"),
        ("peer_capacity", 8192, "capacity "),
        ("start", 1 << 31, "start"),
        ("start", 5, "start"),
        ("sent", START - 1, "cursors"),
        ("received", START - 5000, "cursors"),
        ("read_park", 2, "read_park"),
        ("read_park", 1 << 31 | ((START - 1) & 0x3fff_ffff), "read_park"),
        ("write_park", 1, "write_park"),
        ("state", 7, "state"),
        ("sent_fence", 2, "sent_fence"),
        ("received_fence", 1 << 31, "received_fence"),
    ];
    let named: Vec<&str> = damages.iter().map(|(name, ..)| *name).collect();
    // What serves for display, or has no value that cannot be.
    let free = ["pid", "made", "channel", "read_wake_method", "write_wake_method"];
    for field in FIELDS {
        let known = named.contains(&field.name) || free.contains(&field.name) || field.name.contains('.');
        assert!(known, "no damage is tried for {}", field.name);
    }
    for segment in [0, second] {
        for (name, value, rule) in damages {
            let at = segment + offset(name);
            let mut before = [0; 4];
            file.read_exact_at(&mut before, at).expect("the word");
            file.write_all_at(&value.to_ne_bytes(), at).expect("damaged");
            println!("{name} = {value:#x} in the segment at {segment}");
            let checked = examine(&path, 1);
            let bad = lines(&checked, "bad");
            let found = bad.iter().any(|it| it["rule"].as_str().is_some_and(|it| it.starts_with(rule)));
            assert!(found, "{name} = {value:#x} in the segment at {segment}: {bad:?}");
            file.write_all_at(&before, at).expect("repaired");
        }
    }
    examine(&path, 0);
}

/// A listener need not set the connector's segment up (LAYOUT.md, F3): as long as no connector has come, it may be empty.
#[test]
fn an_empty_second_segment_of_a_region_that_waits_is_sound() {
    let dir = Dir::new();
    let listener = Builder::new().capacities(CAPACITY, CAPACITY).bind(dir.addr()).expect("a listener");
    let path = dir.path("stream");
    examine(&path, 0);
    let file = File::options().write(true).open(&path).expect("the region");
    let half = usize::try_from(file.metadata().expect("its length").len()).expect("a length") / 2;
    file.write_all_at(&vec![0; half], half as u64).expect("emptied");
    let checked = examine(&path, 0);
    assert!(lines(&checked, "bad").is_empty(), "{checked}");
    // A connector sets it up, and then it is not empty.
    let connector = std::thread::spawn({
        let addr = dir.addr();
        move || Stream::connect(addr).expect("a connection")
    });
    let mut here = listener.accept().expect("a connection");
    here.write_all(b"x").expect("written");
    connector.join().expect("a thread").read_exact(&mut [0; 1]).expect("read");
}

#[test]
fn wherever_it_is_cut_off_something_is_bad() {
    let dir = Dir::new();
    let (path, second) = region(&dir);
    let file = File::options().write(true).open(&path).expect("the copy");
    let whole = file.metadata().expect("its length").len();
    let lengths =
        [whole - 1, second + 4096 + 1, second + 768, second + 100, second, second - 1, 4096, 768, 767, 8, 7, 1, 0];
    for length in lengths {
        file.set_len(length).expect("cut off");
        let checked = examine(&path, 1);
        assert!(!lines(&checked, "bad").is_empty(), "{length} bytes");
    }
}

#[test]
fn the_other_byte_order_is_reported_and_read() {
    let dir = Dir::new();
    let (path, second) = region(&dir);
    let file = File::options().read(true).write(true).open(&path).expect("the copy");
    for segment in [0, second] {
        let mut header = [0; 768];
        file.read_exact_at(&mut header, segment).expect("a header");
        for word in header[8..].chunks_exact_mut(4) {
            word.reverse();
        }
        file.write_all_at(&header, segment).expect("byte-swapped");
    }
    let checked = examine(&path, 1);
    let bad = lines(&checked, "bad");
    // That is all that is wrong: the rest is read as it was meant.
    assert!(bad.iter().all(|it| it["rule"] == "byte_order") && bad.len() == 2, "{bad:?}");
    assert!(checked.to_string().contains("4096 bytes"), "{checked}");
}

/// With the first segment destroyed, the second one is found all the same.
#[test]
fn what_is_left_of_it_is_found() {
    let dir = Dir::new();
    let (path, second) = region(&dir);
    let file = File::options().write(true).open(&path).expect("the copy");
    file.write_all_at(&[0xff; 4], offset("capacity")).expect("damaged");
    let checked = examine(&path, 1);
    let place = lines(&checked, "note").into_iter().find(|it| it["rule"] == "place").expect("a note").clone();
    assert_eq!(place["found"], format!("at {second}"));
}

#[test]
fn it_changes_nothing() {
    let dir = Dir::new();
    let (path, _) = region(&dir);
    let state = || {
        let metadata = fs::metadata(&path).expect("its state");
        [metadata.atime(), metadata.atime_nsec(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime_nsec()]
    };
    let (bytes, before) = (fs::read(&path).expect("its bytes"), state());
    // Reading the bytes for the comparison may have changed the time of the last look already.
    examine(&path, 0);
    assert_eq!(state(), before);
    assert_eq!(fs::read(&path).expect("its bytes"), bytes);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("a mode");
    examine(&path, 0);
}

#[test]
fn what_is_no_region() {
    let dir = Dir::new();
    let letter = dir.path("letter");
    fs::write(&letter, "a user's letter").expect("a file");
    let checked = examine(&letter, 1);
    assert!(
        lines(&checked, "bad").iter().any(|it| it["meaning"].as_str().is_some_and(|it| it.contains("something else")))
    );
    let noise = dir.path("noise");
    fs::write(&noise, crate::command::noise(9, 100_000)).expect("a file");
    examine(&noise, 1);

    let fifo = dir.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).expect("a fifo");
    let link = dir.path("link");
    std::os::unix::fs::symlink(&letter, &link).expect("a link");
    for (path, why) in [
        (fifo, "no regular file"),
        (link, "a symbolic link"),
        (dir.path("."), "a directory"),
        (dir.path("none"), "No such file"),
        ("/dev/zero".into(), "no regular file"),
    ] {
        let path = path.display().to_string();
        Running::start(&mut smstream(["doctor", &path])).end().expect(3).saying(why);
    }
    Running::start(&mut smstream(["doctor", "unix:@none"])).end().expect(3).saying("PID:FD");
    Running::start(&mut smstream(["doctor", "4194305:0"])).end().expect(3);
}

/// A path, and an abstract name that no other test has.
fn socket_addrs(dir: &Dir) -> [String; 2] {
    let path = dir.path("socket").display().to_string();
    [format!("unix:{path}"), format!("unix:@{path}")]
}

/// What was written into the listener's lane lies there, and both segments are examined.
#[test]
fn the_only_stream_of_a_socket_is_examined() {
    let dir = Dir::new();
    for addr in socket_addrs(&dir) {
        let _listener =
            Running::start(&mut smstream(["listen", "-k", &addr, "--", "sh", "-c", "echo hello; exec cat"]));
        let mut mine = reach(&addr);
        mine.read_exact(&mut [0; 2]).expect("read");
        let seen = json(&["stat", "--json", &addr], 0);
        assert_eq!(seen["streams"][0]["address"], *addr);
        assert_eq!(seen["streams"][0]["lanes"][0]["fill"], 4, "{seen}");
        let checked = json(&["doctor", "--json", &addr], 0);
        assert_eq!((&checked["sound"], &checked["target"]), (&true.into(), &addr.clone().into()));
        let text = checked.to_string();
        for part in ["4 bytes are in the lane", "segment 0", "segment 1", "lane 1"] {
            assert!(text.contains(part), "no '{part}' in {text}");
        }
        drop(mine);
    }
}

#[test]
fn of_several_streams_of_a_socket_one_must_be_chosen() {
    let dir = Dir::new();
    for addr in socket_addrs(&dir) {
        let listener = Running::start(&mut smstream(["listen", "-k", &addr, "--", "cat"]));
        let mut mine = [reach(&addr), reach(&addr)];
        for stream in &mut mine {
            // What comes back has come from the other side's stream.
            stream.write_all(b"x").expect("written");
            stream.read_exact(&mut [0; 1]).expect("read");
        }
        let seen = json(&["stat", "--json", &addr], 0);
        assert_eq!(seen["streams"].as_array().expect("a list").len(), 2, "{seen}");
        let ended = Running::start(&mut smstream(["doctor", &addr])).end().expect(3).saying("PID:FD");
        let choices: Vec<&str> = ended.stderr.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert_eq!(choices.len(), 2, "{ended:?}");
        for choice in choices {
            // A child that has just been forked, here or there, has what its parent has, and is listed too, for a moment.
            let of = |party: &str, pid: u32| {
                let start = format!("{party} {pid}:");
                let end = choice.split("  ").find(|end| end.starts_with(&start));
                end.unwrap_or_else(|| panic!("no {start} in {choice}")).trim_start_matches(party).trim_start()
            };
            for target in [of("listener", listener.id()), of("connector", std::process::id())] {
                assert_eq!(json(&["doctor", "--json", target], 0)["sound"], true);
            }
        }
        drop(mine);
    }
}

#[test]
fn a_socket_without_a_stream() {
    let dir = Dir::new();
    let [addr, _] = socket_addrs(&dir);
    for command in ["doctor", "stat"] {
        let ended = Running::start(&mut smstream([command, &addr])).end().expect(3);
        ended.saying("none of the streams").saying("smstream ls");
    }
    let _listener = Listener::bind(&addr).expect("a listener");
    for command in ["doctor", "stat"] {
        let ended = Running::start(&mut smstream([command, &addr])).end().expect(3);
        ended.saying(&format!("process {} listens there", std::process::id()));
    }
}

/// A connection that carries bytes all the time is sound at every look.
#[test]
fn a_busy_connection_is_sound() {
    let dir = Dir::new();
    let addr = dir.addr();
    let listener = Listener::bind(&addr).expect("a listener");
    let (connector, mut input) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &addr]));
    let mut here = listener.accept().expect("a connection");
    // Both end when the connector is killed, at the latest with the test.
    std::thread::spawn(move || while input.write_all(&[3; 65536]).is_ok() {});
    std::thread::spawn(move || while here.read(&mut [0; 10000]).is_ok_and(|n| n > 0) {});
    let target = in_the_end(|| {
        let all = json(&["ls", "--json"], 0);
        let streams = all["streams"].as_array().expect("a list");
        streams.iter().find(|it| it["address"] == *addr && it["state"] == "connected").map(|it| descriptor(it, 0))
    });
    let mut moved = false;
    for _ in 0..20 {
        let checked = json(&["doctor", "--json", &target], 0);
        moved |= checked.to_string().contains("it moves");
    }
    assert!(moved, "nothing moved while it was looked at");
    drop(connector);
}

#[test]
fn lines_for_people() {
    let dir = Dir::new();
    let (path, _) = region(&dir);
    let file = File::options().write(true).open(&path).expect("the copy");
    file.write_all_at(&9u32.to_ne_bytes(), offset("party")).expect("damaged");
    let target = path.display().to_string();
    let ended = Running::start(&mut smstream(["doctor", &target])).end().expect(1).saying("1 rule is broken");
    let text = String::from_utf8(ended.stdout).expect("text");
    assert!(text.lines().any(|line| line.starts_with("bad   segment 0  party          9: ")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("ok    ")), "{text}");
    let ended = Running::start(&mut smstream(["doctor", "-q", &target])).end().expect(1);
    assert!(!String::from_utf8(ended.stdout).expect("text").contains("\nok "));
}
