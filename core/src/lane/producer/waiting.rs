//! Waiting for room.

use super::Producer;
use crate::cursor::{self, STOP};
use crate::deadlock::Exclusive;
use crate::error::WaitError;
use crate::layout::Port;
use crate::mutant::mutant;
use crate::ordering;
use crate::park::Park;
use crate::size::at_most;
use crate::sync::AtomicU32;
use crate::waiting::{Look, Sleeper, Stopped, wait};

impl<'m, P: Park> Producer<'m, P> {
    /// Waits until there is room for `want` bytes: looks, spins, then sleeps, as its [`Park`] does.
    ///
    /// `want` is taken as at least 1 and at most half the capacity (but at least 1); more could make both parties sleep
    /// for ever. Unflushed bytes are published first: the peer cannot make room by reading what it does not see.
    /// Returns the room there is; it can be less than `want` only when the deadline passed.
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::TimedOut`] there was no room at all.
    pub fn wait(&mut self, want: usize, deadline: Option<P::Deadline>) -> Result<usize, WaitError> {
        self.wait_for_room(self.usual(want), deadline, None)
    }

    /// What may be waited for, whatever the peer does.
    pub(in crate::lane) fn usual(&self, want: usize) -> u32 {
        at_most(want, cursor::max_wait(self.ring.capacity())).max(1)
    }

    /// `want` is at least 1. It is [usual](Self::usual), or the peer reads records and it is at most the capacity.
    pub(crate) fn wait_for_room(
        &mut self,
        want: u32,
        deadline: Option<P::Deadline>,
        exclusive: Option<&Exclusive<'_>>,
    ) -> Result<usize, WaitError> {
        if !mutant!("writer_parks_unflushed") {
            self.flush();
        }
        if self.fin && !self.corrupt {
            return Err(WaitError::Closed);
        }
        match wait(self, want, deadline, exclusive) {
            // First: a word that changes after STOP is corrupt, and stays so.
            Err(Stopped::Corrupt) => {
                self.fail();
                Err(WaitError::Corrupt)
            }
            _ if self.is_peer_stopped() => Err(WaitError::Closed),
            Ok(()) => Ok(self.known_room()),
            Err(Stopped::TimedOut | Stopped::Deadlock) if self.room() > 0 => Ok(self.known_room()),
            Err(Stopped::TimedOut) => Err(WaitError::TimedOut),
            Err(Stopped::Cancelled) => Err(WaitError::Cancelled),
            Err(Stopped::Gone) => Err(WaitError::PeerGone),
            Err(Stopped::Deadlock) => Err(WaitError::Deadlock),
        }
    }

    /// For a reading half that waits for the whole party: what this half has to do with that. `None` if there can be no
    /// deadlock because the peer waits for nothing from here.
    pub(in crate::lane) fn exclusive(&self, mine: &Port) -> Option<Exclusive<'m>> {
        let finished = self.fin && !mutant!("exclusive_after_last");
        (!finished && core::ptr::eq(self.mine, mine)).then_some(Exclusive {
            reports: self.reports,
            peer_park: &self.peer.park.read_park,
            peer_wake_method: &self.peer.park.read_wake_method,
            word: &self.mine.sent.word,
            published: self.published(),
            capacity: self.ring.capacity(),
        })
    }
}

impl<P: Park> Sleeper for Producer<'_, P> {
    type Park = P;
    fn park(&self) -> &P {
        &self.park
    }
    fn barriers(&self) -> bool {
        self.barriers
    }
    fn is_spared(&self) -> bool {
        ordering::peer_fenced(&self.peer.park.received_fence)
    }
    fn park_word(&self) -> &AtomicU32 {
        if mutant!("one_park_word") { &self.mine.park.read_park } else { &self.mine.park.write_park }
    }
    fn wake_method_word(&self) -> &AtomicU32 {
        &self.mine.park.write_wake_method
    }
    fn peer_cursor(&self) -> &AtomicU32 {
        &self.peer.received.word
    }
    fn asleep_until(&self, want: u32) -> u32 {
        // Room is `want` when the peer has received all but `capacity - want` of what was sent.
        cursor::asleep_at(self.sent, want.wrapping_sub(self.ring.capacity()))
    }
    fn look(&mut self) -> Result<Look, Stopped> {
        let seen = self.refresh()?;
        Ok(Look { seen, available: self.room(), last: seen & STOP != 0 })
    }
    fn parked(&mut self) {
        self.tally.parked(&self.mine.writes);
    }
    fn woke_peer(&mut self) {
        self.tally.woke(&self.mine.writes);
    }
}
