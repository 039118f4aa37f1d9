//! What ends this process in order: Ctrl-C, being asked to, and the end of the terminal.
//!
//! One rule for all commands: it removes its names, breaks its connections off, and exits with 128 and the number of the
//! signal. The second signal ends it at once.

use std::fmt;
use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// That a signal has asked this process to end, and what is to be done at that moment.
#[derive(Default)]
pub struct Interrupt(Mutex<State>);

#[derive(Default)]
struct State {
    signal: Option<i32>,
    act: Option<Box<dyn Fn(i32) + Send>>,
}

impl Interrupt {
    /// Waits for signals from now on.
    pub fn install() -> io::Result<Arc<Self>> {
        let interrupt = Arc::new(Self::default());
        on_end({
            let interrupt = Arc::clone(&interrupt);
            move |signal| {
                let mut state = interrupt.state();
                state.signal = Some(signal);
                if let Some(act) = &state.act {
                    act(signal);
                }
            }
        })?;
        Ok(interrupt)
    }

    /// What is to be done when a signal comes, instead of what was said before. If one has come already, it is done now.
    pub fn set(&self, act: impl Fn(i32) + Send + 'static) {
        let mut state = self.state();
        if let Some(signal) = state.signal {
            act(signal);
        }
        state.act = Some(Box::new(act));
    }

    /// Nothing is to be done any more when a signal comes.
    pub fn clear(&self) {
        self.state().act = None;
    }

    /// The signal that came, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.state().signal
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interrupt").field(&self.signal()).finish()
    }
}

/// The thing itself, when the thread that acts on a signal has let go of it, which takes a moment at most.
pub fn sole<T>(mut shared: Arc<T>) -> T {
    loop {
        match Arc::try_unwrap(shared) {
            Ok(sole) => return sole,
            Err(held) => shared = held,
        }
        thread::yield_now();
    }
}

/// Whether the parent process wants a signal to be ignored.
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with no new action, sigaction only writes the present one to the place that the pointer leads to.
    if unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has succeeded, and so has filled it in.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
