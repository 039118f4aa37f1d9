//! The handler that runs the table when a signal ends the process.

use super::table;
use crate::explain::explain;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One more than the highest signal.
const SIGNALS: usize = 65;

/// What was to be done at a signal before.
struct Previous {
    handler: AtomicUsize,
    /// Whether it takes three arguments.
    info: AtomicBool,
}

static PREVIOUS: [Previous; SIGNALS] =
    [const { Previous { handler: AtomicUsize::new(libc::SIG_DFL), info: AtomicBool::new(false) } }; SIGNALS];

/// Has these signals remove what is registered, before they do what they did before: the handler that was installed is
/// called next, or the process ends by the signal, as its parent will see. Typical are `SIGTERM`, `SIGINT` and
/// `SIGHUP`; choose signals only that end the process, because what is registered is gone afterwards even if the process goes on.
///
/// A signal that is ignored stays ignored, as `nohup` wants it. Signals that were chosen before are fine. A program
/// that installs a handler of its own afterwards has to call the one it finds, or [`Guard`](super::Guard)s have to do
/// it all. This crate installs no handler on its own.
///
/// ```
/// smstream_shm::cleanup::on_signals(&[libc::SIGTERM])?;
/// assert!(smstream_shm::cleanup::on_signals(&[libc::SIGKILL]).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// `InvalidInput` for a number that is no signal, or a signal that cannot be handled, does not end a process, or says
/// that the program is broken (like `SIGSEGV`). Then nothing is changed.
///
/// # References
/// [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html),
/// [signal-safety(7)](https://man7.org/linux/man-pages/man7/signal-safety.7.html)
pub fn on_signals(signals: &[i32]) -> io::Result<()> {
    for &signal in signals {
        let number = usize::try_from(signal).unwrap_or(0);
        let why = match signal {
            _ if !(1..SIGNALS).contains(&number) => "there is no such signal",
            libc::SIGKILL | libc::SIGSTOP => "no process can handle it",
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP | libc::SIGSYS => {
                "it says that the program is broken"
            }
            libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => "it does not end a process",
            libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => "it stops a process and does not end it",
            _ => continue,
        };
        let text = format!("cannot clean up at signal {signal}: {why}; usual are SIGTERM, SIGINT and SIGHUP");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    for &signal in signals {
        install(signal).map_err(|e| explain(e, format!("cannot handle signal {signal}")))?;
    }
    Ok(())
}

/// The address of our handler, as `sigaction` has it.
fn ours() -> usize {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
    handler as usize
}

/// Puts our handler before the one that is there.
///
/// There is no lock, which a forked child could inherit held. Of threads that do this at the same time, each finds the
/// previous handler and stores the same, or finds ours.
fn install(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: `sigaction` is a C struct of integers and, in one field, a function or none: all zeros is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no new action is given, and the old one is written to a struct that outlives the call.
    check(unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) })?;
    if action.sa_sigaction == ours() || action.sa_sigaction == libc::SIG_IGN {
        return Ok(());
    }
    // Stored before the handler can run.
    let previous = &PREVIOUS[signal.unsigned_abs() as usize];
    previous.info.store(action.sa_flags & libc::SA_SIGINFO != 0, Ordering::Relaxed);
    previous.handler.store(action.sa_sigaction, Ordering::Release);
    // The mask and the other flags of the previous handler hold for both.
    action.sa_sigaction = ours();
    action.sa_flags = action.sa_flags & !libc::SA_RESETHAND | libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the action is a handler with three arguments, as SA_SIGINFO says, which does only what a handler may do.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs the table, then does what was to be done before.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: it takes nothing, and returns the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid for the thread's life; only this thread uses it, and not at this moment.
    let before = unsafe { errno.read() };
    table::run();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    let Some(previous) = usize::try_from(signal).ok().and_then(|number| PREVIOUS.get(number)) else { return };
    let handler = previous.handler.load(Ordering::Acquire);
    if handler == libc::SIG_DFL {
        die(signal);
    } else if handler == libc::SIG_IGN {
        // Never stored.
    } else if previous.info.load(Ordering::Relaxed) {
        // SAFETY: it is the address of a handler that was installed with SA_SIGINFO, so it is a function of this type.
        let handler = unsafe {
            std::mem::transmute::<usize, extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)>(handler)
        };
        handler(signal, info, context);
    } else {
        // SAFETY: it is the address of a handler that was installed without SA_SIGINFO, so it is a function of this
        // type.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
        handler(signal);
    }
}

/// Ends the process by the signal, as without a handler. The signal is blocked while its handler runs, and takes effect
/// when that returns.
fn die(signal: libc::c_int) {
    // SAFETY: all zeros is a valid value: the default action, no flags, an empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: it sets the default action, from a struct that outlives the call.
    if unsafe { libc::sigaction(signal, &raw const default, ptr::null_mut()) } != 0 {
        // A filter of system calls forbids it. The signal would come back to this handler, for ever.
        // SAFETY: it ends the process; it is in the list of functions that a handler may call.
        unsafe { libc::_exit(128 + signal) };
    }
    // SAFETY: it sends the signal to this thread; it is in the list of functions that a handler may call.
    unsafe { libc::raise(signal) };
}
