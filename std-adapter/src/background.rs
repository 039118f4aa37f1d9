//! Threads of the library's own. Signals are the application's, so its handlers must not run there.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread;

/// Runs `work` in a thread of this name, with all signals blocked and a small stack. If there can be none, `work` is
/// dropped.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let old = block_all_signals()?;
    let spawned = thread::Builder::new().name(name.into()).stack_size(1 << 17).spawn(work);
    restore_signals(&old);
    spawned.map(drop)
}

/// Blocks all signals in this thread. Threads that it makes inherit that. Returns what was blocked before.
fn block_all_signals() -> io::Result<libc::sigset_t> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut old = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is to writable memory of the right type, which sigfillset(3) initializes. It cannot fail.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` has just been initialized, and `old` is writable memory of the right type.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    // SAFETY: pthread_sigmask(3) has succeeded and so has stored the previous mask there.
    Ok(unsafe { old.assume_init() })
}

fn restore_signals(old: &libc::sigset_t) {
    // SAFETY: `old` is a mask that pthread_sigmask(3) gave out; a null pointer asks for no copy of the present one.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old, ptr::null_mut()) };
    debug_assert_eq!(result, 0, "SIG_SETMASK with a valid mask cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// The signals that this thread blocks, as the kernel shows them: bit n − 1 is signal n.
    fn blocked() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    }

    #[test]
    fn no_signal_is_handled_there_and_nothing_changes_here() {
        let before = blocked();
        let (tell, told) = mpsc::channel();
        spawn("smstream-test", move || {
            tell.send((blocked(), thread::current().name().map(String::from))).unwrap();
        })
        .unwrap();
        let (there, name) = told.recv().unwrap();
        assert_eq!(name.as_deref(), Some("smstream-test"));
        // Those two cannot be blocked, and two of the real-time ones are libc's.
        let all = (1..=31).filter(|n| ![libc::SIGKILL, libc::SIGSTOP].contains(n));
        let missing: Vec<i32> = all.chain(34..=64).filter(|n| there >> (n - 1) & 1 == 0).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(blocked(), before);
    }
}
