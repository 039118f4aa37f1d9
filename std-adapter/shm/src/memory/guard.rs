//! Memory whose file another process may shorten: a handler of SIGBUS that turns the end of the process into an error.
//!
//! Touching a page that lies beyond the end of its file raises SIGBUS, and that kills. A caller that asks for it gets a handler,
//! one for the process. It looks the address up in a table of guarded mappings. Is it in one of them, then it sets
//! that end's [`Cut`], puts empty pages of this process's own under the rest of the mapping, and returns: the access is
//! made again, and finds zeros. What was read that way is never handed out, because every reader looks at the `Cut`
//! afterwards. All other faults go to the handler that was there before.
//!
//! Only from the page of the fault on is the mapping replaced. What lies before it may still be shared with the peer, and
//! through it the peer sees that the stream is over.

mod cut;
mod table;

pub use cut::{Cut, Installed};

use super::page::page_size;
use crate::explain::explain;
use rustix::mm::{MapFlags, ProtFlags};
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A guarded mapping, until this is dropped. That must come before the range is unmapped: afterwards the addresses may
/// have another owner.
#[derive(Debug)]
pub(super) struct RangeGuard {
    entry: table::Entry,
    /// The table has a pointer to it.
    _cut: Arc<Cut>,
}

impl RangeGuard {
    /// Guards the pages of `range`, which the caller has mapped.
    pub(super) fn new(range: Range<usize>, writable: bool, cut: &Arc<Cut>) -> Self {
        let end = range.end.next_multiple_of(page_size());
        let entry = table::enter(range.start..end, writable, Arc::as_ptr(cut));
        Self { entry, _cut: Arc::clone(cut) }
    }
}

impl Drop for RangeGuard {
    fn drop(&mut self) {
        self.entry.leave();
    }
}

/// What was to be done at SIGBUS before.
struct Previous {
    handler: AtomicUsize,
    /// Whether it takes three arguments.
    info: AtomicBool,
    /// Whether it is called once, and the default action holds from then on.
    once: AtomicBool,
}

static PREVIOUS: Previous =
    Previous { handler: AtomicUsize::new(libc::SIG_DFL), info: AtomicBool::new(false), once: AtomicBool::new(false) };

/// The size of a page. The handler does not ask for it.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Installs the handler, if that was not done before. It stays until the process ends: code that installs another
/// one afterwards has to call the one that it finds.
///
/// # Errors
/// What the system says.
///
/// # References
/// [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html)
#[doc(hidden)]
pub fn install() -> io::Result<Installed> {
    // There is no lock, which a forked child could inherit held. Of threads that do this at the same time, each finds the
    // previous handler and stores the same, or finds ours.
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.load(Ordering::Acquire) {
        PAGE.store(page_size(), Ordering::Relaxed);
        replace_handler().map_err(|e| explain(e, "cannot handle SIGBUS, to guard shared memory"))?;
        DONE.store(true, Ordering::Release);
    }
    Ok(Installed(()))
}

fn replace_handler() -> io::Result<()> {
    // SAFETY: `sigaction` is a C struct of integers and, in one field, a function or none: all zeros is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no new action is given, and the old one is written to a struct that outlives the call.
    check(unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut action) })?;
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
    if action.sa_sigaction == handler as usize {
        return Ok(());
    }
    // Stored before the handler can run.
    PREVIOUS.info.store(action.sa_flags & libc::SA_SIGINFO != 0, Ordering::Relaxed);
    PREVIOUS.once.store(action.sa_flags & libc::SA_RESETHAND != 0, Ordering::Relaxed);
    PREVIOUS.handler.store(action.sa_sigaction, Ordering::Release);
    // The mask and the other flags of the previous handler hold for both: it finds what it would have found.
    action.sa_sigaction = handler as usize;
    action.sa_flags = action.sa_flags & !libc::SA_RESETHAND | libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the action is a handler with three arguments, as SA_SIGINFO says, which does only what a handler may do.
    check(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Handles SIGBUS: system calls and the table, no lock, no memory, little stack.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: it takes nothing, and returns the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid for the thread's life; only this thread uses it, and not at this moment.
    let before = unsafe { errno.read() };
    // SAFETY: the kernel gives a handler with SA_SIGINFO a `siginfo_t` that is valid until it returns.
    let info_ref = unsafe { &*info };
    let code = info_ref.si_code;
    // SAFETY: SIGBUS with this code has an address there.
    let mended = code == libc::BUS_ADRERR && mend(unsafe { info_ref.si_addr() }.addr());
    // SAFETY: as above.
    unsafe { errno.write(before) };
    if !mended {
        // What is not positive was sent by a process; AO is about a page that this thread does not use.
        let fault = code > 0 && code != libc::BUS_MCEERR_AO;
        chain(fault, signal, info, context);
    }
}

