//! `smstream gc --sysv`: System V segments that a killed process has left.

use std::fs;
use std::process::{Command, Stdio};

use smstream::cleanup;
use smstream::memory::SharedMemory;
use smstream::sysv::{Attachment, Key, RemoveOnDrop, Shm};

use crate::command::{Dir, Running, in_the_end, smstream};
use crate::looking::json;

/// Says to a process of this test program in which file it is to write the ids of its segments.
const FILE: &str = "SMSTREAM_CLI_SEGMENTS";
/// Where the version is in a mark.
const VERSION: usize = 12;

/// Makes three segments, which are marked, not marked, and marked in a way of another version, and waits to be killed.
#[test]
fn helper_makes_segments() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let segments: Vec<Shm> = (0..3).map(|_| Shm::create(Key::PRIVATE, 4096).expect("a segment")).collect();
    let memory: Vec<Attachment> = segments.iter().map(|it| it.attach().expect("attached")).collect();
    cleanup::mark(&memory[0]).expect("marked");
    memory[1].copy_in(0, b"a user's segment").expect("written");
    cleanup::mark(&memory[2]).expect("marked");
    memory[2].copy_in(VERSION, &[0xff; 4]).expect("written");
    let ids: Vec<String> = segments.iter().map(|it| it.id().to_string()).collect();
    fs::write(path, format!("{}\n", ids.join(" "))).expect("a file");
    loop {
        std::thread::park();
    }
}

#[test]
fn segments_of_the_dead() {
    let dir = Dir::new();
    let ids = dir.path("ids");
    let mut helper = Command::new(std::env::current_exe().expect("the path of the test program"));
    helper.args(["--exact", "segments::helper_makes_segments", "--nocapture"]).env(FILE, &ids);
    helper.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut helper = Running::start(&mut helper);
    let text = in_the_end(|| fs::read_to_string(&ids).ok().filter(|text| text.ends_with('\n')));
    let ids: Vec<i32> = text.split_whitespace().map(|id| id.parse().expect("a number")).collect();
    // They are gone in the end, whatever comes.
    let left: Vec<_> = ids.iter().map(|id| RemoveOnDrop::new(Shm::from_id(*id).expect("a segment"))).collect();
    let [marked, unmarked, other] = [0, 1, 2].map(|n| format!("System V segment {}", ids[n]));
    fs::create_dir(dir.path("empty")).expect("a directory");
    let empty = dir.path("empty").display().to_string();
    let verdict = |options: &[&str], place: &str| {
        let found = json(&[&["gc", "--json"], options, &[&empty]].concat(), 0);
        let found = found["found"].as_array().expect("a list").iter().find(|it| it["place"] == *place).cloned();
        found.map(|it| it["verdict"].as_str().expect("text").to_owned())
    };
    let is_there = |n: usize| Shm::from_id(ids[n]).is_ok();

    assert_eq!(verdict(&["--sysv"], &marked), None, "its maker lives, so it is not even looked at");
    helper.kill();
    drop(helper);
    assert_eq!(verdict(&[], &marked), None, "it must be asked for");
    assert_eq!(verdict(&["--sysv", "--dry-run"], &marked).as_deref(), Some("would_remove"));
    assert!(is_there(0), "a dry run removes nothing");
    let ended = Running::start(&mut smstream(["gc", "--sysv", &empty])).end().expect(0);
    let text = String::from_utf8(ended.stdout).expect("text");
    assert!(text.contains(&format!("{marked}: removed\n")), "{text}");
    assert!(!is_there(0));
    // What has no mark is not ours, and what has one of another version is a doubt. Both stay.
    assert!(!text.contains(&format!("{unmarked}:")), "{text}");
    assert!(
        text.contains(&format!("{other}: left, because it is not certain: its mark is of another version")),
        "{text}"
    );
    assert!(is_there(1) && is_there(2));
    assert_eq!(verdict(&["--sysv"], &other).as_deref(), Some("doubt"));
    drop(left);
}
