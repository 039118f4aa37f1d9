//! `smstream stat`: what is shown of real processes.

use std::fs;
use std::io::{BufRead, BufReader, Write};

use serde_json::Value;
use smstream::{Listener, Stream};

use crate::command::{Dir, Running, in_the_end, reach, smstream};
use crate::looking::{descriptor, json, listed_as};

/// What `stat` says of the streams at an address, when it is so.
fn stat_when(addr: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    in_the_end(|| {
        let found = json(&["stat", "--json", addr], 0);
        found["streams"].as_array().expect("a list").iter().find(|it| is_so(it)).cloned()
    })
}

#[test]
fn who_sleeps_for_what_is_shown() {
    let dir = Dir::new();
    let addr = dir.addr();
    let listener = Listener::bind(&addr).expect("a listener");
    let mut connector = Running::start(&mut smstream(["connect", &addr]));
    let mut mine = listener.accept().expect("a connection");
    drop(listener);
    // Its standard input is empty, so its lane has ended. It waits for the first byte.
    let seen = stat_when(&addr, |it| it["lanes"][0]["reader"]["rest"] == "asleep" && it["state"] == "half-closed");
    assert_eq!(seen["lanes"][0]["reader"]["wants"], 1);
    assert_eq!(seen["lanes"][1]["finished"], true);
    assert_eq!(seen["stuck"], Value::Null, "this process does not sleep");

    mine.write_all(b"hello").expect("written");
    connector.expect_stdout(b"hello");
    let seen = stat_when(&addr, |it| it["lanes"][0]["reader"]["bytes"] == 5);
    assert_eq!(seen["lanes"][0]["writer"]["operations"], 1);
    assert_eq!(seen["lanes"][0]["writer"]["wakes_sent"], 1);

    // One that is killed is dead. With it went the name by which it came.
    let target = descriptor(&seen, 0);
    connector.kill();
    let seen = stat_when(&target, |it| it["alive"][1] == false);
    assert_eq!(seen["state"], "peer dead");
    assert!(seen["stuck"].as_str().is_some_and(|why| why.contains("dead")), "{seen}");
}

#[test]
fn one_report_for_people() {
    let dir = Dir::new();
    let addr = dir.addr();
    let listener = Listener::bind(&addr).expect("a listener");
    let connector = Running::start(&mut smstream(["connect", &addr]));
    let mine = listener.accept().expect("a connection");
    let ended = Running::start(&mut smstream(["stat", &addr])).end().expect(0);
    let text = String::from_utf8(ended.stdout).expect("text");
    for part in ["listener > connector", "0 bytes of 256 KiB", "avoided", "alive", &connector.id().to_string()] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }
    // The listener and the stream are both there.
    assert!(text.contains("  listening  ") && text.contains("made"), "{text}");
    drop(mine);
}

#[test]
fn a_name_that_was_left_over_is_seen_as_that() {
    let dir = Dir::new();
    let addr = dir.addr();
    let mut listener = Running::start(&mut smstream(["listen", &addr]));
    listed_as(&addr, "listening");
    listener.kill();
    let seen = stat_when(&addr, |it| it["alive"][0] == false);
    assert_eq!(seen["state"], "orphaned");
    assert_eq!(seen["holders"], serde_json::json!([]));
}

#[test]
fn nothing_to_look_at() {
    let dir = Dir::new();
    fs::write(dir.path("letter"), "a user's letter, which is longer than nothing").expect("a file");
    let letter = dir.path("letter").display().to_string();
    let directory = dir.path(".").display().to_string();
    for target in [dir.addr().as_str(), &letter, &directory, "4194305:1", "unix:@none", "shm:/smstream-none"] {
        for command in [&["stat", target][..], &["stat", "--json", target]] {
            let ended = Running::start(&mut smstream(command)).end().expect(3);
            assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:?}");
        }
    }
    Running::start(&mut smstream(["stat", "unix:@none"])).end().expect(3).saying("smstream ls");
}