/// If `address` lies in a guarded mapping: marks that as cut, and puts empty pages there and behind it.
fn mend(address: usize) -> bool {
    let Some(found) = table::find(address) else { return false };
    // SAFETY: this thread was just accessing the mapping. So it is still there, and the `RangeGuard` in it, which leaves the
    // table first and then gives up the `Cut`.
    let cut = unsafe { &*found.cut };
    // Before the empty pages can be seen.
    cut.set();
    let page = PAGE.load(Ordering::Relaxed).max(1);
    let from = address - address % page;
    let protection = if found.writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
    // SAFETY: the range lies within the mapping that is guarded, which stays until this thread's access is over, and
    // belongs to the end that this thread uses. A page of it could not be had: its file ended before it, or had no room for
    // it. Pages behind that may be there, or be there again, and this process sees them no more; its end is corrupt from
    // now on, and uses none of them. Who has a pointer there must expect any bytes at any time; there are no references to
    // others than atomics.
    // mmap is one system call, as async-signal-safe as those that POSIX lists.
    let mapped =
        unsafe { rustix::mm::mmap_anonymous(from as *mut libc::c_void, found.range.end - from, protection, flags) };
    mapped.is_ok()
}

/// Does what would have been done without us. `fault`: the thread did something that it cannot go on from.
fn chain(fault: bool, signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let handler = if PREVIOUS.once.load(Ordering::Relaxed) {
        PREVIOUS.handler.swap(libc::SIG_DFL, Ordering::AcqRel)
    } else {
        PREVIOUS.handler.load(Ordering::Acquire)
    };
    match handler {
        // A fault cannot be ignored: the kernel kills.
        libc::SIG_IGN if !fault => {}
        libc::SIG_DFL | libc::SIG_IGN => die(signal, fault),
        handler if PREVIOUS.info.load(Ordering::Relaxed) => {
            // SAFETY: it is the address of a handler that was installed with SA_SIGINFO, so it is a function of this
            // type.
            let handler = unsafe {
                std::mem::transmute::<usize, extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)>(
                    handler,
                )
            };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: it is the address of a handler that was installed without SA_SIGINFO, so it is a function of this
            // type.
            let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
            handler(signal);
        }
    }
}

/// Ends the process by the signal, as without a handler: after a fault by returning to it, which meets it again.
fn die(signal: libc::c_int, fault: bool) {
    // SAFETY: all zeros is a valid value: the default action, no flags, an empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: it sets the default action, from a struct that outlives the call.
    if unsafe { libc::sigaction(signal, &raw const default, ptr::null_mut()) } != 0 {
        // A filter of system calls forbids it. The fault would come back to this handler, for ever.
        // SAFETY: it ends the process; it is in the list of functions that a handler may call.
        unsafe { libc::_exit(128 + signal) };
    }
    if !fault {
        // SAFETY: it sends the signal to this thread; it is in the list of functions that a handler may call. It is
        // blocked while its handler runs, and takes effect when that returns.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
