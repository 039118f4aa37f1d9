//! Waiting for bytes.

use super::Consumer;
use crate::cursor::{self, FIN, LOOK};
use crate::deadlock::Whole;
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
        whole: Option<&Whole<'_>>,
    ) -> Result<usize, WaitError> {
        if !mutant!("reader_parks_unflushed") {
            self.flush();
        }
        if self.stopped && !self.corrupt {
            return Ok(0);
        }
        let want = at_most(want, cursor::most_wanted(self.ring.capacity())).max(1);
        match wait(self, want, deadline, whole) {
            Ok(()) => Ok(self.known_bytes()),
            Err(Stopped::Corrupt) => {
                self.fail();
                // Found while parked, the wait has withdrawn what `stop` announced.
                ordering::announce(&self.mine.park.read_park, LOOK);
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
    pub(in crate::lane) fn whole(&self, mine: &Port) -> Option<Whole<'m>> {
        let stopped = self.stopped && !mutant!("whole_after_last");
        (!stopped && core::ptr::eq(self.mine, mine)).then_some(Whole {
            tells: self.tells,
            peer_park: &self.peer.park.write_park,
            peer_bell: &self.peer.park.write_bell,
            word: &self.mine.received.word,
            published: self.published,
            capacity: self.ring.capacity(),
        })
    }
}

impl<P: Park> Sleeper for Consumer<'_, P> {
    type Park = P;
    fn park(&self) -> &P {
        &self.park
    }
    fn park_word(&self) -> &AtomicU32 {
        &self.mine.park.read_park
    }
    fn bell_word(&self) -> &AtomicU32 {
        &self.mine.park.read_bell
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
    fn rang(&mut self) {
        self.tally.woke(&self.mine.reads);
    }
}
