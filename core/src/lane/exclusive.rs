//! Waiting for the whole party: one half waits, and the other cannot be used meanwhile.

use super::{Consumer, Producer};
use crate::error::WaitError;
use crate::mutant::mutant;
use crate::park::Park;

impl<'m, P: Park> Producer<'m, P> {
    /// Waits like [`wait`](Producer::wait), without a deadline, for the whole party: `other` is the reading half of the
    /// same end, and cannot be used meanwhile. The room of the bytes that it has taken is given back first.
    ///
    /// If the peer waits in the same way, and each for room in a full lane, neither can ever go on. Then party 0 gets
    /// [`WaitError::Deadlock`], and party 1 goes on waiting; more about that at
    /// [`Consumer::wait_exclusive`](super::Consumer::wait_exclusive).
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::Deadlock`] there was no room at all.
    pub fn wait_exclusive(&mut self, want: usize, other: &mut Consumer<'m, impl Park>) -> Result<usize, WaitError> {
        self.wait_for_room_exclusive(self.usual(want), other)
    }

    /// `want` is as in [`wait_for_room`](Producer::wait_for_room).
    pub(crate) fn wait_for_room_exclusive(
        &mut self,
        want: u32,
        other: &mut Consumer<'m, impl Park>,
    ) -> Result<usize, WaitError> {
        if !mutant!("exclusive_parks_unflushed") {
            other.flush();
        }
        let exclusive = other.exclusive(self.mine);
        self.wait_for_room(want, None, exclusive.as_ref())
    }
}

impl<'m, P: Park> Consumer<'m, P> {
    /// Waits like [`wait`](Consumer::wait), without a deadline, for the whole party: `other` is the writing half of the
    /// same end, and cannot be used meanwhile. Its unflushed bytes are published first.
    ///
    /// If the peer waits in the same way, and each for bytes of the other, neither can ever go on. Then party 0 gets
    /// [`WaitError::Deadlock`], and party 1 goes on waiting. It gets that only if it is so: not while the peer is slow or
    /// stopped, waits with a deadline or with one half, or is about to be woken. It does *not* get it if the peer never
    /// parks for its whole party, if either [`Park`] spins for ever, or if `other` has finished or is of another end. If there
    /// are fewer bytes than `want`, those are returned instead; the next wait, with none, reports it.
    ///
    /// # Errors
    /// [`WaitError`], never [`WaitError::Closed`]. There were no bytes then.
    pub fn wait_exclusive(&mut self, want: usize, other: &mut Producer<'m, impl Park>) -> Result<usize, WaitError> {
        if !mutant!("exclusive_parks_unflushed") {
            other.flush();
        }
        let exclusive = other.exclusive(self.mine);
        self.wait_in(want, None, exclusive.as_ref())
    }
}
