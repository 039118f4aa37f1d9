//! Threads of the library's own. Signals are the application's, so its handlers must not run there.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Runs `work` in a thread of this name, with all signals blocked and a small stack. If there can be none, `work` is
/// dropped.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let old = block_all_signals()?;
    let spawned = thread::Builder::new().name(name.into()).stack_size(1 << 17).spawn(work);
    restore_signals(&old);
    spawned.map(drop)
}

/// Threads that do what may take long, a few at once. What they cannot do yet waits.
pub(crate) struct BoundedPool {
    name: &'static str,
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    threads: usize,
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
}

impl BoundedPool {
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        BoundedPool { name, most, state: Mutex::default() }
    }

    /// Has `work` done and does not wait. If there can be no thread now it is left undone, and what it owns stays open,
    /// until there is one for later work, or [`resume`](Self::resume) finds one.
    pub(crate) fn run(&'static self, work: impl FnOnce() + Send + 'static) {
        self.run_in(Box::new(work), || spawn(self.name, || self.work()));
    }

    /// Tries again to have done what was left undone for want of a thread.
    pub(crate) fn resume(&'static self) {
        self.resume_in(|| spawn(self.name, || self.work()));
    }

    fn resume_in(&self, spawn: impl FnOnce() -> io::Result<()>) {
        let mut state = self.lock();
        // A thread that there is does it.
        if state.waiting.is_empty() || state.threads > 0 {
            return;
        }
        state.threads += 1;
        drop(state);
        if spawn().is_err() {
            self.lock().threads -= 1;
        }
    }

    fn run_in(&self, work: Box<dyn FnOnce() + Send>, spawn: impl FnOnce() -> io::Result<()>) {
        let mut state = self.lock();
        state.waiting.push_back(work);
        if state.threads >= self.most {
            return;
        }
        state.threads += 1;
        drop(state);
        if spawn().is_err() {
            self.lock().threads -= 1;
        }
    }

    /// One of the threads: it ends when nothing waits.
    fn work(&self) {
        loop {
            let mut state = self.lock();
            let Some(work) = state.waiting.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            work();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BoundedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedPool").field("name", &self.name).finish_non_exhaustive()
    }
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
        let (send, sent) = mpsc::channel();
        spawn("smstream-test", move || {
            send.send((blocked(), thread::current().name().map(String::from))).unwrap();
        })
        .unwrap();
        let (there, name) = sent.recv().unwrap();
        assert_eq!(name.as_deref(), Some("smstream-test"));
        // Those two cannot be blocked, and two of the real-time ones are libc's.
        let all = (1..=31).filter(|n| ![libc::SIGKILL, libc::SIGSTOP].contains(n));
        let missing: Vec<i32> = all.chain(34..=64).filter(|n| there >> (n - 1) & 1 == 0).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(blocked(), before);
    }

    #[test]
    fn a_few_at_once_and_the_rest_after_them() {
        let few: &'static BoundedPool = Box::leak(Box::new(BoundedPool::new("smstream-test", 2)));
        let (begin, begun) = mpsc::channel();
        let gates = [(); 5].map(|()| {
            let (open, gate) = mpsc::channel::<()>();
            let begin = begin.clone();
            few.run(move || {
                begin.send(thread::current().id()).unwrap();
                let _ = gate.recv();
            });
            open
        });
        let threads = [begun.recv().unwrap(), begun.recv().unwrap()];
        assert!(begun.try_recv().is_err());
        assert_eq!(few.lock().waiting.len(), 3);
        drop(gates);
        for _ in 0..3 {
            assert!(threads.contains(&begun.recv().unwrap()));
        }
        while few.lock().threads > 0 {
            thread::yield_now();
        }
    }

    /// Nothing is done, or dropped, where it was asked for.
    #[test]
    fn without_a_thread_it_waits() {
        struct TellWhere(mpsc::Sender<thread::ThreadId>);
        impl Drop for TellWhere {
            fn drop(&mut self) {
                self.0.send(thread::current().id()).unwrap();
            }
        }
        let few: &'static BoundedPool = Box::leak(Box::new(BoundedPool::new("smstream-test", 1)));
        let (send, sent) = mpsc::channel();
        let first = TellWhere(send.clone());
        few.run_in(Box::new(move || drop(first)), || Err(io::ErrorKind::WouldBlock.into()));
        few.resume_in(|| Err(io::ErrorKind::WouldBlock.into()));
        assert!(sent.try_recv().is_err());
        few.resume();
        assert_ne!(sent.recv().unwrap(), thread::current().id());
        few.resume_in(|| unreachable!("nothing waits"));
        let second = TellWhere(send.clone());
        few.run_in(Box::new(move || drop(second)), || Err(io::ErrorKind::WouldBlock.into()));
        few.run(move || drop(TellWhere(send)));
        for _ in 0..2 {
            assert_ne!(sent.recv().unwrap(), thread::current().id());
        }
    }
}
