//! A system that refuses: permissions, full file systems, limits. Nothing is left behind, and it goes on when it can.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use smstream::{DEFAULT_CAPACITY, Stream};
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{Party, Refusal, Scratch};
use smstream_tests::privileges::is_root_to_show;
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
/// A user that owns nothing.
const OTHER_USER: u32 = 12345;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A party without privileges, to whom the directory of `scratch` belongs.
fn ordinary(scratch: &Scratch) -> Party {
    let mut party = Party::start(PARTY);
    if is_root() {
        chown(scratch.path(), Some(OTHER_USER), Some(OTHER_USER)).unwrap();
        party.does(format!("become {OTHER_USER}"));
    }
    party
}

#[track_caller]
fn says(e: &Refusal, kind: &str, reason: &str, words: &[&str]) {
    assert_eq!((e.kind.as_str(), e.reason.as_str()), (kind, reason), "{e:?}");
    for word in words {
        assert!(e.text.contains(word), "{e:?} has no {word:?}");
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_without_permission() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = ordinary(&scratch);
    let path = scratch.name();
    let path = path.to_str().unwrap();
    // Not even to be searched; and to be searched but not written to.
    mode(scratch.path(), 0o000);
    let bind = format!("bind {} 64 64 0", scratch.addr());
    let e = party.ask(&bind).unwrap_err();
    says(&e, "PermissionDenied", "Denied", &[path, "search and write"]);
    assert_eq!(e.code, "-");
    let e = party.ask(format!("connect {}", scratch.addr())).unwrap_err();
    says(&e, "PermissionDenied", "Denied", &[path, "search and write"]);
    assert_eq!(e.code, "ConnectionNotReady");
    mode(scratch.path(), 0o555);
    let e = party.ask(&bind).unwrap_err();
    says(&e, "PermissionDenied", "Denied", &[path, "search and write"]);
    mode(scratch.path(), 0o755);
    assert!(scratch.names().is_empty());
    party.does(&bind);
}

#[test]
fn a_file_without_permission() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut a, mut b] = [ordinary(&scratch), ordinary(&scratch)];
    a.does(format!("bind {} 64 64 0", scratch.addr()));
    let path = scratch.name();
    let connect = format!("connect {}", scratch.addr());
    mode(&path, 0o000);
    says(&b.ask(&connect).unwrap_err(), "PermissionDenied", "Denied", &[path.to_str().unwrap()]);
    mode(&path, 0o644);
    says(&b.ask(&connect).unwrap_err(), "PermissionDenied", "Denied", &[path.to_str().unwrap(), "0644", "chmod 600"]);
    mode(&path, 0o600);
    a.tell("accept");
    b.does(&connect);
    a.hear().unwrap();
}

/// A file of another user is neither connected to nor taken over, though root could.
#[test]
fn another_owner() {
    let _watchdog = Watchdog::new();
    if !is_root() {
        // Without privileges there is no second user, but there are files of root.
        let e = Stream::connect("file:/etc/passwd").unwrap_err();
        assert_eq!(e.reason(), smstream::Reason::Denied);
        assert!(e.to_string().contains("/etc/passwd belongs to user 0"), "{e}");
        return;
    }
    let scratch = Scratch::new();
    let mut other_user = ordinary(&scratch);
    other_user.does(format!("bind {} 64 64 0", scratch.addr()));
    let mut root = Party::start(PARTY);
    let path = scratch.name();
    let words = [path.to_str().unwrap(), "belongs to user 12345", "the same user"];
    for command in [format!("connect {}", scratch.addr()), format!("bind {} 64 64 0", scratch.addr())] {
        says(&root.ask(&command).unwrap_err(), "PermissionDenied", "Denied", &words);
    }
    other_user.kill_and_reap();
    says(&root.ask(format!("bind {} 64 64 0", scratch.addr())).unwrap_err(), "PermissionDenied", "Denied", &words);
    assert_eq!(scratch.names(), ["name"]);
    fs::remove_file(&path).unwrap();
    // And the other way round.
    root.does(format!("bind {} 64 64 0", scratch.addr()));
    let mut other_user = ordinary(&scratch);
    let words = [path.to_str().unwrap(), "belongs to user 0", "the same user"];
    for command in [format!("connect {}", scratch.addr()), format!("bind {} 64 64 0", scratch.addr())] {
        says(&other_user.ask(&command).unwrap_err(), "PermissionDenied", "Denied", &words);
    }
}

/// A party with a small file system of its own, and the path of that, as others see it.
fn confined(scratch: &Scratch, bytes: u64) -> (Party, String) {
    let mut party = Party::start(PARTY);
    let path = scratch.path().display();
    party.does(format!("mount-small {path} {bytes}"));
    let seen = format!("/proc/{}/root{path}", party.pid());
    (party, seen)
}

