//! Servers that keep on: what goes wrong with one connection, or for a while, does not end them.

use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::command::{Dir, Running, in_the_end, reach, smstream, within_time};

/// The command with few descriptors.
fn with_descriptors(count: u32, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_smstream")]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn without_descriptors_it_goes_on_when_there_are_some() {
    let dir = Dir::new();
    let [_, addr] = dir.addrs();
    for command in [&["listen", "-k", &addr, "--", "cat"][..], &["proxy", "-k", &addr, "tcp:127.0.0.1:1"]] {
        let listener = Running::start(&mut with_descriptors(23, command));
        in_the_end(|| dir.path("stream").exists().then_some(()));
        // Idle clients, more than it has descriptors for. Each waits to be accepted, or is.
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let addr = addr.clone();
                std::thread::spawn(move || smstream::Stream::connect_timeout(&addr, std::time::Duration::from_secs(3)))
            })
            .collect();
        let clients: Vec<_> = clients.into_iter().map(|client| client.join().expect("a thread")).collect();
        drop(clients);
        if command[0] == "listen" {
            within_time({
                let addr = addr.clone();
                move || {
                    let served = || {
                        let mut client = reach(&addr);
                        client.write_all(b"?").ok()?;
                        client.read_exact(&mut [0; 1]).ok()
                    };
                    while served().is_none() {}
                }
            });
        }
        listener.signal(Signal::TERM);
        // It has gone on to this moment.
        assert_eq!(listener.end().status.code(), Some(143), "{command:?}");
    }
}

/// A tidy person, or systemd-tmpfiles, removes the name: it makes another one.
#[test]
fn a_name_that_was_removed_is_made_anew() {
    let dir = Dir::new();
    for addr in dir.addrs() {
        for command in [
            &["listen", "-kv", &addr][..],
            &["listen", "-kv", &addr, "--", "cat"],
            &["proxy", "-kv", &addr, "tcp:127.0.0.1:1"],
        ] {
            let mut listener = Running::start(&mut smstream(command));
            listener.expect_stderr("listening at");
            std::fs::remove_file(dir.path("stream")).expect("removed");
            listener.expect_stderr("listening anew");
            drop(reach(&addr));
            listener.signal(Signal::TERM);
            assert_eq!(listener.end().status.code(), Some(143), "{command:?}");
            assert!(!dir.path("stream").exists(), "{command:?} leaves its name");
        }
    }
}

/// A file that was cut short may be another program's by now. If the library finds that it is still its own, the server
/// listens anew; if not, it says so and ends. It neither crashes nor tries for ever what cannot work.
#[test]
fn a_name_whose_memory_was_cut_is_made_anew_or_ends_it() {
    let dir = Dir::new();
    let addr = dir.addr();
    for command in [&["listen", "-k", &addr][..], &["listen", "-k", &addr, "--", "cat"]] {
        let mut listener = Running::start(&mut smstream(command));
        in_the_end(|| dir.path("stream").exists().then_some(()));
        std::fs::File::options().write(true).open(dir.path("stream")).expect("it").set_len(0).expect("cut");
        // It notices when it looks at it, at the latest when a connector comes.
        let _ = smstream::Stream::connect_timeout(&addr, std::time::Duration::from_millis(100));
        listener.expect_stderr("listening anew");
        let stat = format!("/proc/{}/stat", listener.id());
        let has_ended = || std::fs::read_to_string(&stat).expect("its state").contains(") Z ");
        let serves = in_the_end(|| match smstream::Stream::connect(&addr) {
            Ok(_) => Some(true),
            Err(_) => has_ended().then_some(false),
        });
        if serves {
            listener.signal(Signal::TERM);
            assert_eq!(listener.end().status.code(), Some(143), "{command:?}");
        } else {
            listener.end().expect(3).saying("could not listen");
            std::fs::remove_file(dir.path("stream")).expect("removed");
        }
    }
}

