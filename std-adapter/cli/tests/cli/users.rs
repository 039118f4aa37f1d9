//! Users who are not allowed: what the error advises.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use smstream::{Reason, Stream};

use crate::command::{Dir, Ended, Running, in_the_end, smstream};

/// A copy of the command that each user may run, in a directory that each may search.
fn shared_copy(dir: &Dir) -> PathBuf {
    fs::set_permissions(dir.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
    let copy = dir.path("smstream");
    // By another process: a file that this one has open for writing could be inherited, and then not be run.
    let made = Command::new("cp").arg(env!("CARGO_BIN_EXE_smstream")).arg(&copy).status();
    assert!(made.expect("cp").success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("a mode");
    copy
}

/// Runs it as user 65534, to its end.
fn as_another_user(command: &Path, args: &[&str]) -> Ended {
    let mut command = Command::new(command);
    command.args(args).uid(65534).gid(65534);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Running::start(command.stderr(Stdio::piped())).end()
}

/// A listener in a user namespace where no user has a number: the kernel shows it the same one for all.
#[test]
fn a_user_without_a_number_there_is_told_what_helps() {
    let dir = Dir::new();
    let [_, addr] = dir.addrs();
    let mut command = smstream(["listen", "-k", "-v", &addr]);
    let apart = || {
        // SAFETY: between fork and exec, unshare is one system call, without memory.
        match unsafe { libc::unshare(libc::CLONE_NEWUSER) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: `apart` allocates nothing and takes no lock.
    unsafe { command.pre_exec(apart) };
    let mut listener = Running::start(&mut command);
    listener.expect_stderr("listening at ");
    let refused = Running::start(&mut smstream(["connect", &addr])).end().expect(3);
    refused.saying("refused: this user has no id in the listener's user namespace").saying("--allow-any-user");
    let e = Stream::connect(&addr).expect_err("refused");
    assert_eq!((e.reason(), e.kind()), (Reason::Denied, std::io::ErrorKind::PermissionDenied), "{e}");
    drop(listener);
    // With what it advises they meet.
    std::fs::remove_file(dir.path("stream")).expect("a killed listener's name");
    let mut command = smstream(["listen", "--allow-any-user", &addr]);
    // SAFETY: as above.
    unsafe { command.pre_exec(apart) };
    let listener = Running::start(&mut command);
    in_the_end(|| dir.path("stream").exists().then_some(()));
    Running::start(&mut smstream(["connect", "--wait", "60", "--allow-any-user", &addr])).end().expect(0);
    listener.end().expect(0);
}

#[test]
fn another_user_may_be_let_in() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can be two users: not tried");
        return;
    }
    let dir = Dir::new();
    let copy = shared_copy(&dir);
    let [_, addr] = dir.addrs();
    let other =
        |options: &[&str]| as_another_user(&copy, &[&["connect", "--wait", "5"][..], options, &[&addr]].concat());
    let mut listener = Running::start(&mut smstream(["listen", "-k", "--mode", "666", &addr, "--", "echo", "hello"]));
    in_the_end(|| dir.path("stream").exists().then_some(()));
    let ended = other(&["--allow-user", "root"]).expect(3);
    assert!(ended.stderr.contains("--allow-user") && !ended.stderr.contains("Builder"), "{ended:?}");
    listener.kill();
    drop(listener);
    for user in ["nobody", "65534"] {
        let mut listener =
            Running::start(&mut smstream(["listen", "-k", "--allow-user", user, &addr, "--", "echo", "hello"]));
        in_the_end(|| dir.path("stream").exists().then_some(()));
        let ended = other(&["--allow-user", "root"]).expect(0);
        assert_eq!(ended.stdout, b"hello\n");
        other(&[]).expect(3).saying("`--allow-user 0`");
        listener.kill();
        drop(listener);
    }
    Running::start(&mut smstream(["listen", "--allow-user", "no such user", &addr])).end().expect(2);
}

/// Where no other user can be let in, the command says so, at the option and to the other user.
#[test]
fn another_user_is_sent_to_a_socket() {
    let dir = Dir::new();
    let [file, _] = dir.addrs();
    let shm = format!("shm:/smstream-users-{}", std::process::id());
    for addr in [&file, &shm] {
        for option in [&["--allow-user", "root"][..], &["--allow-any-user"]] {
            for command in [&["listen"][..], &["connect"], &["proxy", "tcp:127.0.0.1:0"]] {
                let ended = Running::start(&mut smstream([command, option, &[addr]].concat())).end().expect(2);
                assert!(ended.stderr.contains(option[0]) && ended.stderr.contains("unix:"), "{ended:?}");
            }
        }
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can be two users: the rest was not tried");
        return;
    }
    let copy = shared_copy(&dir);
    for addr in [&file, &shm] {
        let mut listener = Running::start(&mut smstream(["listen", "-k", "-v", addr, "--", "true"]));
        listener.expect_stderr("listening at ");
        let ended = as_another_user(&copy, &["connect", addr]).expect(3);
        for words in ["belongs to user 0", "unix:PATH", "`--allow-user` lets other users in"] {
            assert!(ended.stderr.contains(words), "{ended:?}");
        }
        listener.signal(Signal::TERM);
        assert_eq!(listener.end().status.code(), Some(143));
    }
}

/// A listener says whom it turned away, and why, in each way to listen: if asked for that.
#[test]
fn a_listener_says_whom_it_turned_away() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can be two users: not tried");
        return;
    }
    let dir = Dir::new();
    let copy = shared_copy(&dir);
    let [_, addr] = dir.addrs();
    let says = "turned a connector away at unix:";
    for command in [&["listen", "-k", "-v"][..], &["listen", "-v"], &["listen", "-k", "-v", "--mode"], &["proxy", "-v"]]
    {
        let rest = match command {
            ["listen", .., "--mode"] => &["666", &addr, "--", "true"][..],
            ["listen", ..] => &["--mode", "666", &addr],
            _ => &["--mode", "666", &addr, "tcp:127.0.0.1:1"],
        };
        let mut listener = Running::start(&mut smstream([command, rest].concat()));
        listener.expect_stderr("listening at ");
        let _refused = as_another_user(&copy, &["connect", "--allow-user", "root", &addr]).expect(3);
        listener.expect_stderr(says);
        listener.expect_stderr("it runs as user 65534, which is not allowed; `--allow-user 65534` would allow it");
        listener.signal(Signal::TERM);
        listener.end();
    }
}
