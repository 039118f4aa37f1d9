//! What an end of a connection is like, however it is made.

use crate::addr::Addr;
use crate::buffering::BufMode;
use crate::error::{Error, Reason, Result};
use crate::rendezvous::socket::Terms;
use crate::signal;
use crate::turned_away::OnTurnedAway;
use smstream_shm::memory::guard;
use std::time::Duration;

/// What an end is like, whichever way it comes about: what the builder says, with the defaults filled in.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long a half looks before it sleeps.
    pub(crate) spin: Duration,
    /// Whether it does so only where that was worth it lately: if the program did not ask for this time.
    pub(crate) adapts: bool,
    /// Whether memory that another process cuts short is an error and no SIGBUS.
    pub(crate) guard: Option<guard::Installed>,
    /// Whether a call on the whole stream takes part in telling deadlocks.
    pub(crate) deadlock_detection: bool,
    /// On what terms it deals with parties that it need not trust.
    pub(crate) terms: Terms,
    /// What a listener does when it has turned a connector away.
    pub(crate) on_turned_away: OnTurnedAway,
    /// When written bytes are published.
    pub(crate) buf_mode: BufMode,
}

impl Settings {
    /// Whether an end at `addr` can be like this.
    pub(crate) fn check(&self, addr: &Addr) -> Result<()> {
        let Some(number) = self.terms.wake_signal else { return Ok(()) };
        if !matches!(addr, Addr::Unix(_) | Addr::Abstract(_) | Addr::Fd(_)) {
            let text = format!(
                "cannot be woken by a signal at {addr}: the kernel does not attest there which process the peer is; use unix: or fd:"
            );
            return Err(Error::new(Reason::InvalidInput, text));
        }
        signal::check(number)
    }
}
