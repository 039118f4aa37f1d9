//! What the commands say in JSON: the keys are those that the help names, no more and no less.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;
use smstream::{Listener, Stream};

use crate::command::{Dir, Running, reach, smstream, within_time};

/// Keys with those around them, such as `streams.state`.
type Keys = BTreeSet<String>;

/// The keys that a command's help names. A line of the section is a key, or several with commas between them, and after two
/// spaces what they mean; keys within a key are further to the right; any other line goes on with what a key means.
fn documented(command: &str) -> Keys {
    let ended = Running::start(&mut smstream([command, "--help"])).end().expect(0);
    let text = String::from_utf8(ended.stdout).expect("text");
    let lines = text.lines().skip_while(|line| !line.starts_with("Keys of --json")).skip(1);
    let mut keys = Keys::new();
    // How far to the right the keys are that are around the next line, and which they are.
    let mut around: Vec<(usize, Vec<String>)> = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let names: Vec<&str> = line.trim_start().split("  ").next().expect("a part").split(", ").collect();
        let is_key = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte));
        if !names.iter().all(is_key) {
            continue;
        }
        around.retain(|(at, _)| *at < indent);
        let prefixes = around.last().map_or_else(|| vec![String::new()], |(_, outer)| outer.clone());
        let paths: Vec<String> =
            prefixes.iter().flat_map(|prefix| names.iter().map(move |name| format!("{prefix}{name}"))).collect();
        around.push((indent, paths.iter().map(|path| format!("{path}.")).collect()));
        keys.extend(paths);
    }
    assert!(!keys.is_empty(), "no keys in\n{text}");
    keys
}

/// The keys of a value, of whatever is in its lists together.
fn found(value: &Value) -> Keys {
    fn collect(value: &Value, prefix: &str, keys: &mut Keys) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    keys.insert(format!("{prefix}{name}"));
                    collect(member, &format!("{prefix}{name}."), keys);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, prefix, keys)),
            _ => {}
        }
    }
    let mut keys = Keys::new();
    collect(value, "", &mut keys);
    keys
}

/// Runs a command that says everything that it can say, and compares.
#[track_caller]
fn compare(args: &[&str], code: i32) {
    let ended = Running::start(&mut smstream(args)).end().expect(code);
    same(args[0], &serde_json::from_slice(&ended.stdout).expect("JSON"));
}

#[track_caller]
fn same(command: &str, said: &Value) {
    let (found, documented) = (found(said), documented(command));
    let missing: Vec<&String> = documented.difference(&found).collect();
    let more: Vec<&String> = found.difference(&documented).collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "{command} --help names keys that are not there: {missing:?}; it does not name {more:?}; {said}"
    );
}

#[test]
fn of_those_that_look() {
    let dir = Dir::new();
    let addr = dir.addr();
    let listener = Listener::bind(&addr).expect("a listener");
    let connector = std::thread::spawn({
        let addr = addr.clone();
        move || Stream::connect(&addr).expect("a connection")
    });
    let here = listener.accept().expect("a connection");
    let there = connector.join().expect("a thread");
    // One that is listed, and one that only may be one.
    let _path = Listener::bind(format!("unix:{}", dir.path("socket").display())).expect("a listener");
    let _name = Listener::bind(format!("unix:@{}", dir.path("socket").display())).expect("a listener");
    compare(&["ls", "--json"], 0);
    compare(&["stat", "--json", &addr], 0);
    compare(&["doctor", "--json", &addr], 0);
    drop((here, there));
}

#[test]
fn of_the_one_that_tidies_up() {
    let dir = Dir::new();
    let _listener = Listener::bind(dir.addr()).expect("a listener");
    let [directory, missing] = ["", "missing"].map(|name| dir.path(name).display().to_string());
    compare(&["gc", "--dry-run", "--json", &directory, &missing], 1);
}

#[test]
fn of_a_proxy() {
    let dir = Dir::new();
    let server = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let place = format!("tcp:{}", server.local_addr().expect("its address"));
    let addr = dir.addr();
    let proxy = Running::start(&mut smstream(["proxy", "--json", &addr, &place]));
    within_time(move || {
        let mut client = reach(&addr);
        client.write_all(b"x").expect("written");
        server.accept().expect("a connection").0.read_exact(&mut [0; 1]).expect("read");
    });
    let ended = proxy.end().expect(0);
    same("proxy", &serde_json::from_slice(&ended.stdout).expect("JSON"));
}

#[test]
fn of_the_one_that_plays() {
    let dir = Dir::new();
    // No play for that, so that no peer is needed.
    compare(&["conform", "--json", &dir.addr(), "--as", "listener", "--only", "F1"], 0);
}

#[test]
fn of_the_demo() {
    compare(&["demo", "--json", "--bytes", "100001", "--rounds", "5"], 0);
}

/// The test itself: how the lines of a help are read.
#[test]
fn keys_within_keys() {
    let value = serde_json::json!({"a": [{"b": 1}, {"c": {"d": null}}], "e": [1, 2]});
    let keys: Vec<String> = found(&value).into_iter().collect();
    assert_eq!(keys, ["a", "a.b", "a.c", "a.c.d", "e"]);
    let gc = documented("gc");
    assert!(gc.contains("found.verdict") && gc.contains("not_looked_at.why"), "{gc:?}");
}

#[test]
fn bench() {
    // No transport is skipped here; what an element of that list has is looked for in one made by hand.
    let args = ["bench", "--json", "--sizes", "64", "--rounds", "1", "--turn", "1", "--only", "smstream,pipe"];
    let ended = Running::start(&mut smstream(args)).end().expect(0);
    let mut said: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(said["skipped"], serde_json::json!([]));
    said["skipped"] = serde_json::json!([{ "name": "x", "why": "y" }]);
    same("bench", &said);
}
