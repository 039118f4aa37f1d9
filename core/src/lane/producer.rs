//! The writing half.

mod peer;
mod state;
mod waiting;

use super::ring::Ring;
use crate::counter::Tally;
use crate::cursor::{self, ASLEEP, FIN, STOP, STOPPED_HINT};
use crate::error::WriteError;
use crate::layout::{Features, Port};
use crate::mutant::{mutant, unless_mutant};
use crate::ordering;
use crate::park::Park;
use crate::publication::{Fence, Publication};
use crate::size::{at_most, saturating, to_usize};
use crate::sync::LaneByte;
use crate::waiting::alerts;

/// The half that puts bytes into its party's lane.
///
/// Nothing here blocks but [`wait`](Producer::wait). Nothing allocates or panics. If there is room, the peer cannot take
/// it away; if there is none, the peer may make some at any moment.
///
/// # Invariants
/// 1. `mine` and the lane belong to this half: no other code stores `sent`, `write_park`, `write_wake_method`, the `writes`
///    counters or a byte of the lane.
/// 2. `published()`, which is `sent` without the `deferred` bytes, is the cursor in `mine.sent`; `fin` says whether FIN is set
///    there. After FIN neither changes.
/// 3. `diff(sent, word_seen) ≤ capacity`: every byte not yet received lies in the lane.
/// 4. `word_seen` is a value of the peer's `received` that passed the check; its cursor never moved backwards or past
///    `published()`, and never after STOP.
/// 5. The lane's pointer is valid for writes of `capacity` bytes for `'m`.
/// 6. `over` if the half is corrupt, has said FIN, or has seen STOP: then nothing can be written any more.
/// 7. `quick` is 0 if `over` or if there are `deferred` bytes. Otherwise so many bytes fit from `sent` on without reaching the
///    end of the lane, and there is room for them.
pub struct Producer<'m, P> {
    pub(super) mine: &'m Port,
    peer: &'m Port,
    ring: Ring,
    /// Bytes that can be written without another look at anything of this half's.
    quick: u32,
    /// Bytes put into the lane, flushed or not: a cursor.
    sent: u32,
    /// Of these, the ones that are not flushed.
    deferred: u32,
    word_seen: u32,
    fin: bool,
    corrupt: bool,
    over: bool,
    fence: Fence,
    /// Whether this party issues barriers when it has announced that it sleeps.
    barriers: bool,
    /// Whether this is party 0, which reports deadlocks.
    reports: bool,
    tally: Tally,
    park: P,
}

// SAFETY: the raw pointer to the lane is used by this half alone (invariant 1), from whichever thread holds it; all else
// is references to atomics, plain values, and `P`.
unsafe impl<P: Send> Send for Producer<'_, P> {}
// SAFETY: methods on `&self` read private values and atomics; none touches the lane.
unsafe impl<P: Sync> Sync for Producer<'_, P> {}

impl<'m, P: Park> Producer<'m, P> {
    /// The writing half of `party` (0 or 1), whose port is `mine`, as it stands in its own words. `features` are what the
    /// party and the peer do beyond the base protocol.
    ///
    /// `word_seen` is a value of the peer's `received` word, loaded once. It must pass the check against `mine`, else
    /// the half is corrupt from the start.
    ///
    /// # Safety
    /// * `lane` is valid for reads and writes of `capacity` bytes for `'m`, and `capacity` is 0 or a power of two of at
    ///   most 2²⁹.
    /// * For `'m`, no other code stores to the lane or to the words of `mine` that a writing half owns, and no reference
    ///   to the lane's bytes exists. Other processes may read them.
    #[inline(never)] // Its result lies where the caller wants it, instead of being copied about on a small stack.
    pub unsafe fn from_parts(
        party: usize,
        features: [Features; 2],
        mine: &'m Port,
        peer: &'m Port,
        lane: *mut LaneByte,
        capacity: u32,
        park: P,
    ) -> Self {
        let [mine_does, peer_does] = features;
        let fence = Fence::towards(peer_does, &park);
        fence.say(&mine.park.sent_fence);
        let barriers = mine_does.contains(Features::BARRIER);
        let own = ordering::own(&mine.sent.word);
        let seen = ordering::peer_received(&peer.received.word);
        let published = own & cursor::CURSOR;
        let beyond = !cursor::accepts_first(published, seen, capacity);
        let refused = unless_mutant!("accept_first_received_any", beyond, false);
        // Invariant 3 holds for a corrupt half, too.
        let word_seen = if refused { published } else { seen };
        let corrupt = refused && !mutant!("accept_received_after_all");
        let mut fin = own & FIN != 0;
        let mut tally = Tally::resume(&mine.writes, mine_does.contains(Features::COUNTERS));
        if refused && !fin && !mutant!("accept_received_silently") {
            fin = true;
            refuse((mine, peer), (capacity, fence), &park, published);
            tally.published(&mine.writes, 0);
        }
        let over = corrupt || fin || word_seen & STOP != 0;
        let (ring, reports, sent) = (Ring::new(lane, capacity), party == 0, published);
        let (quick, deferred) = (0, 0);
        let mut half = Producer {
            mine,
            peer,
            ring,
            quick,
            sent,
            deferred,
            word_seen,
            fin,
            corrupt,
            over,
            fence,
            barriers,
            reports,
            tally,
            park,
        };
        half.settle();
        half
    }

