//! `listen --keep-open`: one connection after another.

use std::io::{Read, Write};

use smstream::Stream;

use crate::command::{Dir, Running, reach, smstream, within_time};

/// Sends a text, receives to the end, and closes.
fn talk(mut peer: Stream, text: &'static str) -> String {
    within_time(move || {
        peer.write_all(text.as_bytes()).expect("written");
        peer.shutdown(std::net::Shutdown::Write).expect("shut down");
        let mut heard = String::new();
        peer.read_to_string(&mut heard).expect("read");
        heard
    })
}

#[test]
fn every_connection_is_served_in_turn() {
    let dir = Dir::new();
    let mut listener = Running::start(&mut smstream(["listen", "-k", &dir.addr()]));
    for text in ["one\n", "two\n", "three\n"] {
        assert_eq!(talk(reach(&dir.addr()), text), "");
        listener.expect_stdout(text.as_bytes());
    }
    listener.kill();
    assert_eq!(listener.end().stderr, "");
}

#[test]
fn standard_input_goes_to_the_connection_of_the_moment() {
    let dir = Dir::new();
    let (mut listener, mut input) = Running::start_with_input(&mut smstream(["listen", "--keep-open", &dir.addr()]));

    let connect = ["connect", "--wait", "60", &dir.addr()];
    let (mut first, held) = Running::start_with_input(&mut smstream(connect));
    input.write_all(b"for the first\n").expect("written");
    first.expect_stdout(b"for the first\n");
    first.kill();
    listener.expect_stderr("died without closing");
    drop(held);

    let mut second = Running::start(&mut smstream(connect));
    input.write_all(b"for the second\n").expect("written");
    second.expect_stdout(b"for the second\n");
    drop(input);
    second.end().expect(0);

    // Standard input has ended: there is nothing to say to the third.
    assert_eq!(talk(reach(&dir.addr()), "still there?\n"), "");
    listener.expect_stdout(b"still there?\n");
    listener.kill();
}

#[test]
fn bytes_that_one_connection_refused_go_to_the_next() {
    let dir = Dir::new();
    let mut command = smstream(["listen", "--keep-open", "--capacity", "4096", &dir.addr()]);
    let (mut listener, mut input) = Running::start_with_input(&mut command);
    let first = reach(&dir.addr());
    // More than the lane holds, less than the pipe: all of it is read, and only a part is sent.
    input.write_all(&[b'x'; 20_000]).expect("written");
    drop(input);
    let first = within_time(move || {
        let mut first = first;
        first.read_exact(&mut [0; 1]).expect("read");
        first
    });
    drop(first);
    listener.expect_stderr("will go to the next connection");
    let rest = talk(reach(&dir.addr()), "");
    assert!(!rest.is_empty() && rest.len() < 20_000 && rest.bytes().all(|byte| byte == b'x'), "{}", rest.len());
    listener.kill();
}

#[test]
fn a_failing_output_ends_it() {
    let dir = Dir::new();
    let mut listener = Running::start(&mut smstream(["listen", "--keep-open", &dir.addr()]));
    listener.close_stdout();
    let mut peer = reach(&dir.addr());
    peer.write_all(b"x").expect("written");
    listener.end().expect(1).saying("standard output: its reader has gone");
}