fn free(path: &str) -> u64 {
    rustix::fs::statvfs(path).unwrap().f_bfree
}

#[test]
fn a_full_file_system_when_listening() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let (mut party, seen) = confined(&scratch, 1 << 20);
    let before = free(&seen);
    for capacity in [1_usize << 20, 500 << 10, 512 << 20] {
        let e = party.ask(format!("bind {} {capacity} {capacity} 0", scratch.addr())).unwrap_err();
        says(&e, "StorageFull", "System", &[scratch.name().to_str().unwrap(), "smaller capacities"]);
        assert_eq!(fs::read_dir(&seen).unwrap().count(), 0);
        assert_eq!(free(&seen), before, "blocks are left behind");
    }
    party.does(format!("bind {} 1000 1000 0", scratch.addr()));
}

/// The region for the next connector cannot be made: the present one stays pending, and is accepted later.
#[test]
fn a_full_file_system_when_accepting() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let (mut party, seen) = confined(&scratch, 1 << 20);
    party.does(format!("bind {} 4096 4096 {NEAR_WRAP}", scratch.addr()));
    let ballast = format!("{seen}/ballast");
    fs::write(&ballast, vec![1; 4096 * (free(&seen) as usize - 1)]).unwrap();
    let mut connector = Party::start(PARTY);
    connector.tell(format!("connect file:{seen}/name"));
    connector.is_asleep();
    for _ in 0..3 {
        let e = party.ask("accept").unwrap_err();
        says(&e, "StorageFull", "System", &[scratch.name().to_str().unwrap(), "free some space"]);
        assert!(connector.has_replied().is_none(), "the connector waits on");
    }
    fs::remove_file(&ballast).unwrap();
    assert_eq!(party.does("accept"), connector.pid().to_string());
    connector.hear().unwrap();
    connector.does("send 4096 all");
    connector.does("close");
    assert_eq!(party.does("drain"), "4096 eof");
}

#[test]
fn a_limit_on_the_size_of_files() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = Party::start(PARTY);
    party.does(format!("limit fsize {}", 100 << 10));
    // It is an error, and not the end of the process by SIGXFSZ.
    let e = party.ask(format!("bind {} 100000 100000 0", scratch.addr())).unwrap_err();
    says(&e, "FileTooLarge", "System", &[scratch.name().to_str().unwrap(), "ulimit -f", "102400"]);
    assert!(scratch.names().is_empty());
    party.does(format!("bind {} 30000 30000 0", scratch.addr()));
}

/// Beside a socket there is a small file, and a limit may forbid even that.
#[test]
fn a_limit_that_forbids_every_file() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = Party::start(PARTY);
    party.does("limit fsize 8");
    let name = scratch.path().join("socket");
    let e = party.ask(format!("bind unix:{} 64 64 0", name.display())).unwrap_err();
    says(&e, "FileTooLarge", "System", &[name.to_str().unwrap(), "ulimit -f"]);
    assert!(scratch.names().is_empty());
}

#[test]
fn no_descriptors_left() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
    a.does("limit nofile 40");
    b.does("limit nofile 40");
    let path = scratch.name();
    let words = [path.to_str().unwrap(), "ulimit -n"];
    let bind = format!("bind {} 64 64 {NEAR_WRAP}", scratch.addr());
    let connect = format!("connect {}", scratch.addr());
    a.does("use-up-descriptors 0");
    let e = a.ask(&bind).unwrap_err();
    assert!(words.iter().all(|w| e.text.contains(w)), "{e:?}");
    // However many there are but too few: the same, or it works. A party that failed leaves nothing behind.
    let mut left = 0;
    loop {
        left += 1;
        a.does(format!("use-up-descriptors {left}"));
        match a.ask(&bind) {
            Ok(_) => break,
            Err(e) => assert!(words.iter().all(|w| e.text.contains(w)), "{left}: {e:?}"),
        }
        assert!(scratch.names().is_empty(), "{left}");
    }
    let mut failures = 0;
    for left in 0.. {
        b.does(format!("use-up-descriptors {left}"));
        b.tell(&connect);
        // The listener has none to make the next region of, when the connector has enough.
        a.does("use-up-descriptors 0");
        let reply = loop {
            if let Err(e) = a.ask("accept 5") {
                if e.reason == "TimedOut" {
                    match b.has_replied() {
                        Some(reply) => break Some(reply),
                        None => continue,
                    }
                }
                assert!(words.iter().all(|w| e.text.contains(w)), "{e:?}");
                failures += 1;
                break None;
            }
        };
        a.does("use-up-descriptors 20");
        if let Some(reply) = reply {
            assert!(words.iter().all(|w| reply.contains(w)), "{left}: {reply}");
            continue;
        }
        a.does("accept");
        b.hear().unwrap();
        break;
    }
    assert_eq!(failures, 1);
    b.does("send 60 mixed");
    a.does("receive 60 mixed");
}

