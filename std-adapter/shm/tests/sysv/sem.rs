//! Sets of semaphores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smstream_shm::sysv::{Key, MAX_VALUE, Op, RemoveOnDrop, Semaphores, SysvReason};

use crate::roles::{HANGS, Second, fresh_key, role, until};

pub fn private(values: &[u16]) -> RemoveOnDrop<Semaphores> {
    RemoveOnDrop::new(Semaphores::create(Key::PRIVATE, values).unwrap())
}

#[test]
fn made_with_values_and_ready() {
    for values in [&[0][..], &[1], &[MAX_VALUE], &[3, 0, 5], &[0; 300]] {
        let set = private(values);
        assert_eq!(set.values().unwrap(), values);
        let stat = set.stat().unwrap();
        assert_eq!(stat.count, values.len());
        assert!(stat.operated_at.is_some() && stat.changed_at.is_some(), "{stat:?}");
    }
    let plain = RemoveOnDrop::new(Semaphores::options().count(2).open(Key::PRIVATE).unwrap());
    assert_eq!(plain.values().unwrap(), [0, 0]);
}

#[test]
fn open_or_create() {
    let key = fresh_key();
    let options = Semaphores::options().initial(&[7]).create(true);
    let set = RemoveOnDrop::new(options.open(key).unwrap());
    set.acquire(0).unwrap();
    let again = options.open(key).unwrap();
    assert_eq!((again.id(), again.value(0).unwrap()), (set.id(), 6), "an existing one keeps its values");
    assert_eq!(Semaphores::open(key).unwrap().id(), set.id());
    assert_eq!(Semaphores::from_id(set.id()).unwrap().key(), Some(key));
}

#[test]
fn a_set_without_its_values_is_never_seen() {
    for _ in 0..10 {
        let key = fresh_key();
        let mut openers = [0; 3].map(|_| Second::start(&mut role("opener", &[key.raw()])));
        for opener in &mut openers {
            opener.says("here");
        }
        let _set = RemoveOnDrop::new(Semaphores::create(key, &[3, 4, 5]).unwrap());
        for opener in &mut openers {
            opener.ends_well();
        }
    }
}

