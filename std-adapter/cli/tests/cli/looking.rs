//! `smstream ls`: what is listed of real processes, and how.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use rustix::process::Signal;
use serde_json::Value;
use smstream::Listener;

use crate::command::{Dir, Running, in_the_end, reach, smstream};

/// What the command says in JSON.
#[track_caller]
pub fn json(args: &[&str], code: i32) -> Value {
    let ended = Running::start(&mut smstream(args)).end().expect(code);
    let text = String::from_utf8(ended.stdout).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The streams at an address, as `ls` shows them.
fn listed(addr: &str) -> Vec<Value> {
    let all = json(&["ls", "--json"], 0);
    let streams = all["streams"].as_array().expect("a list");
    streams.iter().filter(|stream| stream["address"] == *addr).cloned().collect()
}

/// A stream at an address in a state, as soon as there is one.
pub fn listed_as(addr: &str, state: &str) -> Value {
    in_the_end(|| listed(addr).into_iter().find(|stream| stream["state"] == state))
}

/// A descriptor of a party, as `PID:FD`.
pub fn descriptor(stream: &Value, party: u64) -> String {
    let holders = stream["holders"].as_array().expect("a list");
    let holder = holders.iter().find(|holder| holder["party"] == party).expect("a party");
    format!("{}:{}", holder["pid"], holder["fd"])
}

#[test]
fn a_listener_and_its_streams_are_listed() {
    let dir = Dir::new();
    let addr = dir.addr();
    let listener = Running::start(&mut smstream(["listen", "-k", "--capacity", "8KiB", &addr]));
    let waiting = listed_as(&addr, "listening");
    assert_eq!(waiting["capacities"], serde_json::json!([8192, 8192]));
    assert_eq!(waiting["alive"], serde_json::json!([true, false]));
    assert_eq!(waiting["holders"][0]["pid"], listener.id());
    assert!(waiting["holders"][0]["command"].as_str().expect("text").ends_with(&addr));

    let mine = reach(&addr);
    // Its standard input is empty, so its lane has ended.
    let connected = listed_as(&addr, "half-closed");
    assert_eq!(connected["alive"], serde_json::json!([true, true]));
    assert!(descriptor(&connected, 0).starts_with(&format!("{}:", listener.id())));
    assert!(descriptor(&connected, 1).starts_with(&format!("{}:", std::process::id())));
    // The listener goes on listening.
    assert_eq!(listed(&addr).len(), 2);

    let ended = Running::start(&mut smstream(["ls"])).end().expect(0);
    let text = String::from_utf8(ended.stdout).expect("text");
    for part in ["STATE", "listening", "half-closed", &addr, &format!("{}", listener.id())] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours where no terminal is");
    drop(mine);
}

#[test]
fn streams_over_sockets_are_listed_with_both_parties() {
    let dir = Dir::new();
    let addr = format!("unix:{}", dir.path("socket").display());
    let listener = Listener::bind(&addr).expect("a listener");
    let (connector, mut input) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &addr]));
    let mut mine = listener.accept().expect("a connection");
    input.write_all(b"hello").expect("written");
    mine.read_exact(&mut [0; 4]).expect("read");
    let all = json(&["ls", "--json"], 0);
    let streams = all["streams"].as_array().expect("a list");
    let of_both = |stream: &&Value| {
        let pids: Vec<u64> =
            stream["holders"].as_array().expect("a list").iter().filter_map(|it| it["pid"].as_u64()).collect();
        pids.contains(&connector.id().into()) && pids.contains(&std::process::id().into())
    };
    let stream = streams.iter().find(of_both).expect("the stream");
    assert_eq!(stream["state"], "connected");
    assert_eq!(stream["alive"], serde_json::json!([true, true]));
    let listening = all["socket_listeners"].as_array().expect("a list");
    assert!(listening.iter().any(|it| it["address"] == *addr), "{all}");
    assert!(descriptor(stream, 0).starts_with(&format!("{}:", std::process::id())));
    let seen = json(&["stat", "--json", &descriptor(stream, 1)], 0);
    assert_eq!(seen["streams"][0]["lanes"][1]["writer"]["bytes"], 5);
    assert_eq!(seen["streams"][0]["lanes"][1]["fill"], 1);
    let checked = json(&["doctor", "--json", &descriptor(stream, 1)], 0);
    assert_eq!(checked["sound"], true, "{checked}");
    drop(input);
}

/// A listener's entry in a list of `ls` whose address, or whatever the key names, begins so.
fn entry(all: &Value, list: &str, key: &str, begins: &str) -> Option<Value> {
    let entries = all[list].as_array().expect("a list");
    entries.iter().find(|it| it[key].as_str().is_some_and(|it| it.starts_with(begins))).cloned()
}

#[test]
fn a_socket_is_as_old_as_its_path() {
    let dir = Dir::new();
    let path = dir.path("socket");
    let addr = format!("unix:{}", path.display());
    let _listener = Listener::bind(&addr).expect("a listener");
    let age = || {
        entry(&json(&["ls", "--json"], 0), "socket_listeners", "address", &addr).expect("it")["age_seconds"].as_f64()
    };
    assert!(age().is_some_and(|age| age < 60.0), "{:?}", age());
    // What the file says counts.
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: hour_ago.duration_since(std::time::UNIX_EPOCH).expect("later").try_into().expect("a time"),
    };
    rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("a time");
    assert!(age().is_some_and(|age| (3600.0..3700.0).contains(&age)), "{:?}", age());
    let text = String::from_utf8(Running::start(&mut smstream(["ls"])).end().expect(0).stdout).expect("text");
    let line = text.lines().find(|line| line.ends_with(&addr)).expect("its line");
    assert!(line.contains("  1 h 0 m  ") || line.contains("  1 h 1 m  "), "{line}");
    // A name that is gone has no time.
    fs::remove_file(&path).expect("removed");
    assert_eq!(age(), None);
}

