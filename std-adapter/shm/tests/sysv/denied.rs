//! What the mode or the owner forbids.

use std::thread;

use smstream_shm::sysv::{Key, Queue, RemoveOnDrop, Select, Semaphores, Shm, SysvReason};

use crate::bad::expect;
use crate::msg::ty;

/// Runs something without privileges: as the user *nobody*, if this is root. On Linux, the user belongs to the thread.
fn unprivileged(what: impl FnOnce() + Send) {
    const NOBODY: libc::c_long = 65534;
    thread::scope(|threads| {
        let run = || {
            if rustix::process::geteuid().is_root() {
                // SAFETY: the system call takes three numbers. Only this thread changes, which ends soon.
                let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
                assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            }
            what();
        };
        if let Err(panic) = threads.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn the_mode_forbids_it() {
    let shm = RemoveOnDrop::new(Shm::create(Key::PRIVATE, 1).unwrap());
    let set = RemoveOnDrop::new(Semaphores::create(Key::PRIVATE, &[1]).unwrap());
    let queue = RemoveOnDrop::new(Queue::create(Key::PRIVATE).unwrap());
    // Any other user, and the owner, too.
    shm.set_mode(0).unwrap();
    set.set_mode(0).unwrap();
    queue.set_mode(0).unwrap();
    unprivileged(|| {
        let results = [
            shm.attach().map(drop),
            shm.attach_read_only().map(drop),
            shm.stat().map(drop),
            Shm::from_id(shm.id()).map(drop),
            set.acquire(0),
            set.value(0).map(drop),
            set.values().map(drop),
            set.set(0, 2),
            queue.send(ty(1), b"x"),
            queue.recv(Select::Any, &mut [0]).map(drop),
            queue.stat().map(drop),
        ];
        for result in results {
            expect(result, SysvReason::Denied, libc::EACCES, &["id ", "its mode forbids it"]);
        }
    });
}

#[test]
fn reading_only() {
    let shm = RemoveOnDrop::new(Shm::create(Key::PRIVATE, 1).unwrap());
    let set = RemoveOnDrop::new(Semaphores::create(Key::PRIVATE, &[1]).unwrap());
    shm.set_mode(0o444).unwrap();
    set.set_mode(0o444).unwrap();
    unprivileged(|| {
        assert_eq!(shm.attach_read_only().unwrap().len(), 1);
        expect(shm.attach(), SysvReason::Denied, libc::EACCES, &["attach"]);
        assert_eq!(set.values().unwrap(), [1]);
        expect(set.acquire(0), SysvReason::Denied, libc::EACCES, &["operate on"]);
    });
}

#[test]
fn only_the_owner_may() {
    // Without root, there is no object of another user. Said past the harness, which would keep it to itself.
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "run as root, where everything is to be shown");
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"NOT SHOWN: only_the_owner_may needs root, to have an object that belongs to another user\n",
        );
        return;
    }
    let shm = RemoveOnDrop::new(Shm::options().size(1).mode(0o666).open(Key::PRIVATE).unwrap());
    let set = RemoveOnDrop::new(Semaphores::options().count(1).mode(0o666).open(Key::PRIVATE).unwrap());
    let queue = RemoveOnDrop::new(Queue::options().mode(0o666).open(Key::PRIVATE).unwrap());
    let key = crate::roles::fresh_key();
    let closed = RemoveOnDrop::new(Queue::create(key).unwrap());
    unprivileged(|| {
        for result in [shm.remove(), shm.set_mode(0), set.remove(), set.set_mode(0), queue.remove(), queue.set_mode(0)]
        {
            expect(result, SysvReason::Denied, libc::EPERM, &["only its owner"]);
        }
        let open = Queue::options().create(true).open(key);
        expect(open, SysvReason::Denied, libc::EACCES, &[&key.to_string(), "its mode forbids it"]);
    });
    assert_eq!(closed.stat().unwrap().messages, 0);
}
