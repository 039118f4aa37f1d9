//! What is to be done before a signal ends the command.

use std::io;
use std::ptr;
use std::thread;

/// Lets `act` be called, once, with the number of the first SIGINT, SIGTERM or SIGHUP, instead of what those do.
///
/// To be called before any other thread is started: they inherit that these signals are blocked, and a thread of its
/// own waits for them.
pub fn when_ended(act: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let mut set = empty_set();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: `set` is an initialised signal set and the signal numbers are valid.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: `set` is an initialised signal set; a null pointer means that the old mask is not wanted.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signal = 0;
        // SAFETY: `set` is an initialised signal set and `signal` is a place for an int.
        if unsafe { libc::sigwait(&raw const set, &raw mut signal) } == 0 {
            act(signal);
        }
    })?;
    Ok(())
}

/// A signal set with nothing in it.
fn empty_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `set` is a place for a signal set; the call fills it and cannot fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: `sigemptyset` initialised it.
    unsafe { set.assume_init() }
}
