//! Signals beside wakes: a hint for a process that does something else than sleep here.
//!
//! A half that asks for one publishes the number as its wake method. The waker rings the futex first, as always, and
//! then sends the signal, through a pidfd that the kernel attested in the rendezvous, never by a number that was read
//! somewhere. So a signal that is lost, blocked or ignored loses nothing.

use crate::error::{Error, Reason, Result};
use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};
use smstream_core::park::{WAKE_BY_SIGNAL, WAKE_BY_WORD};
use smstream_shm::explain::explain;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

/// What one end knows of signals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// The one that it wants for itself.
    pub(crate) wanted: Option<i32>,
    /// The peer's process, if it wants one.
    pub(crate) peer: Option<Arc<OwnedFd>>,
}

impl Signals {
    /// What this end's wake method is to say.
    pub(crate) fn bell(&self) -> u32 {
        self.wanted.map_or(WAKE_BY_WORD, |signal| WAKE_BY_SIGNAL + signal.unsigned_abs())
    }

    /// Sends what the peer's wake method asks for, if it may ask for that.
    pub(crate) fn ring(&self, bell: u32) {
        let Some(peer) = &self.peer else { return };
        let Some(number) = bell.checked_sub(WAKE_BY_SIGNAL).and_then(|n| i32::try_from(n).ok()) else { return };
        if is_allowed(number) {
            // It may have died, or have become another user's. The futex wakes it, with or without the signal.
            let _ = send(peer, number);
        }
    }
}

/// Whether a peer may ask for a signal: those that programs have for themselves, and no other.
fn is_allowed(number: i32) -> bool {
    number == libc::SIGUSR1 || number == libc::SIGUSR2 || (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number)
}

fn send(peer: &OwnedFd, number: i32) -> rustix::io::Result<()> {
    let signal = Signal::from_named_raw(number).unwrap_or_else(|| {
        // SAFETY: `is_allowed` has found that it is a real-time signal which libc leaves to applications: its SIGRTMIN
        // lies above those that it keeps.
        unsafe { Signal::from_raw_unchecked(number) }
    });
    pidfd_send_signal(peer, signal)
}

/// Checks that an end may ask for `number`, and that its arrival does not kill this process.
pub(crate) fn check(number: i32) -> Result<()> {
    let wrong = |why: &str| {
        let text = format!("cannot be woken by signal {number}: {why}");
        Err(Error::new(Reason::InvalidInput, text))
    };
    if !is_allowed(number) {
        return wrong("take SIGUSR1, SIGUSR2 or one from SIGRTMIN to SIGRTMAX");
    }
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no new action is given, and the old one is written to memory of the right type.
    if unsafe { libc::sigaction(number, ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(Error::system(
            Reason::System,
            explain(io::Error::last_os_error(), "cannot ask for a signal's handler"),
        ));
    }
    // SAFETY: sigaction(2) has succeeded, and so has written it.
    let action = unsafe { action.assume_init() };
    if action.sa_sigaction == libc::SIG_DFL && !is_blocked(number) {
        return wrong("it would end this process; install a handler for it, ignore it, or block it first");
    }
    Ok(())
}

/// Whether this thread blocks a signal.
fn is_blocked(number: i32) -> bool {
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: without a new set nothing changes, and the present one is written to memory of the right type.
    if unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), blocked.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has succeeded, so the set has been written; the number is that of a signal.
    unsafe { libc::sigismember(blocked.as_ptr(), number) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_asks_for_nothing_that_is_not_its_own() {
        for number in
            [0, 1, libc::SIGKILL, libc::SIGSTOP, libc::SIGTERM, libc::SIGRTMIN() - 1, libc::SIGRTMAX() + 1, -1]
        {
            assert!(!is_allowed(number), "{number}");
        }
        for number in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN(), libc::SIGRTMAX()] {
            assert!(is_allowed(number), "{number}");
        }
    }

    #[test]
    fn a_signal_that_would_kill_is_refused() {
        let number = libc::SIGRTMIN() + 7;
        let e = check(number).unwrap_err();
        assert_eq!(e.reason(), Reason::InvalidInput);
        assert!(e.to_string().contains("would end this process"), "{e}");
        // SAFETY: to ignore a signal that is never sent here changes nothing.
        unsafe { libc::signal(number, libc::SIG_IGN) };
        check(number).unwrap();
        assert!(check(libc::SIGTERM).unwrap_err().to_string().contains("SIGUSR1"));
    }
}
