//! What is registered is gone, however the process ends; only a SIGKILL leaves it, and early removal helps even then.

use super::tools::{Name, Party, helper, role, start, until};
use smstream_shm::cleanup::{self, Object};
use smstream_shm::memory::SharedMemory;
use smstream_shm::posix::SharedObject;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

/// Has a child make two objects, a registered one and one that says that it has come so far, and end in some way.
fn child(name: &Name, how: &str) -> Party {
    start(helper("cleanup::helper_makes_and_ends", "makes-and-ends", &[name.as_ref(), how]))
}

fn ready(name: &Name) -> Ready {
    Ready(format!("{}-ready", name.path().display()))
}

/// A file that says that the child is ready.
struct Ready(String);

impl Ready {
    fn is(&self) -> bool {
        Path::new(&self.0).exists()
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Files and System V objects, held by guards that are never dropped, but for the kind where that is the point.
#[test]
fn helper_makes_and_ends() {
    let Some(arguments) = role("makes-and-ends") else { return };
    let (name, how) = (&arguments[0], arguments[1].as_str());
    let object = SharedObject::create_sized(name, 4096).unwrap();
    let guard = cleanup::register(Object::Shm(&object)).unwrap();
    match how {
        "panic" => panic!("on purpose"),
        "return" => return,
        "early" => guard.remove().unwrap(),
        _ => std::mem::forget(guard),
    }
    match how {
        "handled" => {
            // A shell has what runs in its background ignore interrupts, nohup has it ignore hang-ups, and that is inherited.
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                // SAFETY: the default action is no function of this program's.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            cleanup::on_signals(&[libc::SIGTERM, libc::SIGINT]).unwrap();
            cleanup::on_signals(&[libc::SIGTERM, libc::SIGHUP]).unwrap();
        }
        "chained" => {
            chain();
            cleanup::on_signals(&[libc::SIGTERM]).unwrap();
        }
        "ignored" => {
            // SAFETY: it has the signal ignored.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
            cleanup::on_signals(&[libc::SIGHUP]).unwrap();
        }
        _ => {}
    }
    match how {
        "exit" => std::process::exit(7),
        "panic-leaked" => panic!("on purpose"),
        "fork" => {
            // SAFETY: the child ends at once, by `exit`, which runs what is registered to be run.
            let forked = unsafe { libc::fork() };
            if forked == 0 {
                // SAFETY: the child has this one thread.
                unsafe { libc::exit(0) };
            }
            // SAFETY: it waits for the child that was forked above, and wants no status.
            unsafe { libc::waitpid(forked, std::ptr::null_mut(), 0) };
            let there = Path::new("/dev/shm").join(&name[1..]).exists();
            // SAFETY: it ends this process without running anything, so that it is seen what the child did.
            unsafe { libc::_exit(if there { 0 } else { 1 }) };
        }
        _ => {
            std::fs::write(format!("/dev/shm/{}-ready", &name[1..]), "").unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

/// Cedar's case: System V objects are returned when the process dies.
#[test]
fn system_v_objects_are_gone_as_well() {
    let name = Name::new();
    let mut child = start(helper("cleanup::helper_makes_system_v", "makes-system-v", &[name.as_ref()]));
    let text = || std::fs::read_to_string(name.path()).unwrap_or_default();
    until("the child is ready", || text().ends_with('\n'));
    let ids: Vec<i32> = text().split_whitespace().map(|id| id.parse().unwrap()).collect();
    let exist = || {
        // SAFETY: all zeros is a valid value of this C struct.
        let mut shm: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: it writes to a struct that outlives the call.
        let shm = unsafe { libc::shmctl(ids[0], libc::IPC_STAT, &raw mut shm) };
        // SAFETY: it takes no fourth argument.
        let sem = unsafe { libc::semctl(ids[1], 0, libc::GETVAL) };
        // SAFETY: all zeros is a valid value of this C struct.
        let mut msg: libc::msqid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: it writes to a struct that outlives the call.
        let msg = unsafe { libc::msgctl(ids[2], libc::IPC_STAT, &raw mut msg) };
        [shm, sem, msg].map(|result| result >= 0)
    };
    assert_eq!(exist(), [true; 3]);
    signal(&child, libc::SIGTERM);
    assert_eq!(child.0.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert_eq!(exist(), [false; 3]);
}

#[test]
fn helper_makes_system_v() {
    let Some(arguments) = role("makes-system-v") else { return };
    cleanup::on_signals(&[libc::SIGTERM]).unwrap();
    let mode = libc::IPC_CREAT | 0o600;
    // SAFETY: it makes a new segment.
    let shm = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, mode) };
    std::mem::forget(cleanup::register(Object::SysvShm(shm)).unwrap());
    // SAFETY: it makes a new semaphore.
    let sem = unsafe { libc::semget(libc::IPC_PRIVATE, 1, mode) };
    std::mem::forget(cleanup::register(Object::SysvSem(sem)).unwrap());
    // SAFETY: it makes a new queue.
    let msg = unsafe { libc::msgget(libc::IPC_PRIVATE, mode) };
    std::mem::forget(cleanup::register(Object::SysvMsg(msg)).unwrap());
    std::fs::write(Path::new("/dev/shm").join(&arguments[0][1..]), format!("{shm} {sem} {msg}\n")).unwrap();
    loop {
        std::thread::park();
    }
}

/// A handler that was there before ours: it ends the process with 42.
fn chain() {
    extern "C" fn before(_: libc::c_int) {
        // SAFETY: it ends the process at once, and is in the list of functions that a handler may call.
        unsafe { libc::_exit(42) };
    }
    let handler = before as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler has one argument and does what a handler may do.
    unsafe { libc::signal(libc::SIGTERM, handler) };
}

fn signal(child: &Party, signal: i32) {
    let pid = libc::pid_t::try_from(child.0.id()).unwrap();
    // SAFETY: the child has been started here and not been waited for, so the number is its.
    unsafe { libc::kill(pid, signal) };
}

#[test]
fn gone_after_return_panic_and_exit() {
    for (how, code) in [("return", 0), ("panic", 101), ("panic-leaked", 101), ("exit", 7)] {
        let name = Name::new();
        let mut command = helper("cleanup::helper_makes_and_ends", "makes-and-ends", &[name.as_ref(), how]);
        let status = command.stderr(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{how}");
        assert!(!name.exists(), "{how}");
    }
}

#[test]
fn gone_after_the_signals_that_were_chosen() {
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let name = Name::new();
        let ready = ready(&name);
        let mut child = child(&name, "handled");
        until("the child is ready", || ready.is());
        assert!(name.exists());
        signal(&child, number);
        let status = child.0.wait().unwrap();
        assert_eq!(status.signal(), Some(number), "the parent sees what ended it");
        assert!(!name.exists(), "{number}");
    }
}

#[test]
fn the_previous_handler_has_its_turn() {
    let name = Name::new();
    let ready = ready(&name);
    let mut child = child(&name, "chained");
    until("the child is ready", || ready.is());
    signal(&child, libc::SIGTERM);
    assert_eq!(child.0.wait().unwrap().code(), Some(42));
    assert!(!name.exists());
}

#[test]
fn what_is_ignored_stays_ignored() {
    let name = Name::new();
    let ready = ready(&name);
    let mut child = child(&name, "ignored");
    until("the child is ready", || ready.is());
    // A signal that is ignored is discarded when it is sent. Signal n is bit n - 1.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    assert_ne!(ignored & (1 << (libc::SIGHUP - 1)), 0, "{status}");
    signal(&child, libc::SIGHUP);
    signal(&child, libc::SIGKILL);
    assert_eq!(child.0.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(name.exists());
}

#[test]
fn a_forked_child_removes_nothing_of_its_parents() {
    let name = Name::new();
    let status = helper("cleanup::helper_makes_and_ends", "makes-and-ends", &[name.as_ref(), "fork"]).status().unwrap();
    assert!(status.success(), "the forked child has removed the parent's object");
    assert!(name.exists());
}

#[test]
fn a_kill_leaves_it_unless_it_was_removed_early() {
    for (how, left) in [("leaves", true), ("early", false)] {
        let name = Name::new();
        let ready = ready(&name);
        let mut child = child(&name, how);
        until("the child is ready", || ready.is());
        child.0.kill().unwrap();
        assert_eq!(child.0.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(name.exists(), left, "{how}");
    }
}

/// Removed once both have it: both go on, and a kill of both leaves nothing.
#[test]
fn what_is_removed_early_is_still_shared() {
    let name = Name::new();
    let object = SharedObject::create_sized(&name, 4096).unwrap();
    let guard = cleanup::register(Object::Shm(&object)).unwrap();
    let mine = object.map().unwrap();
    let theirs = SharedObject::open(&name).unwrap().map().unwrap();
    guard.remove().unwrap();
    assert!(!name.exists());
    mine.copy_in(0, b"both").unwrap();
    assert_eq!(theirs.load_u32(0), Some(u32::from_ne_bytes(*b"both")));
}
