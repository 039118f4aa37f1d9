//! What fails says so with the right exit code, and nothing hangs.

use std::fs::File;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use smstream::Listener;

use crate::command::{Dir, Running, feed, noise, reach, smstream, through_shell, within_time};

#[test]
fn a_killed_peer_is_reported() {
    let dir = Dir::new();
    let (listener, input) = Running::start_with_input(&mut smstream(["listen", &dir.addr()]));
    let (mut connector, mut there) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &dir.addr()]));
    there.write_all(b"last words").expect("written");
    let mut listener = listener;
    listener.expect_stdout(b"last words");
    connector.kill();
    listener.end().expect(1).saying("died without closing");
    drop(input);
}

#[test]
fn a_peer_that_dies_after_its_last_byte_has_not_closed() {
    let dir = Dir::new();
    let (mut listener, mut input) = Running::start_with_input(&mut smstream(["listen", &dir.addr()]));
    // It has nothing to say, which it says at once.
    let mut connector = Running::start(&mut smstream(["connect", "--wait", "60", &dir.addr()]));
    input.write_all(b"are you there?").expect("written");
    connector.expect_stdout(b"are you there?");
    connector.kill();
    listener.expect_stdout(b"");
    listener.end().expect(1).saying("died without closing");
    drop(input);
}

#[test]
fn undelivered_bytes_are_counted() {
    let dir = Dir::new();
    let listener = Listener::bind(dir.addr()).expect("a listener");
    let (connector, input) = Running::start_with_input(&mut smstream(["connect", &dir.addr()]));
    let fed = feed(input, noise(4, 5_000_000));
    let pid = connector.id();
    within_time(move || {
        let mut peer = listener.accept().expect("a connection");
        let scan = smstream::inspect::scan(false).expect("a look");
        let is_its = |stream: &&smstream::inspect::InspectedStream| stream.of_party(1).any(|holder| holder.pid == pid);
        let stream = scan.streams.iter().find(is_its).expect("the connection");
        // Full, so that more of it is in the hands of the command.
        let until_full = || loop {
            let lane = &stream.look().expect("a look").sample.lanes[1];
            if lane.fill == Some(lane.capacity) {
                break;
            }
            thread::yield_now();
        };
        until_full();
        peer.read_exact(&mut [0; 100]).expect("read");
        until_full();
    });
    connector.end().expect(1).saying("bytes of standard input were not delivered");
    fed.join().expect("a thread");
}

#[test]
fn bytes_that_the_peer_left_in_the_ring_are_counted() {
    let dir = Dir::new();
    let listener = Listener::bind(dir.addr()).expect("a listener");
    let (connector, mut input) = Running::start_with_input(&mut smstream(["connect", &dir.addr()]));
    input.write_all(b"1234567890").expect("written");
    within_time(move || {
        let mut peer = listener.accept().expect("a connection");
        peer.read_exact(&mut [0; 3]).expect("read");
        // The other seven were published with these.
    });
    drop(input);
    connector.end().expect(1).saying("did not read the last 7 bytes");
}

#[test]
fn a_peer_that_stops_reading_may_still_talk() {
    let dir = Dir::new();
    let listener = Listener::bind(dir.addr()).expect("a listener");
    let (mut connector, mut input) = Running::start_with_input(&mut smstream(["connect", &dir.addr()]));
    let mut peer = within_time(move || listener.accept().expect("a connection"));
    peer.shutdown(std::net::Shutdown::Read).expect("shut down");
    input.write_all(&[5; 10_000]).expect("written");
    peer.write_all(b"I have heard enough").expect("written");
    connector.expect_stdout(b"I have heard enough");
    drop(peer);
    connector.end().expect(1).saying("10000 bytes of standard input were not delivered");
}

#[test]
fn standard_output_whose_reader_has_gone() {
    let dir = Dir::new();
    let mut listener = Running::start(&mut smstream(["listen", &dir.addr()]));
    listener.close_stdout();
    let mut peer = reach(&dir.addr());
    peer.write_all(b"x").expect("written");
    listener.end().expect(1).saying("standard output: its reader has gone");
}

#[test]
fn a_full_disk_is_reported_on_both_sides() {
    let dir = Dir::new();
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let listener = Running::start(smstream(["listen", &dir.addr()]).stdout(full));
    let (connector, input) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &dir.addr()]));
    let fed = feed(input, noise(6, 3_000_000));
    listener.end().expect(1).saying("No space left");
    connector.end().expect(1).saying("died without closing");
    fed.join().expect("a thread");
}

#[test]
fn closed_standard_input_is_an_empty_one() {
    let dir = Dir::new();
    let listener = Running::start(&mut through_shell("<&-", &["listen", &dir.addr()]));
    let addr = dir.addr();
    within_time(move || {
        let mut peer = reach(&addr);
        peer.write_all(b"x").expect("written");
        peer.shutdown(std::net::Shutdown::Write).expect("shut down");
        assert_eq!(peer.read(&mut [0; 1]).expect("the end"), 0);
    });
    let ended = listener.end().expect(0).saying("standard input is not open");
    assert_eq!(ended.stdout, b"x");
}

#[test]
fn unreadable_standard_input_does_not_look_like_the_end() {
    let dir = Dir::new();
    let listener = Listener::bind(dir.addr()).expect("a listener");
    let directory = File::open(std::env::temp_dir()).expect("a directory");
    let connector = Running::start(smstream(["connect", &dir.addr()]).stdin(directory));
    let result = within_time(move || listener.accept().expect("a connection").read(&mut [0; 1]));
    connector.end().expect(1).saying("could not read standard input");
    assert_eq!(result.expect_err("no end of stream").kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn no_process_listens() {
    let dir = Dir::new();
    let ended = Running::start(&mut smstream(["connect", &dir.addr()])).end().expect(3);
    ended.saying(&dir.addr()).saying("--wait");
    let ended = Running::start(&mut smstream(["connect", "--wait", "0.05", &dir.addr()])).end().expect(3);
    ended.saying(&dir.addr());
}

#[test]
fn a_process_listens_already() {
    let dir = Dir::new();
    let _listener = Listener::bind(dir.addr()).expect("a listener");
    Running::start(&mut smstream(["listen", &dir.addr()])).end().expect(3).saying(&dir.addr());
}

#[test]
fn nowhere_to_listen() {
    let dir = Dir::new();
    let addr = format!("file:{}", dir.path("missing/stream").display());
    Running::start(&mut smstream(["listen", &addr])).end().expect(3).saying(&addr);
    std::fs::write(dir.path("stream"), "a user's letter").expect("a file");
    Running::start(&mut smstream(["listen", &dir.addr()])).end().expect(3).saying(&dir.addr());
    Running::start(&mut smstream(["connect", &dir.addr()])).end().expect(3).saying(&dir.addr());
    assert_eq!(std::fs::read(dir.path("stream")).expect("a file"), b"a user's letter");
}

#[test]
fn waiting_for_a_listener_that_does_not_accept_ends_in_time() {
    let dir = Dir::new();
    let _listener = Listener::bind(dir.addr()).expect("a listener");
    let start = std::time::Instant::now();
    Running::start(&mut smstream(["connect", "--wait", "0.2", &dir.addr()])).end().expect(3);
    assert!(start.elapsed() >= Duration::from_millis(200));
}