#[test]
fn only_so_many_connections_at_once() {
    let dir = Dir::new();
    let args = ["listen", "-k", "--max-connections", "2", &dir.addr(), "--", "cat"];
    let listener = Running::start(&mut smstream(args));
    let addr = dir.addr();
    let mut first = reach(&addr);
    let second = reach(&addr);
    let third = std::thread::spawn({
        let addr = addr.clone();
        move || reach(&addr)
    });
    first.write_all(b"?").expect("written");
    let first = within_time(move || {
        first.read_exact(&mut [0; 1]).expect("read");
        first
    });
    // The third is not served: it has no program yet.
    let children = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", listener.id())).expect("its threads");
        let lists = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
        lists.collect::<String>().split_whitespace().count()
    };
    in_the_end(|| (children() == 2).then_some(()));
    assert!(children() <= 2);
    drop(first);
    let mut third = third.join().expect("a thread");
    third.write_all(b"!").expect("written");
    within_time(move || third.read_exact(&mut [0; 1]).expect("read"));
    drop(second);
    listener.signal(Signal::TERM);
    assert_eq!(listener.end().status.code(), Some(143));
}

#[test]
fn a_line_for_each_connection() {
    let dir = Dir::new();
    let [_, addr] = dir.addrs();
    let mut listener = Running::start(&mut smstream(["listen", "-k", "-v", &addr]));
    listener.expect_stderr(&format!("listening at {addr}\n"));
    for _ in 0..2 {
        let connector = Running::start(smstream(["connect", "-v", &addr]).stdin(Stdio::null()));
        let pid = connector.id();
        let uid = rustix::process::geteuid().as_raw();
        listener.expect_stderr(&format!("process {pid} of user {uid} connected at {addr}\n"));
        listener.expect_stderr("ended: sent 0 bytes, received 0 bytes");
        connector.end().expect(0).saying(&format!("connected to process {}", listener.id()));
    }
    listener.signal(Signal::INT);
    assert_eq!(listener.end().status.code(), Some(130));
}

#[test]
fn a_service_manager_learns_that_it_is_ready() {
    let dir = Dir::new();
    let socket = UnixDatagram::bind(dir.path("notify")).expect("a socket");
    for args in [&["listen", &dir.addr()][..], &["proxy", "-q", &dir.addr(), "tcp:127.0.0.1:1"]] {
        let server = Running::start(smstream(args).env("NOTIFY_SOCKET", dir.path("notify")));
        let mut text = [0; 64];
        let count = socket.recv(&mut text).expect("a message");
        assert_eq!(&text[..count], b"READY=1");
        assert!(dir.path("stream").exists());
        server.signal(Signal::TERM);
        server.end();
    }
}

/// A listener that has too few descriptors for a connection says so, without being asked, and goes on.
#[test]
fn a_listener_says_that_its_descriptors_do_not_suffice() {
    let mut said = 0;
    for most in 8..40 {
        let dir = Dir::new();
        let [_, addr] = dir.addrs();
        let mut listener = Running::start(&mut with_descriptors(most, &["listen", "-k", &addr, "--", "true"]));
        // It listens, or it ends because not even that is possible.
        in_the_end(|| (dir.path("stream").exists() || listener.has_ended()).then_some(()));
        let ended = Running::start(&mut smstream(["connect", &addr])).end();
        if ended.status.code() == Some(3) && !ended.stderr.contains("refused") {
            listener.end().expect(3).saying("Too many open files");
            continue;
        }
        // From here on it accepts, if not more: there may be too few left for the command.
        if ended.status.code() != Some(3) {
            break;
        }
        ended.saying("descriptors");
        listener.expect_stderr("Too many open files");
        said += 1;
        listener.signal(Signal::TERM);
        assert_eq!(listener.end().status.code(), Some(143));
    }
    assert!(said > 0, "no limit let it listen and not accept");
}
