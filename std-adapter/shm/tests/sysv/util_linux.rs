//! What util-linux's ipcmk creates, used by its id; what we change, as ipcs sees it; what ipcrm removes.

use std::process::Command;

use smstream_shm::sysv::{Queue, RemoveOnDrop, Select, Semaphores, Shm, SysvReason};

use crate::msg::ty;

/// Runs a program, and gives what it prints.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("util-linux");
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Creates an object: its id is the last word.
fn make(args: &[&str]) -> i32 {
    run("ipcmk", args).split_whitespace().last().and_then(|word| word.parse().ok()).expect("an id")
}

/// The columns of the line with this id.
fn line(kind: &str, id: i32) -> Vec<String> {
    let text = run("ipcs", &[kind]);
    let lines = text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    lines.into_iter().find(|words| words.get(1) == Some(&id.to_string())).expect("ipcs shows it")
}

#[test]
#[ignore = "needs util-linux: tests/interop/sysv runs it"]
fn memory() {
    let shm = RemoveOnDrop::new(Shm::from_id(make(&["-M", "4096", "-p", "0600"])).unwrap());
    let stat = shm.stat().unwrap();
    assert_eq!((stat.size, stat.perm.mode), (4096, 0o600));
    assert_eq!(Shm::open(shm.key().unwrap()).unwrap().id(), shm.id());
    let _attached = shm.attach().unwrap();
    shm.set_mode(0o640).unwrap();
    let words = line("-m", shm.id());
    assert_eq!(
        (words[0].clone(), &words[3..6]),
        (stat.perm.key.to_string(), &["640", "4096", "1"].map(String::from)[..])
    );
    run("ipcrm", &["-m", &shm.id().to_string()]);
    assert!(shm.stat().unwrap().removed);
}

#[test]
#[ignore = "needs util-linux: tests/interop/sysv runs it"]
fn semaphores() {
    let set = RemoveOnDrop::new(Semaphores::from_id(make(&["-S", "2", "-p", "0600"])).unwrap());
    assert_eq!(set.values().unwrap(), [0, 0]);
    set.set_all(&[3, 4]).unwrap();
    set.acquire(1).unwrap();
    let text = run("ipcs", &["-s", "-i", &set.id().to_string()]);
    let values: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert!(values.ends_with(&["3", "3"]), "{text}");
    run("ipcrm", &["-s", &set.id().to_string()]);
    assert_eq!(set.acquire(0).unwrap_err().reason(), SysvReason::Removed);
}

#[test]
#[ignore = "needs util-linux: tests/interop/sysv runs it"]
fn messages() {
    let queue = RemoveOnDrop::new(Queue::from_id(make(&["-Q", "-p", "0600"])).unwrap());
    queue.send(ty(1), b"hello").unwrap();
    assert_eq!(line("-q", queue.id())[3..6], ["600", "5", "1"]);
    run("ipcrm", &["-q", &queue.id().to_string()]);
    assert_eq!(queue.recv(Select::Any, &mut []).unwrap_err().reason(), SysvReason::Removed);
}
