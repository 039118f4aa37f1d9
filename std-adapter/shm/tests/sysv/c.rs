//! C programs with the C library's calls: they create and we use, we create and they use.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use smstream_shm::sysv::{Attachment, Key, Op, Queue, RemoveOnDrop, Select, Semaphores, Shm, SysvReason};

use crate::msg::ty;
use crate::roles::{Dir, Second, fresh_key, until};

/// The compiled program, in a directory that is gone when the last test has it no more.
struct Party(PathBuf, #[allow(dead_code, reason = "it holds the program")] Dir);

impl Party {
    fn new() -> Self {
        let dir = Dir::new();
        let program = dir.0.join("party");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sysv/party.c");
        let flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o"];
        let status = Command::new("cc").args(flags).arg(&program).arg(source).status();
        assert!(status.expect("a C compiler, `cc`").success());
        Self(program, dir)
    }

    fn start(&self, part: &str, key: Key) -> Second {
        let mut command = Command::new(&self.0);
        Second::start(command.args([part, &key.raw().to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    fn run(&self, part: &str, key: Key) {
        self.start(part, key).ends_well();
    }
}

/// Removes what has this key at the end, also if the one who was to create it has failed halfway.
struct Gone<T>(Key, fn(Key) -> Option<T>);

impl<T> Drop for Gone<T> {
    fn drop(&mut self) {
        (self.1)(self.0);
    }
}

fn text(attached: &Attachment) -> String {
    // SAFETY: the segment has more than 20 bytes.
    let byte = |i| unsafe { attached.as_ptr().wrapping_add(i).read_volatile() };
    (0..20).map(byte).take_while(|&byte| byte != 0).map(char::from).collect()
}

fn write(attached: &Attachment, text: &str) {
    for (i, byte) in text.bytes().chain([0]).enumerate() {
        // SAFETY: attached for writing, and long enough.
        unsafe { attached.as_mut_ptr().unwrap().wrapping_add(i).write_volatile(byte) };
    }
}

#[test]
fn ftok() {
    let party = Party::new();
    for (path, id) in [(".", b'S'), ("/", 1), (env!("CARGO_MANIFEST_DIR"), 255)] {
        let output = Command::new(&party.0).args(["ftok", path, &id.to_string()]).output().unwrap();
        let theirs: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert_eq!(Key::from_path(path, id).unwrap().raw(), theirs, "{path}");
    }
}

#[test]
fn they_create_memory() {
    let (party, key) = (Party::new(), fresh_key());
    let _gone = Gone(key, |key| Shm::open(key).ok().map(RemoveOnDrop::new));
    party.run("shm_make", key);
    let shm = Shm::open(key).unwrap();
    let stat = shm.stat().unwrap();
    assert_eq!((stat.size, stat.perm.mode, stat.perm.key, stat.attached), (100, 0o640, key, 0));
    assert_eq!(text(&shm.attach_read_only().unwrap()), "from C");
}

#[test]
fn we_create_memory() {
    let (party, key) = (Party::new(), fresh_key());
    let shm = RemoveOnDrop::new(Shm::create(key, 100).unwrap());
    let attached = shm.attach().unwrap();
    write(&attached, "from Rust");
    party.run("shm_use", key);
    assert_eq!(text(&attached), "and back");
}

#[test]
fn they_create_semaphores() {
    let (party, key) = (Party::new(), fresh_key());
    let _gone = Gone(key, |key| Semaphores::options().adopt(true).open(key).ok().map(RemoveOnDrop::new));
    party.run("sem_make", key);
    let set = Semaphores::open(key).unwrap();
    assert_eq!((set.values().unwrap(), set.stat().unwrap().perm.mode), (vec![1, 2, 3], 0o640));
    set.op(&[Op::sub(0, 1), Op::add(1, 1), Op::sub(2, 3)]).unwrap();
    assert_eq!(set.values().unwrap(), [0, 3, 0]);
}

#[test]
fn they_create_semaphores_without_an_operation() {
    let (party, key) = (Party::new(), fresh_key());
    let _gone = Gone(key, |key| Semaphores::options().adopt(true).open(key).ok().map(RemoveOnDrop::new));
    party.run("sem_plain", key);
    let options = Semaphores::options().patience(std::time::Duration::ZERO);
    assert_eq!(options.open(key).unwrap_err().reason(), SysvReason::NotReady);
    let set = options.adopt(true).open(key).unwrap();
    assert_eq!(set.values().unwrap(), [5]);
}

#[test]
fn we_create_semaphores() {
    let (party, key) = (Party::new(), fresh_key());
    let set = RemoveOnDrop::new(Semaphores::create(key, &[4, 0, 6]).unwrap());
    let mut they = party.start("sem_use", key);
    until("the C program waits", || set.waiting(1).unwrap() == 1);
    assert_eq!(set.values().unwrap(), [3, 0, 0]);
    assert_eq!(set.last_pid(0).unwrap(), they.id());
    set.release(1).unwrap();
    they.ends_well();
    until("what is undone", || set.values().unwrap() == [3, 0, 6]);
}

#[test]
fn we_remove_semaphores_that_they_wait_for() {
    let (party, key) = (Party::new(), fresh_key());
    let set = RemoveOnDrop::new(Semaphores::create(key, &[0]).unwrap());
    let mut they = party.start("wait_until_removed", key);
    until("the C program waits", || set.waiting(0).unwrap() == 1);
    set.remove().unwrap();
    they.ends_well();
}

#[test]
fn they_create_a_queue() {
    let (party, key) = (Party::new(), fresh_key());
    let _gone = Gone(key, |key| Queue::open(key).ok().map(RemoveOnDrop::new));
    party.run("msg_make", key);
    let queue = Queue::open(key).unwrap();
    let stat = queue.stat().unwrap();
    assert_eq!((stat.perm.mode, stat.messages, stat.bytes), (0o640, 2, 6));
    assert_eq!(queue.recv_vec(Select::AtMost(ty(5))).unwrap(), (ty(2), Vec::new()));
    assert_eq!(queue.recv_vec(Select::Any).unwrap(), (ty(7), b"from C".to_vec()));
}

#[test]
fn we_create_a_queue() {
    let (party, key) = (Party::new(), fresh_key());
    let queue = RemoveOnDrop::new(Queue::create(key).unwrap());
    queue.set_max_bytes(1000).unwrap();
    queue.send(ty(9), b"").unwrap();
    queue.send(ty(3), b"from Rust").unwrap();
    let mut they = party.start("msg_use", key);
    until("they took both", || queue.stat().unwrap().messages == 0);
    queue.send(ty(4), b"later").unwrap();
    they.ends_well();
}
