//! SIGBUS, as a program has to do with it that is not only smstream: a handler of its own, a mapping of its own that is
//! cut short, a small stack for signals.

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use rustix::param::page_size;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;

use crate::wrong;

/// Where the fault of [`elsewhere`] is to be.
static PLACE: AtomicUsize = AtomicUsize::new(0);
/// How often a handler of this program was called.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// Where the last fault was, as the kernel reported it to the handler, if it did.
static REPORTED: AtomicUsize = AtomicUsize::new(0);
/// Whether the handler found blocked what it had asked for: SIGUSR2 and SIGBUS itself.
static MASKED: AtomicBool = AtomicBool::new(false);

/// Puts memory where there was a fault.
fn mend() {
    CALLS.fetch_add(1, Ordering::Relaxed);
    let place = PLACE.load(Ordering::Relaxed) as *mut libc::c_void;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: replaces a page of `elsewhere`, which uses it by volatile reads only.
    let _ = unsafe { mmap_anonymous(place, page_size(), access, MapFlags::PRIVATE | MapFlags::FIXED) };
}

extern "C" fn with_info(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives it a valid `siginfo_t`.
    let info = unsafe { &*info };
    // SAFETY: a SIGBUS of the kernel's has an address.
    REPORTED.store(unsafe { info.si_addr() }.addr(), Ordering::Relaxed);
    // SAFETY: `sigset_t` is a C struct of integers: all zeros is a valid value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: no new mask is given; the present one is stored to a set that outlives the call.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut set) };
    // SAFETY: `set` is a mask that the system gave out.
    let usr2 = unsafe { libc::sigismember(&raw const set, libc::SIGUSR2) };
    // SAFETY: as above.
    let bus = unsafe { libc::sigismember(&raw const set, libc::SIGBUS) };
    MASKED.store((usr2, bus) == (1, 1), Ordering::Relaxed);
    mend();
}

extern "C" fn plain(_: libc::c_int) {
    mend();
}

/// Has SIGBUS handled as a program might have done before it uses smstream: `info`, `plain` or `once` (a handler),
/// `default` or `ignore`.
pub(crate) fn handle(how: &str) -> io::Result<()> {
    // SAFETY: `sigaction` is a C struct of integers and an address, for which all zeros is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let (handler, flags) = match how {
        "info" => (with_info as *const () as usize, libc::SA_SIGINFO),
        "plain" => (plain as *const () as usize, 0),
        "once" => (plain as *const () as usize, libc::SA_RESETHAND),
        "default" => (libc::SIG_DFL, 0),
        "ignore" => (libc::SIG_IGN, 0),
        _ => return Err(wrong(format!("{how} is no way to handle SIGBUS"))),
    };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the set is a field of `action`, which is alive.
    unsafe { libc::sigaddset(&raw mut action.sa_mask, libc::SIGUSR2) };
    // SAFETY: `action` is initialized and outlives the call. Its handler is of the kind that the flags say, and makes
    // system calls and stores to atomics only.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Touches memory of this program's own that has been cut short. What the kernel reported to the handler, if there is
/// one and this returns at all.
pub(crate) fn elsewhere() -> io::Result<String> {
    let fd = memfd_create("elsewhere", MemfdFlags::CLOEXEC)?;
    let page = page_size();
    ftruncate(&fd, page as u64)?;
    // SAFETY: a new mapping, wherever the kernel likes.
    let place = unsafe { mmap(ptr::null_mut(), page, ProtFlags::READ, MapFlags::SHARED, &fd, 0) }?;
    let byte = place.cast::<u8>().wrapping_add(123);
    ftruncate(&fd, 0)?;
    PLACE.store(place.addr(), Ordering::Relaxed);
    REPORTED.store(0, Ordering::Relaxed);
    // SAFETY: the page is mapped and stays so. There is nothing behind it, which is what this is about.
    let found = unsafe { byte.read_volatile() };
    let address = REPORTED.load(Ordering::Relaxed);
    let seen = if address == byte.addr() {
        "there"
    } else if address == 0 {
        "nowhere"
    } else {
        "somewhere else"
    };
    let masked = MASKED.load(Ordering::Relaxed);
    Ok(format!("{found} calls={} seen={seen} masked={masked}", CALLS.load(Ordering::Relaxed)))
}

/// Does `work` in a thread whose stack for signals is hardly larger than what the kernel puts there.
pub(crate) fn on_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    // SAFETY: it takes no pointers.
    let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let mut stack = vec![0_u8; least.max(libc::MINSIGSTKSZ) + 2048];
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let small = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
            // SAFETY: `stack_t` is a C struct of integers and a pointer: all zeros is a valid value.
            let mut before: libc::stack_t = unsafe { std::mem::zeroed() };
            // SAFETY: the memory stays until the thread has ended, and is used for nothing else.
            let set = unsafe { libc::sigaltstack(&raw const small, &raw mut before) };
            if set != 0 {
                return Err(io::Error::last_os_error());
            }
            let done = work();
            // SAFETY: what it was; the standard library frees it at the end of the thread.
            unsafe { libc::sigaltstack(&raw const before, ptr::null_mut()) };
            Ok(done)
        });
        thread.join().map_err(|_| wrong("a thread panicked"))?
    })
}
