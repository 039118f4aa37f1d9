//! The limits of the system: in an IPC namespace of a process's own, where they can be low and harm no other process.

use std::fs;
use std::os::unix::process::CommandExt;

use rustix::fs::{Mode, OFlags};
use smstream_shm::sysv::{Key, Op, Queue, Semaphores, Shm, SysvReason, limits, usage};

use crate::bad::expect;
use crate::msg::{private, ty};
use crate::roles::{Second, given_ids, role};

#[test]
fn limits_and_usage_are_reported() {
    let limits = limits().unwrap();
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap().trim().to_owned();
    assert_eq!(read("shmmni"), limits.shm_segments.to_string());
    assert_eq!(read("shmmax"), limits.shm_max_bytes.to_string());
    assert_eq!(read("shmall"), limits.shm_total_pages.to_string());
    assert_eq!(read("msgmax"), limits.msg_max_bytes.to_string());
    assert_eq!(read("msgmnb"), limits.msg_queue_bytes.to_string());
    assert_eq!(read("msgmni"), limits.msg_queues.to_string());
    let sem = [limits.sem_per_set, limits.sem_total, limits.sem_operations, limits.sem_sets].map(|n| n.to_string());
    assert_eq!(read("sem").split_whitespace().collect::<Vec<_>>(), sem);
    assert!(usage().is_ok());
}

#[test]
fn a_message_that_is_too_long() {
    let queue = private();
    let max = usize::try_from(limits().unwrap().msg_max_bytes).unwrap();
    let e = queue.send(ty(1), &vec![0; max + 1]).unwrap_err();
    assert_eq!(e.limit().unwrap().value(), Some(max as u64));
    let long = format!("a message of {} bytes is too long", max + 1);
    expect::<()>(Err(e), SysvReason::Limit, libc::EINVAL, &["MSGMAX", "kernel.msgmax", &long]);
}

#[test]
fn too_many_operations() {
    let set = crate::sem::private(&[0]);
    let max = usize::try_from(limits().unwrap().sem_operations).unwrap();
    let ops = vec![Op::add(0, 1); max + 1];
    expect(set.op(&ops), SysvReason::Limit, libc::E2BIG, &["SEMOPM", &max.to_string(), "kernel.sem, third number"]);
}

#[test]
fn limits_reached() {
    let mut child = role("limited::inside", &[]);
    let user = rustix::process::geteuid();
    let map = format!("0 {} 1", user.as_raw());
    let apart = move || {
        let flags = if user.is_root() { libc::CLONE_NEWIPC } else { libc::CLONE_NEWIPC | libc::CLONE_NEWUSER };
        // SAFETY: between fork and exec, unshare is one system call, without memory.
        if unsafe { libc::unshare(flags) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        if !user.is_root() {
            // Who is not root becomes it in a user namespace, to be allowed to set the limits.
            let file = rustix::fs::open(c"/proc/self/uid_map", OFlags::WRONLY, Mode::empty())?;
            rustix::io::write(&file, map.as_bytes())?;
        }
        Ok(())
    };
    // SAFETY: `apart` allocates nothing and takes no lock.
    unsafe { child.pre_exec(apart) };
    Second::start(&mut child).ends_well();
}

fn allow(name: &str, value: &str) {
    fs::write(format!("/proc/sys/kernel/{name}"), value).unwrap();
}

/// In a namespace of its own. What it creates goes with the namespace.
#[test]
fn inside() {
    if given_ids().is_none() {
        return;
    }
    assert_eq!(usage().unwrap(), Default::default(), "no other process is here");
    allow("shmmni", "2");
    let first = Shm::create(Key::PRIVATE, 5000).unwrap();
    Shm::create(Key::PRIVATE, 1).unwrap();
    let words = &["SHMMNI is 2", "kernel.shmmni", "ipcrm"];
    expect(Shm::create(Key::PRIVATE, 1), SysvReason::Limit, libc::ENOSPC, words);
    first.remove().unwrap();
    allow("shmall", "3");
    expect(
        Shm::create(Key::PRIVATE, 20000),
        SysvReason::Limit,
        libc::ENOSPC,
        &["SHMALL (in pages) is 3", "kernel.shmall"],
    );
    allow("shmmax", "10000");
    expect(Shm::create(Key::PRIVATE, 10001), SysvReason::Limit, libc::EINVAL, &["SHMMAX is 10000", "kernel.shmmax"]);

    allow("msgmni", "1");
    let queue = Queue::create(Key::PRIVATE).unwrap();
    expect(Queue::create(Key::PRIVATE), SysvReason::Limit, libc::ENOSPC, &["MSGMNI is 1", "kernel.msgmni"]);
    queue.send(ty(1), b"four").unwrap();

    allow("sem", "4 6 500 2");
    Semaphores::create(Key::PRIVATE, &[1; 4]).unwrap();
    let per_set = &["SEMMSL is 4", "kernel.sem, first number"];
    expect(Semaphores::create(Key::PRIVATE, &[1; 5]), SysvReason::Limit, libc::EINVAL, per_set);
    let total = &["SEMMNS is 6", "kernel.sem, second number"];
    expect(Semaphores::create(Key::PRIVATE, &[1; 3]), SysvReason::Limit, libc::ENOSPC, total);
    Semaphores::create(Key::PRIVATE, &[1]).unwrap();
    let sets = &["SEMMNI is 2", "kernel.sem, fourth number"];
    expect(Semaphores::create(Key::PRIVATE, &[1]), SysvReason::Limit, libc::ENOSPC, sets);

    let usage = usage().unwrap();
    assert_eq!((usage.shm_segments, usage.shm_bytes), (1, 1));
    assert_eq!((usage.sem_sets, usage.sem_total), (2, 5));
    assert_eq!((usage.msg_queues, usage.msg_messages, usage.msg_bytes), (1, 1, 4));
}
