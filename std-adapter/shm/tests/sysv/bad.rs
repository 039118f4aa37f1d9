//! Bad input: each gets an error that names the object, and says what is wrong and what to do.

use std::io::ErrorKind;
use std::thread;

use smstream_shm::sysv::{Key, Op, Queue, RemoveOnDrop, Select, Semaphores, Shm, SysvError, SysvReason};

use crate::msg::ty;
use crate::roles::{fresh_key, until};

/// Checks an error: its reason, what the system said, and words of its text.
#[track_caller]
pub fn expect<T: std::fmt::Debug>(result: Result<T, SysvError>, reason: SysvReason, errno: i32, words: &[&str]) {
    let e = result.expect_err("this cannot work");
    assert_eq!((e.reason(), e.raw_os_error().unwrap_or(0)), (reason, errno), "{e}");
    let text = e.to_string();
    for word in ["could not ", "System V "].iter().chain(words) {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    let io: std::io::Error = e.into();
    assert!(io.get_ref().is_some_and(|e| e.is::<SysvError>()));
}

#[test]
fn a_key_that_exists() {
    let key = fresh_key();
    let name = key.to_string();
    let _shm = RemoveOnDrop::new(Shm::create(key, 100).unwrap());
    let _set = RemoveOnDrop::new(Semaphores::create(key, &[1]).unwrap());
    let _queue = RemoveOnDrop::new(Queue::create(key).unwrap());
    expect(Shm::create(key, 100), SysvReason::Exists, libc::EEXIST, &["create", &name, "remove it first"]);
    expect(Semaphores::create(key, &[1]), SysvReason::Exists, libc::EEXIST, &["create", &name, "remove it first"]);
    expect(Queue::create(key), SysvReason::Exists, libc::EEXIST, &["create", &name, "remove it first"]);
}

#[test]
fn a_key_that_does_not_exist() {
    let key = fresh_key();
    let name = key.to_string();
    expect(Shm::open(key), SysvReason::NotFound, libc::ENOENT, &["open", &name, "create it first"]);
    expect(Semaphores::open(key), SysvReason::NotFound, libc::ENOENT, &["open", &name, "create it first"]);
    expect(Queue::open(key), SysvReason::NotFound, libc::ENOENT, &["open", &name, "create it first"]);
    expect(Shm::open(Key::PRIVATE), SysvReason::NotFound, 0, &["by its id"]);
    expect(Semaphores::open(Key::PRIVATE), SysvReason::NotFound, 0, &["by its id"]);
    expect(Queue::open(Key::PRIVATE), SysvReason::NotFound, 0, &["by its id"]);
}

#[test]
fn sizes() {
    let key = fresh_key();
    expect(Shm::create(key, 0), SysvReason::Size, libc::EINVAL, &["at least one byte"]);
    expect(Semaphores::create(key, &[]), SysvReason::Size, libc::EINVAL, &["at least one semaphore"]);
    let _shm = RemoveOnDrop::new(Shm::create(key, 100).unwrap());
    let larger = Shm::options().size(101);
    expect(larger.open(key), SysvReason::Size, libc::EINVAL, &["fewer than 101 bytes"]);
    expect(larger.create(true).open(key), SysvReason::Size, libc::EINVAL, &["fewer than 101 bytes"]);
    let _set = RemoveOnDrop::new(Semaphores::create(key, &[1, 1]).unwrap());
    let more = Semaphores::options().count(3);
    expect(more.open(key), SysvReason::Size, libc::EINVAL, &["fewer than 3 semaphores"]);
}

#[test]
fn modes() {
    let key = fresh_key();
    let words = &["0o1666", "nine bits"];
    expect(Shm::options().size(1).create(true).mode(0o1666).open(key), SysvReason::InvalidInput, 0, words);
    expect(Semaphores::options().count(1).create(true).mode(0o1666).open(key), SysvReason::InvalidInput, 0, words);
    expect(Queue::options().create(true).mode(0o1666).open(key), SysvReason::InvalidInput, 0, words);
}

#[test]
fn semaphore_numbers_and_values() {
    let key = fresh_key();
    expect(Semaphores::create(key, &[0, 32768]), SysvReason::Range, 0, &["from 0 to 32767, not 32768"]);
    let set = RemoveOnDrop::new(Semaphores::create(key, &[1, 32767]).unwrap());
    let numbers = &[&key.to_string()[..], "numbered 0 to 1"];
    expect(set.acquire(2), SysvReason::Range, libc::EFBIG, numbers);
    expect(set.value(2), SysvReason::Range, libc::EINVAL, numbers);
    expect(set.set(2, 1), SysvReason::Range, libc::EINVAL, numbers);
    expect(set.waiting(2), SysvReason::Range, libc::EINVAL, numbers);
    expect(set.set(0, 32768), SysvReason::Range, libc::ERANGE, &["from 0 to 32767"]);
    expect(set.set_all(&[1, 32768]), SysvReason::Range, libc::ERANGE, &["from 0 to 32767"]);
    expect(set.set_all(&[1]), SysvReason::Size, 0, &["has 2 semaphores, not 1"]);
    expect(set.release(1), SysvReason::Range, libc::ERANGE, &["pass 32767"]);
    for op in [Op::add(0, 0), Op::sub(0, 0), Op::add(0, 32768), Op::sub(0, u16::MAX)] {
        expect(set.op(&[op]), SysvReason::Range, 0, &["by 1 to 32767"]);
    }
    expect(set.op(&[]), SysvReason::InvalidInput, 0, &["at least one operation"]);
    assert_eq!(set.values().unwrap(), [1, 32767]);
}

#[test]
fn removed() {
    let shm = Shm::create(Key::PRIVATE, 1).unwrap();
    let set = Semaphores::create(Key::PRIVATE, &[1]).unwrap();
    let queue = Queue::create(Key::PRIVATE).unwrap();
    shm.remove().unwrap();
    set.remove().unwrap();
    queue.remove().unwrap();
    let words = &["it was removed", "create it again"];
    for result in [shm.attach().map(drop), shm.remove(), shm.set_mode(0), shm.lock(), shm.stat().map(drop)] {
        expect(result, SysvReason::Removed, libc::EINVAL, words);
    }
    let values = set.values().map(drop);
    for result in [set.acquire(0), set.remove(), set.set(0, 1), set.set_mode(0), set.stat().map(drop), values] {
        expect(result, SysvReason::Removed, libc::EINVAL, words);
    }
    let received = queue.recv(Select::Any, &mut []).map(drop);
    for result in [queue.send(ty(1), b""), queue.remove(), queue.set_mode(0), queue.set_max_bytes(1), received] {
        expect(result, SysvReason::Removed, libc::EINVAL, words);
    }
    assert_eq!(queue.stat().unwrap_err().kind(), ErrorKind::NotFound);
    for result in [Shm::from_id(shm.id()).map(drop), Semaphores::from_id(set.id()).map(drop)] {
        assert_eq!(result.unwrap_err().reason(), SysvReason::NotFound);
    }
    assert_eq!(Queue::from_id(queue.id()).unwrap_err().reason(), SysvReason::NotFound);
    assert_eq!(Shm::from_id(-1).unwrap_err().reason(), SysvReason::NotFound);
}

#[test]
fn removed_while_a_call_waits() {
    let words = &["it was removed"];
    let set = RemoveOnDrop::new(Semaphores::create(Key::PRIVATE, &[0]).unwrap());
    thread::scope(|threads| {
        threads.spawn(|| expect(set.acquire(0), SysvReason::Removed, libc::EIDRM, words));
        until("the waiter", || set.waiting(0).unwrap() == 1);
        set.remove().unwrap();
    });
    let queue = RemoveOnDrop::new(Queue::create(Key::PRIVATE).unwrap());
    thread::scope(|threads| {
        let (sender, tid) = std::sync::mpsc::channel();
        let queue = &queue;
        threads.spawn(move || {
            sender.send(rustix::thread::gettid()).unwrap();
            expect(queue.recv(Select::Any, &mut [0]), SysvReason::Removed, libc::EIDRM, words);
        });
        let tid = tid.recv().unwrap();
        sleeps(tid);
        queue.remove().unwrap();
    });
    let queue = RemoveOnDrop::new(Queue::create(Key::PRIVATE).unwrap());
    queue.set_max_bytes(1).unwrap();
    queue.send(ty(1), b"x").unwrap();
    thread::scope(|threads| {
        let (sender, tid) = std::sync::mpsc::channel();
        let queue = &queue;
        threads.spawn(move || {
            sender.send(rustix::thread::gettid()).unwrap();
            expect(queue.send(ty(1), b"y"), SysvReason::Removed, libc::EIDRM, words);
        });
        sleeps(tid.recv().unwrap());
        queue.remove().unwrap();
    });
}

/// Waits until a thread sleeps in a system call that is no futex: here, that waits in a queue. What number that call has
/// differs by target.
fn sleeps(tid: rustix::thread::Pid) {
    let path = format!("/proc/self/task/{}/syscall", tid.as_raw_nonzero());
    until("the waiter", || {
        let text = std::fs::read_to_string(&path).unwrap();
        let number = text.split_whitespace().next().and_then(|word| word.parse::<libc::c_long>().ok());
        number.is_some_and(|number| number > 0 && number != libc::SYS_futex)
    });
}
