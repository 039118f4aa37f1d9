//! Waiting for bytes.

use super::Consumer;
use crate::cursor::{self, FIN, STOPPED_HINT};
use crate::deadlock::Exclusive;
use crate::error::WaitError;
use crate::layout::Port;
use crate::mutant::mutant;
use crate::ordering;
use crate::park::Park;
use crate::size::at_most;
use crate::sync::AtomicU32;
use crate::waiting::{Look, Sleeper, Stopped, wait};

impl<'m, P: Park> Consumer<'m, P> {
    /// Waits until there are `want` bytes, or as many as there will ever be: looks, spins, then sleeps, as its [`Park`]
    /// does.
    ///
    /// `want` is taken as at least 1 and at most half the capacity (but at least 1); more could make both parties sleep
    /// for ever. The room of bytes taken is given back first. Returns the bytes there are. They can be less than `want`
    /// if the deadline passed, the peer died or it has finished; 0 is the end of the stream.
    ///
    /// # Errors
    /// [`WaitError`], never [`WaitError::Closed`]. There were no bytes then.
    pub fn wait(&mut self, want: usize, deadline: Option<P::Deadline>) -> Result<usize, WaitError> {
        self.wait_in(want, deadline, None)
    }

    pub(in crate::lane) fn wait_in(
        &mut self,
        want: usize,
        deadline: Option<P::Deadline>,
        exclusive: Option<&Exclusive<'_>>,
    ) -> Result<usize, WaitError> {
        if !mutant!("reader_parks_unflushed") {
            self.flush();
        }
        if self.stopped && !self.corrupt {
            return Ok(0);
        }
        let want = at_most(want, cursor::max_wait(self.ring.capacity())).max(1);
        match wait(self, want, deadline, exclusive) {
            Ok(()) => Ok(self.known_bytes()),
            Err(Stopped::Corrupt) => {
                self.fail();
                // Found while parked, the wait has withdrawn what `stop` announced.
                ordering::announce(&self.mine.park.read_park, STOPPED_HINT);
                Err(WaitError::Corrupt)
            }
            Err(_) if self.bytes() > 0 => Ok(self.known_bytes()),
            Err(Stopped::TimedOut) => Err(WaitError::TimedOut),
            Err(Stopped::Cancelled) => Err(WaitError::Cancelled),
            Err(Stopped::Gone) => Err(WaitError::PeerGone),
            Err(Stopped::Deadlock) => Err(WaitError::Deadlock),
        }
    }

    /// For a writing half that waits for the whole party: what this half has to do with that. `None` if there can be no
    /// deadlock because the peer waits for nothing from here.
    pub(in crate::lane) fn exclusive(&self, mine: &Port) -> Option<Exclusive<'m>> {
        let stopped = self.stopped && !mutant!("exclusive_after_last");
        (!stopped && core::ptr::eq(self.mine, mine)).then_some(Exclusive {
            reports: self.reports,
            peer_park: &self.peer.park.write_park,
            peer_wake_method: &self.peer.park.write_wake_method,
            word: &self.mine.received.word,
            published: self.published(),
            capacity: self.ring.capacity(),
        })
    }
}

impl<P: Park> Sleeper for Consumer<'_, P> {
    type Park = P;
    fn park(&self) -> &P {
        &self.park
    }
    fn barriers(&self) -> bool {
        self.barriers
    }
    fn is_spared(&self) -> bool {
        ordering::peer_fenced(&self.peer.park.sent_fence)
    }
    fn park_word(&self) -> &AtomicU32 {
        &self.mine.park.read_park
    }
    fn wake_method_word(&self) -> &AtomicU32 {
        &self.mine.park.read_wake_method
    }
    fn peer_cursor(&self) -> &AtomicU32 {
        &self.peer.sent.word
    }
    fn asleep_until(&self, want: u32) -> u32 {
        cursor::asleep_at(self.received, want)
    }
    fn look(&mut self) -> Result<Look, Stopped> {
        let seen = self.refresh()?;
        Ok(Look { seen, available: self.bytes(), last: seen & FIN != 0 })
    }
    fn parked(&mut self) {
        self.tally.parked(&self.mine.reads);
    }
    fn woke_peer(&mut self) {
        self.tally.woke(&self.mine.reads);
    }
}
