//! For tests that need another process: the test binary runs one of its own tests in a role.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

const ROLE: &str = "SMSTREAM_TEST_ROLE";

/// The role this process has been started in, if it is a helper.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// A command that runs the test `name` of this binary, alone, in the role `role`.
pub(crate) fn helper(name: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of the test binary"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// Runs the test `name` of this binary, alone, in a user namespace in which no user has an id; its [`role`] is `without-ids`.
pub(crate) fn run_without_ids(name: &str) {
    let mut command = helper(name, "without-ids");
    let apart = || {
        // SAFETY: between fork and exec, unshare is one system call, without memory.
        match unsafe { libc::unshare(libc::CLONE_NEWUSER) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: `apart` allocates nothing and takes no lock.
    unsafe { command.pre_exec(apart) };
    let done = command.output().expect("a process of its own");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
}