#[test]
fn a_creator_that_died_halfway_is_reported() {
    let key = fresh_key();
    // SAFETY: semget takes numbers only.
    let id = unsafe { libc::semget(key.raw(), 1, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    let set = RemoveOnDrop::new(Semaphores::from_id(id).unwrap());
    let patient = Semaphores::options().patience(Duration::from_millis(30));
    let e = patient.open(key).unwrap_err();
    assert_eq!(e.reason(), SysvReason::NotReady);
    assert!(e.to_string().contains("adopt"), "{e}");
    assert_eq!(patient.adopt(true).open(key).unwrap().id(), set.id());
    set.release(0).unwrap();
    patient.open(key).unwrap();
}

#[test]
fn several_operations_at_one_moment_or_none() {
    let set = private(&[1, 0, 0]);
    let e = set.op(&[Op::add(1, 1), Op::sub(0, 2).nowait()]).unwrap_err();
    assert_eq!((e.reason(), e.raw_os_error()), (SysvReason::WouldBlock, Some(libc::EAGAIN)));
    assert_eq!(set.values().unwrap(), [1, 0, 0], "nothing was changed");
    // In their order: what was added first can be taken then.
    set.op(&[Op::wait_zero(1), Op::add(1, 2), Op::sub(1, 1), Op::sub(0, 1)]).unwrap();
    assert_eq!(set.values().unwrap(), [0, 1, 0]);
    // More operations than are put together without allocation.
    set.op(&[Op::add(2, 1); 20]).unwrap();
    assert_eq!(set.value(2).unwrap(), 20);
}

#[test]
fn counts_and_last_process() {
    let set = private(&[0, 1]);
    thread::scope(|threads| {
        threads.spawn(|| set.acquire(0).unwrap());
        threads.spawn(|| set.op(&[Op::wait_zero(1)]).unwrap());
        until("a waiter for more", || set.waiting(0).unwrap() == 1);
        until("a waiter for zero", || set.waiting_zero(1).unwrap() == 1);
        assert_eq!((set.waiting(1).unwrap(), set.waiting_zero(0).unwrap()), (0, 0));
        set.set_all(&[1, 0]).unwrap();
    });
    assert_eq!(set.values().unwrap(), [0, 0]);
    assert_eq!(set.last_pid(0).unwrap(), std::process::id().cast_signed());
    set.set(1, 9).unwrap();
    assert_eq!(set.value(1).unwrap(), 9);
}

#[test]
fn a_killed_process_gives_back_what_is_to_be_undone() {
    let set = private(&[5]);
    let mut child = Second::start(&mut role("taker", &[set.id()]));
    child.says("taken");
    assert_eq!((set.value(0).unwrap(), set.last_pid(0).unwrap()), (3, child.id()));
    child.kill();
    until("what it had taken", || set.value(0).unwrap() == 5);
    // Setting a value forgets it.
    let mut child = Second::start(&mut role("taker", &[set.id()]));
    child.says("taken");
    set.set(0, 1).unwrap();
    child.ends_well();
    assert_eq!(set.value(0).unwrap(), 1);
}

#[test]
fn a_process_waits_for_another() {
    let set = private(&[0]);
    let mut child = Second::start(&mut role("waiter", &[set.id()]));
    until("the waiter", || set.waiting(0).unwrap() == 1);
    set.release(0).unwrap();
    child.ends_well();
    assert_eq!(set.value(0).unwrap(), 0);
}

#[test]
fn guards() {
    let set = private(&[1]);
    let guard = set.lock(0).unwrap();
    assert!(set.try_lock(0).unwrap().is_none());
    assert!(set.lock_timeout(0, Duration::from_millis(5)).unwrap().is_none());
    guard.release().unwrap();
    let caught = std::panic::catch_unwind(|| {
        let _guard = set.try_lock(0).unwrap().expect("it is free");
        panic!("on purpose");
    });
    assert!(caught.is_err());
    assert_eq!(set.value(0).unwrap(), 1, "given back in a panic");
    assert!(set.lock_timeout(0, HANGS).unwrap().is_some());
}

/// In a forked child, neither guard holds anything: dropping them gives nothing back and removes nothing.
#[test]
fn guards_belong_to_one_process() {
    let set = private(&[1]);
    let guard = set.lock(0).unwrap();
    // SAFETY: the child only makes system calls and ends: it takes no lock that another thread might have held.
    match unsafe { libc::fork() } {
        0 => {
            drop(guard);
            drop(set);
            // SAFETY: ends the child at once, without what the test harness does at exit.
            unsafe { libc::_exit(0) }
        }
        child => {
            let mut status = -1;
            // SAFETY: waits for the child that was just made, and writes its status to the stack.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!((status, set.value(0).unwrap()), (0, 0));
            guard.release().unwrap();
            assert_eq!(set.value(0).unwrap(), 1);
            // Kept on purpose, it is removed by another guard.
            let _again = RemoveOnDrop::new(set.keep());
        }
    }
}

#[test]
fn timeouts() {
    let set = private(&[0]);
    let start = Instant::now();
    assert!(!set.acquire_timeout(0, Duration::from_millis(30)).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(30));
    let e = set.op_timeout(&[Op::sub(0, 1)], Duration::ZERO).unwrap_err();
    assert_eq!((e.reason(), e.kind()), (SysvReason::TimedOut, std::io::ErrorKind::TimedOut));
    let e = set.op_timeout(&[Op::sub(0, 1).nowait()], Duration::MAX).unwrap_err();
    assert_eq!(e.reason(), SysvReason::WouldBlock);
    assert!(!set.try_acquire(0).unwrap());
    set.release(0).unwrap();
    assert!(set.acquire_timeout(0, Duration::MAX).unwrap());
}

/// Signals come all the time, and neither end a wait nor make its timeout longer.
#[test]
fn signals_do_not_matter() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a `sigaction` of zeros is one without flags and with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, which is safe at any time; no test relies on the default of this signal.
    assert_eq!(unsafe { libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) }, 0);
    let set = private(&[0]);
    let over = AtomicBool::new(false);
    // SAFETY: no arguments, no memory.
    let me = unsafe { libc::pthread_self() } as usize;
    thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: that thread waits in this scope, so it lives.
                unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGURG) };
                thread::sleep(Duration::from_millis(1));
            }
        });
        let start = Instant::now();
        assert!(!set.acquire_timeout(0, Duration::from_millis(100)).unwrap());
        let took = start.elapsed();
        threads.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            set.release(0).unwrap();
        });
        let got = set.acquire(0);
        over.store(true, Ordering::Relaxed);
        got.unwrap();
        assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn owner_and_mode() {
    let set = private(&[1]);
    assert_eq!(set.stat().unwrap().perm.mode, 0o600);
    set.set_mode(0o660).unwrap();
    assert_eq!(set.stat().unwrap().perm.mode, 0o660);
    let mut perm = set.stat().unwrap().perm;
    perm.uid = u32::MAX;
    assert_eq!(set.set_perm(&perm).unwrap_err().reason(), SysvReason::InvalidInput);
}
