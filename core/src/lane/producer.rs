//! The writing half.

use super::{Consumer, Reservation, Ring};
use crate::counter::{Counts, Tally};
use crate::cursor::{self, FIN, LOOK, STOP};
use crate::deadlock::Whole;
use crate::error::{ReserveError, WaitError, WriteError};
use crate::layout::{CounterLine, Port};
use crate::mutant::{mutant, unless_mutant};
use crate::ordering;
use crate::park::{ALERT_CORRUPT, ALERT_GONE, Look, Park, Publication, Sleeper, Stopped, alerts, wait};
use crate::sync::{AtomicU32, LaneByte};

/// The half that puts bytes into its party's lane.
///
/// Nothing here blocks but [`wait`](Producer::wait). Nothing allocates or panics. If there is room, the peer cannot take
/// it away; if there is none, the peer may make some at any moment.
///
/// # Invariants
/// 1. `mine` and the lane belong to this half: nobody else stores `sent`, `write_park`, `write_bell`, the `writes`
///    counters or a byte of the lane.
/// 2. `published` is the cursor in `mine.sent`; `fin` says whether FIN is set there. After FIN neither changes.
/// 3. `diff(sent, word_seen) ≤ capacity`: every byte not yet received lies in the lane, and `sent` is at or after
///    `published`, by the bytes that are not flushed.
/// 4. `word_seen` is a value of the peer's `received` that passed the check; its cursor never moved backwards or past
///    `published`, and never after STOP.
/// 5. The lane's pointer is valid for writes of `capacity` bytes for `'m`.
pub struct Producer<'m, P> {
    mine: &'m Port,
    peer: &'m Port,
    ring: Ring,
    /// Bytes put into the lane, flushed or not: a cursor.
    sent: u32,
    published: u32,
    fin: bool,
    word_seen: u32,
    corrupt: bool,
    /// Whether this is party 0, which tells deadlocks.
    tells: bool,
    tally: Tally<'m>,
    park: P,
}

// SAFETY: the raw pointer to the lane is used by this half alone (invariant 1), from whichever thread holds it; all else
// is references to atomics, plain values, and `P`.
unsafe impl<P: Send> Send for Producer<'_, P> {}
// SAFETY: methods on `&self` read private values and atomics; none touches the lane.
unsafe impl<P: Sync> Sync for Producer<'_, P> {}

impl<'m, P: Park> Producer<'m, P> {
    /// The writing half of `party` (0 or 1), whose port is `mine`, as it stands in its own words.
    ///
    /// `word_seen` is a value of the peer's `received` word, loaded once. It must pass the check against `mine`, else
    /// the half is corrupt from the start.
    ///
    /// # Safety
    /// * `lane` is valid for reads and writes of `capacity` bytes for `'m`, and `capacity` is 0 or a power of two of at
    ///   most 2²⁹.
    /// * For `'m`, nobody else stores to the lane or to the words of `mine` that a writing half owns, and no reference
    ///   to the lane's bytes exists. Other processes may read them.
    pub unsafe fn from_parts(
        party: usize,
        mine: &'m Port,
        peer: &'m Port,
        lane: *mut LaneByte,
        capacity: u32,
        park: P,
    ) -> Self {
        let own = ordering::own(&mine.sent.word);
        let word_seen = ordering::peer_received(&peer.received.word);
        let mut half = Producer {
            mine,
            peer,
            ring: Ring::new(lane, capacity),
            sent: own & cursor::CURSOR,
            published: own & cursor::CURSOR,
            fin: own & FIN != 0,
            word_seen,
            corrupt: false,
            tells: party == 0,
            tally: Tally::resume(&mine.writes),
            park,
        };
        if unless_mutant!("accept_first_received_any", cursor::diff(half.published, word_seen) > capacity, false) {
            half.word_seen = half.published; // Invariant 3 holds for a corrupt half, too.
            half.fail();
        }
        half
    }

    /// The bytes my lane holds.
    pub fn capacity(&self) -> usize {
        self.ring.capacity() as usize
    }

    /// Room known without looking at the peer's words. There may be more; there is not less.
    #[inline]
    pub fn known_room(&self) -> usize {
        self.room() as usize
    }

    /// Bytes written and not yet flushed.
    pub fn unflushed(&self) -> usize {
        cursor::diff(self.sent, self.published) as usize
    }

    /// Published bytes that the peer had not taken when its cursor was last looked at.
    pub fn in_flight(&self) -> usize {
        cursor::diff(self.published, self.word_seen) as usize
    }

    /// Bytes that were written and that the peer will never take, because it has stopped, died or turned corrupt. `None`
    /// while it may still take them. Looks at the peer's words.
    pub fn undelivered(&mut self) -> Option<usize> {
        // The alert first, then the cursor: after the peer's death what the cursor says is final.
        let gone = alerts(self) & ALERT_GONE != 0;
        let _ = self.refresh();
        (gone || self.corrupt || self.is_peer_stopped()).then(|| self.in_flight() + self.unflushed())
    }

