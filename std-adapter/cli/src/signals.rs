//! What ends this process in order: Ctrl-C, and being asked to.

use std::io;
use std::process;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a shell adds to the number of the signal that ended a program.
pub const KILLED: u8 = 128;

/// Calls `act` with the number of the first signal that asks this process to end. The second one ends it at once.
///
/// A signal that is ignored, as `nohup` does with SIGHUP, stays so.
pub fn on_end(act: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = Signals::new(wanted)?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signals = signals.forever();
        if let Some(signal) = signals.next() {
            act(signal);
        }
        if let Some(signal) = signals.next() {
            process::exit(i32::from(code(signal)));
        }
    })?;
    Ok(())
}

/// Calls `first` when a signal asks this process to end, and `second` with the number of the next one.
///
/// A signal that is ignored, as `nohup` does with SIGHUP, stays so.
pub fn on_end_twice(
    first: impl FnOnce() + Send + 'static,
    second: impl FnOnce(i32) + Send + 'static,
) -> io::Result<()> {
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = Signals::new(wanted)?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            first();
        }
        if let Some(signal) = signals.next() {
            second(signal);
        }
    })?;
    Ok(())
}

/// The exit code of a process that a signal has ended, as shells have it.
pub fn code(signal: i32) -> u8 {
    KILLED.saturating_add(u8::try_from(signal).unwrap_or(0))
}

/// The thing itself, when whoever acts on a signal has let go of it, which takes a moment at most.
pub fn sole<T>(mut shared: Arc<T>) -> T {
    loop {
        match Arc::try_unwrap(shared) {
            Ok(sole) => return sole,
            Err(held) => shared = held,
        }
        thread::yield_now();
    }
}

/// Whether whoever started this process wants a signal to be ignored.
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with no new action, sigaction only writes the present one to the place that the pointer leads to.
    if unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has succeeded, and so has filled it in.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