#[test]
fn watching_needs_a_terminal_or_json() {
    let dir = Dir::new();
    let _listener = Listener::bind(dir.addr()).expect("a listener");
    Running::start(&mut smstream(["stat", "--watch", &dir.addr()])).end().expect(2).saying("--json");
}

#[test]
fn a_watch_for_programs_goes_on_until_the_stream_is_over() {
    let dir = Dir::new();
    let addr = dir.addr();
    let listener = Listener::bind(&addr).expect("a listener");
    let there = std::thread::spawn({
        let addr = addr.clone();
        move || Stream::connect(&addr).expect("a connection")
    });
    let mut here = listener.accept().expect("a connection");
    let there = there.join().expect("a thread");
    let stream = listed_as(&addr, "connected");
    let mut watch = smstream(["stat", "--watch", "--json", "--interval", "0.05", &descriptor(&stream, 0)]);
    let mut watch = watch.spawn().expect("a process");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> Option<Value> { lines.next().map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON")) };
    let of = |seen: &Value| seen["streams"][0]["lanes"][0]["writer"]["bytes"].as_u64().expect("a number");
    assert_eq!(of(&next().expect("a look")), 0);
    here.write_all(&[7; 1000]).expect("written");
    while of(&next().expect("a look")) != 1000 {}
    drop((here, there));
    while next().is_some() {}
    assert!(watch.wait().expect("its end").success());
}

#[test]
fn a_listener_that_is_not_there_is_called_that() {
    let dir = Dir::new();
    let addr = format!("unix:{}", dir.path("socket").display());
    Running::start(&mut smstream(["stat", &addr])).end().expect(3).saying("there is no listener");
    let _listener = Listener::bind(&addr).expect("a listener");
    Running::start(&mut smstream(["stat", &addr])).end().expect(3).saying("listens there, and none of the streams");
}

#[test]
fn all_streams_of_a_process() {
    let dir = Dir::new();
    let listener = Running::start(&mut smstream(["listen", "-k", &dir.addr(), "--", "cat"]));
    let streams = [reach(&dir.addr()), reach(&dir.addr())];
    let pid = listener.id().to_string();
    let seen = in_the_end(|| {
        let seen = json(&["stat", "--json", &pid], 0);
        // The listener's own region, and two connections.
        (seen["streams"].as_array().expect("a list").len() == 3).then_some(seen)
    });
    assert!(seen["streams"].as_array().expect("a list").iter().all(|it| it["address"] == *dir.addr()), "{seen}");
    drop(streams);
    Running::start(&mut smstream(["stat", "4194305"])).end().expect(3).saying("there is no such process");
    Running::start(&mut smstream(["stat", "1"])).end().expect(3).saying("process 1: it has no stream");
    Running::start(&mut smstream(["doctor", "1"])).end().expect(3).saying("process 1: it has no stream");
}

/// Request and response, each side reading for the next one, is how most streams spend their time.
#[test]
fn an_idle_pair_is_not_stuck() {
    let dir = Dir::new();
    let [here, there] = {
        let (listener, one) = Running::start_with_input(&mut smstream(["listen", &dir.addr()]));
        let (connector, two) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", &dir.addr()]));
        [(listener, one), (connector, two)]
    };
    let idle = |it: &Value| {
        it["lanes"].as_array().is_some_and(|lanes| lanes.iter().all(|it| it["reader"]["rest"] == "asleep"))
    };
    // Before the listener has its name there is nothing that `stat` could look at.
    listed_as(&dir.addr(), "connected");
    stat_when(&dir.addr(), |it| it["state"] == "connected" && idle(it));
    let mut watch = smstream(["stat", "--watch", "--json", "--interval", "0.5", &dir.addr()]);
    let mut watch = Running::start(&mut watch);
    // Longer than after which it would say so.
    for _ in 0..12 {
        let seen: Value = serde_json::from_str(&watch.read_stdout(b'\n')).expect("JSON");
        assert_eq!(seen["streams"][0]["stuck"], Value::Null, "{seen}");
    }
    drop((here, there));
}
