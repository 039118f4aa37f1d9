//! Two processes and a semaphore.

use super::tools::{Name, helper, role, start, until};
use smstream_shm::memory::{Mapping, SharedMemory};
use smstream_shm::posix::{Semaphore, SharedObject};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn map(name: &str) -> Mapping {
    SharedObject::options().read(true).write(true).open(name).unwrap().map().unwrap()
}

/// Vicare's second example: the child writes 123 and the parent reads it, without a sleep to be sure.
#[test]
fn child_writes_123_and_parent_reads_123() {
    let name = Name::new();
    let object = SharedObject::create_sized(&name, 4096).unwrap();
    let memory = object.map().unwrap();
    let mut child = start(helper("synchronized::helper_writes_123", "writes-123", &[name.as_ref()]));
    assert!(Semaphore::at(&memory, 0).unwrap().wait_timeout(PATIENCE));
    assert_eq!(memory.load_u32(64), Some(123));
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn helper_writes_123() {
    let Some(arguments) = role("writes-123") else { return };
    let memory = map(&arguments[0]);
    memory.copy_in(64, &123_u32.to_ne_bytes()).unwrap();
    Semaphore::at(&memory, 0).unwrap().post().unwrap();
}

/// As above, with both sides creating the object: the first one makes it.
#[test]
fn both_may_come_first() {
    let name = Name::new();
    let mut child = start(helper("synchronized::helper_comes_first", "comes-first", &[name.as_ref()]));
    let options = SharedObject::options().read(true).write(true).create(true).len(4096);
    let memory = options.open(&name).unwrap().map().unwrap();
    assert!(Semaphore::at(&memory, 0).unwrap().wait_timeout(PATIENCE));
    assert_eq!(memory.load_u32(64), Some(123));
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn helper_comes_first() {
    let Some(arguments) = role("comes-first") else { return };
    let options = SharedObject::options().read(true).write(true).create(true).len(4096);
    let memory = options.open(&arguments[0]).unwrap().map().unwrap();
    memory.copy_in(64, &123_u32.to_ne_bytes()).unwrap();
    Semaphore::at(&memory, 0).unwrap().post().unwrap();
}

/// Two processes pass a turn to and fro. A wake that is lost would stop both.
#[test]
fn turns_pass_between_processes() {
    let name = Name::new();
    let memory = SharedObject::create_sized(&name, 4096).unwrap().map().unwrap();
    let (mine, theirs) = (Semaphore::at(&memory, 0).unwrap(), Semaphore::at(&memory, 128).unwrap());
    let mut child = start(helper("synchronized::helper_passes_turns", "passes-turns", &[name.as_ref()]));
    for turn in 0..TURNS {
        assert!(mine.wait_timeout(PATIENCE), "the turn {turn} is lost");
        assert_eq!(memory.load_u32(64), Some(2 * turn + 1));
        memory.copy_in(64, &(2 * turn + 2).to_ne_bytes()).unwrap();
        theirs.post().unwrap();
    }
    assert!(child.0.wait().unwrap().success());
}

const TURNS: u32 = 20_000;

#[test]
fn helper_passes_turns() {
    let Some(arguments) = role("passes-turns") else { return };
    let memory = map(&arguments[0]);
    let (theirs, mine) = (Semaphore::at(&memory, 0).unwrap(), Semaphore::at(&memory, 128).unwrap());
    for turn in 0..TURNS {
        assert_eq!(memory.load_u32(64), Some(2 * turn));
        memory.copy_in(64, &(2 * turn + 1).to_ne_bytes()).unwrap();
        theirs.post().unwrap();
        assert!(mine.wait_timeout(PATIENCE), "the turn {turn} is lost");
    }
}

/// A waiter that is killed in its sleep stays counted, and takes nothing with it.
#[test]
fn a_killed_waiter_takes_nothing_with_it() {
    let name = Name::new();
    let memory = SharedObject::create_sized(&name, 4096).unwrap().map().unwrap();
    let semaphore = Semaphore::at(&memory, 0).unwrap();
    let mut child = start(helper("synchronized::helper_waits", "waits", &[name.as_ref()]));
    until("the child waits", || memory.load_u32(4) == Some(1));
    until("the child sleeps", || sleeps(child.0.id()));
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    semaphore.post().unwrap();
    assert!(semaphore.try_wait());
    assert!(!semaphore.wait_timeout(Duration::from_millis(5)));
    assert_eq!(memory.load_u32(4), Some(1));
}

/// Whether all threads of a process sleep.
fn sleeps(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|thread| {
        // One that has just ended has no file any more.
        let stat = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("stat"))).unwrap_or_default();
        // The state comes after the name, which is in brackets and may contain some.
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"))
    })
}

#[test]
fn helper_waits() {
    let Some(arguments) = role("waits") else { return };
    Semaphore::at(&map(&arguments[0]), 0).unwrap().wait();
}

/// Signals whose handlers interrupt system calls do not end a wait.
#[test]
fn signals_do_not_end_a_wait() {
    let name = Name::new();
    let memory = SharedObject::create_sized(&name, 4096).unwrap().map().unwrap();
    let mut child = start(helper("synchronized::helper_is_interrupted", "is-interrupted", &[name.as_ref()]));
    assert!(Semaphore::at(&memory, 64).unwrap().wait_timeout(PATIENCE), "the child is ready");
    let pid = libc::pid_t::try_from(child.0.id()).unwrap();
    until("the child waits", || memory.load_u32(4) == Some(1));
    for _ in 0..20 {
        // SAFETY: the child has been started here and not been waited for, so the number is its.
        unsafe { libc::kill(pid, libc::SIGUSR1) };
        std::thread::sleep(Duration::from_millis(1));
    }
    Semaphore::at(&memory, 0).unwrap().post().unwrap();
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn helper_is_interrupted() {
    extern "C" fn nothing(_: libc::c_int) {}
    let Some(arguments) = role("is-interrupted") else { return };
    let memory = map(&arguments[0]);
    // SAFETY: all zeros is a valid value of this C struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the action is a handler with one argument, without SA_RESTART, that does nothing.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    Semaphore::at(&memory, 64).unwrap().post().unwrap();
    let began = Instant::now();
    assert!(Semaphore::at(&memory, 0).unwrap().wait_timeout(PATIENCE));
    assert!(began.elapsed() < PATIENCE);
}