    /// How this half sleeps and wakes.
    pub fn park(&self) -> &P {
        &self.park
    }

    /// Where this half counts what it does: for other threads, which may [sample](CounterLine::sample) it at any time.
    pub fn counters(&self) -> &'m CounterLine {
        &self.mine.writes
    }

    /// What this half has done so far.
    pub fn counts(&self) -> Counts {
        self.mine.writes.sample()
    }

    /// Writes as much of `bytes` as there is room for, publishes it, and wakes the peer if that is what it waits for.
    ///
    /// Returns how many bytes were written: at least one, unless `bytes` is empty.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was written then.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
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
        let room = self.room_for(bytes.len())?;
        if room == 0 {
            return Err(WriteError::Full);
        }
        let n = bytes.len().min(room as usize);
        // SAFETY: invariants 1 and 5; `n` ≤ room ≤ capacity, and by invariant 3 the bytes there have been received.
        unsafe { self.ring.write(self.sent, &bytes[..n]) };
        self.sent = cursor::add(self.sent, n as u32);
        Ok(n)
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
        if self.sent != self.published && !self.fin {
            self.publish(false);
        }
    }

    /// Reserves room for exactly `len` bytes, to be filled in any order and then committed or aborted.
    ///
    /// # Errors
    /// [`ReserveError::TooLong`] if the lane can never hold `len` bytes; [`WriteError::Full`] if it cannot now.
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_, 'm, P>, ReserveError> {
        self.check()?;
        if len > self.capacity() {
            return Err(ReserveError::TooLong);
        }
        if (self.room_for(len)? as usize) < len {
            return Err(WriteError::Full.into());
        }
        Ok(Reservation::new(self, len as u32))
    }

    /// Says that no more bytes will come: publishes what is not flushed, with FIN, and wakes the peer if it sleeps.
    ///
    /// Writing is [`WriteError::Closed`] from now on. Calling it again does nothing.
    pub fn finish(&mut self) {
        if !self.fin {
            self.publish(true);
            self.fin = true;
        }
    }

    /// Whether this half has said that no more bytes will come.
    pub fn is_finished(&self) -> bool {
        self.fin
    }

    /// Whether the peer was seen to take no more bytes.
    pub fn is_peer_stopped(&self) -> bool {
        self.word_seen & STOP != 0
    }

    /// Whether the peer's words broke the rules.
    pub fn is_corrupt(&self) -> bool {
        self.corrupt
    }

    /// Waits until there is room for `want` bytes: looks, spins, then sleeps, as its [`Park`] does.
    ///
    /// `want` is taken as at least 1 and at most half the capacity (but at least 1); more could make both parties sleep
    /// for ever. Unflushed bytes are published first: the peer cannot make room by reading what it does not see.
    /// Returns the room there is; it can be less than `want` only when the deadline passed.
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::TimedOut`] there was no room at all.
    pub fn wait(&mut self, want: usize, deadline: Option<P::Deadline>) -> Result<usize, WaitError> {
        self.wait_in(want, deadline, None)
    }

    /// Waits like [`wait`](Producer::wait), without a deadline, for the whole party: `other` is the reading half of the
    /// same end, and nobody can use it meanwhile. The room of the bytes that it has taken is given back first.
    ///
    /// If the peer waits in the same way, and each for room in a full lane, neither can ever go on. Then party 0 gets
    /// [`WaitError::Deadlock`], and party 1 goes on waiting; more about that at
    /// [`Consumer::wait_whole`](super::Consumer::wait_whole).
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::Deadlock`] there was no room at all.
    pub fn wait_whole(&mut self, want: usize, other: &mut Consumer<'m, P>) -> Result<usize, WaitError> {
        if !mutant!("whole_parks_unflushed") {
            other.flush();
        }
        let whole = other.whole(self.mine);
        self.wait_in(want, None, whole.as_ref())
    }

    fn wait_in(
        &mut self,
        want: usize,
        deadline: Option<P::Deadline>,
        whole: Option<&Whole<'_>>,
    ) -> Result<usize, WaitError> {
        if !mutant!("writer_parks_unflushed") {
            self.flush();
        }
        if self.fin && !self.corrupt {
            return Err(WaitError::Closed);
        }
        let want = want.clamp(1, cursor::most_wanted(self.ring.capacity()) as usize) as u32;
        match wait(self, want, deadline, whole) {
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

    /// Makes the half corrupt, as if its own check had failed: for an end whose other half found the peer corrupt.
    pub fn fail(&mut self) {
        self.corrupt = unless_mutant!("accept_received_after_all", true, false);
        // What was written and not flushed stays unseen.
        self.sent = self.published;
        if !mutant!("accept_received_silently") {
            self.finish();
        }
    }

    #[inline]
    fn room(&self) -> u32 {
        self.ring.capacity() - cursor::diff(self.sent, self.word_seen)
    }

    /// Room after looking at the peer's cursor, if what is known is short of `len`.
    #[inline]
    fn room_for(&mut self, len: usize) -> Result<u32, WriteError> {
        if (self.room() as usize) < len {
            if self.refresh().is_err() {
                return Err(WriteError::Corrupt);
            }
            if self.is_peer_stopped() {
                return Err(WriteError::Closed);
            }
        }
        Ok(self.room())
    }

    /// Whether writing makes sense at all.
    #[inline]
    fn check(&mut self) -> Result<(), WriteError> {
        if self.corrupt {
            return Err(WriteError::Corrupt);
        }
        if self.fin || self.is_peer_stopped() {
            return Err(WriteError::Closed);
        }
        let alerted = alerts(self);
        // A peer that has stopped says so in a word that costs nothing to look at (see `cursor::LOOK`).
        let look = ordering::peer_park(&self.peer.park.read_park) == LOOK;
        if alerted == 0 && !look {
            return Ok(());
        }
        self.check_alerted(alerted)
    }

    #[cold]
    fn check_alerted(&mut self, alerted: u32) -> Result<(), WriteError> {
        if alerted & ALERT_CORRUPT != 0 {
            self.fail();
            return Err(WriteError::Corrupt);
        }
        if self.refresh().is_err() {
            return Err(WriteError::Corrupt);
        }
        if self.is_peer_stopped() {
            return Err(WriteError::Closed);
        }
        if alerted & ALERT_GONE != 0 {
            return Err(WriteError::PeerGone);
        }
        Ok(())
    }

    /// Loads the peer's `received` once and checks it.
    #[inline]
    fn refresh(&mut self) -> Result<u32, Stopped> {
        if self.corrupt {
            return Err(Stopped::Corrupt);
        }
        let word = ordering::peer_received(&self.peer.received.word);
        if word != self.word_seen {
            let in_flight = cursor::diff(self.published, self.word_seen);
            let still_in_flight = cursor::diff(self.published, word);
            let changed_after_stop = unless_mutant!("accept_received_after_stop", self.is_peer_stopped(), false);
            let most = unless_mutant!("accept_received_le_capacity", in_flight, self.ring.capacity());
            let impossible = unless_mutant!("accept_received_any", still_in_flight > most, false);
            if changed_after_stop || impossible {
                self.fail();
                return Err(Stopped::Corrupt);
            }
            self.word_seen = word;
        }
        Ok(word)
    }

    fn publish(&mut self, last: bool) {
        let woke = Publication {
            word: &self.mine.sent.word,
            peer_park: &self.peer.park.read_park,
            peer_bell: &self.peer.park.read_bell,
            capacity: self.ring.capacity(),
        }
        .publish(&self.park, ordering::publish_sent, self.published, self.sent, last);
        self.tally.published(cursor::diff(self.sent, self.published), woke);
        self.published = self.sent;
    }

    /// For a reading half that waits for the whole party: what this half has to do with that. `None` if there can be no
    /// deadlock because the peer waits for nothing from here.
    pub(super) fn whole(&self, mine: &Port) -> Option<Whole<'m>> {
        let finished = self.fin && !mutant!("whole_after_last");
        (!finished && core::ptr::eq(self.mine, mine)).then_some(Whole {
            tells: self.tells,
            peer_park: &self.peer.park.read_park,
            peer_bell: &self.peer.park.read_bell,
            word: &self.mine.sent.word,
            published: self.published,
            capacity: self.ring.capacity(),
        })
    }

    /// For [`Reservation`]: the lane and where the reservation begins.
    pub(super) fn place(&self) -> (Ring, u32) {
        (self.ring, self.sent)
    }

    /// For [`Reservation`]: the first `len` reserved bytes are to be sent.
    pub(super) fn commit(&mut self, len: u32) {
        self.sent = cursor::add(self.sent, len);
        self.flush();
    }
}

impl<P: Park> Sleeper for Producer<'_, P> {
    type Park = P;
    fn park(&self) -> &P {
        &self.park
    }
    fn park_word(&self) -> &AtomicU32 {
        if mutant!("one_park_word") { &self.mine.park.read_park } else { &self.mine.park.write_park }
    }
    fn bell_word(&self) -> &AtomicU32 {
        &self.mine.park.write_bell
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
        self.tally.parked();
    }
    fn rang(&mut self) {
        self.tally.rang();
    }
}

impl<P> core::fmt::Debug for Producer<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &self.ring.capacity())
            .field("sent", &self.sent)
            .field("published", &self.published)
            .field("word_seen", &format_args!("{:#x}", self.word_seen))
            .field("finished", &self.fin)
            .field("corrupt", &self.corrupt)
            .finish_non_exhaustive()
    }
}
