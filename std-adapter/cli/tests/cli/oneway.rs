//! One way only, ends of input, lines: what users of nc, ncat and socat know.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;

use crate::command::{Dir, Running, in_the_end, noise, reach, smstream, within_time};

#[test]
fn to_receive_only_standard_input_is_left_alone() {
    for option in ["-d", "--recv-only"] {
        let dir = Dir::new();
        let (listener, mut input) = Running::start_with_input(&mut smstream(["listen", option, &dir.addr()]));
        input.write_all(b"for another program").expect("written");
        let mut peer = reach(&dir.addr());
        within_time(move || {
            // Its own direction has ended from the start.
            assert_eq!(peer.read(&mut [0; 1]).expect("the end"), 0);
            peer.write_all(b"hello").expect("written");
        });
        assert_eq!(listener.end().expect(0).stdout, b"hello");
        drop(input);
    }
}

#[test]
fn to_send_only_nothing_is_taken() {
    let dir = Dir::new();
    let (listener, mut input) = Running::start_with_input(&mut smstream(["listen", "--send-only", &dir.addr()]));
    let mut peer = reach(&dir.addr());
    input.write_all(b"hello").expect("written");
    drop(input);
    let mut heard = String::new();
    within_time(move || {
        peer.read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "hello");
        assert_eq!(peer.write(b"?").expect_err("no taker").kind(), ErrorKind::BrokenPipe);
    });
    assert_eq!(listener.end().expect(0).stdout, b"");
    Running::start(&mut smstream(["listen", "-d", "--send-only", &dir.addr()])).end().expect(2);
}

#[test]
fn the_end_of_input_may_be_kept_back() {
    let dir = Dir::new();
    // So it is, and so it is with nc's word for it: the peer learns of the end at once.
    for options in [&["listen"][..], &["listen", "-N"]] {
        let addr = dir.addr();
        let listener = Running::start(&mut smstream(options.iter().copied().chain([addr.as_str()])));
        let mut peer = reach(&addr);
        let peer = within_time(move || {
            assert_eq!(peer.read(&mut [0; 1]).expect("the end"), 0);
            peer
        });
        drop(peer);
        listener.end().expect(0);
    }
    let listener = Running::start(&mut smstream(["listen", "--no-shutdown", &dir.addr()]));
    let mut peer = reach(&dir.addr());
    peer.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
    let mut peer = within_time(move || {
        assert_eq!(peer.read(&mut [0; 1]).expect_err("no end").kind(), ErrorKind::TimedOut);
        peer
    });
    peer.shutdown(Shutdown::Write).expect("shut down");
    within_time(move || assert_eq!(peer.read(&mut [0; 1]).expect("the end"), 0));
    listener.end().expect(0);
}

#[test]
fn bytes_pass_by_whole_lines() {
    let dir = Dir::new();
    let (mut listener, mut input) = Running::start_with_input(&mut smstream(["listen", "--lines", &dir.addr()]));
    let mut peer = reach(&dir.addr());
    peer.write_all(b"one\ntw").expect("written");
    listener.expect_stdout(b"one\n");
    input.write_all(b"three\nfo").expect("written");
    let mut seen = [0; 6];
    let mut peer = within_time(move || {
        peer.read_exact(&mut seen).expect("read");
        assert_eq!(&seen, b"three\n");
        peer.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
        assert_eq!(peer.read(&mut seen).expect_err("half a line").kind(), ErrorKind::TimedOut);
        peer.set_read_timeout(None).expect("no timeout");
        peer
    });
    drop(input);
    // A last line without an end passes at the end.
    within_time(move || {
        let mut rest = String::new();
        peer.read_to_string(&mut rest).expect("read");
        assert_eq!(rest, "fo");
        peer.write_all(b"o").expect("written");
    });
    assert_eq!(listener.end().expect(0).stdout, b"two");
}