    /// Writes as much of `bytes` as there is room for, publishes it, and wakes the peer if that is what it waits for.
    ///
    /// Returns how many bytes were written: at least one, unless `bytes` is empty.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was written then.
    // The usual write is this function and the two after it.
    #[inline(always)]
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        if bytes.len().wrapping_sub(1) >= to_usize(self.quick) || self.is_to_look() {
            return self.write_closely(bytes);
        }
        let (old, n) = (self.sent, saturating(bytes.len()));
        // SAFETY: invariants 1 and 5; by invariant 7 the bytes there have been received and do not reach the end of the lane.
        // `n` is the length of `bytes`, a live slice, which cannot overlap a lane, for no slice into a lane exists.
        unsafe { self.ring.write_run(self.ring.place(old), bytes.as_ptr(), n) };
        self.quick -= n;
        // No wrap: a cursor wraps at the end of a lane.
        self.sent = old + n;
        self.publish_from(old, n, false);
        Ok(bytes.len())
    }

    /// Whether the peer has stopped, or there is an alert.
    #[inline(always)]
    fn is_to_look(&self) -> bool {
        // A peer that has stopped says so in a word that costs nothing to look at (see `cursor::STOPPED_HINT`).
        ordering::peer_park(&self.peer.park.read_park) == STOPPED_HINT || alerts(self) != 0
    }

    /// Publishes `sent`, which is `n` bytes after `old`, which was published before.
    #[inline(always)]
    fn publish_from(&mut self, old: u32, n: u32, last: bool) {
        if matches!(self.fence, Fence::NO_LOOK) && !last {
            ordering::publish_sent(&self.mine.sent.word, self.sent);
            if self.tally.keeps() {
                self.tally.published(&self.mine.writes, n);
            }
            return;
        }
        let mut publication = publication(self.mine, self.peer, self.ring.capacity(), &mut self.fence);
        let park = publication.publish(old, self.sent, last);
        if self.tally.wants(park) {
            self.tally.published(&self.mine.writes, n);
            if park & ASLEEP != 0 && publication.wake_if_crossed(&self.park, park, old, self.sent, last) {
                self.tally.woke(&self.mine.writes);
            }
        }
        publication.store_late(self.sent, last);
    }

    /// Any [`write`](Producer::write), also those that are over, wait for room, or go round the end of the lane.
    #[inline(never)]
    fn write_closely(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        let n = self.write_deferred(bytes)?;
        self.flush();
        Ok(n)
    }

    /// Writes as much of `bytes` as there is room for, without publishing: the peer sees nothing until
    /// [`flush`](Producer::flush), [`write`](Producer::write) or [`finish`](Producer::finish).
    ///
    /// A lane full of unflushed bytes is [`WriteError::Full`] until it is flushed.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was written then.
    #[inline]
    pub fn write_deferred(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        self.check()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let n = at_most(bytes.len(), self.room_for(bytes.len())?);
        if n == 0 {
            return Err(WriteError::Full);
        }
        // SAFETY: invariants 1 and 5; `n` ≤ room ≤ capacity, and by invariant 3 the bytes there have been received. `n` is
        // at most the length of `bytes`, a live slice, which cannot overlap a lane, for no slice into a lane exists.
        unsafe { self.ring.write(self.sent, bytes.as_ptr(), n) };
        self.defer(n);
        Ok(to_usize(n))
    }

    /// Writes from several buffers in order, as much as there is room for, and publishes once.
    ///
    /// Returns how many bytes were written in all.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was written then.
    pub fn write_vectored<'b>(&mut self, buffers: impl IntoIterator<Item = &'b [u8]>) -> Result<usize, WriteError> {
        self.check()?;
        let mut written = 0;
        for bytes in buffers {
            match self.write_deferred(bytes) {
                Ok(n) => {
                    written += n;
                    if n < bytes.len() {
                        break;
                    }
                }
                // A corrupt half has dropped what was written before.
                Err(e) if written == 0 || self.corrupt => return Err(e),
                Err(_) => break,
            }
        }
        self.flush();
        Ok(written)
    }

    /// Publishes all that was written and not yet flushed, and wakes the peer if that is what it waits for.
    #[inline]
    pub fn flush(&mut self) {
        if self.deferred != 0 && !self.fin {
            self.publish(false);
        }
    }

    /// Says that no more bytes will come: publishes what is not flushed, with FIN, and wakes the peer if it sleeps.
    ///
    /// Writing is [`WriteError::Closed`] from now on. Calling it again does nothing.
    pub fn finish(&mut self) {
        if !self.fin {
            // Before the wake, which may panic: this half must not go on after FIN.
            self.fin = true;
            self.over = true;
            self.publish(true);
        }
    }

    /// Makes the half corrupt, as if its own check had failed: for an end whose other half found the peer corrupt.
    pub fn fail(&mut self) {
        self.corrupt = unless_mutant!("accept_received_after_all", true, false);
        self.over |= self.corrupt;
        // What was written and not flushed stays unseen.
        self.sent = self.published();
        self.deferred = 0;
        self.settle();
        if !mutant!("accept_received_silently") {
            self.finish();
        }
    }

    /// The cursor in `mine.sent`.
    #[inline(always)]
    fn published(&self) -> u32 {
        cursor::diff(self.sent, self.deferred)
    }

    /// `n` bytes more are in the lane.
    #[inline(always)]
    fn defer(&mut self, n: u32) {
        self.sent = cursor::add(self.sent, n);
        self.deferred += n;
        self.settle();
    }

    /// Sees to invariant 7.
    #[inline(always)]
    fn settle(&mut self) {
        let usual = !self.over && self.deferred == 0;
        self.quick = if usual { self.ring.before_end(self.sent, self.room()) } else { 0 };
    }

    #[inline(always)]
    fn room(&self) -> u32 {
        self.ring.capacity() - cursor::diff(self.sent, self.word_seen)
    }

    /// Publishes what is deferred.
    #[inline]
    fn publish(&mut self, last: bool) {
        let (old, n) = (self.published(), core::mem::take(&mut self.deferred));
        self.settle();
        self.publish_from(old, n, last);
    }

    /// For [`Reservation`](super::Reservation): the lane and where the reservation begins.
    pub(crate) fn place(&self) -> (Ring, u32) {
        (self.ring, self.sent)
    }

    /// For [`Reservation`](super::Reservation): the first `len` reserved bytes are to be sent.
    pub(super) fn commit(&mut self, len: u32) {
        self.defer(len);
        self.flush();
    }
}

/// Says FIN at a cursor that has not moved, because the peer's words cannot be believed.
#[cold]
#[inline(never)]
fn refuse<P: Park>((mine, peer): (&Port, &Port), (capacity, mut fence): (u32, Fence), park: &P, at: u32) {
    // Nothing is published after this, so what becomes of `fence` is of no interest.
    publication(mine, peer, capacity, &mut fence).publish_and_wake(park, at);
}

/// The words that publishing bytes has to do with.
#[inline(always)]
fn publication<'a>(mine: &'a Port, peer: &'a Port, capacity: u32, fence: &'a mut Fence) -> Publication<'a> {
    Publication {
        word: &mine.sent.word,
        store: ordering::publish_sent,
        peer_park: &peer.park.read_park,
        peer_wake_method: &peer.park.read_wake_method,
        capacity,
        fence,
        fence_word: Some(&mine.park.sent_fence),
    }
}
