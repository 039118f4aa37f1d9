//! For tests that need another process: the test binary runs one of its own tests in a role.

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