/// Nothing about a socket with an abstract name tells whose it is, until a stream does.
#[test]
fn an_abstract_listener_is_no_secret() {
    let dir = Dir::new();
    let addr = format!("unix:@{}", dir.path("socket").display());
    let listener = Running::start(&mut smstream(["listen", "-k", &addr, "--", "cat"]));
    let what = format!("{addr} of process {}:", listener.id());
    let unseen = in_the_end(|| entry(&json(&["ls", "--json"], 0), "unseen", "what", &what));
    assert!(unseen["why"].as_str().is_some_and(|why| why.contains("a socket listens there")), "{unseen}");
    let mut mine = reach(&addr);
    mine.write_all(b"x").expect("written");
    mine.read_exact(&mut [0; 1]).expect("read");
    let all = json(&["ls", "--json"], 0);
    assert_eq!(entry(&all, "unseen", "what", &what), None);
    let listed = entry(&all, "socket_listeners", "address", &addr).expect("the listener");
    assert_eq!((&listed["age_seconds"], &listed["holder"]["pid"]), (&Value::Null, &listener.id().into()));
    drop(mine);
}

#[test]
fn what_may_not_be_seen_is_said() {
    let dir = Dir::new();
    // A copy that everybody may run. Another process makes it: what this one writes to, a child that another test starts
    // just then has open, too, and such a file cannot be run.
    let copy = dir.path("smstream");
    let made = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_smstream")).arg(&copy).status();
    assert!(made.expect("cp").success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("everybody's");
    let mut command = std::process::Command::new(&copy);
    command.args(["ls", "--all", "--json"]).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    // As root everything is seen, so it is run as the user of the id 65534; the test's own process is then another user's. Otherwise the
    // first process is.
    let hidden = if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
        std::process::id()
    } else {
        1
    };
    let ended = Running::start(&mut command).end().expect(0);
    let all: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    let unseen = all["unseen"].as_array().expect("a list");
    let what = format!("process {hidden} (");
    let found = unseen.iter().find(|it| it["what"].as_str().is_some_and(|it| it.starts_with(&what)));
    let why = found.unwrap_or_else(|| panic!("{hidden} is not in {all}"))["why"].as_str().expect("text");
    assert!(why.contains("not shown to this user"), "{why}");
}

#[test]
fn names_are_recovered_from_json_and_harmless_on_a_terminal() {
    use std::os::unix::ffi::OsStrExt;
    let dir = Dir::new();
    for (name, shown) in [(&b"x\x1b[31m\t"[..], "x\\u{1b}[31m\\t"), (b"x\xff", "x\u{fffd}")] {
        for kind in ["file", "unix"] {
            let path = dir.path("").join(std::ffi::OsStr::from_bytes(name));
            let addr =
                if kind == "file" { smstream::Addr::File(path.clone()) } else { smstream::Addr::Unix(path.clone()) };
            let listener = Listener::bind(&addr).expect("a listener");
            let all = json(&["ls", "--json"], 0);
            let list = all[if kind == "file" { "streams" } else { "socket_listeners" }].as_array().expect("a list");
            let written = [kind.as_bytes(), b":", path.as_os_str().as_bytes()].concat();
            let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
            let is_it = |it: &&Value| match std::str::from_utf8(&written) {
                Ok(text) => it["address"] == text && it["address_hex"].is_null(),
                Err(_) => it["address_hex"] == *hex,
            };
            assert!(list.iter().any(|it| is_it(&it)), "{all}");
            let text = String::from_utf8(Running::start(&mut smstream(["ls"])).end().expect(0).stdout).expect("text");
            assert!(text.contains(shown) && !text.contains('\x1b'), "{text}");
            drop(listener);
        }
    }
}

#[test]
fn a_reader_that_has_gone_is_met_in_silence() {
    for args in [&["ls"][..], &["--help"], &["gc", "-n", "/dev/shm"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = Running::start(smstream(args).stdout(writer)).end();
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(141), ""), "{args:?}");
    }
}

#[test]
fn a_narrow_terminal_gets_lines_that_fit() {
    let dir = Dir::new();
    let _listener = Listener::bind(dir.addr()).expect("a listener");
    let mut ls = std::process::Command::new("sh");
    ls.args(["-c", "stty cols 40; exec \"$0\" ls", env!("CARGO_BIN_EXE_smstream")]).env("NO_COLOR", "1");
    let mut terminal = crate::terminal::Terminal::run(&mut ls);
    terminal.shows("...");
    assert_eq!(terminal.code(), Some(0));
    assert!(terminal.text().lines().all(|line| line.chars().count() <= 40), "{}", terminal.text());
}

#[test]
fn an_end_of_the_terminal_is_no_panic() {
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    Running::start(smstream(["ls"]).stdout(full)).end().expect(1).saying("No space left");
    let dir = Dir::new();
    let _listener = Listener::bind(dir.addr()).expect("a listener");
    let watch = Running::start(&mut smstream(["stat", "--watch", "--json", &dir.addr()]));
    watch.signal(Signal::INT);
    assert!(watch.end().stderr.is_empty());
}
