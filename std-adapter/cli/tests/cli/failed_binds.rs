//! A listener that cannot come about, whichever call of its beginning fails: it says so, and leaves nothing.

use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::command::{Dir, Running};

/// The calls that a listener makes to get its name, but those that undo the others, and `write`, with which it says so.
const CALLS: &str = "bind listen socket fchmod flock fcntl fstat newfstatat statx pread64 pwrite64 ftruncate fallocate linkat \
                     renameat2 rename link openat mmap epoll_create1 epoll_ctl eventfd2 timerfd_create setsockopt inotify_init1 \
                     inotify_add_watch readlink chmod fchmodat";

/// Runs `listen` with the `nth` use of `call` failing, until it listens or has ended: whether it listened, and what it said.
fn listen(addr: &str, call: &str, nth: u32) -> (bool, String) {
    let mut strace = Command::new("strace");
    // A call that this kernel, or this machine, does not have is not made either.
    strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace=?{call}")]);
    strace.args(["-e", &format!("inject=?{call}:error=EIO:when={nth}"), env!("CARGO_BIN_EXE_smstream")]);
    strace.args(["listen", "-v", addr]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running::start(&mut strace);
    let mut said = String::new();
    while let Some(line) = running.next_stderr(b'\n') {
        said.push_str(&line);
        if line.contains("listening at ") {
            // strace is beside it (-D): this is the listener, which removes the name.
            running.signal(Signal::TERM);
            running.end();
            return (true, said);
        }
    }
    let ended = running.end();
    assert_ne!(ended.status.code(), Some(0), "{call}, use {nth}: {said}");
    (false, said)
}

#[test]
fn a_failed_bind_leaves_nothing() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("not shown here, for want of strace (CI installs it): a failed bind leaves nothing");
        return;
    }
    let mut failed = 0;
    for kind in ["file:", "unix:"] {
        for call in CALLS.split_whitespace() {
            // Most of the first uses are the loader's. The last one is followed by listening.
            let mut in_a_row = 0;
            for nth in 1..40 {
                let dir = Dir::new();
                let (listened, said) = listen(&format!("{kind}{}", dir.path("stream").display()), call, nth);
                let names: Vec<_> = std::fs::read_dir(dir.path(".")).expect("the directory").flatten().collect();
                // Of one that listened, the call that failed may have been one of those that remove the name.
                assert!(
                    listened || names.is_empty(),
                    "{kind}: {call}, use {nth}: {names:?} is left, and it said {said:?}"
                );
                assert!(!said.contains("panicked"), "{kind}: {call}, use {nth}: {said}");
                if !listened && said.contains("could not listen at") {
                    assert!(
                        said.contains("os error 5") || said.contains("Input/output error"),
                        "{call}, {nth}: {said}"
                    );
                    failed += 1;
                }
                in_a_row = if listened { in_a_row + 1 } else { 0 };
                if in_a_row == 3 {
                    break;
                }
            }
        }
    }
    assert!(failed > 15, "{failed} calls failed on the way to listening: they have other names by now");
}
