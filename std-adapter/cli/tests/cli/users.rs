//! Users who are not allowed: what the error advises.

use std::os::unix::process::CommandExt;

use smstream::{Reason, Stream};

use crate::command::{Dir, Running, in_the_end, smstream};

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