/// Over a socket a descriptor comes with a message, and may not be received. However few the listener has left: the
/// connector waits or gets an error that says so; it is never blamed.
#[test]
fn no_descriptors_left_for_what_comes() {
    let _watchdog = Watchdog::new();
    // The connector's segment comes with its second message, or with the first.
    for channel in [format!("64 64 {NEAR_WRAP}"), format!("{DEFAULT_CAPACITY} {DEFAULT_CAPACITY} 0")] {
        no_descriptors_left_for(&channel);
    }
}

fn no_descriptors_left_for(channel: &str) {
    let scratch = Scratch::new();
    let mut listener = Party::start(PARTY);
    let addr = format!("unix:{}", scratch.name().display());
    listener.does("limit nofile 40");
    listener.does(format!("bind {addr} {channel}"));
    let mut refused = Vec::new();
    for left in 0.. {
        let mut connector = Party::start(PARTY);
        listener.does(format!("use-up-descriptors {left}"));
        connector.tell(format!("connect {addr}"));
        // It has said HELLO.
        connector.is_polling();
        let mut said = String::new();
        let outcome = loop {
            let accepted = listener.ask("accept 5").inspect_err(|e| said += &e.text);
            match (accepted, connector.has_replied()) {
                (Ok(_), Some(reply)) => break Ok(reply),
                (Ok(_), None) => break Ok(connector.hear().unwrap()),
                (Err(_), Some(reply)) => break Err(reply),
                (Err(e), None) if e.reason == "TimedOut" => {}
                (Err(e), None) => {
                    assert!(left == 0 && e.text.contains("ulimit -n"), "{left}: {e:?}");
                    connector.kill_and_reap();
                    break Err(String::from("waits"));
                }
            }
        };
        let Err(reply) = outcome else { break };
        assert!(reply == "waits" || said.contains("could not serve it"), "{left}: {reply}, and the listener: {said}");
        refused.push(reply);
    }
    // None for the connection; then none for the listener's own memory and for the connector's, both of which it has for a
    // while if that is not proposed.
    assert!(refused.len() > 1 && refused[0] == "waits", "{refused:?}");
    for reply in &refused[1..] {
        assert!(reply.contains("no memory or descriptors left"), "{reply}");
    }
}

/// The same on the other side: a connector that cannot receive what is handed out, or cannot make its own, says so itself.
#[test]
fn no_descriptors_left_to_connect() {
    let _watchdog = Watchdog::new();
    for channel in [format!("64 64 {NEAR_WRAP}"), format!("{DEFAULT_CAPACITY} {DEFAULT_CAPACITY} 0")] {
        let scratch = Scratch::new();
        let addr = format!("unix:{}", scratch.name().display());
        let mut listener = Party::start(PARTY);
        listener.does(format!("bind {addr} {channel}"));
        listener.does("serve-all");
        let mut connector = Party::start(PARTY);
        connector.does("limit nofile 40");
        let mut left = 0;
        loop {
            connector.does(format!("use-up-descriptors {left}"));
            match connector.ask(format!("connect {addr} 60000")) {
                Ok(_) => break,
                Err(e) => assert!(e.text.contains("ulimit -n"), "{left}: {e:?}"),
            }
            left += 1;
        }
        // The socket, and the memory that it makes; then what comes.
        assert!(left > 2, "{left}");
    }
}

/// The kernel counts the descriptors that a user has sent and that are not received yet. One that waits to be accepted waits
/// without having sent any, if there are too many.
#[test]
fn too_many_descriptors_on_the_way() {
    if !is_root_to_show("that a user who is not root is held to it") {
        return;
    }
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    let [mut listener, mut other, mut connector] = [(); 3].map(|()| ordinary(&scratch));
    listener.does(format!("bind {addr} {DEFAULT_CAPACITY} {DEFAULT_CAPACITY} 0"));
    connector.does("limit nofile 40");
    other.does("rig-fly 60");
    connector.tell(format!("connect {addr} 60000"));
    // It has said HELLO.
    connector.is_polling();
    other.does("rig-land");
    listener.does("accept 60000");
    connector.hear().unwrap();
    listener.does("close");
    connector.does("close");
}