#[test]
fn counts_for_programs() {
    let dir = Dir::new();
    let (mut listener, input) = Running::start_with_input(&mut smstream(["listen", "--counts", "0.05", &dir.addr()]));
    let mut peer = reach(&dir.addr());
    peer.write_all(&[7; 1000]).expect("written");
    let line = |listener: &mut Running| -> serde_json::Value {
        serde_json::from_str(&listener.read_stderr(b'\n')).expect("JSON")
    };
    in_the_end(|| (line(&mut listener)["received"] == 1000).then_some(()));
    drop((peer, input));
    let last = in_the_end(|| Some(line(&mut listener)).filter(|line| line["ended"] == true));
    assert_eq!((&last["received"], &last["sent"]), (&1000.into(), &0.into()));
    listener.end();
}

#[test]
fn a_probe_is_no_connection() {
    let dir = Dir::new();
    let name = format!("unix:@{}", dir.path("name").display());
    for addr in dir.addrs().into_iter().chain([name]) {
        Running::start(&mut smstream(["connect", "-z", &addr])).end().expect(3).saying(&addr);
        let mut listener = Running::start(&mut smstream(["listen", &addr]));
        Running::start(&mut smstream(["connect", "-z", "--wait", "60", &addr])).end().expect(0);
        Running::start(&mut smstream(["connect", "-z", &addr])).end().expect(0);
        // It listens still.
        let mut peer = reach(&addr);
        peer.write_all(b"hello").expect("written");
        listener.expect_stdout(b"hello");
        drop(peer);
        listener.end().expect(0);
    }
}

#[test]
fn lanes_of_more_than_the_default_limit() {
    let dir = Dir::new();
    let [_, addr] = dir.addrs();
    let listener = Running::start(&mut smstream(["listen", "-k", "--capacity", "128MiB", &addr]));
    in_the_end(|| dir.path("stream").exists().then_some(()));
    let ended = Running::start(&mut smstream(["connect", &addr])).end().expect(3);
    assert!(ended.stderr.contains("--max-capacity") && !ended.stderr.contains("Builder"), "{ended:?}");
    for option in ["--max-capacity", "--capacity"] {
        Running::start(&mut smstream(["connect", option, "128MiB", &addr])).end().expect(0);
    }
    drop(listener);
}

#[test]
fn the_mode_of_a_socket() {
    let dir = Dir::new();
    let [file, addr] = dir.addrs();
    Running::start(&mut smstream(["listen", "--mode", "660", &file])).end().expect(2).saying("--mode");
    for (options, mode) in [(&["--mode", "660"][..], 0o660), (&[], 0o600), (&["--allow-any-user"], 0o666)] {
        let args = [&["listen"][..], options, &[&addr]].concat();
        let mut listener = Running::start(&mut smstream(args));
        in_the_end(|| {
            let found = fs::metadata(dir.path("stream")).ok()?.permissions().mode() & 0o777;
            (found == mode).then_some(())
        });
        listener.kill();
    }
}

#[test]
fn names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let dir = Dir::new();
    let name = std::ffi::OsStr::from_bytes(b"x\xff\x1b[31m");
    for kind in ["file:", "unix:"] {
        let mut addr = std::ffi::OsString::from(kind);
        addr.push(dir.path("").join(name));
        let bytes = noise(4, 1000);
        let script = std::ffi::OsStr::new("cat >&2; printf %s \"$SMSTREAM_ADDR\"");
        let args = ["listen".as_ref(), addr.as_os_str(), "--".as_ref(), "sh".as_ref(), "-c".as_ref(), script];
        let listener = Running::start(&mut smstream(args));
        let connect = ["connect".as_ref(), "--wait".as_ref(), "60".as_ref(), addr.as_os_str()];
        let (connector, mut input) = Running::start_with_input(&mut smstream(connect));
        input.write_all(&bytes).expect("written");
        drop(input);
        assert_eq!(connector.end().expect(0).stdout, addr.as_bytes());
        listener.end();
        // What is said of it does nothing to a terminal.
        for command in ["connect", "doctor", "stat"] {
            let ended = Running::start(&mut smstream([command.as_ref(), addr.as_os_str()])).end().expect(3);
            assert!(!ended.stderr.contains('\x1b') && ended.stderr.contains("\\u{1b}"), "{ended:?}");
        }
    }
}
