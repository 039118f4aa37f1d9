//! Bytes arrive, both ways at once, and the processes end when they should.

use std::fs::{self, File};
use std::io::Write;

use crate::command::{Dir, Running, feed, noise, reach, smstream, within_time};

#[test]
fn both_ways_at_once() {
    let dir = Dir::new();
    let (one, two) = (noise(1, 30_000_001), noise(2, 20_000_003));
    let (listener, input) = Running::start_with_input(&mut smstream(["listen", &dir.addr()]));
    let fed = feed(input, one.clone());
    let (connector, input) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &dir.addr()]));
    let fed_too = feed(input, two.clone());
    let connector = std::thread::spawn(move || connector.end());
    let listener = listener.end().expect(0);
    let connector = connector.join().expect("a thread").expect(0);
    assert!(listener.stdout == two, "what the listener received is not what was sent");
    assert!(connector.stdout == one, "what the connector received is not what was sent");
    assert_eq!((listener.stderr.as_str(), connector.stderr.as_str()), ("", ""));
    fed.join().expect("a thread");
    fed_too.join().expect("a thread");
}

#[test]
fn through_a_ring_of_one_byte_and_one_of_megabytes() {
    for (capacity, count) in [("1", 5_000), ("4MiB", 20_000_000)] {
        let dir = Dir::new();
        fs::write(dir.path("in"), noise(3, count)).expect("a file");
        let listener = Running::start(
            smstream(["listen", "--capacity", capacity, &dir.addr()])
                .stdout(File::create(dir.path("out")).expect("a file")),
        );
        let connector = Running::start(
            smstream(["connect", "--wait", "60", &dir.addr()]).stdin(File::open(dir.path("in")).expect("a file")),
        );
        connector.end().expect(0);
        listener.end().expect(0);
        assert!(fs::read(dir.path("out")).expect("a file") == noise(3, count), "capacity {capacity}");
    }
}

#[test]
fn a_rounded_capacity_is_reported() {
    let dir = Dir::new();
    let listener = Running::start(&mut smstream(["listen", "--capacity", "100000", &dir.addr()]));
    let mut peer = reach(&dir.addr());
    peer.write_all(b"x").expect("written");
    drop(peer);
    let ended = listener.end().expect(0).saying("131072");
    assert_eq!(ended.stdout, b"x");
}

#[test]
fn the_connector_may_come_first() {
    let dir = Dir::new();
    let (mut connector, input) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &dir.addr()]));
    let mut listener = Running::start(smstream(["listen", &dir.addr()]).stdin(std::process::Stdio::null()));
    let mut input = input;
    input.write_all(b"hello").expect("written");
    listener.expect_stdout(b"hello");
    connector.expect_stdout(b"");
    drop(input);
    connector.end().expect(0);
    listener.end().expect(0);
}

#[test]
fn what_is_typed_arrives_at_once() {
    let dir = Dir::new();
    let (mut listener, mut here) = Running::start_with_input(&mut smstream(["listen", &dir.addr()]));
    let (mut connector, mut there) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &dir.addr()]));
    for line in ["one\n", "two\n", "three\n"] {
        here.write_all(line.as_bytes()).expect("written");
        connector.expect_stdout(line.as_bytes());
        there.write_all(line.as_bytes()).expect("written");
        listener.expect_stdout(line.as_bytes());
    }
    drop(here);
    there.write_all(b"after the other's end\n").expect("written");
    listener.expect_stdout(b"after the other's end\n");
    drop(there);
    listener.end().expect(0);
    connector.end().expect(0);
}

#[test]
fn an_open_terminal_does_not_keep_a_finished_connection() {
    let dir = Dir::new();
    let (listener, input) = Running::start_with_input(&mut smstream(["listen", &dir.addr()]));
    let addr = dir.addr();
    within_time(move || {
        let mut peer = reach(&addr);
        peer.write_all(b"that was all").expect("written");
    });
    // The peer has closed altogether; no process closes our end of standard input.
    let ended = listener.end().expect(0);
    assert_eq!(ended.stdout, b"that was all");
    drop(input);
}

#[test]
fn progress_leaves_the_final_figures() {
    let dir = Dir::new();
    let listener = Running::start(&mut smstream(["listen", "--progress", &dir.addr()]));
    let mut peer = reach(&dir.addr());
    peer.write_all(&[7; 4096]).expect("written");
    drop(peer);
    listener.end().expect(0).saying("sent 0 bytes, received 4 KiB in ");
}
