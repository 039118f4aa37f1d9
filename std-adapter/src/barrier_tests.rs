//! What the kernel does with a registration, as this module relies on it.

use super::*;
use crate::testing::{helper, role};
use rustix::process::{WaitOptions, waitpid};

/// A child of a fork is reached as its parent is. `MEMBARRIER_CMD_GET_REGISTRATIONS` (Linux 6.3) says so.
#[test]
fn a_forked_child_is_registered() {
    const ME: &str = "barrier::tests::a_forked_child_is_registered";
    const GET_REGISTRATIONS: libc::c_int = 1 << 9;
    const REGISTER_GLOBAL_EXPEDITED: libc::c_long = 1 << 2;
    if role().is_none() {
        assert!(helper(ME, "fork").status().unwrap().success());
        return;
    }
    // SAFETY: `membarrier` takes two numbers and a third that this command does not look at.
    let registrations = || unsafe { libc::syscall(libc::SYS_membarrier, GET_REGISTRATIONS, 0, 0) };
    if registrations() < 0 {
        println!("not checked: the kernel does not say what is registered");
        return;
    }
    assert_eq!(registrations() & REGISTER_GLOBAL_EXPEDITED, 0, "an exec ends it");
    if !reach_us() {
        println!("not checked: membarrier is refused here");
        return;
    }
    assert_ne!(registrations() & REGISTER_GLOBAL_EXPEDITED, 0);
    // SAFETY: the child makes one system call and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let registered = registrations() & REGISTER_GLOBAL_EXPEDITED != 0;
        // SAFETY: it ends this process at once, which is what a child of a fork may do.
        unsafe { libc::_exit(i32::from(!registered)) };
    }
    let child = rustix::process::Pid::from_raw(child).expect("a child");
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().expect("an end");
    assert_eq!(status.exit_status(), Some(0));
}
