//! `smstream gc`: what a crash has left, and what must stay.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use smstream::Listener;

use crate::command::{Dir, Running, in_the_end, smstream};
use crate::looking::json;

/// The verdict on a file, when no process uses it any more. (Other tests fork; for a moment a child has what this process has.)
fn verdict(dir: &Dir, name: &str, options: &[&str]) -> String {
    let directory = dir.path("").display().to_string();
    let mut args = vec!["gc", "--json"];
    args.extend(options);
    args.push(&directory);
    let found = json(&args, 0);
    let place = dir.path(name).display().to_string();
    let found = found["found"].as_array().expect("a list").iter().find(|it| it["place"] == *place).cloned();
    found.map_or_else(|| "not mentioned".into(), |it| it["verdict"].as_str().expect("text").to_owned())
}

/// The lock file of a listener that has bound no socket yet.
const EMPTY_LOCK: &[u8] = b"\x89SML\r\n\x1a\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Leaves a name behind, as a listener does that is killed.
fn left_over(dir: &Dir) {
    let mut listener = Running::start(&mut smstream(["listen", &dir.addr()]));
    in_the_end(|| dir.path("stream").exists().then_some(()));
    listener.kill();
    drop(listener);
}

#[test]
fn a_dead_listeners_name_goes() {
    let dir = Dir::new();
    left_over(&dir);
    fs::write(dir.path("letter"), "smstream is mentioned here").expect("a file");
    fs::write(dir.path("other"), "a user's letter").expect("a file");
    assert_eq!(verdict(&dir, "stream", &["--dry-run"]), "would_remove");
    assert!(dir.path("stream").exists(), "a dry run removes nothing");
    assert_eq!(verdict(&dir, "stream", &[]), "removed");
    assert!(!dir.path("stream").exists());
    assert_eq!(verdict(&dir, "other", &[]), "not mentioned");
    assert!(dir.path("other").exists());
}

#[test]
fn a_living_listeners_name_stays() {
    let dir = Dir::new();
    let listener = Listener::bind(dir.addr()).expect("a listener");
    for options in [&["--dry-run"][..], &[]] {
        assert_eq!(verdict(&dir, "stream", options), "in_use");
    }
    drop(listener);
}

/// A region that was about to get the name: it goes, unless the name's listener lives, who may just be making it.
#[test]
fn what_was_about_to_get_a_name() {
    let dir = Dir::new();
    left_over(&dir);
    fs::rename(dir.path("stream"), dir.path("stream.new")).expect("moved");
    let listener = Listener::bind(dir.addr()).expect("a listener");
    assert_eq!(verdict(&dir, "stream.new", &[]), "in_use");
    drop(listener);
    let gone = || (verdict(&dir, "stream.new", &[]) == "removed").then_some(());
    in_the_end(gone);
    assert!(!dir.path("stream.new").exists());
}

#[test]
fn what_cannot_be_looked_at_is_said() {
    let dir = Dir::new();
    left_over(&dir);
    let missing = dir.path("missing").display().to_string();
    let ended = Running::start(&mut smstream(["gc", "--json", &missing, &dir.path("").display().to_string()]));
    let ended = ended.end().expect(1).saying("cannot look for leftovers in");
    let found: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(found["not_looked_at"][0]["directory"], *missing);
    assert_eq!(found["found"][0]["verdict"], "removed", "the other directory was looked at");
}

#[test]
fn a_report_for_people() {
    let dir = Dir::new();
    let directory = dir.path("").display().to_string();
    let ended = Running::start(&mut smstream(["gc", &directory])).end().expect(0);
    assert_eq!(ended.stdout, b"nothing that smstream has left was found\n");
    left_over(&dir);
    let ended = Running::start(&mut smstream(["gc", "-n", &directory])).end().expect(0);
    let text = String::from_utf8(ended.stdout).expect("text");
    assert!(text.ends_with("stream: would be removed\n"), "{text}");
    // A region that others may write to is no less ours.
    fs::set_permissions(dir.path("stream"), fs::Permissions::from_mode(0o666)).expect("a mode");
    let ended = Running::start(&mut smstream(["gc", &directory])).end().expect(0);
    assert!(String::from_utf8(ended.stdout).expect("text").ends_with("stream: removed\n"));
}

/// A socket goes with its lock file, if that is ours and no process listens.
#[test]
fn a_dead_listeners_socket_goes() {
    let dir = Dir::new();
    let addr = format!("unix:{}", dir.path("socket").display());
    let mut listener = Running::start(&mut smstream(["listen", &addr]));
    in_the_end(|| (dir.path("socket").exists() && verdict(&dir, "socket", &[]) == "in_use").then_some(()));
    listener.kill();
    drop(listener);
    // The same of another program: with a lock file that is empty, or says something else.
    for (name, text) in [("theirs", ""), ("wayland", "4711")] {
        drop(std::os::unix::net::UnixListener::bind(dir.path(name)).expect("a socket"));
        fs::write(dir.path(&format!("{name}.lock")), text).expect("a file");
    }
    assert_eq!(verdict(&dir, "socket", &["-n"]), "would_remove");
    assert!(dir.path("socket").exists() && dir.path("socket.lock").exists());
    assert_eq!(verdict(&dir, "socket", &[]), "removed");
    assert!(!dir.path("socket").exists() && !dir.path("socket.lock").exists());
    // A lock file of a listener that has never bound this socket, which is older.
    drop(std::os::unix::net::UnixListener::bind(dir.path("older")).expect("a socket"));
    fs::write(dir.path("older.lock"), EMPTY_LOCK).expect("a file");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    let lock = fs::File::options().write(true).open(dir.path("older.lock")).expect("a file");
    lock.set_modified(later).expect("a time");
    drop(lock);
    assert_eq!(verdict(&dir, "older", &[]), "doubt");
    assert!(dir.path("older").exists() && dir.path("older.lock").exists());
    for name in ["theirs", "wayland"] {
        assert_eq!(verdict(&dir, name, &[]), "not mentioned");
        assert!(dir.path(name).exists() && dir.path(&format!("{name}.lock")).exists());
    }
    fs::write(dir.path("alone.lock"), EMPTY_LOCK).expect("a file");
    assert_eq!(verdict(&dir, "alone.lock", &[]), "removed");
}

/// A process listens there that knows nothing of the lock.
#[test]
fn a_socket_at_which_a_process_listens_stays() {
    let dir = Dir::new();
    let _listener = std::os::unix::net::UnixListener::bind(dir.path("socket")).expect("a socket");
    fs::write(dir.path("socket.lock"), EMPTY_LOCK).expect("a file");
    assert_eq!(verdict(&dir, "socket", &[]), "in_use");
    assert!(dir.path("socket").exists() && dir.path("socket.lock").exists());
}
