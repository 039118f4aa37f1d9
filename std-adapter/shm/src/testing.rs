//! For tests that need another process: the test binary runs one of its own tests in a role.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use std::env;
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

/// A second description of the file that `fd` is open on.
pub(crate) fn reopen(fd: &OwnedFd, flags: OFlags) -> OwnedFd {
    open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
}
